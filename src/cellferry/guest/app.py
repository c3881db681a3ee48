"""The kernel on the worker: ipykernel, with its output captured at the session and sent over the link."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
from ipykernel import kernelapp
from ipykernel.iostream import IOPubThread, OutStream
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from jupyter_client.session import Session
from traitlets import Type, Unicode
from zmq.eventloop.zmqstream import ZMQStream

from cellferry.guest import forked
from cellferry.guest.door import Door
from cellferry.guest.files import WORK
from cellferry.guest.main_module import NotebookMain
from cellferry.guest.notebook_builtins import without_own_frames
from cellferry.guest.saying import as_sent
from cellferry.parcels import own_watch
from cellferry.presses import one_less

_FLUSH_S = 0.02
_PIPE_BYTES = 1000
_NEVER_SENT = frozenset(["status", "execute_input", "debug_event", "iopub_welcome"])


class CellStream(OutStream):  # type: ignore[misc, unused-ignore]
    """stdout and stderr: shown within 20 ms; a flush with nothing to flush costs nothing."""

    flush_interval = _FLUSH_S
    logs: Callable[[], bool] = staticmethod(lambda: True)
    """Whether what programs write past Python goes to the kernel's log as well; not when that may be a secret."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._flush_lock = threading.RLock()
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call, unused-ignore]

    def _watch_pipe_fd(self) -> None:
        """As ipykernel does it, in a thread of its own: what is written to the descriptor itself is shown, and logged."""
        assert self._fid is not None
        try:
            while (data := os.read(self._fid, _PIPE_BYTES)) and self._should_watch:
                self.write(data.decode(errors="replace"))
                if self.logs():
                    os.write(self._original_stdstream_copy, data)
        except Exception:
            self._exc = sys.exc_info()

    def flush(self) -> None:
        """In the caller's own thread: the link's channel may be used from any thread, unlike a ZMQ socket."""
        if os.getpid() != self._master_pid:
            super().flush()  # type: ignore[no-untyped-call, unused-ignore]
        elif self._buffers:
            self._flush()

    def _flush(self) -> None:
        with self._flush_lock:  # one thread must not overtake another that holds older text
            super()._flush()  # type: ignore[no-untyped-call, unused-ignore]


class CellPublisher(IOPubThread):  # type: ignore[misc, unused-ignore]
    """ipykernel's thread for outputs, whose pipe for forked processes is a file and not a port."""

    pipe_path = ""
    forward: Any = None
    """Takes the frames of one message of a forked process; set by ``start``."""

    def _setup_pipe_in(self) -> None:
        self._pipe_uuid = os.urandom(16)
        pipe_in = self.socket.context.socket(zmq.PULL)
        pipe_in.linger = 0
        pipe_in.bind(f"ipc://{self.pipe_path}")
        self._pipe_in = ZMQStream(pipe_in, self.io_loop)
        self._pipe_in.on_recv(self._handle_pipe_msg)

    def _setup_pipe_out(self) -> tuple[Any, Any]:
        context = zmq.Context()
        pipe_out = context.socket(zmq.PUSH)
        pipe_out.linger = 3000
        pipe_out.connect(f"ipc://{self.pipe_path}")
        return context, pipe_out

    def _handle_pipe_msg(self, msg: list[bytes]) -> None:
        mine: Any = self
        if msg[0] != self._pipe_uuid or not mine._is_master_process():
            return
        if self.forward is None or not self.forward(msg[1:]):
            mine.send_multipart(msg[1:])


class CellSession(Session):
    """Sends what belongs to a client's cell over the link, everything else as any kernel does."""

    door: Door | None = None

    def send(self, stream: Any, msg_or_type: Any, content: Any = None, parent: Any = None, ident: Any = None,
             buffers: Any = None, track: bool = False, header: Any = None, metadata: Any = None) -> Any:  # fmt: skip
        door = self.door
        if door is None or door.pid != os.getpid() or not door.serves(stream):  # a forked process has its own way
            return super().send(stream, msg_or_type, content, parent, ident, buffers, track, header, metadata)
        if isinstance(msg_or_type, dict):
            message, buffers = msg_or_type, buffers or msg_or_type.get("buffers")
        else:
            message = self.msg(msg_or_type, content=content, parent=parent, header=header, metadata=metadata)
        if not door.owns(message["parent_header"]):
            return super().send(stream, message, ident=ident, buffers=buffers, track=track)
        kind = message["header"]["msg_type"]
        # the cell's own error travels in its reply; one that it shows itself (%tb, %run) is an output like any other
        if kind not in _NEVER_SENT and not (kind == "error" and door.own_error):
            door.emit(*as_sent(self, message, buffers or ()))
        return message

    def forward(self, frames: list[bytes]) -> bool:
        """Send a message of a forked process over the link; False if it is no client's."""
        _topic, parts = self.feed_identities(frames)
        message = self.deserialize(parts)
        if self.door is None or not self.door.owns(message["parent_header"]):
            return False
        if message["header"]["msg_type"] not in _NEVER_SENT:
            self.door.emit(*as_sent(self, message, message.get("buffers") or ()))
        return True


class GuestKernel(IPythonKernel):
    """``input()`` and ``getpass`` ask over the link while a client's cell runs."""

    door: Door | None = None

    def _input_request(self, prompt: str, ident: Any, parent: Any, password: bool = False) -> str:
        if self.door is not None and forked.is_child(self.door):
            raise EOFError("a forked process has no standard input")
        if self.door is None or not self.door.owns((parent or {}).get("header", {})):
            answer: str = super()._input_request(prompt, ident, parent, password)
            return answer
        sys.stdout.flush()
        sys.stderr.flush()
        return self.door.ask(prompt, password)


class GuestApp(IPKernelApp):
    """ipykernel's application with our kernel, session and streams."""

    kernel_class = Type(GuestKernel, klass="ipykernel.kernelbase.Kernel")  # type: ignore[assignment, unused-ignore]
    outstream_class = Unicode("cellferry.guest.app.CellStream")

    def _session_default(self) -> Session:
        return CellSession(parent=self)


def start(folder: str, control: int, *, foreign: bool = False) -> None:
    """Run the kernel of the worker in ``folder`` until its control socket ends. Called in a process of its own.

    ``foreign``: in an environment of its own, where an editable package is a wheel and its sources come from the notebook.
    """
    home = Path(folder)
    work = home / "work" / WORK
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    sys.path.insert(0, "")
    first = next((i for i, path in enumerate(sys.path) if path.endswith("site-packages")), len(sys.path))
    sys.path.insert(first if foreign else len(sys.path), str(home / "modules"))
    sys.argv = ["ipykernel_launcher.py"]
    # one history file for all workers would be shared state, and slow
    arguments = [
        "-f",
        str(home / "kernel.json"),
        "--HistoryManager.enabled=False",
        "--IPKernelApp.quiet=True",
        "--log-level=ERROR",
    ]
    CellPublisher.pipe_path = str(home / "kernel-pipe")
    # the application makes its own and offers no other way
    kernelapp.IOPubThread = CellPublisher  # type: ignore[attr-defined, unused-ignore]
    app = GuestApp.instance()
    app.initialize(arguments)  # type: ignore[no-untyped-call, unused-ignore]
    assert app.kernel is not None and app.iopub_thread is not None
    own_watch.watch()
    door = Door(home, control, app.kernel, (app.iopub_thread, app.iopub_thread.background_socket))
    app.session.door = door
    CellStream.logs = staticmethod(lambda: not door.masking.active)
    app.iopub_thread.forward = app.session.forward
    app.kernel.door = door
    app.kernel.shell.user_module.__class__ = NotebookMain
    _mark_own_errors(app.kernel.shell, door)
    _stay(app.kernel.shell)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    door.open(loop)
    app.start()  # type: ignore[no-untyped-call, unused-ignore]


def _mark_own_errors(shell: Any, door: Door) -> None:
    """Let ``door.own_error`` be true while IPython shows the error that ended the cell."""
    show = shell.showtraceback

    def showtraceback(*args: Any, running_compiled_code: bool = False, **kwargs: Any) -> None:
        leaving = kwargs.get("exception_only") and isinstance(sys.exc_info()[1], SystemExit)  # IPython's way for these
        if (running_compiled_code or leaving) and forked.is_child(door) and forked.show_error():
            return
        door.own_error = running_compiled_code or bool(leaving)
        if (error := sys.exc_info()[1]) is not None:
            without_own_frames(error)
        try:
            with one_less():
                show(*args, running_compiled_code=running_compiled_code, **kwargs)
        finally:
            door.own_error = False

    shell.showtraceback = showtraceback


def _stay(shell: Any) -> None:
    """``exit`` and ``quit`` would end this kernel a moment later, in the middle of another cell, or the frontend."""

    def ask_exit() -> None:
        print("the worker stays: end it with `%remote down`, this notebook's kernel with `exit` in a local cell", file=sys.stderr)

    shell.ask_exit = ask_exit

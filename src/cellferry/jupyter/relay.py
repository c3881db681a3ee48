"""Where a remote cell's messages appear: republished by a kernel, or printed by plain ``ipython``.

Both classes implement ``screen.Screen``. Remote messages carry the frontend's own header as their parent already, so
a kernel sends them on almost as they are: rewriting parents would break Output widgets, which listen by message id.
"""

from __future__ import annotations

import builtins
import getpass
import logging
import sys
import threading
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from cellferry.jupyter.comms import CommRelay, plain_header
from cellferry.jupyter.display import as_html
from cellferry.screen import Screen

if TYPE_CHECKING:
    from cellferry.jupyter.comms import CommPort
    from cellferry.model import Message

_log = logging.getLogger("cellferry")
LEAVING_S, LEAVING_STEPS = 0.15, 15
"""So long after an interrupt a request to end may follow that the interrupt belongs to."""


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # ipykernel's flush waits for its output thread, even with nothing to write.
        if stream is not None and getattr(stream, "_buffers", True):
            stream.flush()


class DoorScreen(Screen, Protocol):
    """A screen as the doors hold it: bound to a session while there is one."""

    updates: bool
    """Whether ``live`` can change what was shown."""

    def connect(self, port: CommPort) -> None:
        """Give the frontend's widget messages their way to the worker; called once, before the first message."""

    def stayed(self, text: str, value: object) -> None:
        """Say that ``value``, a placeholder, stayed on its worker; where the frontend can, with a button to bring it here."""

    def worker_lost(self, worker: str | None = None) -> None:
        """This worker, or every one, has ended: its widgets are closed in the frontend, which shows them as dead."""

    def live(self, text: str, page: str) -> Callable[[str, str], None] | None:
        """A display under the running cell that lives on; the function changes it. None where there is no such."""

    def cell_over(self) -> None:
        """The running cell has ended, however: a line of progress that it left is taken away."""

    def close(self) -> None:
        """Forget the remote widgets and give the shell its own handlers back."""


class KernelScreen:
    """The frontend of an ``ipykernel``; ``publish`` may be called from any thread, in order."""

    updates = True

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._kernel = self._shell.kernel
        self._streams = {"stdout": sys.stdout, "stderr": sys.stderr}
        self._display_pub = self._shell.display_pub
        self._topics: dict[str, bytes] = {}
        self.comms = CommRelay(self._kernel)
        self._ending = threading.Event()
        self._watch_for_the_end()
        self._bar = ""
        self._cell: Any = {}
        """The request of the remote cell that was begun last."""

    def connect(self, port: CommPort) -> None:
        """See ``DoorScreen``."""
        self.comms.connect(port)

    def worker_lost(self, worker: str | None = None) -> None:
        """See ``DoorScreen``."""
        self.comms.lost(worker)

    def cell_over(self) -> None:
        """See ``DoorScreen``. Otherwise the next cell's progress would be shown below this one."""
        if self._bar:
            self.progress("")

    def close(self) -> None:
        """See ``DoorScreen``."""
        self.comms.close()

    def _watch_for_the_end(self) -> None:
        """Know at once when this kernel is told to end: that request comes on a channel of its own, while a cell runs."""
        handlers = self._kernel.control_handlers
        ask = handlers.get("shutdown_request")
        if ask is None:
            return

        def shutdown_request(*args: Any, **kwargs: Any) -> Any:
            self._ending.set()
            return ask(*args, **kwargs)

        handlers["shutdown_request"] = shutdown_request

    def parent(self) -> Message:
        """See ``screen.Screen``. ipykernel keeps it in a context variable of the thread that runs the cell."""
        _flush()
        parent = self._cell = self._kernel.get_parent("shell")
        header = plain_header(parent.get("header", {}))
        return {"header": header, "msg_type": header.get("msg_type", ""), "content": {}, "metadata": {}}

    def allow_stdin(self) -> bool:
        """See ``screen.Screen``."""
        return bool(self._kernel._allow_stdin)

    def publish(self, message: Message) -> None:
        """See ``screen.Screen``. Never raises: one message that cannot be shown must not end the stream of all."""
        try:
            self._publish(message)
        except Exception:
            _log.warning("a message from the worker could not be shown", exc_info=True)

    def _publish(self, message: Message) -> None:
        kind = str(message["msg_type"])
        if kind == "stream":
            if self._redirected(message):
                return
        elif kind == "comm_open":
            self.comms.opened(message)
        elif kind == "comm_close":
            self.comms.closed(message)
        elif kind not in ("comm_msg", "error") and self._captured(kind, message):
            return
        topic = self._topics.get(kind)
        if topic is None:
            topic = self._topics[kind] = f"kernel.{self._kernel.ident}.{kind}".encode()
        # JupyterLab drops what it still has to handle from a session other than that of the last message it received.
        header: Any = message["header"]
        header["session"] = self._kernel.session.session
        # iopub_socket is a BackgroundSocket: safe from every thread, and it keeps the order.
        self._kernel.session.send(self._kernel.iopub_socket, message, ident=topic)

    def ask(self, prompt: str, password: bool) -> str:
        """See ``screen.Screen``."""
        return str(self._kernel.getpass(prompt) if password else self._kernel.raw_input(prompt))

    def leaving(self) -> bool:
        """See ``screen.Screen``. A server that restarts a kernel interrupts it first, and asks it to end a moment later."""
        # in small steps: on a machine that is too busy to let us run, the other process was kept waiting as well
        return any(self._ending.wait(LEAVING_S / LEAVING_STEPS) for _ in range(LEAVING_STEPS))

    def show_text(self, text: str) -> None:
        """See ``screen.Screen``."""
        print(text, end="", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """See ``screen.Screen``."""
        self._show(_note(text))

    def stayed(self, text: str, value: object) -> None:
        """See ``DoorScreen``."""
        shown, _ = self._shell.display_formatter.format(value)
        ours = {mime: data for mime, data in shown.items() if mime.startswith("application/vnd.cellferry.")}
        self._show({**_note(text), **ours})

    def progress(self, text: str) -> None:
        """See ``screen.Screen``: one display that is updated; an empty one is left, for a frontend cannot take one away."""
        fresh = not self._bar
        if fresh:
            self._bar = uuid.uuid4().hex
        page = f'<pre style="opacity: 0.7; margin: 0">{as_html(text)}</pre>' if text else ""
        data = {"text/plain": text, "text/html": page}
        self._show(data, "display_data" if fresh else "update_display_data", {"display_id": self._bar})
        if not text:
            self._bar = ""

    def _show(self, data: dict[str, Any], kind: str = "display_data", transient: dict[str, str] | None = None) -> None:
        """Under the running cell, from any thread. IPython's publisher asks ipykernel for the cell, and that one's 7.0 raises
        LookupError in every thread but the cell's."""
        here = threading.current_thread() is threading.main_thread()
        if here:
            _flush()
        parent = self._kernel.get_parent("shell") if here else self._cell
        content = {"data": data, "metadata": {}, "transient": transient or {}}
        self.publish(self._kernel.session.msg(kind, content, parent=parent))

    def live(self, text: str, page: str) -> Callable[[str, str], None] | None:
        """A display under the running cell that can be changed from any thread, also when the cell has ended: by the
        function, with another text and page."""
        known, sent = uuid.uuid4().hex, {"kind": "display_data"}
        parent = self._kernel.get_parent("shell")

        def update(text: str, page: str) -> None:
            content = {"data": {"text/plain": text, "text/html": page}, "metadata": {}, "transient": {"display_id": known}}
            kind = sent["kind"]
            sent["kind"] = "update_display_data"
            topic = f"kernel.{self._kernel.ident}.{kind}".encode()
            self._kernel.session.send(self._kernel.iopub_socket, kind, content, parent=parent, ident=topic)

        update(text, page)
        return update

    def _redirected(self, message: Message) -> bool:
        """Where ``sys.stdout`` was replaced (``%%capture``, ``redirect_stdout``), text goes there like local text."""
        content: Any = message["content"]
        stream = getattr(sys, content["name"])
        if stream is self._streams[content["name"]]:
            return False
        stream.write(content["text"])
        return True

    def _captured(self, kind: str, message: Message) -> bool:
        if self._shell.display_pub is not self._display_pub:
            show_by_shell(self._shell, kind, message)
            return True
        if kind == "execute_result":
            remember_output(self._shell, message)
        return False


class TerminalScreen:
    """Plain ``ipython``: everything is shown by the shell's own display machinery, as for a local cell."""

    updates = False

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._session = uuid.uuid4().hex
        self._bar_chars = 0

    def connect(self, port: CommPort) -> None:
        """There are no widgets in a terminal."""

    def worker_lost(self, worker: str | None = None) -> None:
        """There are no widgets in a terminal."""

    def cell_over(self) -> None:
        """See ``DoorScreen``."""
        if self._bar_chars:
            self.progress("")

    def close(self) -> None:
        """Nothing to give back."""

    def parent(self) -> Message:
        """See ``screen.Screen``. There is no frontend with a request of its own here, so each cell gets one."""
        _flush()
        header = {"msg_id": uuid.uuid4().hex, "session": self._session, "username": "", "msg_type": "execute_request",
                  "version": "5.4", "date": ""}  # fmt: skip
        return {"header": header, "msg_type": "execute_request", "content": {}, "metadata": {}}

    def allow_stdin(self) -> bool:
        """See ``screen.Screen``."""
        return True

    def publish(self, message: Message) -> None:
        """See ``screen.Screen``. Never raises: one message that cannot be shown must not end the stream of all."""
        try:
            self._publish(message)
        except Exception:
            _log.warning("a message from the worker could not be shown", exc_info=True)

    def _publish(self, message: Message) -> None:
        kind = str(message["msg_type"])
        if kind == "stream":
            content: Any = message["content"]
            stream = getattr(sys, content["name"])
            stream.write(content["text"])
            stream.flush()
        else:
            show_by_shell(self._shell, kind, message)

    def ask(self, prompt: str, password: bool) -> str:
        """See ``screen.Screen``."""
        return getpass.getpass(prompt) if password else builtins.input(prompt)

    def leaving(self) -> bool:
        """See ``screen.Screen``. A terminal's own end is no interrupt."""
        return False

    def live(self, text: str, page: str) -> Callable[[str, str], None] | None:
        """A terminal cannot change what it has shown."""
        return None

    def show_text(self, text: str) -> None:
        """See ``screen.Screen``."""
        print(text, end="", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """See ``screen.Screen``."""
        self._shell.display_pub.publish({"text/plain": text}, {})

    def stayed(self, text: str, value: object) -> None:
        """See ``DoorScreen``."""
        self.note(text)

    def progress(self, text: str) -> None:
        """See ``screen.Screen``: one line of stderr, written over."""
        sys.stderr.write("\r" + text.ljust(self._bar_chars) + ("" if text else "\r"))
        sys.stderr.flush()
        self._bar_chars = len(text)


def _note(text: str) -> dict[str, str]:
    return {"text/plain": text, "text/html": f'<div style="opacity: 0.7; font-size: 90%">{as_html(text)}</div>'}


def show_by_shell(shell: Any, kind: str, message: Message) -> None:
    """Show one display message through the shell's publisher and display hook (a terminal, or ``%%capture``)."""
    content: Any = message["content"]
    publisher = shell.display_pub
    if kind in ("display_data", "update_display_data"):
        publisher.publish(
            content["data"], content["metadata"], transient=content.get("transient"), update=kind.startswith("update")
        )
    elif kind == "error":
        print(shell.InteractiveTB.stb2text(content["traceback"]))
    elif kind == "clear_output":
        publisher.clear_output(content["wait"])
    elif kind == "execute_result":
        captured = getattr(sys.displayhook, "outputs", None)
        if captured is not None:
            captured.append({"data": content["data"], "metadata": content["metadata"]})
        else:
            hook = shell.displayhook
            hook.start_displayhook()
            hook.write_output_prompt()
            hook.write_format_data(content["data"], content["metadata"])
            hook.finish_displayhook()
            remember_output(shell, message)


def remember_output(shell: Any, message: Message) -> None:
    """Keep a result's text in the shell's history, as IPython does for local results."""
    content: Any = message["content"]
    shell.displayhook.log_output(content["data"])

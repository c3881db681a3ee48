"""Widgets whose Python half lives on a worker: the frontend's messages find their way there, and wait for the answer.

A remote ``comm_open`` leaves a stand-in here under the same id. The frontend's ``comm_msg`` and ``comm_close`` for it
go to the worker, and ipykernel's handler returns only when the worker has handled them: JupyterLab stops listening
for a callback's output at this kernel's idle.
"""

from __future__ import annotations

import concurrent.futures
import logging
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from cellferry.model import Message

_log = logging.getLogger("cellferry")
_CONTROL_TARGET = "jupyter.widget.control"
_POLL_S = 0.2


class CommPort(Protocol):
    """The way to the workers; ``journey.Session`` has it."""

    def comm(self, message: Message) -> concurrent.futures.Future[Any] | None:
        """Send one ``comm_msg`` or ``comm_close`` of the frontend to the worker that opened the comm; any thread.

        The future is done when the worker has handled it, cancelled when it no longer can; None: there is no worker.
        """


class RemoteComm:
    """Stands for a comm of a worker in this kernel's comm manager, so that ``comm_info`` lists it.

    Not an ipykernel comm on purpose: those route the frontend's messages to the main shell, which is blocked
    while a remote cell runs, and close themselves when collected.
    """

    def __init__(self, relay: CommRelay, comm_id: str, target_name: str, worker: str) -> None:
        self.comm_id = comm_id
        self.target_name = target_name
        self.worker = worker
        self._relay = relay
        self._closed = False

    def handle_msg(self, message: Message) -> None:
        """A message from the frontend that came around the shell handlers."""
        self._relay.forward(message)

    def handle_close(self, message: Message) -> None:
        """The frontend closed the comm, around the shell handlers."""
        self._relay.forward(message)

    def close(self, *_args: Any, **_kwargs: Any) -> None:
        """Only the worker or the frontend close a remote comm."""


class CommRelay:
    """The remote comms of one kernel. ``opened``, ``closed`` and ``lost`` are called by the link's thread."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._port: CommPort | None = None
        self._originals: dict[str, Any] = {}
        self._remote: dict[str, RemoteComm] = {}

    def connect(self, port: CommPort) -> None:
        """Take over the comm handlers of the shell channel; what is not remote goes to ipykernel's own."""
        self._port = port
        if self._originals:
            return
        handlers = self._kernel.shell_handlers
        mine = {"comm_open": self._open, "comm_msg": self._message, "comm_close": self._close}
        for kind, handler in mine.items():
            self._originals[kind] = handlers[kind]
            handlers[kind] = handler

    def close(self) -> None:
        """Give the handlers back and tell the frontend that the remote widgets are gone."""
        self.lost()
        self._kernel.shell_handlers.update(self._originals)
        self._originals.clear()
        self._port = None

    def opened(self, message: Message) -> None:
        """A worker opened a comm."""
        content: Any = message["content"]
        comm_id = content["comm_id"]
        stand_in = RemoteComm(self, comm_id, content.get("target_name", ""), str(message.get("worker", "")))
        self._remote[comm_id] = self._kernel.comm_manager.comms[comm_id] = stand_in

    def closed(self, message: Message) -> None:
        """A worker closed a comm."""
        content: Any = message["content"]
        self._forget(content["comm_id"])

    def lost(self, worker: str | None = None) -> None:
        """This worker, or every one, has ended: close its comms towards the frontend.

        A reloaded page asks each comm that it is told of and waits for the answer.
        """
        for comm_id, comm in list(self._remote.items()):
            if worker is None or comm.worker in ("", worker):
                self._forget(comm_id)
                self._send_close(comm_id, parent={})

    def forward(self, message: Message) -> None:
        """Send a frontend's message to the worker and wait until it was handled there."""
        if self._port is None:
            return
        try:
            done = self._port.comm(_plain(message))
            if done is not None:
                self._wait(done)
        except Exception:
            _log.warning("a widget's message did not reach its worker", exc_info=True)

    def _wait(self, done: concurrent.futures.Future[Any]) -> None:
        """Block this shell thread: ipykernel would answer other widget messages without their idle if it were free."""
        while not self._kernel.shell.exit_now:
            try:
                done.result(_POLL_S)
                return
            except concurrent.futures.CancelledError:
                return
            except TimeoutError:
                if done.done():
                    return

    def _open(self, stream: Any, ident: Any, message: Any) -> Any:
        content = message["content"]
        if content["target_name"] == _CONTROL_TARGET and self._remote:
            # This kernel would answer "all widgets" with its own only; refused, the frontend asks comm by comm.
            self._send_close(content["comm_id"], parent=message)
            return None
        return self._originals["comm_open"](stream, ident, message)

    def _message(self, stream: Any, ident: Any, message: Any) -> Any:
        if message["content"]["comm_id"] in self._remote:
            self.forward(message)
            return None
        return self._originals["comm_msg"](stream, ident, message)

    def _close(self, stream: Any, ident: Any, message: Any) -> Any:
        comm_id = message["content"]["comm_id"]
        if comm_id in self._remote:
            self._forget(comm_id)
            self.forward(message)
            return None
        return self._originals["comm_close"](stream, ident, message)

    def _forget(self, comm_id: str) -> None:
        self._remote.pop(comm_id, None)
        self._kernel.comm_manager.comms.pop(comm_id, None)

    def _send_close(self, comm_id: str, parent: Any) -> None:
        self._kernel.session.send(
            self._kernel.iopub_socket,
            "comm_close",
            {"comm_id": comm_id, "data": {}},
            parent=parent,
            ident=b"comm_close",
        )


def plain_header(header: dict[str, Any]) -> dict[str, Any]:
    """A frontend's header that can travel as JSON and be answered from anywhere.

    ``subshell_id`` names a thread of this kernel and means nothing on a worker.
    """
    plain = {key: value for key, value in header.items() if key != "subshell_id"}
    if hasattr(plain.get("date"), "isoformat"):
        plain["date"] = plain["date"].isoformat().replace("+00:00", "Z")  # as jupyter_client writes it
    return plain


def _plain(message: Message) -> Message:
    """The message as it can travel: a header of JSON values, no thread of this kernel in it."""
    header: Any = message["header"]
    return {
        "msg_type": header["msg_type"],
        "header": plain_header(header),
        "parent_header": {},
        "metadata": message.get("metadata", {}),
        "content": message["content"],
        "buffers": message.get("buffers", []),
    }

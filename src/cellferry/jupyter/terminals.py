"""A terminal on a worker, for JupyterLab's own terminal widget: its API and its websocket, passed on and nothing else.

One way: the worker is asked, it asks nobody. Nothing of the user's request goes along, neither headers nor cookies nor a
token; and what comes back is JSON or a frame of text.
"""

from __future__ import annotations

import json
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.httpclient import HTTPRequest
from tornado.iostream import IOStream, SSLIOStream
from tornado.tcpclient import TCPClient
from tornado.web import HTTPError
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, WebSocketHandler

from cellferry.errors import CellferryError
from cellferry.fleet import acting
from cellferry.jupyter.live import Hub
from cellferry.jupyter.routes import Route, Told, guarded
from cellferry.model import Worker

MOST_FRAME_BYTES = 1 << 20
NEW = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": r"^\w{1,64}$"}, "cwd": {"type": "string", "maxLength": 4096}},
    "additionalProperties": False,
}


class Terminals(Route):
    """``GET``, ``POST`` ``.../api/terminals``: list them, or open one where the cells run."""

    @guarded
    async def get(self, worker_id: str) -> None:
        await self.pass_on(worker_id, "GET", "/api/terminals")

    @guarded
    async def post(self, worker_id: str) -> None:
        told = self.body(NEW)
        if "cwd" not in told:
            worker = await self.hub.find(worker_id)
            _status, content = await self.hub.in_thread(acting.relay, worker, "GET", "/cellferry/v1/status", None)
            told |= {key: text for key, text in json.loads(content or b"{}").items() if key == "cwd"}
        await self.pass_on(worker_id, "POST", "/api/terminals", json.dumps(told).encode())

    async def pass_on(self, worker_id: str, method: str, path: str, body: bytes | None = None) -> None:
        """Ask the worker, and answer with its JSON."""
        worker = await self.hub.find(worker_id)
        status, content = await self.hub.in_thread(acting.relay, worker, method, path, body)
        if status == 404:
            raise Told(404, f"worker {worker.name} has no such terminal")
        if status not in (200, 204):
            raise Told(502, f"worker {worker.name} gives no terminal ({status})", "is jupyter_server_terminals installed there?")
        try:
            self.answer(json.loads(content or b"null"), status)
        except ValueError:
            raise Told(502, f"worker {worker.name} does not answer as a Jupyter server does") from None

    def answer(self, content: Any, status: int = 200) -> None:
        if status == 204:
            self.set_status(204)
            self.finish()
        else:
            super().answer(content, status)


class OneTerminal(Terminals):
    """``GET``, ``DELETE`` ``.../api/terminals/NAME``."""

    @guarded
    async def get(self, worker_id: str, name: str) -> None:
        await self.pass_on(worker_id, "GET", f"/api/terminals/{name}")

    @guarded
    async def delete(self, worker_id: str, name: str) -> None:
        await self.pass_on(worker_id, "DELETE", f"/api/terminals/{name}")


class TerminalSocket(WebSocketMixin, WebSocketHandler, JupyterHandler):  # type: ignore[misc, unused-ignore]
    """``GET .../terminals/websocket/NAME``: frames of text, both ways. The Origin is checked as Jupyter does."""

    auth_resource = "cellferry"

    def initialize(self, hub: Hub) -> None:
        self.hub = hub
        self._there: WebSocketClientConnection | None = None

    @ws_authenticated
    async def get(self, worker_id: str, name: str) -> None:
        """Open the socket, once the worker's own is open."""
        if not await ensure_async(self.authorizer.is_authorized(self, self.current_user, "execute", self.auth_resource)):
            raise HTTPError(403)
        worker = await self.hub.find(worker_id)
        try:
            self._there = await _connect(self.hub, worker, f"/terminals/websocket/{name}", self._heard)
        except (CellferryError, OSError, WebSocketClosedError) as error:
            raise HTTPError(502, f"worker {worker.name} gives no terminal: {error}".replace("%", "%%")) from error
        await super().get(worker_id, name)

    def on_message(self, message: str | bytes) -> None:
        if self._there is not None and isinstance(message, str) and len(message) <= MOST_FRAME_BYTES:
            try:
                self._there.write_message(message)
            except WebSocketClosedError:
                self.close()

    def on_close(self) -> None:
        there, self._there = self._there, None
        if there is not None:
            there.close()

    def _heard(self, message: str | bytes | None) -> None:
        """From the worker: a frame, or None at the end of the connection."""
        if message is None:
            self.close()
        elif isinstance(message, str):
            try:
                self.write_message(message)
            except WebSocketClosedError:
                self.on_close()


class _Dialled(TCPClient):
    """For a client of tornado: the connection that is there already, with the worker's identity checked."""

    def __init__(self, stream: IOStream) -> None:
        super().__init__()
        self._stream = stream

    async def connect(self, *_args: Any, **_kwargs: Any) -> IOStream:  # type: ignore[override, unused-ignore]
        return self._stream


async def _connect(hub: Hub, worker: Worker, path: str, heard: Any) -> WebSocketClientConnection:
    connection = await hub.in_thread(acting.dial, worker)
    connection.setblocking(False)
    stream = SSLIOStream(connection) if hasattr(connection, "getpeercert") else IOStream(connection)
    request = HTTPRequest(f"ws://worker{path}", connect_timeout=acting.PATIENCE_S, request_timeout=acting.PATIENCE_S)
    client = WebSocketClientConnection(request, on_message_callback=heard, max_message_size=MOST_FRAME_BYTES)
    client.tcp_client = _Dialled(stream)
    try:
        return await client.connect_future
    except Exception as error:  # tornado's own, of several kinds
        stream.close()
        raise OSError(str(error)) from error

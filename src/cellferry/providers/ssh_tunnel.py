"""Ways through an ssh connection: a socket here that leads to a worker's socket there, and a loopback port there that leads to
package indexes from here, for machines without internet."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import hmac
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cellferry.errors import CellferryError
from cellferry.model import PROOF_FILE
from cellferry.providers.ssh_connect import Connections, explained
from cellferry.shared_folder import our_folders

PIECE_BYTES = 1 << 18
Place = tuple[str, int]
"""A host and a port of it."""
INDEXES: frozenset[Place] = frozenset(
    (host, 443) for host in ("pypi.org", "files.pythonhosted.org", "download.pytorch.org", "github.com",
                             "objects.githubusercontent.com", "release-assets.githubusercontent.com")
)  # fmt: skip
"""Where packages and Pythons come from (uv takes Pythons from GitHub's releases); more are those of the user's own indexes."""
KNOWN_S = 60.0
_HEAD_BYTES = 1 << 16
_PLACE, _PREFIX = "/tmp", "cft-"
_YOUNG_S = 1.0
"""A socket may be there a moment before anybody listens on it."""
_PORT_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_OPEN_S = 5.0
"""How long the machine may take to open a way to the worker before the connection to it is taken for dead."""


class Tunnel:
    """A unix socket in a private folder of this machine; each connection to it goes to ``far`` on ``host``.

    The socket stays when the ssh connection breaks: the next use makes a new one.
    """

    def __init__(self, connections: Connections, host: str, far: str, secret: str) -> None:
        """``secret``: by which the worker proves itself to whoever connects; "" for one that has none, and nobody connects to."""
        self._connections, self._host, self._far = connections, host, far
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_PLACE))  # mode 0700, and short
        self.path = self.folder / "worker.sock"
        if secret:
            _write_private(self.folder / PROOF_FILE, secret)
        self._server = connections.run(self._open())

    async def _open(self) -> Any:
        server = await asyncio.start_unix_server(self._take, str(self.path))
        self.path.chmod(0o600)
        return server

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import asyncssh

        try:
            connection = await self._connections.to(self._host)
            opening = connection.open_unix_connection(self._far, encoding=None)
            far_reader, far_writer = await asyncio.wait_for(opening, _OPEN_S)
        except (CellferryError, asyncssh.Error, OSError) as error:  # TimeoutError is an OSError
            if isinstance(error, TimeoutError):
                self._connections.drop(self._host)
            writer.close()  # whoever connected sees the end, asks the provider what became of the worker, and comes again
            return
        await join(reader, writer, far_reader, far_writer)

    def close(self) -> None:
        """Repeatable."""
        with contextlib.suppress(RuntimeError):
            self._connections.loop.call_soon_threadsafe(self._server.close)
        shutil.rmtree(self.folder, ignore_errors=True)


def _write_private(path: Path, text: str) -> None:
    """A new file that only this user can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _sweep() -> None:
    """Remove the folders of processes that were killed: ours, where nobody listens any more."""
    for folder in our_folders(Path(_PLACE), _PREFIX):
        with contextlib.suppress(OSError):
            told = (folder / "worker.sock").lstat()
            if told.st_uid != os.geteuid() or time.time() - told.st_mtime < _YOUNG_S:
                continue
            with socket.socket(socket.AF_UNIX) as asked:
                asked.setblocking(False)
                if asked.connect_ex(str(folder / "worker.sock")) == errno.ECONNREFUSED:
                    shutil.rmtree(folder, ignore_errors=True)


class Supply:
    """A proxy for package indexes alone, spoken by this process and reached there by a loopback port with a password.

    ``before``: the ``url`` of one that an earlier process of this user had, which a worker there was told.
    """

    def __init__(self, indexes: frozenset[Place], before: str = "") -> None:
        self._places = INDEXES | indexes
        self._names = Names()
        self._opening = asyncio.Lock()
        told = urlsplit(before)
        self._password = told.password or secrets.token_urlsafe(24)
        self.port = told.port or 0
        self._listener: Any = None
        self._over: Any = None
        """The connection over which it listens."""
        self._forget: Callable[[], None] = lambda: None
        self.users = 0
        """Starts that use it at the moment."""
        self.kept = False
        """Whether a worker there needs it for as long as this process lives."""

    @property
    def url(self) -> str:
        """For ``HTTPS_PROXY`` there. A secret: it goes into a private file and the worker's own process, nowhere else."""
        return f"http://cellferry:{self._password}@127.0.0.1:{self.port}"

    async def open(self, connections: Connections, host: str) -> None:
        """Let ``host`` reach it; at the same port as before, if it had one, over this connection and those that follow it.

        Repeatable. Raises LinkError where the port is taken, or the machine allows none.
        """
        import asyncssh

        first = self._listener is None
        try:
            await self._listen(await connections.to(host))
        except (asyncssh.Error, asyncssh.ChannelListenError, OSError) as error:
            raise explained(host, error) from error
        if first:
            self._forget()
            self._forget = connections.whenever_made(host, self._again)

    def close(self) -> None:
        """Nobody there needs it. Only in the loop's thread; repeatable."""
        self._forget()
        if self._listener is not None:
            self._listener.close()
            self._listener = self._over = None

    async def _listen(self, connection: Any) -> None:
        async with self._opening:
            if self._over is connection:
                return
            self._listener = await connection.start_server(self._handler, "127.0.0.1", self.port, encoding=None)
            self.port, self._over = int(self._listener.get_port()), connection

    async def _again(self, connection: Any) -> None:
        """The machine may hold the port for a connection that it does not know yet to be dead."""
        import asyncssh

        for pause_s in (0.0, *_PORT_S):
            await asyncio.sleep(pause_s)
            try:
                await self._listen(connection)
                break
            except (asyncssh.Error, asyncssh.ChannelListenError, OSError):
                if connection.is_closed():
                    break  # packages cannot be had there; who needs some is told

    def _handler(self, _host: str, _port: int) -> Callable[[Any, Any], Any]:
        return self._serve

    async def _serve(self, reader: Any, writer: Any) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            host, port = self._asked(head)
            there, away = await self._names.connect(host, port)
        except PermissionError as error:
            await _say(writer, f"HTTP/1.1 {error}\r\nProxy-Authenticate: Basic\r\n\r\n")
            return
        except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError):
            await _say(writer, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await join(there, away, reader, writer)

    def _asked(self, head: bytes) -> tuple[str, int]:
        """Host and port of a CONNECT. Raises PermissionError with the status line, ValueError for anything else."""
        if len(head) > _HEAD_BYTES:
            raise ValueError("too long")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, *_ = first.split()
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        expected = "Basic " + base64.b64encode(f"cellferry:{self._password}".encode()).decode()
        if not hmac.compare_digest(fields.get("proxy-authorization", ""), expected):
            raise PermissionError("407 Proxy Authentication Required")
        host, _, port = target.rpartition(":")
        if method != "CONNECT" or (host, int(port)) not in self._places:
            raise PermissionError("403 Forbidden")
        return host, int(port)


class Names:
    """Addresses of hosts, each asked for once in ``KNOWN_S``: an installer opens fifty connections at a time to one host, and
    fifty questions at a time are more than the resolvers of many networks answer."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, asyncio.Task[list[str]]]] = {}

    async def connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the first address that takes it. Raises OSError."""
        failure = OSError(f"{host} has no address")
        for address in await self._addresses(host):
            try:
                return await asyncio.open_connection(address, port)
            except OSError as error:
                failure = error
        self._known.pop(host, None)
        raise failure

    async def _addresses(self, host: str) -> list[str]:
        at, asked = self._known.get(host, (0.0, None))
        now = time.monotonic()
        if asked is None or (asked.done() and (asked.cancelled() or asked.exception() or now - at > KNOWN_S)):
            asked = asyncio.ensure_future(_look_up(host))
            self._known[host] = now, asked
        return await asyncio.shield(asked)


async def _look_up(host: str) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def join(reader: Any, writer: Any, far_reader: Any, far_writer: Any) -> None:
    """Pass bytes in both directions until both ends have ended."""
    try:
        await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))
    finally:
        for each in (writer, far_writer):
            with contextlib.suppress(Exception):
                each.close()


async def _pass(reader: Any, writer: Any) -> None:
    import asyncssh

    try:
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    except (OSError, asyncssh.Error, asyncio.IncompleteReadError):
        pass
    finally:
        with contextlib.suppress(OSError, RuntimeError, asyncssh.Error):
            writer.write_eof()


async def _say(writer: Any, text: str) -> None:
    writer.write(text.encode())
    with contextlib.suppress(Exception):
        await writer.drain()
    writer.close()



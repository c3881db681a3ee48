"""uvloop's TLS 1.3 alone, over TCP on loopback: one array between two processes, received into fresh memory."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.certificates import make_certificate, mutual_context
from benchmarks.contender import Samples, Step, payload, same_ends
from benchmarks.contenders.raw_unix import ENDS, GET, MAKE, ORDER, PUT
from benchmarks.pages import warm_pages

WRITE_BYTES = 1 << 20
"""Bytes handed to the transport at once; of 64 KiB to 16 MiB the fastest here."""


class Bulk(asyncio.BufferedProtocol):
    """A connection on which both sides always know what comes next: ``expect`` says where it goes."""

    def __init__(self, on_connect: Callable[[Bulk], None] | None = None) -> None:
        self._on_connect = on_connect
        self._target = memoryview(bytearray(1))
        self._filled = 0
        self._then: Callable[[], None] = lambda: None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self.transport: Any = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._on_connect is not None:
            self._on_connect(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._target[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if self._filled == len(self._target):
            self._then()

    def expect(self, target: memoryview, then: Callable[[], None]) -> None:
        """The next ``len(target)`` bytes go there; ``then`` runs when they have come."""
        self._target, self._filled, self._then = target, 0, then

    def read(self, target: memoryview) -> asyncio.Future[None]:
        """As ``expect``, to be awaited."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.expect(target, lambda: done.set_result(None))
        return done

    async def write(self, view: memoryview) -> None:
        """Hand over all of ``view``, as fast as the other side takes it."""
        for begin in range(0, len(view), WRITE_BYTES):
            await self._may_write.wait()
            self.transport.write(view[begin : begin + WRITE_BYTES])


class Other:
    """The other process's side."""

    def __init__(self) -> None:
        self._made: Any = None
        self._order = bytearray(ORDER.size)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, bulk: Bulk) -> None:
        """Wait for an order."""
        bulk.expect(memoryview(self._order), lambda: self._obey(bulk))

    def _obey(self, bulk: Bulk) -> None:
        import numpy as np

        what, size, turn = ORDER.unpack(self._order)
        if what == PUT:
            array: Any = np.empty(size // 8, "f8")
            bulk.expect(memoryview(array).cast("B"), lambda: self._acknowledge(bulk, array))
        elif what == MAKE:
            self._made = payload(size, turn)
            self._acknowledge(bulk, self._made)
        else:
            task = asyncio.get_running_loop().create_task(bulk.write(memoryview(self._made).cast("B")))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            self.start(bulk)

    def _acknowledge(self, bulk: Bulk, array: Any) -> None:
        bulk.transport.write(ENDS.pack(array[0], array[-1]))
        self.start(bulk)


async def serve(folder: Path) -> None:
    """Listen on a free port of loopback, tell it in ``folder/port``, serve one connection."""
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()

    def connected(bulk: Bulk) -> None:
        bulk.closed.add_done_callback(lambda _: gone.set_result(None))
        Other().start(bulk)

    context = mutual_context(True, folder / "bench.crt", folder / "bench.key")
    server = await loop.create_server(lambda: Bulk(connected), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    (folder / "port.new").write_text(str(port))
    (folder / "port.new").rename(folder / "port")
    await gone
    server.close()


class UvloopTls:
    """One connection, one event loop on each side."""

    def __init__(self) -> None:
        self.steps: Mapping[str, Step] = {"array": self.array}
        self._server: subprocess.Popen[bytes] | None = None
        self._loop: Any = None
        self._bulk: Bulk | None = None

    def setup(self) -> None:
        """Start the other process and connect."""
        import uvloop

        folder = Path(tempfile.mkdtemp(prefix="uvloop-"))
        make_certificate(folder)
        self._server = subprocess.Popen([sys.executable, "-m", __name__, str(folder)])
        while not (folder / "port").exists():
            time.sleep(0.01)
        self._loop = uvloop.new_event_loop()
        self._loop.run_until_complete(self._connect(folder))

    def teardown(self) -> None:
        """Close; the other process ends at that."""
        if self._bulk is not None:
            self._bulk.transport.close()
            self._loop.run_until_complete(self._bulk.closed)
            self._loop.close()
        if self._server is not None:
            self._server.wait(10)

    def array(self, size: int, turn: int) -> Samples:
        """One array out, another home."""
        out_s: float = self._loop.run_until_complete(self._out(size, turn))
        home_s: float = self._loop.run_until_complete(self._home(size, turn))
        return {"out_s": [out_s], "home_s": [home_s]}

    async def _connect(self, folder: Path) -> None:
        context = mutual_context(False, folder / "bench.crt", folder / "bench.key")
        port = int((folder / "port").read_text())
        _, self._bulk = await asyncio.get_running_loop().create_connection(Bulk, "127.0.0.1", port, ssl=context)

    async def _out(self, size: int, turn: int) -> float:
        array = payload(size, turn)
        warm_pages(2 * size)
        begin = time.perf_counter()
        ends = await self._order(PUT, size, turn, memoryview(array).cast("B"))
        taken = time.perf_counter() - begin
        same_ends(ends, size, turn)
        return taken

    async def _home(self, size: int, turn: int) -> float:
        import numpy as np

        assert self._bulk is not None
        await self._order(MAKE, size, turn)
        warm_pages(2 * size)
        begin = time.perf_counter()
        array: Any = np.empty(size // 8, "f8")
        arrived = self._bulk.read(memoryview(array).cast("B"))
        self._bulk.transport.write(ORDER.pack(GET, size, turn))
        await arrived
        taken = time.perf_counter() - begin
        same_ends((array[0], array[-1]), size, turn)
        return taken

    async def _order(self, what: bytes, size: int, turn: int, body: memoryview | None = None) -> tuple[float, float]:
        assert self._bulk is not None
        raw = bytearray(ENDS.size)
        answer = self._bulk.read(memoryview(raw))
        self._bulk.transport.write(ORDER.pack(what, size, turn))
        if body is not None:
            await self._bulk.write(body)
        await answer
        first, last = ENDS.unpack(raw)
        return first, last


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(Path(sys.argv[1])))

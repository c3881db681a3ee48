"""The floor: one array over a unix socket between two processes, received into fresh memory, writable."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.contender import Samples, Step, payload, same_ends
from benchmarks.pages import warm_pages

ORDER = struct.Struct("!cQQ")
ENDS = struct.Struct("!dd")
PUT, MAKE, GET = b"P", b"M", b"G"
SOCKET_BUFFER = 4 << 20


def receive_into(sock: socket.socket, view: memoryview) -> None:
    """Fill ``view`` from the socket. Raises ConnectionError at its end."""
    filled = 0
    while filled < len(view):
        got = sock.recv_into(view[filled:], 0, socket.MSG_WAITALL)
        if not got:
            raise ConnectionError("the other end closed the socket")
        filled += got


def receive_array(sock: socket.socket, size: int) -> Any:
    """A new writable float64 array of ``size`` bytes, filled from the socket."""
    import numpy as np

    array: Any = np.empty(size // 8, "f8")
    receive_into(sock, memoryview(array).cast("B"))
    return array


def receive_ends(sock: socket.socket) -> tuple[float, float]:
    """The other side's word that the array is there: its first and last element."""
    raw = bytearray(ENDS.size)
    receive_into(sock, memoryview(raw))
    first, last = ENDS.unpack(raw)
    return first, last


def serve(path: str) -> None:
    """The other process: keeps nothing but the array it was told to make."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    sock, _ = listener.accept()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
    made: Any = None
    order = bytearray(ORDER.size)
    while True:
        try:
            receive_into(sock, memoryview(order))
        except ConnectionError:
            return
        what, size, turn = ORDER.unpack(order)
        if what == PUT:
            array = receive_array(sock, size)
            sock.sendall(ENDS.pack(array[0], array[-1]))
            del array
        elif what == MAKE:
            made = payload(size, turn)
            sock.sendall(ENDS.pack(made[0], made[-1]))
        else:
            sock.sendall(memoryview(made).cast("B"))
            made = None


class RawUnix:
    """Blocking sockets, no protocol but a header."""

    def __init__(self) -> None:
        self.steps: Mapping[str, Step] = {"array": self.array}
        self._server: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None

    def setup(self) -> None:
        """Start the other process and connect."""
        folder = tempfile.mkdtemp(prefix="raw-")
        path = f"{folder}/s"
        self._server = subprocess.Popen([sys.executable, "-m", __name__, path])
        while not Path(path).exists():
            time.sleep(0.01)
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        while True:
            try:
                self._sock.connect(path)
                return
            except ConnectionRefusedError:
                time.sleep(0.01)

    def teardown(self) -> None:
        """Close; the other process ends at that."""
        if self._sock is not None:
            self._sock.close()
        if self._server is not None:
            self._server.wait(10)

    def array(self, size: int, turn: int) -> Samples:
        """One array out, another home."""
        return {"out_s": [self._out(size, turn)], "home_s": [self._home(size, turn)]}

    def _out(self, size: int, turn: int) -> float:
        sock = self._open()
        array = payload(size, turn)
        warm_pages(2 * size)
        begin = time.perf_counter()
        sock.sendall(ORDER.pack(PUT, size, turn))
        sock.sendall(memoryview(array).cast("B"))
        ends = receive_ends(sock)
        taken = time.perf_counter() - begin
        same_ends(ends, size, turn)
        return taken

    def _home(self, size: int, turn: int) -> float:
        sock = self._open()
        sock.sendall(ORDER.pack(MAKE, size, turn))
        receive_ends(sock)
        warm_pages(2 * size)
        begin = time.perf_counter()
        sock.sendall(ORDER.pack(GET, size, turn))
        array = receive_array(sock, size)
        taken = time.perf_counter() - begin
        same_ends((array[0], array[-1]), size, turn)
        return taken

    def _open(self) -> socket.socket:
        assert self._sock is not None
        return self._sock


if __name__ == "__main__":
    serve(sys.argv[1])

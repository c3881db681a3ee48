"""A link whose network is gone for some seconds: how soon does the notebook see again what its cell shows?"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.contender import Samples, Step

PATIENCE_S = 60.0
CELL = "import time\nfor i in range({count}):\n    print(i, time.time(), flush=True)\n    time.sleep(0.01)"


class Network:
    """A link, as the notebook's, to a ``local`` worker over TLS, through a proxy that can break everything."""

    def __init__(self) -> None:
        self.steps: Mapping[str, Step] = {"resume": self.resume}
        self._fleet: Any = None
        self._wire: _Wire | None = None
        self._link: Any = None
        self._screen = _Screen()
        self._values: dict[str, Any] = {}

    def setup(self) -> None:
        """The worker, the proxy and the link, used once."""
        from cellferry.config import Cellferry
        from cellferry.fleet.fleet import Fleet
        from cellferry.link.session import KernelLink
        from cellferry.model import CellRequest

        self._fleet = Fleet(Cellferry(local_transport="tls", grace_s=PATIENCE_S))
        worker, _fresh = self._fleet.acquire(CellRequest(), lambda _line: None)
        self._wire = _Wire(worker.endpoint.host, worker.endpoint.port)
        endpoint = replace(worker.endpoint, port=self._wire.port)
        screen: Any = self._screen
        self._link = KernelLink(endpoint, screen, self._values, worker.name, lambda _when: None)
        self._link.open()
        self._run(CELL.format(count=1))

    def teardown(self) -> None:
        """End all three."""
        if self._link is not None:
            self._link.close()
        if self._wire is not None:
            self._wire.close()
        if self._fleet is not None:
            self._fleet.close()

    def resume(self, away_s: float) -> Samples:
        """Seconds from the moment at which the network is well again to the next output that the notebook sees."""
        assert self._wire is not None
        self._screen.pieces.clear()
        healed: list[float] = []
        threading.Timer(1.0, self._wire.cut).start()
        threading.Timer(1.0 + away_s, lambda: (self._wire and self._wire.mend(), healed.append(time.time()))).start()
        count = int((away_s + 4.0) / 0.01)
        self._run(CELL.format(count=count))
        shown = "".join(text for _seen, text in self._screen.pieces)
        numbers = [int(line.split()[0]) for line in shown.splitlines()]
        if numbers != list(range(count)):
            raise AssertionError(f"{len(numbers)} of {count} lines were seen, not each of them once and in order")
        first = min(seen for seen, _text in self._screen.pieces if seen >= healed[0])
        return {"resume_s": [first - healed[0]]}

    def _run(self, code: str) -> None:
        from cellferry.parcels.context import Unpacking
        from cellferry.parcels.packing import pack
        from cellferry.parcels.plan import PackPlan

        run = uuid.uuid4().hex
        header = {"msg_id": run, "session": "benchmark", "username": "", "msg_type": "execute_request", "version": "5.4", "date": ""}
        frame = {
            "code": code, "above": "", "cell_id": None, "number": 1, "parent": {"header": header, "metadata": {}, "content": {}},
            "stdin": False, "unbind": [], "returns": [], "fetch_limit": 1 << 20, "file": None, "cells": {}, "flags": 0,
            "unchanged": [], "imports": [], "submodules": [], "run": run,
        }  # fmt: skip
        self._link.run(frame, pack(self._link.heap, {}, PackPlan()))
        home = self._link.home(Unpacking(self._values), time.monotonic() + PATIENCE_S)
        self._link.tell({"op": "claimed", "run": run})
        if home.frame["reply"]["status"] != "ok":
            raise AssertionError(f"the cell gave {home.frame['reply']}")


class _Screen:
    """Remembers when each piece of text was seen."""

    def __init__(self) -> None:
        self.pieces: list[tuple[float, str]] = []

    def publish(self, message: dict[str, Any]) -> None:
        now = time.time()
        if message["msg_type"] == "stream":
            self.pieces.append((now, message["content"]["text"]))

    def note(self, text: str) -> None:
        pass

    def progress(self, text: str) -> None:
        pass


class _Wire:
    """A TCP proxy: ``cut`` ends every connection and refuses new ones until ``mend``."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._down = self._closed = False
        self._all: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                ours, _address = self._listener.accept()
            except OSError:
                return
            if self._down or self._closed:
                ours.close()
                continue
            theirs = socket.create_connection(self._target)
            self._all += [ours, theirs]
            for source, target in ((ours, theirs), (theirs, ours)):
                threading.Thread(target=_carry, args=(source, target), daemon=True).start()

    def cut(self) -> None:
        self._down = True
        for each in self._all:
            _end(each)

    def mend(self) -> None:
        self._down = False

    def close(self) -> None:
        self._closed = True
        for each in [self._listener, *self._all]:
            _end(each)
            each.close()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    _end(source)
    _end(target)


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)

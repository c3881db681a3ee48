"""A real worker and a link to it through a wire that the test cuts, stops and slows."""

from __future__ import annotations

import queue
import select
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cellferry.config import Cellferry
from cellferry.fleet.fleet import Fleet
from cellferry.link.returned import Returned
from cellferry.link.session import KernelLink
from cellferry.model import CellRequest, Endpoint, Worker
from cellferry.parcels.context import Unpacking
from cellferry.parcels.packing import PackPlan
from cellferry.parcels.parcel import pack, settle

PATIENCE_S = 60


def eventually(look: Callable[[], Any], what: str = "it") -> Any:
    """What ``look`` returns as soon as that is true."""
    pause = threading.Event()
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        pause.wait(0.02)
    raise AssertionError(f"{what} has not come about")


class Wire:
    """A TCP proxy: every connection through it can be cut after so many bytes, be stopped without a sign, or mended."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.moving = threading.Event()
        self.moving.set()
        self.refused = False
        self.source = "127.0.0.1"
        """From where the worker sees its client come."""
        self.passed = {"out": 0, "back": 0}
        self.cut_at: dict[str, int | None] = {"out": None, "back": None}
        self.cuts = 0
        self.connections = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._closed = False
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, call: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=call, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self.listener.accept()
            except OSError:
                return
            if self._closed or self.refused:
                ours.close()
                continue
            try:
                theirs = socket.create_connection(self.target, source_address=(self.source, 0))
            except OSError:  # the worker is gone
                ours.close()
                continue
            self.connections += 1
            self._pairs.append((ours, theirs))
            self._start(self._carry, ours, theirs, "out")
            self._start(self._carry, theirs, ours, "back")

    def _carry(self, source: socket.socket, target: socket.socket, way: str) -> None:
        try:
            while True:
                select.select([source], [], [])
                self.moving.wait()
                data = source.recv(1 << 16)
                if not data:
                    break
                at = self.cut_at[way]
                if at is not None and self.passed[way] + len(data) >= at:
                    target.sendall(data[: max(0, at - self.passed[way])])
                    self.passed[way] = at
                    self.cut_at[way] = None
                    self.cut()
                    return
                target.sendall(data)
                self.passed[way] += len(data)
        except (OSError, ValueError):
            pass
        for sock in (source, target):
            _shut(sock)

    def cut_after(self, size: int, way: str = "out") -> None:
        """Cut everything when so many more bytes have passed that way."""
        self.cut_at[way] = self.passed[way] + size

    def cut(self) -> None:
        """Cut every connection now."""
        self.cuts += 1
        for pair in self._pairs:
            for sock in pair:
                _shut(sock)

    def stop(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self.moving.clear()

    def mend(self) -> None:
        self.moving.set()

    def close(self) -> None:
        self._closed = True
        self.mend()
        _shut(self.listener)
        self.listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)
        for pair in self._pairs:
            for sock in pair:
                sock.close()


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Paper:
    """A screen that remembers."""

    def __init__(self) -> None:
        self.text, self.notes, self.bars = "", list[str](), list[str]()
        self.messages: list[dict[str, Any]] = []
        self.answers: queue.Queue[str] = queue.Queue()
        self.asked = threading.Event()

    def publish(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if message["msg_type"] == "stream":
            self.text += message["content"]["text"]

    def ask(self, prompt: str, password: bool) -> str:
        self.asked.set()
        return self.answers.get(timeout=PATIENCE_S)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, text: str) -> None:
        self.bars.append(text)


class Notebook:
    """One notebook with one link to a worker; ``wire`` lies in between where the transport is TLS."""

    def __init__(self, stack: ExitStack, folder: Path, request: CellRequest | None = None, **settings: Any) -> None:
        (folder / "w").mkdir(parents=True, exist_ok=True)
        config = Cellferry(worker_dir="", **{"local_transport": "tls", "grace_s": 60.0, **settings})
        self.fleet = Fleet(config)
        stack.callback(self.fleet.close)
        self.worker: Worker = self.fleet.acquire(request or CellRequest(), lambda _line: None)[0]
        assert self.worker.folder is not None
        self.folder = self.worker.folder
        self.wire: Wire | None = None
        endpoint = self.worker.endpoint
        if endpoint.kind == "tls":
            self.wire = Wire(endpoint.host, endpoint.port)
            stack.callback(self.wire.close)
            endpoint = replace(endpoint, port=self.wire.port)
        self.endpoint: Endpoint = endpoint
        self.values: dict[str, Any] = {}
        self.paper, self.number = Paper(), 0
        self.link = self.connect()
        stack.callback(lambda: self.link.close())

    def connect(self, generation: int = 1) -> KernelLink:
        def alive(when: str) -> Exception | None:
            if when == "waiting" and self.fleet.alive(self.worker):
                return None
            return self.fleet.diagnose(self.worker, generation=generation, certain=when == "away")

        screen: Any = self.paper
        link = KernelLink(self.endpoint, screen, self.values, self.worker.name, alive)
        link.open()
        return link

    def send(
        self, code: str, *, stdin: bool = False, stop_after_s: float | None = None, fetch_limit: int = 1 << 30, packages: str = "",
        detach: bool = False,
    ) -> str:
        """Send a cell with all values that it can name; its run. ``packages``: the ticket of the environment that it waits for;
        ``detach``: nobody will wait for it."""
        self.number += 1
        parcel = pack(self.link.heap, {k: v for k, v in self.values.items() if k in code}, PackPlan())
        header = {"msg_id": f"m{self.number}", "session": "the frontend", "username": "", "version": "5.4", "date": ""}
        parent = {"header": {**header, "msg_type": "execute_request"}, "metadata": {}, "content": {}}
        run = f"run-{uuid.uuid4().hex}"
        self.link.run(
            {
                "code": code, "above": "", "cell_id": None, "number": self.number, "parent": parent, "stdin": stdin,
                "unbind": [], "returns": None, "fetch_limit": fetch_limit, "file": None, "cells": {}, "flags": 0,
                "unchanged": [], "imports": [], "submodules": [], "stop_after_s": stop_after_s, "packages": packages,
                "run": run, "detach": detach,
            },
            parcel,
        )  # fmt: skip
        parcel.sealed(self.link.heap)
        return run

    def home(self) -> Returned:
        returned = self.link.home(Unpacking(self.values), time.monotonic() + PATIENCE_S)
        settle(self.link.heap, returned.arrived)
        self.values.update(returned.arrived.roots)
        return returned

    def run(self, code: str, **how: Any) -> dict[str, Any]:
        self.send(code, **how)
        reply: dict[str, Any] = self.home().frame["reply"]
        return reply


def wire_of(notebook: Notebook) -> Wire:
    """The wire of a notebook whose transport is TLS."""
    assert notebook.wire is not None
    return notebook.wire


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., Notebook]]:
    """Notebooks for one test alone, each with settings of its own."""
    with ExitStack() as stack:
        yield lambda **settings: Notebook(stack, tmp_path, **settings)

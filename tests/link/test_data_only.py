"""A client that takes only data, and a worker that tries everything: no byte of it is unpickled, nothing is changed here."""

from __future__ import annotations

import os
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cellferry.errors import CellferryError, WorkerLost
from cellferry.link.session import KernelLink
from cellferry.model import PROTOCOL, Endpoint
from cellferry.parcels.context import Unpacking
from cellferry.parcels.parcel import PackPlan, pack, settle
from cellferry.parcels.plain import written
from cellferry.parcels.wire import PREAMBLE, Channel, PlainStream

Answer = Callable[[Channel], None]


class Evil:
    """Leaves a mark wherever it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def gone_with_its_connection(when: str) -> Exception | None:
    """A fake worker serves one connection, and is no more after it."""
    return None if when == "waiting" else WorkerLost("it is gone")


class FakeWorker:
    """Answers one client's ``hello`` as a kernel does, and its ``run`` as ``answer`` says."""

    def __init__(self, folder: Path, answer: Answer) -> None:
        self.path, self.answer = folder / "s", answer
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        connection, _ = self.listener.accept()
        assert connection.recv(len(PREAMBLE), socket.MSG_WAITALL) == PREAMBLE
        channel = Channel(PlainStream(connection))
        assert channel.recv()[0]["data_only"]
        channel.send(
            {
                "op": "welcome",
                "protocol": PROTOCOL,
                "pid": 1,
                "python": list(__import__("sys").version_info[:3]),
                "work": "/",
            }
        )
        channel.recv()
        try:
            self.answer(channel)
        finally:
            channel.close()
            self.listener.close()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """``run(answer, **namespace)``: the link after one cell that a fake worker answered, its results applied."""
    workers: list[FakeWorker] = []

    def run(answer: Answer, **namespace: Any) -> dict[str, Any]:
        folder = tmp_path / str(len(workers))
        folder.mkdir()
        workers.append(FakeWorker(folder, answer))
        link = KernelLink(Endpoint("unix", path=str(workers[-1].path)), None, namespace, "w", gone_with_its_connection, True)  # type: ignore[arg-type]
        link.open()
        try:
            parcel = pack(link.heap, dict(namespace), PackPlan())
            link.run({"code": ""}, parcel)
            parcel.sealed(link.heap)
            returned = link.home(Unpacking(namespace))
            settle(link.heap, returned.arrived)
            return returned.arrived.roots
        finally:
            link.close()

    yield run
    for worker in workers:
        worker.thread.join(20)
        assert not worker.thread.is_alive()


HOME = {
    "op": "home",
    "reply": {"status": "ok"},
    "deleted": [],
    "kept": [],
    "stayed": {},
    "lost": [],
    "ran_s": 0,
    "flags": 0,
    "files": [],
}


def plain(roots: Any = (), changes: Any = (), *buffers: bytes) -> Answer:
    return lambda channel: channel.send(HOME, [written({"roots": roots, "changes": changes}), *buffers])


def test_data_comes_home_and_is_applied_in_place(run) -> None:
    items: list = [1]
    found = run(plain([["x", ["list", 0, [1, ["known", 0]]]]], [[0, ["list", 1, [1, 2]]]]), items=items)
    assert items == [1, 2] and found["x"][1] is items


PARCEL = {
    "parts": 1,
    "seeds": 0,
    "dropped": 0,
    "base": 0,
    "stuck": False,
    "states": False,
    "bufs": [],
    "bulk": False,
    "leaves": [],
    "roots": ["x"],
}


@pytest.mark.parametrize("slot", range(4))
@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("states", [False, True])
def test_a_parcel_of_pickles_is_never_unpickled(run, tmp_path: Path, slot: int, bulk: bool, states: bool) -> None:
    mark = tmp_path / "was-unpickled"
    data = pickle.dumps(Evil(mark))
    buffers = [data if at == slot else b"" for at in range(4)]
    frame = {**HOME, "parcel": {**PARCEL, "bulk": bulk, "states": states}, "addresses": []}
    with pytest.raises(CellferryError):
        run(lambda channel: channel.send(frame, buffers))
    assert not mark.exists()


def pickles(mark: Path) -> bytes:
    return pickle.dumps(Evil(mark))


NOTHING = written({"roots": [], "changes": []})
HOSTILE = {
    "no buffers": lambda mark: lambda channel: channel.send(HOME),
    "a pickle for a text": lambda mark: lambda channel: channel.send(HOME, [pickles(mark)]),
    "a pickle for memory": lambda mark: plain([["x", ["pickle", 0]]], [], pickles(mark)),
    "an array of objects": lambda mark: plain([["x", ["media", 0, "array", "|O", [1], "C", 0]]], [], pickles(mark)),
    "a name of the shell": lambda mark: plain([["__builtins__", 1]]),
    "a name that is none": lambda mark: plain([["a.b", 1]]),
    "a name that is no text": lambda mark: plain([[["list", 0, []], 1]]),
    "an object never sent": lambda mark: plain([["x", ["known", 99]]]),
    "a change of what was never sent": lambda mark: plain([], [[99, ["list", 0, []]]]),
    "a list made a dict": lambda mark: plain([], [[0, ["dict", 0, []]]]),
    "attributes of a list": lambda mark: plain([], [[0, ["attributes", [["append", 1]]]]]),
    "a placeholder with a number that is none": lambda mark: plain([["x", ["stays", "0", "t", None, 0, ""]]]),
    "a tree that is none": lambda mark: lambda channel: channel.send(HOME, [b"[1, 2"]),
    "a tree without parts": lambda mark: lambda channel: channel.send(HOME, [b'{"roots": 3}']),
    "deep nesting": lambda mark: lambda channel: channel.send(HOME, [b'{"changes": [], "roots": [["x", ' + b"[" * 100_000]),
    "a frame of another length": lambda mark: lambda channel: channel.stream.sendv([b"\0\0\0\2\0\0\0\1" + b"\xff" * 8 + b"{}"]),
    "a frame that is no JSON": lambda mark: lambda channel: channel.stream.sendv([b"\0\0\0\2\0\0\0\0" + b"\x80\x04"]),
    "a head that nests": lambda mark: lambda channel: channel.stream.sendv([b"\0\1\0\0\0\0\0\0" + b"[" * 65536]),
    "a shell's name deleted": lambda mark: lambda channel: channel.send({**HOME, "deleted": ["get_ipython"]}, [NOTHING]),
    "files that are none": lambda mark: lambda channel: channel.send({**HOME, "files": [3]}, [NOTHING]),
    "a reply that is none": lambda mark: lambda channel: channel.send({**HOME, "reply": "ok"}, [NOTHING]),
    "a frame without its fields": lambda mark: lambda channel: channel.send({"op": "home"}, [NOTHING]),
    "silence": lambda mark: lambda channel: None,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_worker_gets_nothing_but_a_refusal(run, tmp_path: Path, name: str) -> None:
    mark, items = tmp_path / "was-unpickled", [1]
    with pytest.raises(CellferryError):
        run(HOSTILE[name](mark), items=items)
    assert items == [1] and not mark.exists()

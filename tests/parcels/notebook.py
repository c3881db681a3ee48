"""A notebook with cells here and cells in another process, and the same notebook run all here to compare with."""

from __future__ import annotations

import socket
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from cellferry.capture.dataflow import analyse
from cellferry.capture.needs import function_globals, needed, written_globals
from cellferry.parcels.bare import says
from cellferry.parcels.bulk import stream
from cellferry.parcels.context import Unpacking
from cellferry.parcels.heap import Heap
from cellferry.parcels.leaves import allocate
from cellferry.parcels.parcel import PackPlan, Parcel, Refused, RootFailed, pack, settle, split_digests, unpack, verify
from cellferry.parcels.wire import Channel, PlainStream

from .far_end import take_bulk
from .graph import first_difference, shape_of

_HIDDEN: frozenset[str] = frozenset(["__name__", "__doc__", "__package__", "__loader__", "__spec__", "__builtins__"])

SLOW_TO_LOAD = (pytest.mark.slow, pytest.mark.every_python)
"""For what loads torch, jax, scikit-learn or the like, which takes each process of the tests seconds."""


class FarProcess:
    """A process that runs ``far_end``; started once for many notebooks."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            child = Path(__file__).with_name("far_end.py")
            self.process = subprocess.Popen(
                [sys.executable, str(child), str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )
        self.channel = Channel(PlainStream(ours))

    def close(self) -> None:
        self.channel.close()
        self.process.wait(10)


class Notebook:
    """Cells run ``here`` or ``there``; ``__main__`` is this notebook's while it lives (use as a context manager)."""

    def __init__(self, far: FarProcess | None, limit: int | None = None) -> None:
        self.far, self.limit = far, limit
        self.module = types.ModuleType("__main__")
        self.namespace: dict[str, Any] = vars(self.module)
        self.heap = Heap(self.namespace)
        self.replaced: list[tuple[Any, Any]] = []
        self.stayed: dict[str, str] = {}
        self.lost: list[str] = []
        self.error = ""
        self.came: dict[str, Any] = {}
        self.sent: Parcel | None = None
        self.received: dict[str, Any] = {}
        self.shape: dict[str, Any] = {}

    def __enter__(self) -> Notebook:
        self._main = sys.modules["__main__"]
        sys.modules["__main__"] = self.module
        if self.far is not None:
            self.far.channel.send({"op": "reset"})
            self.far.channel.recv()
        return self

    def __exit__(self, *exc: object) -> None:
        sys.modules["__main__"] = self._main

    def here(self, source: str) -> None:
        exec(compile(source, "<cell>", "exec", dont_inherit=True), self.namespace)

    def there(self, source: str) -> None:
        """As ``journey`` does it, without the doors. A cell's own exception is kept in ``error``."""
        if self.far is None:
            self.here(source)
            return
        self.sent = parcel = self._pack(source)
        channel = self.far.channel
        buffers = [*parcel.buffers(), parcel.sums] if parcel.bulk else parcel.buffers()
        unbind = sorted((analyse(source).binds | written_globals(parcel.functions)) - set(parcel.roots))
        head = {"op": "run", "parcel": parcel.meta(), "code": source, "limit": self.limit, "unbind": unbind}
        channel.send(head, buffers)
        if parcel.bulk:
            stream(parcel.leaves, channel.recv()[0]["claims"], channel.send)
            channel.send({"op": "leaves"})
        parcel.sealed(self.heap)
        while not self._take_home():
            pass

    def ask(self, source: str) -> str:
        """repr of an expression at the other end."""
        assert self.far is not None
        self.far.channel.send({"op": "eval", "source": source})
        return str(self.far.channel.recv()[0]["value"])

    def value(self, source: str) -> Any:
        return eval(source, self.namespace)

    def _pack(self, source: str) -> Parcel:
        needs = needed(analyse(source), self.namespace, _HIDDEN)
        roots, left_out = {**needs.hints, **needs.roots}, set[str]()
        dropped = self.heap.sweep()
        while True:
            plan = PackPlan(tolerate=True, more=lambda functions: {
                n: v for n, v in function_globals(functions, self.namespace, _HIDDEN).items() if n not in left_out
            })  # fmt: skip
            try:
                return pack(self.heap, dict(roots), plan, dropped)
            except RootFailed as failed:
                if failed.name in needs.roots:
                    raise failed.reason from None
                left_out.add(failed.name)
                roots.pop(failed.name, None)

    def _take_home(self) -> bool:
        """Whether everything that came could be made here; if not, the other end sends again without it."""
        assert self.far is not None
        channel = self.far.channel
        frame, buffers = channel.recv(_allocate)
        if frame["op"] == "refused":
            raise AssertionError(f"refused: {frame['error']}")
        meta = self.received = frame["parcel"]
        if meta["bulk"]:
            leaves, sums = take_bulk(channel, meta, bytes(buffers[meta["parts"] + 1]), self.heap)
        else:
            leaves = buffers[meta["parts"] + 2 :]
            sums = split_digests(meta, bytes(buffers[meta["parts"] + 1]))
            for leaf, promised in zip(leaves, sums, strict=True):
                verify(leaf, promised)
        try:
            arrived = unpack(self.heap, meta, buffers, leaves, sums, Unpacking(self.namespace, worker="w"))
        except Refused as refused:
            channel.send({"op": "refused", "root": refused.name, "reason": says(refused.reason)})
            return False
        channel.send({"op": "taken"})
        self.replaced = settle(self.heap, arrived)
        for old, new in self.replaced:
            self.namespace.update(dict.fromkeys([n for n, v in self.namespace.items() if v is old], new))
        self.namespace.update(arrived.roots)
        for name in frame["deleted"]:
            self.namespace.pop(name, None)
        self.stayed, self.lost, self.error, self.came = frame["stayed"], frame["lost"], frame["error"], arrived.roots
        return True


def _allocate(meta: dict[str, Any], index: int, size: int) -> Any:
    parcel = meta.get("parcel")
    if parcel is not None and not parcel["bulk"] and index >= parcel["parts"] + 2:
        return allocate(parcel["leaves"][index - parcel["parts"] - 2][1], size)
    return bytearray(size)


Cells = Sequence[tuple[str, str]]
"""("here" | "there", source) in order."""


def run_all(cells: Cells, far: FarProcess | None) -> Notebook:
    """Run the cells; with no other process, all here."""
    with Notebook(far) as notebook:
        for where, source in cells:
            (notebook.there if where == "there" else notebook.here)(source)
            if notebook.error:
                raise AssertionError(notebook.error)
        notebook.shape = _shape(notebook.namespace)
    return notebook


def _shape(namespace: Mapping[str, Any]) -> dict[str, Any]:
    return shape_of({n: v for n, v in namespace.items() if n not in _HIDDEN})


def same_as_local(far: FarProcess, *cells: str, names: Sequence[str] | None = None) -> Notebook:
    """Cells that begin with ``%%remote`` run there; what all names reach afterwards must be as if all had run here."""
    split = [("there", c.split("\n", 1)[1]) if c.startswith("%%remote") else ("here", c) for c in map(_dedent, cells)]
    local = run_all(split, None)
    mixed = run_all(split, far)
    for name in sorted(local.shape):
        if names is None or name in names:
            parted = first_difference(local.shape[name], mixed.shape.get(name), name)
            assert not parted, f"not as it is locally: {parted}"
    return mixed


def _dedent(cell: str) -> str:
    import textwrap

    return textwrap.dedent(cell).strip() + "\n"

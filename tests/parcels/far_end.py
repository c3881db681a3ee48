"""The other end in a process of its own: python far_end.py FD. Runs what it is sent in its own ``__main__``."""

from __future__ import annotations

import socket
import sys
import traceback
import types
from typing import Any

from cellferry.guest.home import Home, Load, pack_home
from cellferry.parcels.bulk import Inbox, stream
from cellferry.parcels.context import Unpacking
from cellferry.parcels.heap import Heap
from cellferry.parcels.leaves import allocate
from cellferry.parcels.parcel import Parcel, settle, split_digests, unpack, verify
from cellferry.parcels.wire import Channel, PlainStream, WireClosed


class FarEnd:
    """One notebook's kernel: its namespace, its heap, and the cells that it is sent."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.reset()

    def reset(self) -> None:
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        self.namespace = vars(module)
        self.heap = Heap(self.namespace)

    def serve(self) -> None:
        while True:
            frame, buffers = self.channel.recv(self.allocate)
            if frame["op"] == "reset":
                self.reset()
                self.channel.send({"op": "ok"})
            elif frame["op"] == "run":
                self.run(frame, buffers)
            elif frame["op"] == "eval":
                self.evaluate(frame["source"])

    def evaluate(self, source: str) -> None:
        try:
            self.channel.send({"op": "value", "value": repr(eval(source, self.namespace))})
        except Exception as exc:
            self.channel.send({"op": "value", "value": repr(exc)})

    @staticmethod
    def allocate(meta: dict[str, Any], index: int, size: int) -> Any:
        parcel = meta.get("parcel")
        if parcel is not None and not parcel["bulk"] and index >= parcel["parts"] + 2:
            return allocate(parcel["leaves"][index - parcel["parts"] - 2][1], size)
        return bytearray(size)

    def run(self, frame: dict[str, Any], buffers: list[Any]) -> None:
        meta, error = frame["parcel"], ""
        try:
            arrived = self.unpack(meta, buffers)
        except Exception:
            self.channel.send({"op": "refused", "error": traceback.format_exc()})
            return
        for name in frame["unbind"]:
            self.namespace.pop(name, None)
        self.namespace.update(arrived.roots)
        before = dict(self.namespace)
        try:
            exec(compile(frame["code"], "<cell>", "exec", dont_inherit=True), self.namespace)
        except Exception:
            error = traceback.format_exc()
        home = Home(before, dict(self.namespace), tuple(arrived.roots.values()), frozenset())
        load = Load(home.bound(None), home.given, frame["limit"])
        while True:
            parcel = pack_home(self.heap, load)
            self.send_home(
                parcel, {"stayed": load.stayed, "lost": load.lost, "deleted": home.deleted(), "error": error}
            )
            answer = self.channel.recv()[0]
            if answer["op"] == "taken":
                return
            parcel.undo(self.heap)  # as ``guest.cells`` does it
            if answer["root"]:
                load.stay(answer["root"], answer["reason"])
            else:
                load.give_up(self.heap, frozenset(oid for oid, _seal in parcel.changes))

    def send_home(self, parcel: Parcel, head: dict[str, Any]) -> None:
        head = {"op": "home", "parcel": parcel.meta(), **head}
        self.channel.send(head, parcel.buffers() if not parcel.bulk else [*parcel.buffers(), parcel.sums])
        if parcel.bulk:
            claims = self.channel.recv()[0]["claims"]
            stream(parcel.leaves, claims, self.channel.send)
            self.channel.send({"op": "leaves"})
        parcel.sealed(self.heap)

    def unpack(self, meta: dict[str, Any], buffers: list[Any]) -> Any:
        if meta["bulk"]:
            leaves, sums = take_bulk(self.channel, meta, bytes(buffers[meta["parts"] + 1]), self.heap)
        else:
            leaves = buffers[meta["parts"] + 2 :]
            sums = split_digests(meta, bytes(buffers[meta["parts"] + 1]))
            for leaf, promised in zip(leaves, sums, strict=True):
                verify(leaf, promised)
        arrived = unpack(self.heap, meta, buffers, leaves, sums, Unpacking(self.namespace))
        for old, new in settle(self.heap, arrived):
            for name in [n for n, v in self.namespace.items() if v is old]:
                self.namespace[name] = new
        return arrived


def take_bulk(channel: Channel, meta: dict[str, Any], sums: bytes, heap: Heap) -> tuple[list[Any], list[bytes]]:
    """Ask for the leaves of a bulk parcel and take them."""
    inbox = Inbox(meta)
    channel.send({"op": "want", "claims": inbox.claims(heap, sums)})
    while True:
        frame, _buffers = channel.recv(
            lambda head, _index, size: (
                inbox.target(head["leaf"], head["at"], size) if head["op"] == "leaf" else bytearray(size)
            )
        )
        if frame["op"] == "leaves":
            return inbox.values, inbox.check(sums)


def main() -> None:
    channel = Channel(PlainStream(socket.socket(fileno=int(sys.argv[1]))))
    try:
        FarEnd(channel).serve()
    except WireClosed:
        pass


if __name__ == "__main__":
    main()

"""How results leave a worker: packed for the client's heap, and once more without what it could not make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cellferry.guest.home import Load, pack_home
from cellferry.guest.journal import Journal
from cellferry.parcels.ambient import AMBIENT
from cellferry.parcels.heap import Heap
from cellferry.parcels.module_state import NAMES
from cellferry.parcels.plain_parcel import PlainLoad, pack_plain
from cellferry.parcels.shell_state import SHELL, ShellState, advice

NO_NEWS: dict[str, Any] = {
    "op": "home", "deleted": [], "kept": [], "ran_s": 0.0, "flags": 0, "limited": "", "files": [], "checkpoints": 0,
}  # fmt: skip
"""The head of what goes home, where there is nothing to tell."""


@dataclass
class Done:
    """A cell that has ended: what went home, and what is to be kept if its client turns out to be gone."""

    journal: Journal
    frame: dict[str, Any]
    roots: dict[str, Any]
    given: dict[str, Any]
    outcome: dict[str, Any] = field(default_factory=dict)
    """How it ended, for its journal."""
    changed: list[str] | None = None
    """Names of ``given`` that the cell changed; None: not looked at yet."""
    left: dict[str, Any] | None = None
    """Where in the artifact store the results may go, if nobody is there to take them."""


class Sending:
    """What ``Cells`` does with results."""

    link: Any
    heap: Heap
    shell_state: ShellState
    data_only: bool
    answered: bool
    last: tuple[dict[str, Any], Load, Any] | None

    def _send_home(self, frame: dict[str, Any], load: Load) -> None:
        if self.data_only:
            roots = {n: value for n, value in load.roots.items() if n not in (AMBIENT, SHELL) and not n.startswith(NAMES)}
            plain = PlainLoad(roots, load.given, load.limit, load.without)
            buffers = pack_plain(self.heap, plain)
            self.link.send({**frame, "stayed": plain.stayed, "lost": plain.lost}, buffers)
            self.answered = True
            return
        parcel = pack_home(self.heap, load)
        self._send_parcel({**frame, "parcel": parcel.meta(), "stayed": load.stayed, "lost": load.lost}, parcel)
        self.last = (frame, load, parcel)
        if load.entries:
            self.shell_state.agree({}, load.entries)
            self.link.send({"op": "say", "text": advice(load.entries, "here")}, event=True)

    def again(self, stay: dict[str, str]) -> None:
        """The client could not make some of the values: send the rest once more. The empty name: what had changed."""
        assert self.last is not None
        frame, load, parcel = self.last
        parcel.undo(self.heap)
        for name, reason in stay.items():
            if name:
                load.stay(name, reason)
            else:
                load.give_up(self.heap, frozenset(oid for oid, _seal in parcel.changes))
        self._send_home(frame, load)

    def _send_parcel(self, frame: dict[str, Any], parcel: Any) -> None:
        if parcel.bulk:
            from cellferry.parcels import vm

            self.link.outbox = parcel.leaves
            frame["addresses"] = [vm.address(leaf.memory) for leaf in parcel.leaves] if self.link.vm else []
        self.link.send(frame, parcel.buffers())
        if parcel.bulk:
            # hashed while the client copies
            self.link.send({"op": "sums"}, [parcel.sums])
        self.answered = True
        parcel.sealed(self.heap)

    def fetch(self, meta: dict[str, Any]) -> None:
        """Values that stayed here, asked for by name at home."""
        oids = frozenset(oid for oid in meta["oids"] if oid in self.heap.objects)
        wanted = {str(oid): self.heap.objects[oid] for oid in sorted(oids)}
        self._send_home({**NO_NEWS, "reply": {"status": "ok"}}, Load(wanted, without=oids))

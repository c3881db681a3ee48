"""The runs of this kernel in the order in which they were asked for, and to whom each belongs."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellferry.guest.journal import Journal
from cellferry.guest.reserve import Reserve

if TYPE_CHECKING:
    from cellferry.guest.door import Link

MOST_LATE = 20
"""Ended runs whose late outputs (of a thread that went on) still find their journal."""
_FULL = (
    "the worker's disk is full; this cell runs all the same, on space that is kept for that. Free some there: `%%remote` with "
    "`!du -sh *`, then `!rm`; until then outputs may be missing after a lost connection"
)
_ABOUT = ("run", "notebook", "cell_id", "number", "owner", "detach")


class Queue:
    """All methods may be called from every thread."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._reserve = Reserve(runs.parent / "reserve")
        self._lock = threading.Lock()
        self._links: dict[str, Link] = {}
        self._waiting: list[Journal] = []
        self._journals: OrderedDict[str, Journal] = OrderedDict()

    def take(self, link: Link, meta: dict[str, Any]) -> Journal:
        """Write a run down and acknowledge it; says how many cells come before it. Raises OSError on a full disk
        whose reserve is used up."""
        about = {key: meta.get(key) for key in _ABOUT}
        with self._lock:
            journal, full = self._reserve.write(lambda: Journal(self._runs, about))
        if meta.get("detach"):
            journal.orphan()
        with self._lock:
            before = sum(not other.going_home for other in self._waiting)
            self._waiting.append(journal)
            if not meta.get("detach"):
                self._links[journal.run] = link
            self._journals[str(meta["parent"].get("header", {}).get("msg_id", journal.run))] = journal
        link.send({"op": "taken", "run": journal.run, "before": before})
        if full:
            link.send({"op": "say", "text": _FULL}, event=True)
        return journal

    def waiting(self, run: str) -> Journal | None:
        """The run of that name, if it has not ended: it waits for its turn, or has it."""
        with self._lock:
            return next((each for each in self._waiting if each.run == run and not each.going_home), None)

    def of(self, header: dict[str, Any] | None) -> Journal | None:
        """The run whose outputs have this parent."""
        return self._journals.get(str((header or {}).get("msg_id", "")))

    def owner(self, run: str) -> Link | None:
        """Who waits for the run; None where nobody does: its outputs are for the journal alone."""
        return self._links.get(run)

    def over(self, journal: Journal) -> None:
        """This run has ended: those behind it move up."""
        journal.close()
        with self._lock:
            if journal in self._waiting:
                self._waiting.remove(journal)
            self._reserve.refill()
            places = [(self._links.get(other.run), other.run, n) for n, other in enumerate(self._waiting)]
            late = [key for key, other in self._journals.items() if other.ended]
            for key in late[:-MOST_LATE]:
                del self._journals[key]
        for link, run, before in places:
            if link is not None:
                link.send({"op": "place", "run": run, "before": before})

    def never(self, journal: Journal) -> None:
        """Its values did not arrive: it is not run."""
        journal.end({"status": "refused"})
        journal.claim()
        self.over(journal)

    def claimed(self, link: Link, run: str) -> None:
        """Its client has everything."""
        with self._lock:
            journal = next((each for each in self._journals.values() if each.run == run), None)
        if journal is not None:
            journal.claim()  # first: nobody waits for a run that is claimed, see ``showing``
        with self._lock:
            self._links.pop(run, None)
        done = link.cells.done
        if done is not None and done.journal.run == run:
            link.cells.done = None

    def has(self, link: Link) -> bool:
        """Whether a cell of this client runs, or waits for its turn."""
        with self._lock:
            return any(self._links.get(journal.run) is link for journal in self._waiting)

    def back(self, link: Link) -> None:
        """Its client has come back for what it asked for."""
        for journal in self._of(link):
            journal.orphan(False)

    def left(self, link: Link) -> bool:
        """Its client is gone: what it asked for and did not get belongs to nobody. Whether there is anything. A run whose values
        have not all come is none: it cannot run without its client."""
        uploading = link.waiting[2] if link.waiting is not None else None
        mine = [journal for journal in self._of(link) if journal is not uploading]
        for journal in mine:
            journal.orphan()
        return bool(mine)

    def _of(self, link: Link) -> list[Journal]:
        with self._lock:
            runs = {run for run, owner in self._links.items() if owner is link}
            return [each for each in self._journals.values() if each.run in runs]

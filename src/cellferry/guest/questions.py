"""What a link asks its client while a cell runs: a line from the user, a package, values of the notebook."""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from cellferry.parcels.bulk import Inbox

_LOOK_S = 0.2
NEED_S = 30.0
"""A client that has been away for so long is not waited for by an import that only it could make possible."""
_AWAY_S = 60.0
"""How long a question waits for a notebook whose connection is lost; it may come back."""
_T = TypeVar("_T")

_Answers = queue.Queue[_T] | queue.SimpleQueue[_T]


@dataclass(frozen=True)
class Supplied:
    """Values that the notebook sent because the cell asked for them; ``leaves``, ``sums``: those of a bulk parcel."""

    meta: dict[str, Any]
    buffers: list[Any]
    leaves: list[Any] | None = None
    sums: list[bytes] | None = None


def answered(
    link: Any, answers: _Answers[_T], ours: Callable[[_T], bool], asks: Callable[[], bool] = lambda: True
) -> _T | None:
    """Wait for the answer that is ``ours``; None where nobody is there to give it, or nobody ``asks`` any more."""
    away_since: float | None = None
    while asks() and link in link.door.links:
        try:
            answer = answers.get(timeout=_LOOK_S)
        except queue.Empty:
            away_since = None if link.connected else away_since or time.monotonic()
            if away_since is not None and time.monotonic() - away_since > _AWAY_S:
                return None
            continue
        if ours(answer):
            return answer
    return None


class Questions:
    """A link's questions. Answers come in the thread that reads the link; whoever asks waits in his own."""

    door: Any
    cells: Any
    send: Any
    vm: bool
    inbox: Inbox | None

    @property
    def gone_s(self) -> float:
        """For how long its client has not been there."""
        raise NotImplementedError

    @property
    def connected(self) -> bool:
        """Whether its client is there at the moment."""
        raise NotImplementedError

    def begin_questions(self) -> None:
        """What there is before the first question."""
        self.answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.grown: queue.Queue[bool] = queue.Queue()
        self._supplied: queue.Queue[Supplied] = queue.Queue()
        self._numbers = itertools.count(1)
        self._asked = 0
        self._waiting: Supplied | None = None

    def need(self, name: str) -> bool:
        """Ask for the package behind a module; whether it is here now."""
        self.send({"op": "need", "module": name})
        while self in self.door.links and self.gone_s < NEED_S:
            try:
                return self.grown.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
        return False

    def ask_names(self, question: dict[str, Any]) -> Supplied | None:
        """Ask for values of the notebook by name; None if nobody is there to answer."""
        self._asked = next(self._numbers)
        self.send({"op": "names", "number": self._asked, **question})
        return answered(self, self._supplied, lambda supplied: bool(supplied.meta["number"] == self._asked))

    def _on_grown(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.grown.put(bool(meta["ok"]))

    def _on_answer(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.answers.put(meta)

    def _on_named(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        parcel = meta.get("parcel")
        if parcel is None or not parcel["bulk"]:
            self._supplied.put(Supplied(meta, buffers))
            return
        self.inbox, self._waiting = Inbox(parcel), Supplied(meta, buffers)
        claims = self.inbox.claims(self.cells.heap, buffers[-1]) if not self.vm else []
        self.send({"op": "want", "claims": claims, "addresses": self.inbox.addresses() if self.vm else []})

    def all_supplied(self, sums: bytes) -> bool:
        """All leaves of a parcel are here; whether it was one that a cell had asked for."""
        waiting, self._waiting = self._waiting, None
        if waiting is None or self.inbox is None:
            return False
        inbox, self.inbox = self.inbox, None
        self._supplied.put(Supplied(waiting.meta, waiting.buffers, inbox.values, inbox.check(sums)))
        return True

"""Frames that the other end may not have yet, in order. No threads, no I/O: ``parcels.lasting`` holds a lock around it.

Frames are kept by reference. Of outputs ("events") at most ``EVENT_BYTES`` are: beyond that the oldest are read back when they
are needed, if there is a way to (``Again``), or are gone, and a row of those that are gone is one entry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cellferry.parcels.wire import Buffer, Meta, encoded

EVENT_BYTES = 8 << 20
MOST_READ_BACK = 20_000
"""So many outputs at most are to be read back: each still takes a few hundred bytes."""
_MERGE_EVERY = 256

Again = Callable[[], tuple[Meta, Sequence[Buffer]] | None]
"""Reads a frame back; None: it is gone."""


@dataclass(slots=True, eq=False)
class Kept:
    """One frame, or ``count`` frames in a row that are gone (``parts`` and ``again`` are None)."""

    number: int
    parts: list[Buffer] | None
    size: int
    again: Again | None = None
    count: int = 1

    @property
    def last(self) -> int:
        return self.number + self.count - 1

    @property
    def gone(self) -> bool:
        return self.parts is None and self.again is None

    def content(self) -> Sequence[Buffer]:
        """The bytes to send, which may have to be read back."""
        parts, again = self.parts, self.again  # another thread may let go of them meanwhile
        if parts is not None:
            return parts
        frame = again() if again is not None else None
        if frame is not None:
            return encoded(*frame)
        few = f"{self.count} outputs" if self.count > 1 else "an output"
        text = f"{few} of the worker came while nobody was connected, more than are kept"
        skip = encoded({"op": "skip", "count": self.count - 1}) if self.count > 1 else []
        return [*encoded({"op": "say", "text": text}), *skip]


class Outbox:
    """``unsent``: what the present connection has not been given; ``sent``: what it has, without an answer yet."""

    def __init__(self) -> None:
        self.number = 0
        """Of the newest frame; they count from 1."""
        self.unsent: deque[Kept] = deque()
        self.sent: deque[Kept] = deque()
        self.event_bytes = 0
        """Memory of outputs."""
        self._events: deque[Kept] = deque()
        self._lazy: deque[Kept] = deque()
        self._lost = 0

    def add(self, parts: list[Buffer], size: int, again: Again | None, *, event: bool) -> int:
        """Take a frame; its number. An interrupt of the caller between any two steps leaves everything in order."""
        kept = Kept(self.number + 1, parts, size, again)
        self.number = kept.number
        self.unsent.append(kept)
        if event:
            self.event_bytes += size
            self._events.append(kept)
        return kept.number

    def crowded(self, size: int) -> bool:
        """Whether another output of this size is too much."""
        return bool(self._events) and self.event_bytes + size > EVENT_BYTES

    def ease(self, *, connected: bool) -> bool:
        """Let go of the oldest output's memory; False where it cannot be read back and somebody is about to take it."""
        oldest = self._events[0]
        if oldest.again is None and connected:
            return False
        self._events.popleft()
        self.event_bytes -= oldest.size
        oldest.parts = None
        if oldest.again is not None:
            self._lazy.append(oldest)
            if len(self._lazy) <= MOST_READ_BACK:
                return True
            self._lazy.popleft().again = None
        self._lost += 1
        if self._lost % _MERGE_EVERY == 0:
            self.unsent = _merged(self.unsent)
        return True

    def take(self) -> Kept:
        """The next frame to send."""
        kept = self.unsent[0]
        self.sent.append(kept)
        self.unsent.popleft()
        return kept

    def return_all(self) -> None:
        """The connection is lost: what was sent over it is sent again, unless the other end turns out to have it."""
        while self.sent:
            kept = self.sent.pop()
            if not self.unsent or kept.number < self.unsent[0].number:  # an interrupt may have left it in both
                self.unsent.appendleft(kept)

    def can_go_on_after(self, got: int) -> bool:
        """Whether everything after frame ``got`` is here. Only while nothing is sent."""
        oldest = self.unsent[0].number if self.unsent else self.number + 1
        return oldest - 1 <= got <= self.number

    def go_on_after(self, got: int) -> None:
        """The other end has everything up to there."""
        self._forget(self.unsent, got)
        if self._lost:
            self.unsent, self._lost = _merged(self.unsent), 0

    def acknowledged(self, got: int) -> None:
        self._forget(self.sent, got)

    def has_arrived(self, number: int) -> bool:
        """Whether the other end has said that this frame is there."""
        kept = self.sent or self.unsent
        return not kept or kept[0].number > number

    def clear(self) -> None:
        for queue in (self.unsent, self.sent, self._events, self._lazy):
            queue.clear()

    def _forget(self, queue: deque[Kept], got: int) -> None:
        while queue and queue[0].last <= got:
            queue.popleft()
        if queue and queue[0].number <= got:  # some of a row that is gone
            queue[0].count, queue[0].number = queue[0].last - got, got + 1
        while self._events and self._events[0].number <= got:
            self.event_bytes -= self._events.popleft().size
        while self._lazy and self._lazy[0].number <= got:
            self._lazy.popleft()


def _merged(queue: Iterable[Kept]) -> deque[Kept]:
    """The same with rows of frames that are gone as one."""
    out: deque[Kept] = deque()
    for kept in queue:
        if kept.gone and out and out[-1].gone:
            out[-1].count += kept.count
            out[-1].size += kept.size
        else:
            out.append(kept)
    return out

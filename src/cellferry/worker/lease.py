"""When a worker ends itself. ``decide`` is the whole rule and pure; ``LeaseWatch`` is the thread that acts on it.

The thread never touches the server's event loop, so that a worker also ends when the loop is stuck.
"""

from __future__ import annotations

import os
import select
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cellferry.model import LAST_S, Lease

FIRST_LINK_S = 60.0
"""A new kernel, or a new worker, gets this long before the lease starts to count: nobody can be linked to it yet."""
LOOK_S = 1.0
"""The longest that the thread sleeps; a folder that disappeared is noticed within this time."""
ABANDONED_S = 24 * 3600.0
"""A worker that costs nothing, and that a notebook has left with a cell running, is given up after this time: no money will
end it."""
CLOCKS_AGREE_S = 60.0
"""A word takes its way, and the clocks of two machines differ by so much without anybody's doing."""
END_S = LAST_S - 1.5
"""So long after its money is gone, a worker begins to end: ending takes up to 1.2 s."""
TERM_S = LAST_S
"""So long after its limit a cell that does not listen to interrupts is told to end with its kernel (SIGTERM to the group) ..."""
KILL_S = TERM_S + 1.0
"""... so long after it the kernel is killed ..."""
STUCK_S = KILL_S + 5.0
"""... and so long after it the whole worker ends, because even that has not helped. Behind it stands the provider's own limit."""


@dataclass(frozen=True)
class Facts:
    """What the decision rests on. Times are seconds on the clock of ``boottime``.

    ``unlinked_since_s`` and ``free_since_s`` may lie in the future: the lease starts to count then.
    """

    links: int
    """Clients connected to the kernel."""
    busy: bool
    """A cell is running."""
    unlinked_since_s: float
    """When the last client left; has a meaning only while ``links`` is 0."""
    free_since_s: float
    """Since when there is neither a client nor a running cell; has a meaning only while that is so."""
    folder_there: bool = True
    kept: bool = False
    """There is a run that nobody waits for and whose results nobody has."""
    asked: str = ""
    """A reason to end at once ("stop", "signal", "keeper"), or empty."""
    ends_s: float | None = None
    """When the worker must end, whoever uses it; ``ends_why`` says why ("money", "notice")."""
    ends_why: str = "money"
    cell_ends_s: float | None = None
    """When the running cell must end."""


@dataclass(frozen=True)
class Decision:
    """``end``: the reason to end now, or empty. ``look_again_s``: how long this decision holds if no fact changes.

    ``interrupt``: why the running cell is to be interrupted now ("money", "notice", "cell"), or empty; ``terminate``: it did
    not listen, and its kernel is told to go; ``kill``: neither did that, and the kernel is made to go.
    """

    end: str = ""
    interrupt: str = ""
    terminate: bool = False
    kill: bool = False
    look_again_s: float = LOOK_S


def decide(now_s: float, facts: Facts, lease: Lease) -> Decision:
    """The rule of the lease; see ``model.Lease``.

    A running cell keeps a worker alive without a client, and so do results that nobody has, for ``idle_s``. A lease with a
    grace time ends so long after the last client if there is neither.
    """
    if facts.asked:
        return Decision(end=facts.asked)
    if not facts.folder_there:
        return Decision(end="folder")
    limited = _limits(now_s, facts)
    if limited.end or limited.interrupt or facts.links > 0:
        return limited
    left = [limited.look_again_s]
    if lease.grace_s is not None:
        left.append(facts.unlinked_since_s + (ABANDONED_S if facts.kept else lease.grace_s) - now_s)
        if left[-1] <= 0:
            return Decision(end="unlinked")
    if not facts.busy:
        left.append(facts.free_since_s + lease.idle_s - now_s)
        if left[-1] <= 0:
            return Decision(end="idle")
    return Decision(look_again_s=min(left))


def _limits(now_s: float, facts: Facts) -> Decision:
    """What money and time say, whoever is connected: first interrupt, so that results can go home, then end."""
    left = [LOOK_S]
    if facts.ends_s is not None:
        over_s = now_s - facts.ends_s
        if over_s >= END_S or (over_s >= 0 and not facts.links and not facts.busy):
            return Decision(end=facts.ends_why)
        if over_s >= 0 and facts.busy:
            return Decision(interrupt=facts.ends_why, look_again_s=min(LOOK_S, END_S - over_s))
        left.append(END_S - over_s if over_s >= 0 else -over_s)
    if facts.busy and facts.cell_ends_s is not None:
        over_s = now_s - facts.cell_ends_s
        if over_s >= STUCK_S:
            return Decision(end="stuck")
        if over_s >= 0:
            left += [step - over_s for step in (TERM_S, KILL_S, STUCK_S) if step > over_s]
            return Decision("", "cell", over_s >= TERM_S, over_s >= KILL_S, min(left))
        left.append(-over_s)
    return Decision(look_again_s=min(left))


def agreed_end(ends_unix_s: float, left_s: float | None, now_unix_s: float) -> float:
    """When a lease ends by the clock of this machine, which reads ``now_unix_s``. Pure.

    ``left_s``: how long it lasts from now on, as the notebook says; that counts where the two clocks disagree, because somebody has set
    one of them since the worker started.
    """
    if left_s is None or abs(ends_unix_s - now_unix_s - left_s) <= CLOCKS_AGREE_S:
        return ends_unix_s
    return now_unix_s + left_s


def boottime() -> float:
    """Seconds on a clock that also runs while the machine sleeps: closing the lid does not make a lease longer."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class LeaseWatch:
    """Keeps the facts and acts when ``decide`` says so. Safe to call from every thread."""

    def __init__(
        self,
        folder: Path,
        lease: Lease,
        end: Callable[[str], None],
        *,
        keeper_line: int = -1,
        on_tick: Callable[[], None] = lambda: None,
        interrupt: Callable[[str], None] = lambda _why: None,
        terminate: Callable[[str], None] = lambda _why: None,
        kill: Callable[[str], None] = lambda _why: None,
        note: Callable[[str, str], None] = lambda _decision, _reason: None,
        clock: Callable[[], float] = boottime,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``end`` is called once, in the watch's own thread; ``interrupt(why)`` every second while a cell runs on after
        its limit, ``terminate(why)`` and ``kill(why)`` once each when that did not help. None of them may wait for anything.
        ``note(decision, reason)`` is told of every decision. ``keeper_line``: the pipe from ``keeper``, -1 for none."""
        self._folder, self._lease, self._end = folder, lease, end
        self._line, self._on_tick, self._clock, self._wall = keeper_line, on_tick, clock, wall
        self._interrupt, self._terminate, self._kill, self._note = interrupt, terminate, kill, note
        self._steps: set[str] = set()
        self._inode = self._folder_inode()
        self._lock = threading.Lock()
        self._links, self._busy, self._asked, self._kept = 0, False, "", False
        self._unlinked_since = self._free_since = clock() + FIRST_LINK_S
        self._ends, self._ends_why = self._on_clock(lease.ends_unix_s), "money"
        self._cell_ends: float | None = None
        self._interrupted_s = -FIRST_LINK_S
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._thread = threading.Thread(target=self._watch, name="cellferry-lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def update(self, links: int, busy: bool, limit_s: float | None = None) -> None:
        """The kernel told how many clients are linked to it, whether a cell runs, and how long that one may take."""
        with self._lock:
            now = self._clock()
            if self._links and not links:
                self._unlinked_since = now
            was_free = not self._links and not self._busy
            if not links and not busy and not was_free:
                self._free_since = now
            if busy and not self._busy:
                self._cell_ends = None if limit_s is None else now + limit_s
                self._interrupted_s = now - LAST_S
                self._steps.clear()
            self._links, self._busy = links, busy
        self._wake()

    def extend(self, lease: Lease) -> None:
        """The lease is another one from now on: more money, or longer without use."""
        with self._lock:
            self._lease = lease
            if self._ends_why == "money":
                self._ends = self._on_clock(lease.ends_unix_s)
        self._note("lease", f"idle_s {lease.idle_s:g}, ends_unix_s {lease.ends_unix_s}")
        self._wake()

    def keep(self, kept: bool) -> None:
        """Whether there are results that nobody has; told about once a second, in the watch's own thread."""
        self._kept = kept

    def must_end(self, at_unix_s: float, why: str) -> None:
        """The machine will be gone then, whatever the lease says; the earliest such word counts."""
        with self._lock:
            at = self._on_clock(at_unix_s)
            if at is not None and (self._ends is None or at < self._ends):
                self._ends, self._ends_why = at, why
        self._note("must end", f"{why}, at_unix_s {at_unix_s:.0f}")
        self._wake()

    def kernel_ended(self) -> None:
        """A kernel died: nobody can be linked to the next one yet, so the lease counts anew."""
        with self._lock:
            self._links, self._busy = 0, False
            self._unlinked_since = self._free_since = self._clock() + FIRST_LINK_S
        self._wake()

    def ask_end(self, reason: str) -> None:
        """End the worker now; the first reason counts."""
        with self._lock:
            self._asked = self._asked or reason
        self._wake()

    @property
    def lease(self) -> Lease:
        return self._lease

    def facts(self) -> Facts:
        with self._lock:
            return Facts(
                links=self._links,
                busy=self._busy,
                unlinked_since_s=self._unlinked_since,
                free_since_s=self._free_since,
                folder_there=self._folder_inode() == self._inode,
                kept=self._kept,
                asked=self._asked,
                ends_s=self._ends,
                ends_why=self._ends_why,
                cell_ends_s=self._cell_ends,
            )

    def remaining_s(self) -> float | None:
        """How long until the worker ends if nobody comes; None while a client or (without grace) a cell holds it, and no
        money runs out."""
        facts, now = self.facts(), self._clock()
        ends = [] if facts.ends_s is None else [facts.ends_s - now]
        if not facts.links:
            if not facts.busy:
                ends.append(facts.free_since_s + self._lease.idle_s - now)
            if self._lease.grace_s is not None and not facts.kept:
                ends.append(facts.unlinked_since_s + self._lease.grace_s - now)
        return max(0.0, min(ends)) if ends else None

    def _watch(self) -> None:
        lines = [self._woken] + ([self._line] if self._line >= 0 else [])
        while True:
            decision = decide(self._clock(), self.facts(), self._lease)
            if decision.end:
                self._note("end", decision.end)
                self._end(decision.end)
                return
            self._guarded(lambda: self._act(decision))  # noqa: B023 - called at once
            ready, _, _ = select.select(lines, [], [], decision.look_again_s)
            if self._woken in ready:
                os.read(self._woken, 4096)
            if self._line in ready:
                # A byte is the keeper asking; the end of the pipe is the keeper gone.
                self.ask_end("signal" if os.read(self._line, 1) else "keeper")
            self._guarded(self._on_tick)

    def _guarded(self, act: Callable[[], None]) -> None:
        """Whatever goes wrong: without this thread the worker would never end."""
        try:
            act()
        except Exception:
            traceback.print_exc()

    def _act(self, decision: Decision) -> None:
        for step, due, act in (("kill", decision.kill, self._kill), ("terminate", decision.terminate, self._terminate)):
            if due and step not in self._steps:
                self._steps.add(step)
                self._note(step, decision.interrupt)
                act(decision.interrupt)
                return
        if decision.interrupt and not decision.terminate and self._clock() - self._interrupted_s >= LOOK_S:
            self._interrupted_s = self._clock()
            self._note("interrupt", decision.interrupt)
            self._interrupt(decision.interrupt)

    def _on_clock(self, unix_s: float | None) -> float | None:
        return None if unix_s is None else self._clock() + unix_s - self._wall()

    def _wake(self) -> None:
        try:
            os.write(self._waker, b"w")
        except BlockingIOError:
            pass  # the pipe is full of wake-ups already

    def _folder_inode(self) -> int:
        try:
            return self._folder.stat().st_ino
        except OSError:
            return -1

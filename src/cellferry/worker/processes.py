"""Find and end every process below another one, also those that left its process group or session.

Reads ``/proc`` itself: the keeper must stay small, and the kernel must not wait for an import.
"""

from __future__ import annotations

import os
import signal
import time

ORPHAN_S = 10.0
_PR_SET_CHILD_SUBREAPER = 36
_seen: dict[int, float] = {}
"""Ended children whose status nobody has taken, and when each was seen first (monotonic)."""


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own, so that a daemon started by a cell can be found.

    Where the system has no such thing, orphans are only found by their process group.
    """
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass


def descendants(root: int) -> list[int]:
    """Every living process below ``root``, parents before children; zombies are left out."""
    children: dict[int, list[int]] = {}
    living: set[int] = set()
    for pid, state, parent in _processes():
        children.setdefault(parent, []).append(pid)
        if state not in "ZX":
            living.add(pid)
    found, queue = [], [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return [pid for pid in found if pid in living]


def lives(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    return pid > 0 and _state_and_parent(str(pid))[0] not in "ZX"


def _processes() -> list[tuple[int, str, int]]:
    """(pid, state, parent) of every process of this machine."""
    names = os.listdir("/proc")  # noqa: PTH208 - pathlib is not imported this early
    return [(int(name), *_state_and_parent(name)) for name in names if name.isdigit()]


def _state_and_parent(pid: str) -> tuple[str, int]:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            # The name in brackets may hold anything, brackets and blanks included: count from the last bracket.
            state, parent = file.read().rpartition(b")")[2].split()[:2]
    except (OSError, ValueError):
        return "X", 0
    return state.decode(), int(parent)


def end_descendants(*, term_s: float, kill_s: float = 5.0) -> list[int]:
    """End every process below this one: SIGTERM, after ``term_s`` SIGKILL, and again until none is left.

    Children of this very process are not reaped; the caller does (a supervisor may be waiting for one).
    Returns those that could not be ended within ``kill_s`` (a process stuck in the system).
    """
    deadline = time.monotonic() + term_s
    told: set[int] = set()
    while left := descendants(os.getpid()):
        if (now := time.monotonic()) > deadline + kill_s:
            return left
        for pid in left:
            if now >= deadline:
                _send(pid, signal.SIGKILL)
            elif pid not in told:
                told.add(pid)
                _send(pid, signal.SIGTERM)
        time.sleep(0.005)
    return []


def reap_orphans(own_child: int | None) -> None:
    """Take the exit status of adopted orphans that have ended; not that of ``own_child``, which has its own watcher.

    Called again and again. Who started a child here (a terminal's shell, a program that installs packages) waits for it
    and takes its status in a moment, so that of no process is taken before it has been there for ``ORPHAN_S``.
    """
    me = os.getpid()
    zombies = {pid for pid, state, parent in _processes() if state == "Z" and parent == me} if _ended_child() else set()
    zombies.discard(own_child or 0)
    for gone in _seen.keys() - zombies:
        del _seen[gone]
    now = time.monotonic()
    for pid in zombies:
        if now - _seen.setdefault(pid, now) >= ORPHAN_S:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue


def _ended_child() -> int:
    """A child whose exit status nobody has taken; 0 if there is none."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return ended.si_pid if ended else 0


def _send(pid: int, signum: signal.Signals) -> None:
    try:
        os.kill(pid, signum)
    except (ProcessLookupError, PermissionError):
        pass

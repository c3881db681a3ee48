"""From what a failed worker tells to an error that says what happened and what to type next. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cellferry.errors import DiskFull, KernelDied, WorkerError, WorkerLost
from cellferry.model import LAST_S, Worker

DISK_LOW_BYTES = 1 << 20
RECENT_S = 30.0
SETTLED_S = 30.0
"""The clocks of two machines may differ by so much."""
LOG_LINES = 8

_KEPT = "The notebook's variables are as they were before the cell; values that lived only there are lost"
_BY_ITSELF = "(by itself: `%%remote retry=2`; with `checkpoint=60s` from what it had made)"
AGAIN = f"run the cell again: a new kernel is already there {_BY_ITSELF}. {_KEPT}"
NEW_WORKER = f"run the cell again: it starts a new worker {_BY_ITSELF}. {_KEPT}"
WILLED = ("money was spent", "told to stop", "somebody ended", "nobody used it", "over its limit")
"""Words of providers for an end after which the cell is not to be run again unasked."""


def explain_status(name: str, status: Mapping[str, Any], generation: int | None = None) -> WorkerError | None:
    """The error behind the answer of a living worker; None if nothing is wrong with it (yet).

    ``generation`` is the kernel that the client was linked to; without it, a kernel that ended a moment ago is meant.
    """
    kernel = status["kernel"]
    if status["disk_free_bytes"] < DISK_LOW_BYTES:
        return disk_full(name, str(status["work"]))
    if not _ended(kernel, generation):
        return None
    how = _how(kernel, status.get("memory_total_bytes", 0))
    if kernel["state"] == "dead":
        return KernelDied(
            f"the kernel of worker {name!r} {how}, and so did each one started after it{_log(kernel)}",
            f"type `%remote down {name}`, then run the cell again",
        )
    died = KernelDied(f"the kernel of worker {name!r} {how}{_log(kernel)}", AGAIN)
    return died.not_again() if kernel["asked"] else died


def disk_full(name: str, place: str) -> DiskFull:
    """For a worker that has no space left."""
    return DiskFull(
        f"no space is left on the disk of worker {name!r}, where its files are ({place})",
        f"free some there (`%%remote` with `!du -sh *`), or type `%remote down {name}` and run the cell again",
    )


def lost(name: str, why: str) -> WorkerLost:
    """For a worker that does not exist any more."""
    error = WorkerLost(f"worker {name!r} ended while it was in use: {why}", NEW_WORKER)
    return error.not_again() if any(words in why for words in WILLED) else error


def over(worker: Worker, now_unix_s: float) -> WorkerLost | None:
    """For a worker that cannot be asked: its money may be gone, and then it has ended itself."""
    ends_s = worker.lease.ends_unix_s
    if ends_s is None or now_unix_s < ends_s + LAST_S + SETTLED_S:
        return None
    return WorkerLost(
        f"worker {worker.name!r} could not be reached while its money lasted, and has ended itself since",
        "run the cell again with more money for it: %%remote budget=",
    )


def unreachable(name: str, why: str) -> WorkerLost:
    """For a worker whose process is there, but which does not answer."""
    return WorkerLost(
        f"the connection to worker {name!r} broke, and it does not answer: {why}",
        f"run the cell again; if that fails as well, type `%remote down {name}` first",
    )


def broken_link(name: str) -> WorkerLost:
    """For a worker that answers well, while the connection to its kernel ended."""
    return WorkerLost(
        f"the connection to worker {name!r} broke; the worker and its kernel are alive",
        "run the cell again: it connects anew, and values on the worker are still there",
    )


def _ended(kernel: Mapping[str, Any], generation: int | None) -> bool:
    if kernel["ended_generation"] is None:
        return False
    if generation is not None:
        return bool(kernel["ended_generation"] >= generation)
    return bool(kernel["state"] == "dead" or kernel["ended_s_ago"] < RECENT_S)


def _how(kernel: Mapping[str, Any], memory_bytes: int) -> str:
    size = f" ({memory_bytes / (1 << 30):.1f} GiB)" if memory_bytes else ""
    if kernel["asked"]:
        return f"was ended by its worker: {kernel['why']}" if kernel.get("why") else "was restarted"
    if kernel["oom"]:
        return f"was killed by SIGKILL, by Linux, because the memory of its machine{size} was used up"
    if kernel["signal"] == "SIGKILL":
        return f"was killed by SIGKILL; the memory of its machine{size} had not run out, so somebody else did it"
    if kernel["signal"]:
        return f"was killed by {kernel['signal']}; memory{size} had not run out"
    return f"ended with exit code {kernel['exitcode']}"


def _log(kernel: Mapping[str, Any]) -> str:
    lines = str(kernel["log_tail"]).strip().splitlines()[-LOG_LINES:]
    return "; the end of its log:\n" + "\n".join(lines) if lines else ""

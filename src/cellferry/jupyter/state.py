"""What the sidebar shows, made from what was found. Pure: no clock, no disk, no network; see docs/reference/server.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from cellferry.fleet.board import hardware_of
from cellferry.fleet.watching import Facts
from cellferry.ledger import Reservation, cost_microusd, worker_from_record
from cellferry.model import Offer, Worker

Json = dict[str, Any]

MOST_RUNS = 1000
MOST_CELLS = 20
STEP_S = 5.0
"""What a worker has cost is told in steps of this time: a number that changes at every look would be sent at every look."""
CALM_S = 1.5
"""A time that was told is told again as it was while it is not further off than this."""
STATUS_OF = {"refused": "error"}
TOLD_BY_WORKERS = ("unclaimed", "detached", "events", "bytes")
OF_LEFT_ONES = ("status", "phase", "ended_unix_s", "microusd", "detail")
"""What only the worker knows of a run that was left to it."""
HIDDEN = "doctor"
"""The worker that ``cellferry doctor`` tries, for a second."""


@dataclass(frozen=True)
class Places:
    """Where notebooks are: the server's root folder, and the path of each kernel's notebook, which follows a rename."""

    root: str = ""
    kernels: Mapping[str, str] = field(default_factory=dict)
    pid: int = 0
    """The server's own."""

    def of(self, board: Mapping[str, Any]) -> str:
        """The notebook of a board."""
        return self.kernels.get(str(board.get("kernel_id", ""))) or self.told(board.get("notebook", ""))

    def told(self, path: Any) -> str:
        """A path as the server's own pages say it; one outside of the root stays as it is. Folders are no notebooks."""
        text = str(path or "")
        if not text or not PurePath(text).suffix:
            return ""
        try:
            return PurePath(text).relative_to(self.root).as_posix() if self.root else text
        except ValueError:
            return text


def sections(facts: Facts, places: Places, before: Mapping[str, Any] | None = None) -> Json:
    """Sections ``workers`` and ``runs``. ``before``: the ones told last, so that times do not tremble."""
    runs = _runs(facts, places)
    old = {row["id"]: row for row in (before or {}).get("workers", ())}
    rows = [_calm(row, old.get(row["id"])) for row in _workers(facts, places, runs)]
    return {"workers": sorted(rows, key=lambda row: (row["notebook"], row["name"], row["id"])), "runs": runs[:MOST_RUNS]}


# -- runs -----------------------------------------------------------------------------------------------------------


def _runs(facts: Facts, places: Places) -> list[Json]:
    """Those of the boards, with what the workers say of the same, and those that only a worker knows; newest first."""
    known: dict[str, Worker] = {worker.id: worker for worker in facts.workers}
    found: dict[str, Json] = {}
    for board in facts.boards:
        for run in board.get("runs", ()):
            row = dict(run) | {"notebook": places.of(board), "unclaimed": False, "detached": run["status"] == "detached"}
            if row["detached"] and row["worker_id"] not in known:
                row |= {"status": "lost", "phase": "done"}
            found[row["run"]] = row
    for worker_id, told in facts.runs.items():
        for run in told:
            here, there = found.get(run["run"]), _run_told(run, known[worker_id], places)
            if here is None:
                found[run["run"]] = there
            else:
                ours = here["status"] == "detached"  # who sent it does not know how it gets on
                here |= {key: there[key] for key in TOLD_BY_WORKERS + (OF_LEFT_ONES if ours else ())}
    return sorted(found.values(), key=lambda run: -float(run["began_unix_s"] or 0))


def _run_told(run: Mapping[str, Any], worker: Worker, places: Places) -> Json:
    status, offer = str(run.get("status", "")), worker.offer
    status = "stopped" if status == "aborted" or run.get("ename") == "KeyboardInterrupt" else STATUS_OF.get(status, status)
    detached = bool(run.get("detached")) and not run.get("claimed")  # else nothing of it waits any more
    over = run.get("ended_unix_s")
    began = run.get("began_unix_s") or run.get("asked_unix_s")
    done = over is not None or status not in ("queued", "running")
    ran_s = max(0.0, float(over) - float(began or over)) if over else 0.0
    return {
        "run": run["run"], "notebook": places.told(run.get("notebook")), "cell_id": run.get("cell_id") or "",
        "number": run.get("number") or 0, "worker": worker.name, "worker_id": worker.id,
        "phase": "done" if done else status, "status": "detached" if detached and status == "running" else status,
        "began_unix_s": began, "ended_unix_s": over, "microusd_per_hour": worker.microusd_per_hour,
        "microusd": cost_microusd(worker.microusd_per_hour, ran_s), "simulated": worker.simulated,
        "hardware": hardware_of(offer), "provider": worker.provider, "instance": offer.instance if offer else "",
        "region": offer.region if offer else "", "spot": worker.spot, "environment": "", "detail": run.get("lost") or "",
        "unclaimed": bool(run.get("unclaimed")), "detached": detached, "events": run.get("events", 0),
        "bytes": run.get("bytes", 0),
    }  # fmt: skip


# -- workers --------------------------------------------------------------------------------------------------------


def _workers(facts: Facts, places: Places, runs: Sequence[Json]) -> Iterable[Json]:
    living: dict[str, Worker] = {worker.id: worker for worker in facts.workers}
    told: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {}
    waiting: set[str] = set()
    for board in sorted(facts.boards, key=lambda each: bool(each.get("kernel_id"))):  # the kernel's own word goes last: it stays
        for row in board.get("workers", ()):
            if row["worker"]:
                told[row["worker"]] = (board, row)
            elif row["name"] != HIDDEN:
                waiting |= {row["name"]} if row["state"] == "starting" else set()
                yield _row(f"starting:{board['pid']}:{row['name']}", None, board, row, facts, places, runs)
    for worker_id in {**told, **living}:
        board, row = told.get(worker_id, ({}, {}))
        worker = living.get(worker_id) or _recorded(facts, worker_id)
        name = worker.name if worker else row.get("name")
        hidden = not row and name in waiting  # its board has not heard of it yet
        there = worker is not None or row["phases"][-1]["at_unix_s"] > facts.at_unix_s  # or came since the workers were asked
        if there and not hidden and name != HIDDEN:
            yield _row(worker_id, worker, board, row, facts, places, runs)


def _recorded(facts: Facts, worker_id: str) -> Worker | None:
    """A worker that its provider cannot tell of at the moment, while its money is held."""
    found = next((row for row in facts.money.values() if row.state == "running" and worker_id in row.record), None)
    return None if found is None else worker_from_record(found.record)


def _row(
    worker_id: str, worker: Worker | None, board: Mapping[str, Any], row: Mapping[str, Any], facts: Facts, places: Places,
    runs: Sequence[Json],
) -> Json:  # fmt: skip
    status = facts.status.get(worker_id, {})
    lease = status.get("lease", {})
    money = facts.money.get(worker.token) if worker and worker.token else None
    uses = [run for run in runs if run["worker_id"] == worker_id]
    notebook = _notebook(board, row, money, places)
    offer = (worker.offer or (facts.here if worker.provider == "local" else None)) if worker else None
    ends = lease.get("ends_unix_s", worker.lease.ends_unix_s if worker else None)
    phases = list(row.get("phases", ())) or ([{"phase": "ready", "at_unix_s": worker.started_unix_s}] if worker else [])
    return {
        "id": worker_id, "name": worker.name if worker else row["name"], "notebook": notebook,
        "notebooks": list(dict.fromkeys(n for n in (notebook, *(run["notebook"] for run in uses)) if n)),
        "provider": worker.provider if worker else row.get("provider", ""), "state": row.get("state", "ready"),
        "phases": phases, "detail": row.get("detail", ""), "error": row.get("error", ""), "words": row.get("words", ""),
        **_machine(offer), "spot": bool(worker and worker.spot), "simulated": bool(worker and worker.simulated),
        "microusd_per_hour": worker.microusd_per_hour if worker else 0, "spent_microusd": _spent(money, facts.at_unix_s),
        "reserved_microusd": money.reserved_microusd if money else 0, "ends_unix_s": ends,
        "idle_ends_unix_s": _idle_ends(lease.get("ends_in_s"), ends, status.get("asked_unix_s", facts.at_unix_s)),
        "busy": bool(lease.get("busy")) or any(run["status"] == "running" and run["phase"] == "running" for run in uses),
        "cells": _cells(uses), "mine": board.get("kernel_id") in places.kernels or board.get("pid") == places.pid,
    }  # fmt: skip


def _notebook(board: Mapping[str, Any], row: Mapping[str, Any], money: Reservation | None, places: Places) -> str:
    if row.get("notebook") and row["notebook"] != board.get("notebook"):  # started for a notebook, by another process
        return places.told(row["notebook"])
    return (places.of(board) if board else "") or places.told(money.notebook if money else "")


def _machine(offer: Offer | None) -> Json:
    return {
        "instance": offer.instance if offer else "", "region": offer.region if offer else "", "gpu": offer.gpu if offer else "",
        "gpu_count": offer.gpu_count if offer else 0, "gpu_memory_bytes": offer.gpu_memory_bytes if offer else 0,
        "cpus": offer.cpus if offer else 0, "memory_bytes": offer.memory_bytes if offer else 0,
    }  # fmt: skip


def _spent(money: Reservation | None, now_unix_s: float) -> int:
    """As the meter says; where nobody meters it, as the clock says, in steps."""
    if money is None or money.state != "running":
        return money.spent_microusd if money else 0
    silent_s = now_unix_s - money.metered_unix_s
    more = cost_microusd(money.microusd_per_hour, silent_s // STEP_S * STEP_S) if silent_s > 2 * STEP_S else 0
    return min(money.reserved_microusd, money.spent_microusd + more)


def _idle_ends(ends_in_s: float | None, ends: float | None, now_unix_s: float) -> float | None:
    """When it ends because nobody uses it; None while somebody does, or where its money ends it before."""
    if ends_in_s is None:
        return None
    at = now_unix_s + ends_in_s
    return None if ends is not None and at > ends - CALM_S else round(at, 1)


def _cells(uses: Sequence[Json]) -> list[Json]:
    found = {(run["notebook"], run["cell_id"] or run["number"]): run for run in reversed(uses)}
    newest = sorted(found.values(), key=lambda run: -float(run["began_unix_s"] or 0))[:MOST_CELLS]
    return [{key: run[key] for key in ("notebook", "cell_id", "number")} for run in newest]


def _calm(row: Json, before: Mapping[str, Any] | None) -> Json:
    old, new = (before or {}).get("idle_ends_unix_s"), row["idle_ends_unix_s"]
    return row | {"idle_ends_unix_s": old} if old is not None and new is not None and abs(new - old) < CALM_S else row


# -- money ----------------------------------------------------------------------------------------------------------


def ends(workers: Sequence[Worker]) -> list[Json]:
    """What each worker that costs something will have cost when its lease ends."""
    found = []
    for worker in workers:
        until = worker.lease.ends_unix_s
        if worker.microusd_per_hour and until is not None:
            amount = cost_microusd(worker.microusd_per_hour, max(0.0, until - worker.started_unix_s))
            found.append({"worker": worker.name, "will_have_cost_microusd": amount})
    return sorted(found, key=lambda each: str(each["worker"]))

"""Cells that were ended together with their worker, because somebody ended that: remembered for a while, so that nobody looks for them.

A notice, and no authority: nothing here raises because of the disk.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cellferry.config import Cellferry, state_folder
from cellferry.fleet.runs import RunRow
from cellferry.model import Endpoint, Hardware, Worker, WorkerId

FOLDER = "dropped"
MOST = 50
"""So many are remembered, the last ones."""


def dropped(row: RunRow) -> RunRow:
    """The run as it is when its worker has been ended under it."""
    how = "it ran" if row.going_on else f"it had ended ({row.status}) and nobody had brought it home"
    why = f"{how} when its worker {row.worker.name!r} was ended by hand"
    return replace(row, status="dropped", unclaimed=False, lost=why, size_bytes=0)


def remember(config: Cellferry, row: RunRow) -> None:
    """Write it down."""
    told: dict[str, Any] = asdict(row) | {"worker": row.worker.name}
    with contextlib.suppress(OSError):
        folder = state_folder(config) / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        part = folder / f"{row.run}.part"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(told, file)
        part.replace(folder / f"{row.run}.json")
        for old in _files(folder)[:-MOST]:
            old.unlink(missing_ok=True)


def remembered(config: Cellferry) -> list[RunRow]:
    """Those that are remembered, oldest first."""
    found = []
    with contextlib.suppress(OSError):
        for path in _files(state_folder(config) / FOLDER):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                told = json.loads(path.read_text("utf-8"))
                worker = Worker(WorkerId(""), str(told.pop("worker")), "", Endpoint("unix"), Hardware())
                found.append(RunRow(worker=worker, **told))
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)

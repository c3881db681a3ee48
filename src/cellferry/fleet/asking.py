"""How is it? What a worker says of itself, or has noted on this machine."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from cellferry.errors import CellferryError
from cellferry.fleet import diagnosis
from cellferry.model import Worker
from cellferry.shared_folder import read_ours

USE_S = 5.0


def noted_status(worker: Worker) -> dict[str, Any] | None:
    """What a worker on this machine noted when a kernel of its ended a moment ago: its server may not be up yet."""
    if worker.folder is None:
        return None
    try:
        note = worker.folder / "status.json"
        if time.time() - note.stat().st_mtime > diagnosis.RECENT_S:
            return None
        status: dict[str, Any] = json.loads(read_ours(worker.folder, note.name))
    except (OSError, ValueError):
        return None
    return status


def ask_status(worker: Worker, timeout_s: float) -> dict[str, Any]:
    """The worker's own status. Raises LinkError."""
    from cellferry.link.http import WorkerHttp  # needed when something is shown or broken, not for the first cell

    return WorkerHttp(worker.endpoint, timeout_s=timeout_s).get("status")


def others_use(worker: Worker, ours: int = 1) -> bool:
    """Whether more than this process is linked to it, which has ``ours`` links."""
    try:
        return int(ask_status(worker, USE_S)["lease"]["links"]) > ours
    except (CellferryError, KeyError, TypeError, ValueError):
        return False


def is_full(folder: Path | None) -> bool:
    """Whether the disk of a worker on this machine is full: its server may not be able to say so."""
    try:
        return folder is not None and shutil.disk_usage(folder).free < diagnosis.DISK_LOW_BYTES
    except OSError:
        return False

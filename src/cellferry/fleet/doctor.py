"""Check what a worker on this machine needs, by looking and by starting one. Behind ``cellferry doctor``."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from cellferry.config import Cellferry
from cellferry.errors import CellferryError, WorkerStartError
from cellferry.fleet.fleet import Fleet
from cellferry.link.http import WorkerHttp
from cellferry.model import CellRequest, Check, Worker

PACKAGES = ("ipykernel", "ipython", "jupyter_server", "jupyter_client", "cloudpickle", "cryptography", "psutil")
LITTLE_DISK_BYTES = 1 << 30
PAUSE_S = 0.02
PATIENCE_S = 60.0


def examine(config: Cellferry) -> Iterator[Check]:
    """One finding after the other, the slow ones last. Leaves nothing running."""
    yield Check(
        "system",
        sys.platform == "linux" and hasattr(os, "pidfd_open"),
        f"{sys.platform}, Python {sys.version.split()[0]}",
        "the local worker needs Linux 5.3 or later and Python 3.11 or later",
    )
    yield from map(_package, PACKAGES)
    yield from _with_worker(config)


def _package(name: str) -> Check:
    try:
        return Check(name, True, version(name))
    except PackageNotFoundError:
        return Check(name, False, "not installed", f"pip install {name}")


def _with_worker(config: Cellferry) -> Iterator[Check]:
    fleet, began = Fleet(config), time.monotonic()
    try:
        worker, _ = fleet.acquire(CellRequest(name="doctor"), lambda line: None)
        yield Check(
            "worker", True, f"accepts connections after {time.monotonic() - began:.2f} s ({worker.endpoint.kind})"
        )
        status = _status_when_ready(worker)
        yield Check("kernel", True, f"up, and the server answers, after {time.monotonic() - began:.2f} s")
        yield _disk(worker)
        yield _memory(int(status.get("memory_available_bytes", 0)))
    except CellferryError as error:
        yield Check("worker", False, error.what, error.advice)
    finally:
        fleet.close()


def _status_when_ready(worker: Worker) -> dict[str, Any]:
    http, deadline = WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S), time.monotonic() + PATIENCE_S
    while True:
        status = http.get("status")
        kernel = status["kernel"]
        if kernel["ready"]:
            return status
        if kernel["state"] == "dead" or time.monotonic() > deadline:
            raise WorkerStartError(
                f"the kernel does not start; the end of its log:\n{kernel['log_tail']}",
                f"try it alone: {sys.executable} -m ipykernel_launcher",
            )
        threading.Event().wait(PAUSE_S)


def _disk(worker: Worker) -> Check:
    place = worker.folder.parent if worker.folder else "/"
    free = shutil.disk_usage(place).free
    advice = "choose a place with more room: c.Cellferry.worker_dir"
    return Check("disk", free > LITTLE_DISK_BYTES, f"{_gib(free)} free in {place}", advice)


def _memory(free: int) -> Check:
    return Check(
        "memory", free > LITTLE_DISK_BYTES, f"{_gib(free)} free", "end what you do not need: cellferry down --all"
    )


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"

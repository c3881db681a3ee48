"""A worker as text, so that another process can find it: the ``record`` of a reservation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from cellferry.errors import LedgerError
from cellferry.model import Endpoint, Hardware, Lease, Offer, Worker, WorkerId


def worker_to_record(worker: Worker) -> str:
    """JSON of everything that ``Worker`` says. It holds no secret: an endpoint names the folder of the keys, not the keys."""
    told = asdict(worker)
    told["folder"] = None if worker.folder is None else str(worker.folder)
    return json.dumps(told, sort_keys=True)


def worker_from_record(record: str) -> Worker:
    """The worker again. Fields of a later version are left out, missing ones get their defaults.

    Raises LedgerError for what ``worker_to_record`` did not make ("" included: the worker has not started).
    """
    try:
        told = json.loads(record)
        offer = told.get("offer")
        kept = _known(Worker, told) | {
            "id": WorkerId(told["id"]),
            "endpoint": Endpoint(**_known(Endpoint, told["endpoint"])),
            "hardware": Hardware(**_known(Hardware, told.get("hardware", {}))),
            "folder": None if told.get("folder") is None else Path(told["folder"]),
            "lease": Lease(**_known(Lease, told.get("lease", {}))),
            "offer": None if offer is None else Offer(**_known(Offer, offer)),
        }
        return Worker(**kept)
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise LedgerError(
            f"the ledger's record of a worker cannot be read: {type(exc).__name__}: {exc}",
            "end that worker with the version of cellferry that started it: cellferry down NAME",
        ) from exc


def _known(kind: type, told: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``told`` this version knows."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in told.items() if name in names}

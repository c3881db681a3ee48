"""From the frame with which a worker refuses a cell to the error that its user sees. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cellferry.errors import ChunkMismatch, DiskFull, ParcelError

_MIB = 1 << 20


class NeverRan(Exception):
    """The cell was interrupted before its first line, and nothing of it will run."""


def why_refused(worker: str, frame: Mapping[str, Any]) -> Exception:
    """``frame``: see ``guest.reserve.refusal`` and ``guest.door.Link.refuse``; a worker of an older release does not say ``no_room``,
    nor ``stage`` ("values", "results" or "connection": where it failed) and ``memory``."""
    if frame.get("no_room"):
        return DiskFull(
            f"no space is left on the disk of worker {worker!r}, not even to write the cell down",
            f"free some there by other means, or type `%remote down {worker}` and run the cell again: it starts a new worker",
        )
    error, what, stage, full = str(frame["error"]), str(frame["what"]), str(frame.get("stage", "")), frame.get("memory")
    if error == "KeyboardInterrupt" and stage != "results":
        return NeverRan()
    if error == "ChunkMismatch":
        return ChunkMismatch(f"the worker could not take the cell's values: {what}", "run the cell again")
    failed = {
        "results": f"what the cell made could not come home from worker {worker!r}: {what}",
        "connection": f"worker {worker!r} takes no connection: {what}",
    }.get(stage, f"the worker could not take the cell's values: {what}")
    if full or error == "MemoryError":
        used = f". {full['used_bytes'] // _MIB} of {full['limit_bytes'] // _MIB} MiB that its cells may use are taken" if full else ""
        return ParcelError(
            failed + used,
            f"free memory there with a %%remote cell (`del name`), or end it and ask for more: %remote down {worker}, then memory= on "
            "the cell",
        )
    root = str(frame.get("root", ""))
    if root:  # its own code, or a module that is not there: it would be refused again
        what = f"{root} cannot be made on the worker ({what}); the cell was not run"
        return ParcelError(what, f"make {root} in the %%remote cell itself")
    if stage == "results":
        return ParcelError(failed, "what is named in the message can stay there: `%%remote returns=` names what is to come home")
    return ParcelError(failed, str(frame.get("advice") or "run the cell again"))

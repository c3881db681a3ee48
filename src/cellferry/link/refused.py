"""From the frame with which a worker refuses a cell to the error that its user sees. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cellferry.errors import CellferryError, ChunkMismatch, DiskFull, ParcelError


def why_refused(worker: str, frame: Mapping[str, Any]) -> CellferryError:
    """``frame``: see ``guest.reserve.refusal``; a worker of an older release does not say ``no_room``."""
    if frame.get("no_room"):
        return DiskFull(
            f"no space is left on the disk of worker {worker!r}, not even to write the cell down",
            f"free some there by other means, or type `%remote down {worker}` and run the cell again: it starts a new worker",
        )
    kind = ChunkMismatch if frame["error"] == "ChunkMismatch" else ParcelError
    return kind(f"the worker could not take the cell's values: {frame['what']}", "run the cell again")

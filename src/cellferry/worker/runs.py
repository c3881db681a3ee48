"""The runs of this worker as its server sees them: what ``guest.journal`` has written, also when that kernel is gone.

A client that was not there, or another one, follows a run over a connection of its own (``worker.desk``):

    client: follow (run, after: the last number it has) | result (run) | claimed (run)
    worker: event (n, message) ... cut (before: number) ... end (status ...) | home and its leaves | none | ok
"""

from __future__ import annotations

import os
import time
from itertools import chain
from pathlib import Path
from typing import Any

from cellferry.guest.journal import claim
from cellferry.guest.replay import Events, row_of
from cellferry.parcels.wire import Channel
from cellferry.worker.processes import lives

LOOK_S = 0.05
"""How often a follower looks for new outputs while the cell runs: they are files of another process."""
_STEP_BYTES = 1 << 20
_BEAT_S = 5.0
_GOING_ON = ("queued", "running")


def listing(folder: Path) -> list[dict[str, Any]]:
    """Every run in ``folder`` ("runs" in the worker's folder) that is still known, oldest first; the rows of
    ``GET /cellferry/v1/runs``, fields are only ever added.

    ``status``: "queued", "running", "lost" (its kernel died), else how it ended. ``unclaimed``: nobody waits for it and
    nobody has its results. ``bytes``: of its results.
    """
    rows = [_row(path.parent) for path in folder.glob("*/run.json")]
    return sorted((row for row in rows if row), key=lambda row: (row["asked_unix_s"], row["run"]))


def _row(folder: Path) -> dict[str, Any]:
    return row_of(folder, lives)


class Runs:
    """Serves those who follow. One for each worker."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def serve(self, channel: Channel, meta: dict[str, Any]) -> None:
        """Answer one frame of a client. Raises WireClosed when it leaves."""
        run = self._folder / Path(str(meta.get("run", ""))).name
        if not (run / "run.json").exists():
            channel.send({"op": "none", "what": f"there is no run {run.name!r} on this worker"})
        elif meta["op"] == "follow":
            self._follow(channel, run, int(meta.get("after", 0)), wait=bool(meta.get("wait", True)))
        elif meta["op"] == "result":
            _send_result(channel, run)
        else:
            claim(run, str(meta.get("by", "")))
            channel.send({"op": "ok"})

    def _follow(self, channel: Channel, run: Path, after: int, *, wait: bool) -> None:
        """Every output after number ``after``, then those to come, then how the run ended."""
        events = Events(run, after)
        last_said = 0.0 if _row(run).get("status") == "queued" else time.monotonic()  # it shows nothing: that is said at once
        while True:
            row = _row(run)  # asked before looking
            ended = row.get("status") not in _GOING_ON
            for frame, buffers in chain(events.new(), events.missing(row.get("events", 0) if ended else 0)):
                channel.send(frame, buffers)
                last_said = time.monotonic()
            if ended or not wait:
                channel.send({"op": "end", **_row(run)})
                return
            if time.monotonic() - last_said > _BEAT_S:
                channel.send({"op": "beat", "status": _row(run)["status"]})
                last_said = time.monotonic()
            time.sleep(LOOK_S)


def _send_result(channel: Channel, run: Path) -> None:
    """The frames of the file as they lie there; "none" where there is none."""
    try:
        file = (run / "result").open("rb")
    except OSError:
        channel.send({"op": "none", "what": _row(run).get("lost") or "its results are not here"})
        return
    with file:
        channel.send({"op": "ok", "bytes": os.fstat(file.fileno()).st_size})
        while piece := file.read(_STEP_BYTES):
            channel.stream.sendv([piece])

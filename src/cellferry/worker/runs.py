"""The runs of this worker as its server sees them: what ``guest.journal`` has written, also when that kernel is gone.

A client that was not there, or another one, follows a run over a connection of its own (``worker.desk``):

    client: follow (run, after: the last number it has) | result (run) | claimed (run)
    worker: event (n, message) ... cut (before: number) ... end (status ...) | home and its leaves | none | ok
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cellferry.guest.journal import claim
from cellferry.parcels.wire import Channel, whole_frame
from cellferry.worker.processes import lives

LOOK_S = 0.05
"""How often a follower looks for new outputs while the cell runs: they are files of another process."""
JOIN_BYTES = 1 << 16
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
    told = _read(folder / "run.json")
    if not told:
        return {}
    end = _read(folder / "end.json") if (folder / "end.json").exists() else None
    claimed, result = (folder / "claimed").exists(), folder / "result"
    if end is not None:
        status = str(end.get("status") or "ok")
    elif not lives(int(told.get("pid") or 0)):
        status = "lost"
    else:
        status = "running" if (folder / "began").exists() else "queued"
    return {
        "run": told["run"], "notebook": told.get("notebook") or "", "cell_id": told.get("cell_id") or "",
        "number": told.get("number") or 0, "owner": told.get("owner") or "", "detached": bool(told.get("detach")),
        "asked_unix_s": told.get("asked_unix_s", 0.0), "began_unix_s": _mtime(folder / "began"),
        "ended_unix_s": (end or {}).get("ended_unix_s"), "status": status, "events": (end or {}).get("events", 0),
        "ename": (end or {}).get("ename") or "", "lost": (end or {}).get("lost") or "",
        "bytes": result.stat().st_size if result.exists() else 0, "claimed": claimed,
        "unclaimed": not claimed and (folder / "orphan").exists(),
    }  # fmt: skip


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
            claim(run)
            channel.send({"op": "ok"})

    def _follow(self, channel: Channel, run: Path, after: int, *, wait: bool) -> None:
        """Every output after number ``after``, then those to come, then how the run ended."""
        events, last_said = Events(run, after), time.monotonic()
        while True:
            ended = _row(run).get("status") not in _GOING_ON  # asked before looking
            for frame, buffers in events.new():
                channel.send(frame, buffers)
                last_said = time.monotonic()
            if ended or not wait:
                channel.send({"op": "end", **_row(run)})
                return
            if time.monotonic() - last_said > _BEAT_S:
                channel.send({"op": "beat", "status": _row(run)["status"]})
                last_said = time.monotonic()
            time.sleep(LOOK_S)


class Events:
    """Reads a run's outputs in order, from after a number on; pieces may be added, and cut out of the middle, meanwhile."""

    def __init__(self, run: Path, after: int = 0) -> None:
        self._run, self._last = run, after
        self._piece, self._at = 0, 0

    def new(self) -> Iterator[tuple[dict[str, Any], list[Any]]]:
        """The ``event`` frames that are there and were not yet given; small texts that follow each other as one.

        A ``cut`` frame stands where outputs were given up: ``before`` is the number of the next one.
        """
        return _joined(self._frames())

    def _frames(self) -> Iterator[tuple[dict[str, Any], list[Any]]]:
        while True:
            data = self._rest()
            at = 0
            while (found := whole_frame(data[at:])) is not None:
                meta, buffers, size = found
                at += size
                self._at += size
                if meta["n"] <= self._last:
                    continue
                if meta["n"] > self._last + 1:
                    yield {"op": "cut", "before": meta["n"], "messages": meta["n"] - self._last - 1}, []
                self._last = meta["n"]
                yield {"op": "event", "n": meta["n"], "message": meta["message"]}, buffers
            if not self._next():
                return

    def _rest(self) -> memoryview:
        try:
            with (self._run / f"events-{self._piece:06d}").open("rb") as file:
                file.seek(self._at)
                return memoryview(file.read())
        except OSError:
            return memoryview(b"")  # none yet, or it was cut out: the numbers of the next piece tell

    def _next(self) -> bool:
        later = sorted(int(path.name[-6:]) for path in self._run.glob("events-*") if int(path.name[-6:]) > self._piece)
        if later:
            self._piece, self._at = later[0], 0
        return bool(later)


def _joined(frames: Iterator[tuple[dict[str, Any], list[Any]]]) -> Iterator[tuple[dict[str, Any], list[Any]]]:
    held: dict[str, Any] | None = None
    for frame, buffers in frames:
        if held is not None and _one_text(held, frame):
            text = held["message"]["content"]["text"] + frame["message"]["content"]["text"]
            message = {**held["message"], "content": {**held["message"]["content"], "text": text}}
            held = {"op": "event", "n": frame["n"], "message": message}
            continue
        if held is not None:
            yield held, []
            held = None
        if frame["op"] == "event" and frame["message"]["msg_type"] == "stream":
            held = frame
        else:
            yield frame, buffers
    if held is not None:
        yield held, []


def _one_text(first: dict[str, Any], second: dict[str, Any]) -> bool:
    if second["op"] != "event" or second["message"]["msg_type"] != "stream":
        return False
    one, two = first["message"], second["message"]
    same = one["content"]["name"] == two["content"]["name"] and one["parent_header"] == two["parent_header"]
    return bool(same and len(one["content"]["text"]) < JOIN_BYTES)


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


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _mtime(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None

"""The record of a run (``journal``), read again: by the worker's server for those who follow, and for the artifact store."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from cellferry.parcels.wire import encoded, whole_frame

JOIN_BYTES = 1 << 16


def row_of(folder: Path, lives: Callable[[int], bool]) -> dict[str, Any]:
    """How the run in ``folder`` is, as ``worker.runs`` tells it; {} for none. ``lives``: whether there is a process of that id."""
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
        "ended_unix_s": end.get("ended_unix_s") if end else _mtime(folder / "lost"), "status": status,
        "events": (end or {}).get("events", 0), "ran_s": (end or {}).get("ran_s"),
        "ename": (end or {}).get("ename") or "", "lost": (end or {}).get("lost") or "",
        "bytes": result.stat().st_size if result.exists() else 0, "claimed": claimed,
        "claimed_by": _text(folder / "claimed") if claimed else "",
        "unclaimed": not claimed and (folder / "orphan").exists(),
    }  # fmt: skip


def write_outputs(run: Path, more: dict[str, Any]) -> Path:
    """Everything that a run which has ended shows to whoever follows it, in one file: the frames of ``worker.runs``, ``end`` with
    ``more`` the last. The file's place; raises OSError."""
    target = run / "outputs"
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    row, events = row_of(run, lambda _pid: True), Events(run)
    with os.fdopen(descriptor, "wb") as file:
        for frame, buffers in chain(events.new(), events.missing(row["events"])):
            file.writelines(encoded(frame, buffers))
        file.writelines(encoded({"op": "end", **row, **more}))
    return target


def write_row(run: Path, more: dict[str, Any]) -> Path:
    """The row of a run that has ended, with ``more``, as JSON: whose it is, for whoever looks at what is kept. The file's place;
    raises OSError."""
    target = run / "row"
    target.touch(mode=0o600)
    target.write_text(json.dumps({**row_of(run, lambda _pid: True), **more}), "utf-8")
    return target


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

    def missing(self, written: int) -> Iterator[tuple[dict[str, Any], list[Any]]]:
        """After the last ``new`` of a run that has ended with ``written`` outputs: a ``cut`` frame if its last ones were not kept."""
        if written > self._last:
            yield {"op": "cut", "before": written + 1, "messages": written - self._last}, []
            self._last = written

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


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError):
        return ""


def _mtime(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None

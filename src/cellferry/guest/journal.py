"""The record of a run on the worker's disk: what was asked, every output with its number, how it ended, its results.

One folder for each run, ``runs/RUN`` in the worker's folder, written by the kernel and read by the worker's server
(``worker.runs``), so that it can be read when this kernel is gone:

========== ==========================================================================================================
run.json   what was asked for, by whom; there before the run is acknowledged
began      the cell is running, or was
orphan     nobody waits for it: it was detached, or its client is gone; the results are kept
events-NNN frames (``parcels.wire``), one for each output: ``{"n": number, "message": ...}`` and its buffers
result     what the cell made and changed, for whoever comes: frames as they go home, packed for an empty notebook
end.json   how it ended
outputs    all events and the end in one file, for the moment in which it goes to the artifact store (``replay``)
row        how it ended, on its way to the artifact store as well
claimed    somebody has the results; the notebook that fetched them, where it was not the one that ran the cell
lost       the worker's: its kernel died then (``worker.kept``)
========== ==========================================================================================================

No ``fsync``: what is written survives this process; a machine that loses its power loses the cell as well.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from cellferry.guest.shortened import shortened
from cellferry.parcels.outbox import Again
from cellferry.parcels.wire import Buffer, Meta, encoded, whole_frame

HEAD_BYTES = 8 << 20
"""So much of a run's outputs is kept from its beginning,"""
PIECE_BYTES = 2 << 20
TAIL_PIECES = 4
"""and so many pieces of that size from its end."""
LARGE_BYTES = 64 << 20
"""One output is kept whole up to this size, in a piece of its own, and all pieces from the end take no more together, the
last one aside; a larger output is shortened (``shortened``)."""
MOST_NAME = 500
MOST_CLAIMED = 20
"""Runs whose results somebody has: their outputs are kept for a notebook that was closed meanwhile."""
_EVENTS = "events-{:06d}"


class Journal:
    """One run. ``event`` may be called from every thread; nothing here raises into the user's cell."""

    def __init__(self, runs: Path, about: dict[str, Any]) -> None:
        """Make the folder ``runs/about["run"]`` and write ``run.json``; raises OSError where that is impossible.

        From then on the run may be acknowledged.
        """
        self.run = str(about["run"])
        self.folder = runs / self.run
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(self.folder / "run.json", {**about, "pid": os.getpid(), "asked_unix_s": time.time()})
        self.events = 0
        self._began_s: float | None = None
        self.ended = False
        self.going_home = False
        """The cell is over: what it made is on its way, and nobody has to wait for it any more."""
        self._lock = threading.Lock()
        self._piece, self._file, self._written, self._room = 0, -1, 0, HEAD_BYTES
        self._path = self.folder
        self._tail: deque[tuple[int, int]] = deque()

    def began(self) -> None:
        """The cell starts to run now."""
        self._began_s = _clock_s()
        self._mark("began")

    def orphan(self, yes: bool = True) -> None:
        """Nobody waits for it any more; or somebody does again."""
        if yes:
            self._mark("orphan")
        else:
            (self.folder / "orphan").unlink(missing_ok=True)

    @property
    def claimed(self) -> bool:
        return (self.folder / "claimed").exists()

    def event(self, message: dict[str, Any], buffers: Sequence[Buffer]) -> int:
        """As ``keep``: the number alone."""
        return self.keep(message, buffers)[0]

    def keep(self, message: dict[str, Any], buffers: Sequence[Buffer]) -> tuple[int, Again | None]:
        """Write one output; its number, from 1, and a way to read it again while it is kept (the head of an ``event`` frame and
        its buffers). A full disk loses it here, not on the screen."""
        with self._lock:
            again = None
            self.events += 1
            frame = self._frame(message, buffers)
            try:
                if frame and (self._file < 0 or (self._written and self._written + len(frame) > self._room)):
                    self._next_piece()
                if frame:
                    at = self._written
                    self._append(frame)
                    self._written += len(frame)
                    again = partial(_read_event, self._path, at, len(frame), self.run)
            except OSError:
                pass
            return self.events, again

    def _frame(self, message: dict[str, Any], buffers: Sequence[Buffer]) -> bytes:
        """What is written for an output; empty where it is too large and cannot be shortened: a reader sees its number missing."""
        frame = b"".join(encoded({"n": self.events, "message": message}, buffers))
        if len(frame) <= LARGE_BYTES:
            return frame
        short = shortened(message)
        return b"".join(encoded({"n": self.events, "message": short})) if short is not None else b""

    def _append(self, frame: bytes) -> None:
        """All of it or nothing: half a frame would hide those behind it. Raises OSError on a full disk."""
        done = 0
        try:
            while done < len(frame):
                done += os.write(self._file, frame[done:])
        except OSError:
            os.ftruncate(self._file, self._written)
            raise

    def end(self, outcome: dict[str, Any]) -> None:
        """The cell has ended; ``outcome``: ``status`` and what else a later client should know."""
        with self._lock:
            self.ended = True
        ran_s = None if self._began_s is None else _clock_s() - self._began_s
        try:
            _write(self.folder / "end.json", {**outcome, "ended_unix_s": time.time(), "ran_s": ran_s, "events": self.events})
        except OSError:
            self._mark("end.json")  # the disk is full: that it has ended is known all the same

    def close(self) -> None:
        """No output is expected; one that comes all the same begins another piece."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def claim(self) -> None:
        """Somebody has the results: only the outputs are kept, for a while."""
        claim(self.folder)

    def _next_piece(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._piece > 1:
            self._tail.append((self._piece, self._written))
        while len(self._tail) >= TAIL_PIECES or sum(size for _piece, size in self._tail) > LARGE_BYTES:
            (self.folder / _EVENTS.format(self._tail.popleft()[0])).unlink(missing_ok=True)
        self._piece += 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._path = self.folder / _EVENTS.format(self._piece)
        self._file = os.open(self._path, flags, 0o600)
        self._written, self._room = 0, HEAD_BYTES if self._piece == 1 else PIECE_BYTES

    def _mark(self, name: str) -> None:
        _mark(self.folder / name)


def claim(folder: Path, by: str = "") -> None:
    """The run in ``folder`` has been brought home, to the notebook ``by``. Older such runs beyond the last few are removed."""
    _mark(folder / "claimed")
    if by:
        with suppress(OSError):  # a full disk: that it was fetched is known all the same
            (folder / "claimed").write_text(by[:MOST_NAME], "utf-8")
    for name in ("result", "orphan"):
        (folder / name).unlink(missing_ok=True)
    done = sorted(folder.parent.glob("*/claimed"), key=lambda path: path.stat().st_mtime_ns)
    for old in done[:-MOST_CLAIMED]:
        shutil.rmtree(old.parent, ignore_errors=True)


def _read_event(path: Path, at: int, size: int, run: str) -> tuple[Meta, list[memoryview]] | None:
    """An ``event`` frame, from the file that it was written to; None if that was given up since."""
    try:
        with path.open("rb") as file:
            file.seek(at)
            frame = whole_frame(file.read(size))
    except OSError:
        return None
    if frame is None:
        return None
    meta, buffers, _size = frame
    return {"op": "event", "message": meta["message"], "run": run, "n": meta["n"]}, buffers


def _clock_s() -> float:
    """Of a clock that nobody can set, and that goes on while the machine sleeps: how long a cell ran is paid for."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _mark(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError:
        pass


def _write(path: Path, content: dict[str, Any]) -> None:
    """Whoever sees ``path`` sees all of it."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
    part.replace(path)

"""What the worker's watchdog has decided, and why: lines of JSON in the worker's folder, and the last ones in its status."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cellferry.worker.lease import boottime

FILE = "decisions.jsonl"
MOST_BYTES = 128 << 10
"""A file that has grown beyond this keeps its newer half."""
REMEMBERED = 200


class Decisions:
    """Safe to use from every thread. A full disk costs the line in the file, never the decision."""

    def __init__(
        self, folder: Path, clock: Callable[[], float] = boottime, wall: Callable[[], float] = time.time
    ) -> None:
        self._path, self._clock, self._wall = folder / FILE, clock, wall
        self._lock = threading.Lock()
        self._last: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)

    def note(self, decision: str, reason: str) -> None:
        """One decision: when (``unix_s``, and ``clock_s`` on a clock that also runs while the machine sleeps), what and why."""
        line = {"unix_s": round(self._wall(), 3), "clock_s": round(self._clock(), 3), "decision": decision, "reason": reason}
        with self._lock:
            self._last.append(line)
            try:
                self._write(json.dumps(line).encode() + b"\n")
            except OSError:
                pass

    def last(self, most: int = 20) -> list[dict[str, Any]]:
        """The newest, oldest first."""
        with self._lock:
            return list(self._last)[-most:]

    def _write(self, line: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line)
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if size > MOST_BYTES:
            kept = self._path.read_bytes()[-MOST_BYTES // 2 :]
            part = self._path.with_name(FILE + ".part")
            part.write_bytes(kept[kept.index(b"\n") + 1 :])
            part.chmod(0o600)
            part.replace(self._path)

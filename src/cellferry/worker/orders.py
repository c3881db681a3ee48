"""One order for an environment, over as many connections as it takes: its client sends it again when the connection broke.

The files that are here stay, a piece of one included, and what is being built goes on and is built once.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cellferry.environment.building import Built
from cellferry.errors import CellferryError, EnvironmentNotBuilt
from cellferry.parcels.wire import Channel, WireClosed

BEAT_S = 2.0
"""How often a client that waits is given a sign of life."""
KEEP_S = 3600.0
"""How long the files are kept of a client that was cut off while it sent them, and did not come back."""

Build = Callable[[Path, bool, Callable[[str], None]], Built | None]
"""(the folder of the lock's files, whether they are all there, progress) -> what was made; None: it needs the files. May raise."""
Settle = Callable[[Built | Exception], dict[str, Any]]
"""Called once, with what was made or why not: the frame for the client."""


class WorkerEnds(Exception):
    """Raised by ``Build``: its installer was ended with this worker. Nobody is told: why the worker ends says more."""


class Order:
    """Made for each ticket. ``serve`` may be called from several threads; the latest connection counts.

    ``needed``: whether the files are needed, as far as it can be told before it is this order's turn.
    """

    def __init__(
        self, home: Path, files: Sequence[Mapping[str, Any]], needed: Callable[[], bool], build: Build, settle: Settle
    ) -> None:
        """Raises OSError on a full disk."""
        self._files, self._needed, self._build, self._settle = files, needed, build, settle
        self._folder = Path(tempfile.mkdtemp(dir=home, prefix="lock-"))
        self._changed = threading.Condition()
        self._receiving = threading.Lock()
        self._channel: Channel | None = None
        self._at_work = self._whole = False
        self._line, self._lines = "", 0
        self._outcome: dict[str, Any] | None = None
        self._left_s = time.monotonic()

    @property
    def ended(self) -> bool:
        return self._outcome is not None

    @property
    def forsaken(self) -> bool:
        """Whether nothing goes on, and nobody has come for long."""
        idle = not self._at_work and not self.ended and self._channel is None
        return idle and time.monotonic() - self._left_s > KEEP_S

    def remove(self) -> None:
        """Take its files away."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def serve(self, channel: Channel) -> None:
        """Take the files that are missing, tell how it gets on, and how it ended. Raises WireClosed when the client is gone, or
        has come over another connection; the order goes on."""
        with self._changed:
            before, self._channel = self._channel, channel
            self._changed.notify_all()
        if before is not None:
            before.close()
        try:
            while not self._report(channel):
                with self._receiving:
                    if not self._at_work and not self.ended:
                        self._begin(channel)
        finally:
            with self._changed:
                if self._channel is channel:
                    self._channel, self._left_s = None, time.monotonic()

    def _report(self, channel: Channel) -> bool:
        """Until it has ended (True), or files are needed (False)."""
        told = 0
        while True:
            with self._changed:
                self._wait(channel, told)
                if channel is not self._channel:
                    raise WireClosed("its client has come over another connection")
                outcome, at_work, line, lines = self._outcome, self._at_work, self._line, self._lines
            if outcome is not None:
                channel.send(outcome)
                return True
            if not at_work:
                return False
            channel.send({"op": "progress", "text": line} if lines != told else {"op": "beat"})
            told = lines

    def _wait(self, channel: Channel, told: int) -> None:
        self._changed.wait_for(lambda: channel is not self._channel or not self._at_work or self._lines != told, BEAT_S)

    def _begin(self, channel: Channel) -> None:
        """Take the files, and build beside the connection."""
        try:
            if self._needed():
                _receive(channel, self._folder, self._files)
                self._whole = True
        except WireClosed:
            raise
        except (CellferryError, OSError) as error:
            self._end(error)
            return
        self._at_work = True
        try:
            threading.Thread(target=self._work, name="cellferry-build", daemon=True).start()
        except (RuntimeError, MemoryError) as error:
            self._end(error)

    def _work(self) -> None:
        try:
            built = self._build(self._folder, self._whole, self._heard)
        except WorkerEnds:
            return
        except Exception as error:  # its client waits for a word, whatever it is
            self._end(error)
            return
        if built is not None:
            self._end(built)
            return
        with self._changed:
            self._at_work = False
            self._changed.notify_all()

    def _end(self, how: Built | Exception) -> None:
        self.remove()
        outcome = self._settle(how)
        with self._changed:
            self._outcome, self._at_work = outcome, False
            self._changed.notify_all()

    def _heard(self, line: str) -> None:
        with self._changed:
            self._line, self._lines = line, self._lines + 1
            self._changed.notify_all()


def _receive(channel: Channel, folder: Path, files: Sequence[Mapping[str, Any]]) -> None:
    """The files that travel with a lock: those of this machine are linked, of the others what is not here yet is asked for."""
    missing = [str(file["name"]) for file in files if not _inside(folder, file["name"]).exists() and not _linked(folder, file)]
    parts = {name: _part(_inside(folder, name)) for name in missing}
    have = {name: part.stat().st_size for name, part in parts.items() if part.exists()}
    channel.send({"op": "want", "files": missing, "have": have})
    for name, part in parts.items():
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as out:
            while True:
                meta, buffers = channel.recv()
                out.write(buffers[0] if buffers else b"")
                if meta.get("last"):
                    break
        part.replace(_inside(folder, name))  # uv checks it against the lock's digest


def _linked(folder: Path, file: Mapping[str, Any]) -> bool:
    """Use a client's file where it lies, if this is its machine; uv checks it against the lock's digest."""
    path = Path(str(file.get("path") or ""))
    if not file.get("path") or not os.access(path, os.R_OK):
        return False
    target = _inside(folder, file["name"])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(path)
    return True


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def _inside(folder: Path, name: str) -> Path:
    target = Path(os.path.normpath(folder / name))
    if not target.is_relative_to(folder):
        raise EnvironmentNotBuilt(f"the lock names a file outside of its folder: {name}")
    return target

"""Save what a running cell has made, now and then, from a thread beside it; and give it back to a cell that is retried.

The cell is never stopped for it: a value is pickled while this thread has the interpreter. What goes wrong is a line under
the cell, and the next time it is tried again.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import types
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xxhash

from cellferry.guest.storing import fetch, leave
from cellferry.parcels.checkpoint import (
    FILES,
    INDEX,
    PLACE,
    RESTORED,
    RUNS,
    SAVED,
    Restored,
    add_file,
    dump,
    read_index,
    unpack_files,
)

LEAST_S = 0.2
LAST_S = 5.0
"""How long the end of a cell waits for a checkpoint that is being written."""
SPARE_BYTES = 64 << 20
"""So much of the disk stays free: a checkpoint must not be what fills it."""
OLD_RUNS = 3
"""Runs whose checkpoints stay on this disk after the running one; a client may come back to retry them."""
MOST_IN_ONE_BYTES = 5 << 30
"""The most that S3 takes in one request."""
_SKIPPED = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type, Restored)
_TRIES = 3

Values = Callable[[], Mapping[str, Any]]


def place_without_run(folder: Path) -> str:
    """What ``PLACE`` is while no cell with checkpoints runs."""
    return str(folder / RUNS / "none")


class Saver:
    """The checkpoints of one run, as the client ``told`` (see ``again.words`` and ``link.checkpoints``)."""

    def __init__(self, told: dict[str, Any], folder: Path, say: Callable[[str], None]) -> None:
        self._told, self._say = told, say
        self._home = folder
        self._place = folder / RUNS / told["run"]
        self._every_s = max(LEAST_S, float(told["every_s"]))
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._said: set[str] = set()
        self._digest = b""
        self._number = 0
        self.made = 0

    def renew(self, told: dict[str, Any]) -> None:
        """Newer orders for the store; the others may soon be too old."""
        if told.get("run") == self._told["run"]:
            self._told = {**self._told, **told}

    # -- before and after the cell ------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the place, and put there what an earlier try has saved. On the main thread, before the cell."""
        self._forget_old()
        self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ[PLACE] = str(self._place)
        restored = self._place / RESTORED
        restored.unlink(missing_ok=True)
        if not self._told["resumes"]:
            return
        try:
            if self._find(restored):
                index = read_index(restored)
                unpack_files(restored, self._place / FILES)
                self._number = int(index["number"])
                age_s = max(0.0, time.time() - float(index["at_unix_s"]))
                names = ", ".join(index["values"]) or "the files of checkpoint_dir"
                self._say(
                    f"checkpoint {self._number}, saved {age_s:.0f} s ago, is there for cellferry.restored(): {names}"
                )
            else:
                self._say("nothing had been saved before: the cell begins anew")
        except Exception as exc:
            restored.unlink(missing_ok=True)
            self._say(f"the checkpoint cannot be restored, the cell begins anew: {type(exc).__name__}: {exc}")

    def _find(self, restored: Path) -> bool:
        """Bring the newest checkpoint of this run to ``restored``: from this disk, else from the store."""
        saved = self._place / SAVED
        if saved.exists():
            os.link(saved, restored)  # a newer one replaces the other name alone
            return True
        order = self._told.get("restore")
        if not order:
            return False
        latest = self._place / "latest.part"
        try:
            if not fetch(order["latest"], latest):
                return False
            newest = json.loads(latest.read_text("utf-8"))
            if not fetch(order["slots"][newest["slot"]], restored):
                raise OSError(f"checkpoint {newest['number']} is not in the store any more")
        finally:
            latest.unlink(missing_ok=True)
        return True

    def _forget_old(self) -> None:
        try:
            runs = sorted((self._home / RUNS).iterdir(), key=lambda run: run.stat().st_mtime, reverse=True)
        except OSError:
            return
        for run in [run for run in runs if run != self._place][OLD_RUNS:]:
            shutil.rmtree(run, ignore_errors=True)

    def start(self, values: Values) -> None:
        """Save ``values()`` from now on, until ``stop``."""
        self._thread = threading.Thread(target=self._work, args=(values,), name="cellferry-checkpoint", daemon=True)
        self._thread.start()

    def stop(self, *, well: bool) -> None:
        """The cell is over; ``well``: nobody will need what was saved."""
        self._over.set()
        try:
            if self._thread is not None:
                self._thread.join(LAST_S)
        except KeyboardInterrupt:
            pass  # it came too late for the cell
        os.environ[PLACE] = place_without_run(self._home)
        if well:
            shutil.rmtree(self._place, ignore_errors=True)

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _work(self, values: Values) -> None:
        wait_s = self._every_s
        while not self._over.wait(wait_s):
            began = time.monotonic()
            try:
                if self._save(values()):
                    self._upload()
            except Exception as exc:
                if not self._over.is_set():
                    self._once(f"checkpoint {self._number + 1} was not saved: {type(exc).__name__}: {exc}")
            wait_s = max(LEAST_S, self._every_s - (time.monotonic() - began))

    def _save(self, values: Mapping[str, Any]) -> bool:
        """Write a checkpoint beside the last one; False if nothing is new since."""
        part = self._place / "saving.part"
        digest, members = xxhash.xxh3_128(), dict[str, str]()
        try:
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for name, value in values.items():
                    if self._over.is_set():
                        return False
                    dumped = self._dumped(name, value)
                    if dumped is not None:
                        member, data = dumped
                        self._check_room(len(data))
                        members[name] = member
                        digest.update(f"{member} {len(data)} ".encode())
                        digest.update(data)
                        archive.writestr(member, data)
                self._add_files(archive, digest)
                index = {"number": self._number + 1, "at_unix_s": time.time(), "values": members}
                archive.writestr(INDEX, json.dumps(index))
            if digest.digest() == self._digest:
                return False
            part.replace(self._place / SAVED)
        finally:
            part.unlink(missing_ok=True)
        self._digest, self._number = digest.digest(), self._number + 1
        self.made += 1
        return True

    def _dumped(self, name: str, value: Any) -> tuple[str, bytes] | None:
        if issubclass(type(value), _SKIPPED):
            return None
        for _try in range(_TRIES):
            try:
                return dump(name, value)
            except RuntimeError as exc:  # it changed size while it was looked at
                failed: Exception = exc
            except Exception as exc:
                failed = exc
                break
        self._once(f"{name} is not part of the checkpoints: {type(failed).__name__}: {failed}"[:300])
        return None

    def _add_files(self, archive: zipfile.ZipFile, digest: Any) -> None:
        folder = self._place / FILES
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_symlink() or not path.is_file():
                continue
            name = path.relative_to(folder).as_posix()
            self._check_room(path.stat().st_size)
            stamp = add_file(archive, path, name)
            digest.update(f"{name} {stamp} ".encode())

    def _check_room(self, size_bytes: int) -> None:
        if shutil.disk_usage(self._place).free < size_bytes + SPARE_BYTES:
            raise OSError(f"no room for {size_bytes / (1 << 20):.0f} MiB on the worker's disk")

    def _upload(self) -> None:
        saved, told = self._place / SAVED, self._told
        size = saved.stat().st_size
        if "slots" not in told:
            where = "on the worker: it survives the kernel, not the machine (c.Cellferry.artifact_store makes it survive both)"
            self._once("checkpoints stay here", f"checkpoint {self._number} ({_size(size)}) lies {where}")
            return
        slot = self._number % len(told["slots"])
        order = told["slots"][slot]
        if "put" in order and size > MOST_IN_ONE_BYTES:
            raise OSError(
                f"{_size(size)} is more than the store takes at once; it lies on the worker (checkpoint_names= saves less)"
            )
        leave(saved, order, lambda: not self._over.is_set())
        latest = self._place / "latest.part"
        latest.write_text(json.dumps({"number": self._number, "slot": slot, "at_unix_s": time.time()}), "utf-8")
        leave(latest, told["latest"], lambda: not self._over.is_set())
        latest.unlink()
        self._once(
            f"checkpoints go to {told['place']}/", f"checkpoint {self._number} ({_size(size)}) is in {told['place']}/"
        )

    def _once(self, what: str, shown: str = "") -> None:
        """Say it under the cell, once for each ``what``."""
        if what not in self._said:
            self._said.add(what)
            self._say(shown or what)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB" if size_bytes >= 1 << 19 else f"{size_bytes} B"

"""The worker's end of making environments: takes a lock from a client, builds, and tells the kernel.

Clients come over connections of their own (see ``desk``), so that an environment is built while the kernel boots and data
arrives. The words on this connection are frames (``parcels.wire``):

    client: environment (ticket, key, lock, wanted, files, credentials) | wheel (a piece of a file) | versions
    worker: want (files that are not here) | progress | built (versions, seconds) | failed | versions
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cellferry.environment.building import Built, build
from cellferry.environment.instances import Instance, tidy, versions
from cellferry.environment.lock import NAME
from cellferry.errors import CellferryError, EnvironmentNotBuilt
from cellferry.parcels.wire import Channel
from cellferry.worker.foreign import look_into

Tell = Callable[[dict[str, Any]], None]


class Environments:
    """One for each worker. ``instance`` is None where the kernel runs in an environment that is not ours to change."""

    def __init__(self, folder: Path, instance: Instance | None, argv: Sequence[str], tell: Tell) -> None:
        self._folder, self._instance, self._python, self._tell = folder, instance, argv[0], tell
        self._one_at_a_time = threading.Lock()
        if instance is not None:
            threading.Thread(target=tidy, args=(instance.folder.parent,), name="cellferry-tidy", daemon=True).start()

    def serve(self, channel: Channel, meta: dict[str, Any]) -> None:
        """Answer one frame of a client. Raises WireClosed when it leaves."""
        if meta["op"] == "environment":
            self._environment(channel, meta)
        else:
            channel.send({"op": "versions", **self._versions()})

    def _environment(self, channel: Channel, meta: dict[str, Any]) -> None:
        try:
            built = self._build(channel, meta)
        except (CellferryError, OSError) as error:
            what, advice = (error.what, error.advice) if isinstance(error, CellferryError) else (str(error), "")
            self._tell({"op": "packages", "ticket": meta["ticket"], "ok": False})
            channel.send({"op": "failed", "what": what, "advice": advice})
            return
        assert self._instance is not None
        self._tell({"op": "packages", "ticket": meta["ticket"], "ok": True, "site": str(self._instance.site)})
        channel.send({"op": "built", "versions": built.versions, "seconds": built.seconds})

    def _build(self, channel: Channel, meta: dict[str, Any]) -> Built:
        instance = self._instance
        if instance is None:
            raise EnvironmentNotBuilt(
                "this worker's kernel runs in an environment that was there before",
                "end it, and let one be made: %remote down, then %%remote env=auto",
            )
        with self._one_at_a_time, tempfile.TemporaryDirectory(dir=self._folder, prefix="lock-") as place:
            folder = Path(place)
            if instance.key != meta["key"]:  # otherwise it is there already, and nothing is needed for it
                self._receive(channel, folder, meta["files"])
            (folder / NAME).write_text(meta["lock"], "utf-8")
            credentials = {host: (user, word) for host, (user, word) in meta["credentials"].items()}
            return build(
                instance.folder.parent, instance, meta["key"], folder, meta["wanted"], credentials,
                lambda line: channel.send({"op": "progress", "text": line}),
            )  # fmt: skip

    def _receive(self, channel: Channel, folder: Path, files: Sequence[Mapping[str, Any]]) -> None:
        """The files that travel with a lock: those of this machine are linked, the others asked for."""
        missing = [file["name"] for file in files if not _linked(folder, file)]
        channel.send({"op": "want", "files": missing})
        for name in missing:
            target = _inside(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                while True:
                    meta, buffers = channel.recv()
                    out.write(buffers[0] if buffers else b"")
                    if meta.get("last"):
                        break  # uv checks it against the lock's digest

    def _versions(self) -> dict[str, Any]:
        """What the kernel's environment holds, and its Python."""
        if self._instance is not None:
            python = self._instance.site.parent.name.removeprefix("python")
            return {"python": python, "versions": versions(self._instance.site), "own": True}
        try:
            python, found = look_into(self._python)
        except subprocess.CalledProcessError:
            python, found = "", {}
        return {"python": python, "versions": found, "own": False}


def _linked(folder: Path, file: Mapping[str, Any]) -> bool:
    """Use a client's file where it lies, if this is its machine; uv checks it against the lock's digest."""
    path = Path(str(file.get("path") or ""))
    if not file.get("path") or not os.access(path, os.R_OK):
        return False
    target = _inside(folder, file["name"])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(path)
    return True


def _inside(folder: Path, name: str) -> Path:
    target = Path(os.path.normpath(folder / name))
    if not target.is_relative_to(folder):
        raise EnvironmentNotBuilt(f"the lock names a file outside of its folder: {name}")
    return target

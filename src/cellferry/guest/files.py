"""The remote working directory: which files a cell wrote, and their way over the link."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_STEP_BYTES = 4 << 20
_MOST_FILES = 10_000
_NEVER = frozenset(["__pycache__", ".ipynb_checkpoints", ".git", "node_modules"])

Stamp = tuple[int, int]
"""(mtime in ns, bytes)."""


class WorkFiles:
    """Files under ``root`` and how they looked when the client last knew them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.known: dict[str, Stamp] = dict(self._scan())

    def changed(self) -> list[dict[str, Any]]:
        """Files new or changed since the last call (or ``receive``): path relative to the root, bytes, mtime."""
        now = dict(self._scan())
        found = [
            {"path": path, "size": stamp[1], "mtime_ns": stamp[0]}
            for path, stamp in now.items()
            if self.known.get(path) != stamp
        ]
        self.known = now
        return sorted(found, key=lambda file: str(file["path"]))

    def receive(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        """Write a piece of a file from the client at its offset; the last piece makes it known as it is."""
        target = self._inside(meta["path"])
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("r+b" if meta["at"] and target.exists() else "wb") as file:
            file.seek(meta["at"])
            file.write(buffers[0])
        if meta.get("last"):
            status = target.stat()
            self.known[meta["path"]] = (status.st_mtime_ns, status.st_size)

    def send(self, path: str, send: Callable[..., None]) -> None:
        """Stream a file as ``file`` frames of 4 MiB; an error travels in place of the rest."""
        try:
            with self._inside(path).open("rb") as file:
                at = 0
                while piece := file.read(_STEP_BYTES):
                    send({"op": "file", "path": path, "at": at}, [piece])
                    at += len(piece)
            send({"op": "file", "path": path, "at": at, "last": True})
        except OSError as exc:
            send({"op": "file", "path": path, "error": str(exc), "last": True})

    def _inside(self, path: str) -> Path:
        target = (self.root / path).resolve()
        if not target.is_relative_to(self.root.resolve()):
            raise OSError(f"{path} is outside of the working directory")
        return target

    def _scan(self) -> Iterator[tuple[str, Stamp]]:
        stack, count = [str(self.root)], 0
        while stack:
            try:
                with os.scandir(stack.pop()) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            if entry.name not in _NEVER:
                                stack.append(entry.path)
                        elif entry.is_file(follow_symlinks=False):
                            status = entry.stat(follow_symlinks=False)
                            yield os.path.relpath(entry.path, self.root), (status.st_mtime_ns, status.st_size)
                            count += 1
                            if count >= _MOST_FILES:
                                return
            except OSError:
                continue

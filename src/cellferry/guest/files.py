"""The remote working directory: which files a cell wrote, and their way over the link."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import xxhash

from cellferry.guest.storing import store
from cellferry.parcels.filechunks import STEP_BYTES, file_digests, is_part, part_of, read_full, wrong_names

WORK = Path("up", "up", "work")
"""Below the folder that cells may reach: so deep that ``../../../data`` still names a place inside of it."""

_MOST_FILES = 10_000
_NEVER = frozenset(["__pycache__", ".ipynb_checkpoints", ".git", "node_modules"])

Stamp = tuple[int, int]
"""(mtime in ns, bytes)."""

Send = Callable[..., None]


class WorkFiles:
    """Files under ``root`` and how they looked when the client last knew them.

    ``around``: the folder that paths with ``..`` may reach; the working directory lies three folders down in it.
    """

    def __init__(self, around: Path) -> None:
        self.around = around
        self.root = around / WORK
        self._bounds = os.path.realpath(around)
        self.known: dict[str, Stamp] = dict(self._scan())
        self.removed: set[str] = set()
        """Files that cells have removed, as far as a look at the folder after each cell shows it."""
        self._failed: dict[str, OSError] = {}

    def changed(self) -> list[dict[str, Any]]:
        """Files new or changed since the last call (or since they came): path relative to the root, bytes, mtime."""
        now = dict(self._scan())
        found = [
            {"path": path, "size": stamp[1], "mtime_ns": stamp[0]}
            for path, stamp in now.items()
            if self.known.get(path) != stamp
        ]
        if len(now) < _MOST_FILES:
            self.removed |= self.known.keys() - now.keys()
        self.known = now
        return sorted(found, key=lambda file: str(file["path"]))

    def listing(self) -> list[dict[str, Any]]:
        """Every file below the root: path and bytes."""
        return [{"path": path, "size": stamp[1]} for path, stamp in sorted(self._scan())]

    def sums(self, paths: list[str]) -> tuple[list[Any], list[bytes]]:
        """For each path: its bytes (-1 if there is no such file) and the digests of its chunks.

        Of a file that had begun to arrive and is not whole yet: the digests of what is there.
        """
        sizes, digests, known = [], [], dict[str, str]()
        for path in paths:
            size, found = -1, b""
            try:
                target = self._inside(path, known)
                if target.is_file():
                    size, found = target.stat().st_size, file_digests(target)
                else:
                    found = file_digests(part_of(target))
            except OSError:
                pass  # neither the file nor a part of it
            sizes.append(size)
            digests.append(found)
        return sizes, digests

    def seen(self, paths: list[str]) -> list[int]:
        """Bytes of files named by absolute paths, -1 where this machine has none."""
        found = []
        for path in paths:
            try:
                found.append(os.stat(path).st_size)  # noqa: PTH116 - a text from the client, not one of our paths
            except OSError:
                found.append(-1)
        return found

    def wrong(self, path: str, chunks: list[int], names: bytes) -> list[int]:
        """Those of the chunks of a file (or of what there is of it) that have another BLAKE3 name than they should."""
        try:
            target = self._inside(path)
        except OSError:
            return chunks
        return wrong_names(target if target.is_file() else part_of(target), chunks, names)

    def receive(self, pieces: list[list[Any]], buffers: list[Any]) -> None:
        """Write pieces ``[path, offset]`` of files; the last buffer holds the digest of each.

        A file that is there is changed in place; a new one gets its name when it is whole (``placed``). What goes wrong
        is told there, too: nobody waits for an answer here.
        """
        sums, known = bytes(buffers[-1]), dict[str, str]()
        for index, (path, at) in enumerate(pieces):
            try:
                if xxhash.xxh3_128_digest(buffers[index]) != sums[index * 16 : index * 16 + 16]:
                    raise OSError(f"a piece of {path} is not what was sent")
                target = self._inside(path, known)
                if not target.is_file():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target = part_of(target)
                with open(os.open(target, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0) as file:  # noqa: PTH123
                    file.seek(at)
                    view = memoryview(buffers[index])
                    while view:
                        view = view[file.write(view) :]
            except OSError as exc:
                self._failed.setdefault(path, exc)

    def placed(self, files: list[list[Any]]) -> dict[str, list[Any]]:
        """All pieces of ``[path, bytes, mtime in ns, executable]`` are here; returns [errno, text] of those that failed."""
        failed, known = dict[str, list[Any]](), dict[str, str]()
        for path, size, mtime_ns, executable in files:
            try:
                if path in self._failed:
                    raise self._failed.pop(path)
                target = self._inside(path, known)
                if not target.is_file():
                    part_of(target).rename(target)
                status = target.stat()
                if status.st_size != size:
                    os.truncate(target, size)
                if executable:
                    target.chmod(status.st_mode | 0o100)
                os.utime(target, ns=(mtime_ns, mtime_ns))
                self.known[path] = (target.stat().st_mtime_ns, size)
            except OSError as exc:
                failed[path] = [exc.errno, str(exc)]
        return failed

    def send(self, number: int, ranges: list[list[Any]], send: Send) -> None:
        """Send ``[path, offset, bytes]`` of files as ``file`` frames of about 4 MiB; errors travel in the last one.

        ``number`` names the request in each frame: its answers may outlive the client's interest in them.
        """
        errors, known = dict[str, str](), dict[str, str]()
        pieces: list[list[Any]] = []
        buffers: list[bytearray] = []
        ready = 0

        def flush() -> None:
            nonlocal ready
            if pieces:
                sums = b"".join(xxhash.xxh3_128_digest(buffer) for buffer in buffers)
                send({"op": "file", "number": number, "pieces": pieces}, [*buffers, sums])
            pieces.clear()
            buffers.clear()
            ready = 0

        for path, at, size in ranges:
            if ready + size > STEP_BYTES:
                flush()
            try:
                buffers.append(self._read(self._inside(path, known), at, size))
            except OSError as exc:
                errors[path] = str(exc)
                continue
            pieces.append([path, at])
            ready += size
        flush()
        send({"op": "file", "number": number, "last": True, "errors": errors})

    def store(self, number: int, order: dict[str, Any], send: Send) -> None:
        """Bring a file into the artifact store, in a thread of its own: the link goes on meanwhile."""
        threading.Thread(
            target=lambda: send({"op": "stored", "number": number, **store(self._inside, order)}),
            name="cellferry-store",
            daemon=True,
        ).start()

    def _read(self, target: Path, at: int, size: int) -> bytearray:
        buffer = bytearray(size)
        with target.open("rb", buffering=0) as file:
            file.seek(at)
            if read_full(file, memoryview(buffer)) != size:
                raise OSError(f"{target.name} became shorter while it was read")
        return buffer

    def _inside(self, path: str, known: dict[str, str] | None = None) -> Path:
        """Where a path of the client leads, links followed; raises OSError for what lies outside.

        ``known``: folders that the same request has resolved before.
        """
        folder, name = os.path.split(path)
        real = None if known is None else known.get(folder)
        if real is None:
            real = self._checked(path, folder)
            if known is not None:
                known[folder] = real
        target = f"{real}/{name}"
        if name in ("", ".", "..") or os.path.islink(target):  # noqa: PTH114 - thousands of files in one request
            target = self._checked(path, path)
        return Path(target)

    def _checked(self, path: str, place: str) -> str:
        real = os.path.realpath(self.root / place)
        if real != self._bounds and not real.startswith(self._bounds + "/"):
            raise OSError(f"{path} is outside of the working directory")
        return real

    def _scan(self) -> Iterator[tuple[str, Stamp]]:
        stack, count = [str(self.root)], 0
        while stack:
            try:
                with os.scandir(stack.pop()) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            if entry.name not in _NEVER:
                                stack.append(entry.path)
                        elif entry.is_file(follow_symlinks=False) and not is_part(entry.name):
                            status = entry.stat(follow_symlinks=False)
                            yield os.path.relpath(entry.path, self.root), (status.st_mtime_ns, status.st_size)
                            count += 1
                            if count >= _MOST_FILES:
                                return
            except OSError:
                continue


class FileWords:
    """What a link does with the words about files, in its own thread."""

    cells: Any
    send: Send

    def _on_put(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.cells.files.receive(meta["pieces"], buffers)

    def _on_placed(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.send({"op": "placed", "failed": self.cells.files.placed(meta["files"])})

    def _on_from_home(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.cells.home_folder.answered(meta)

    def _on_digests(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        sizes, digests = self.cells.files.sums(meta["paths"])
        self.send({"op": "digests", "sizes": sizes}, digests)

    def _on_check(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        wrong = self.cells.files.wrong(meta["path"], meta["chunks"], bytes(buffers[0]))
        self.send({"op": "check", "wrong": wrong})

    def _on_seen(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.send({"op": "seen", "sizes": self.cells.files.seen(meta["paths"])})

    def _on_listing(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.send({"op": "listing", "files": self.cells.files.listing()})

    def _on_take(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.cells.files.send(meta["number"], meta["ranges"], self.send)

    def _on_store(self, meta: dict[str, Any], buffers: list[Any]) -> None:
        self.cells.files.store(meta["number"], meta["order"], self.send)

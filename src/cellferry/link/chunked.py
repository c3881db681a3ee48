"""Files over a link, in pieces: only chunks that the other end has not, never more than a few MiB in memory.

Nothing is remembered here: what the other end has of a file is asked, so a transfer that was cut goes on where it
stopped, whoever cut it.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from cellferry.errors import ChunkMismatch, DiskFull, ParcelError
from cellferry.link.beneath import Place, mark_came, same_file
from cellferry.link.session import KernelLink
from cellferry.parcels.filechunks import (
    STEP_BYTES,
    Range,
    chunk_names,
    file_digests,
    missing_ranges,
    part_of,
    read_full,
    same_chunks,
)
from cellferry.parcels.leaves import CHUNK_BYTES

_WINDOW_BYTES = 8 << 20
_MOST_IN_FRAME = 256
_WINDOWS = 2
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

Moved = Callable[[int], None]
_numbers = itertools.count(1)


def send_files(link: KernelLink, folder: Path, names: Sequence[str], moved: Moved) -> int:
    """Bring these files to the worker as they are here now; returns the bytes that travelled.

    ``moved`` is told of bytes that need not travel, too. Raises DiskFull (the worker's), ParcelError, OSError.
    """
    if not names:
        return 0
    plans = _plans_out(link, folder, names, moved)
    with _Sending(link) as out:
        for name, ranges in plans.items():
            with (folder / name).open("rb", buffering=0) as file:
                for at, size in ranges:
                    moved(out.add(name, at, size, file))
    link.tell({"op": "placed", "files": rows_of(folder, names)})
    failed = link.wait("placed")[0]["failed"]
    for name, (number, text) in failed.items():
        if number in _NO_ROOM:
            raise DiskFull(f"no space is left on the worker for {name}", "free some there, or name fewer files")
        raise ParcelError(f"{name} could not be written on the worker: {text}", "run the cell again")
    return out.sent_bytes


def rows_of(folder: Path, names: Sequence[str]) -> list[list[Any]]:
    """How the worker is to leave these files when all of each is there: path, bytes, mtime in ns, executable."""
    rows = []
    for name in names:
        status = (folder / name).stat()
        rows.append([name, status.st_size, status.st_mtime_ns, bool(status.st_mode & 0o100)])
    return rows


def push_files(link: KernelLink, folder: Path, names: Sequence[str], moved: Moved) -> int:
    """Send whole files that the worker has nothing of, without waiting for a word of it; returns the bytes. Raises OSError."""
    with _Sending(link) as out:
        for name in names:
            size = (folder / name).stat().st_size
            with (folder / name).open("rb", buffering=0) as file:
                for at, length in missing_ranges(size, []):
                    moved(out.add(name, at, length, file))
    return out.sent_bytes


def _plans_out(link: KernelLink, folder: Path, names: Sequence[str], moved: Moved) -> dict[str, list[Range]]:
    """What of each file must travel; the worker is asked what it has of them."""
    link.tell({"op": "digests", "paths": list(names)})
    _meta, theirs = link.wait("digests")
    plans = {}
    for name, digests in zip(names, theirs, strict=True):
        path, size = folder / name, (folder / name).stat().st_size
        same = same_chunks(file_digests(path), bytes(digests)) if digests else []
        if same:
            link.tell({"op": "check", "path": name, "chunks": same}, [chunk_names(path, same)])
            same = sorted(set(same) - set(link.wait("check")[0]["wrong"]))
        plans[name] = missing_ranges(size, same)
        moved(size - sum(length for _at, length in plans[name]))
    return plans


class _Sending:
    """Gathers pieces into ``put`` frames of about 4 MiB. Few buffers serve all of them: each is used again when the worker
    has what was in it, for until then it may have to be sent again."""

    def __init__(self, link: KernelLink) -> None:
        self._link = link
        self._memory = memoryview(bytearray(STEP_BYTES))
        self._lent: deque[tuple[int, memoryview]] = deque()
        self._used = 0
        self._pieces: list[list[Any]] = []
        self._views: list[memoryview] = []
        self.sent_bytes = 0

    def __enter__(self) -> _Sending:
        return self

    def __exit__(self, kind: object, *_rest: object) -> None:
        if kind is None:
            self._flush()

    def add(self, name: str, at: int, size: int, file: Any) -> int:
        """Take one piece of a file; returns its bytes, fewer than ``size`` if it became shorter meanwhile."""
        if self._used + size > STEP_BYTES or len(self._pieces) >= _MOST_IN_FRAME:
            self._flush()
        view = self._memory[self._used : self._used + size]
        file.seek(at)
        view = view[: read_full(file, view)]
        self._used += len(view)
        self._pieces.append([name, at])
        self._views.append(view)
        return len(view)

    def _flush(self) -> None:
        if self._pieces:
            sums = b"".join(xxhash.xxh3_128_digest(view) for view in self._views)
            number = self._link.tell({"op": "put", "pieces": self._pieces}, [*self._views, sums])
            self._lent.append((number, self._memory))
            free = self._link.has_arrived(self._lent[0][0])
            self._memory = self._lent.popleft()[1] if free else memoryview(bytearray(STEP_BYTES))
        self.sent_bytes += self._used
        self._used, self._pieces, self._views = 0, [], []


@dataclass
class Coming:
    """A file on its way home: ``size`` bytes there under ``name``, to lie at ``place`` here.

    ``keep``: where what is at ``place`` now is kept. ``failed``: why it could not be written here.
    """

    name: str
    size: int
    place: Place
    keep: Place | None = None
    failed: str = ""
    left: int = 0
    ranges: list[Range] = field(default_factory=list)
    file: Any = None

    @property
    def part(self) -> Place:
        return self.place.beside(part_of(Path(self.place.last)).name)

    def plan(self, link: KernelLink, moved: Moved) -> None:
        """What must travel: nothing that an earlier attempt has brought, nor what the file here has already."""
        source = next((place for place in (self.part, self.place) if place.is_file()), None)
        self.ranges = missing_ranges(self.size, self._same(link, source) if source and self.size else [])
        self.left = len(self.ranges)
        moved(self.size - sum(length for _at, length in self.ranges))

    def _same(self, link: KernelLink, source: Place) -> list[int]:
        link.tell({"op": "digests", "paths": [self.name]})
        _meta, (theirs,) = link.wait("digests")
        with source.open() as old:
            same = same_chunks(file_digests(same_file(old)), bytes(theirs))
            if same:
                link.tell({"op": "check", "path": self.name, "chunks": same}, [chunk_names(same_file(old), same)])
                same = sorted(set(same) - set(link.wait("check")[0]["wrong"]))
            if source != self.part and same:
                self._take_over(old, same)
        return same

    def _take_over(self, old: Any, chunks: Sequence[int]) -> None:
        view = memoryview(bytearray(CHUNK_BYTES))
        with self.part.open(os.O_RDWR | os.O_CREAT | os.O_TRUNC) as new:
            for chunk in chunks:
                old.seek(chunk * CHUNK_BYTES)
                new.seek(chunk * CHUNK_BYTES)
                new.write(view[: read_full(old, view)])

    def write(self, at: int, data: Any) -> None:
        if self.file is None:
            self.file = self.part.open(os.O_RDWR | os.O_CREAT)
        self.file.seek(at)
        view = memoryview(data)
        while view:
            view = view[self.file.write(view) :]
        self.left -= 1
        if self.left == 0:
            self.finish()

    def finish(self) -> None:
        """All of it is here: give it its name."""
        if self.file is None:
            self.file = self.part.open(os.O_RDWR)
        self.file.truncate(self.size)
        mark_came(self.file)
        self.file.close()
        self.file = None
        if self.keep is not None:
            self.place.keep_at(self.keep)
        self.place.take_over(self.part)


def bring_files(link: KernelLink, files: Sequence[Coming], moved: Moved) -> None:
    """Bring files home; what has come of one stays beside its place if this is cut, and is taken up again by the next try.

    What cannot be written here is ``failed``, and the others come. Raises DiskFull (ours), ParcelError for a file that the
    worker cannot read, WorkerLost, KeyboardInterrupt.
    """
    by_name = {file.name: file for file in files}
    for file in files:
        _here(file, lambda file=file: file.plan(link, moved))  # type: ignore[misc]
        if not file.ranges and not file.failed:
            _here(file, file.finish)
    number, errors = next(_numbers), dict[str, str]()
    windows = _windows(files)
    asked = sum(_ask(link, number, window) for window in itertools.islice(windows, _WINDOWS))
    try:
        while asked:
            meta, buffers = link.wait("file")
            if meta["number"] != number:
                continue  # what an interrupted request left behind
            if meta.get("last"):
                errors |= meta["errors"]
                asked -= 1
                asked += sum(_ask(link, number, window) for window in itertools.islice(windows, 1))
                continue
            sums = bytes(buffers[-1])
            for index, (name, at) in enumerate(meta["pieces"]):
                data = buffers[index]
                if xxhash.xxh3_128_digest(data) != sums[index * 16 : index * 16 + 16]:
                    raise ChunkMismatch(
                        f"a piece of {name} is not what was sent; it was not used", f"%remote get {name}"
                    )
                if name not in by_name or not 0 <= at <= by_name[name].size - len(data):
                    raise ParcelError(f"the worker sent a piece of {name} that nobody asked for", "%remote down")
                if not by_name[name].failed:
                    _here(by_name[name], lambda n=name, a=at, d=data: by_name[n].write(a, d))  # type: ignore[misc]
                moved(len(data))
    finally:
        for file in files:
            if file.file is not None:
                file.file.close()
    for name, why in errors.items():
        raise ParcelError(
            f"{name} could not be read on the worker: {why}", f"look at it there: %%remote\n     !ls -l {name}"
        )


def _here(file: Coming, act: Callable[[], None]) -> None:
    """Do something to the file here; a full disk is told as such, and its part removed, for room is what is needed. What else
    the disk refuses is noted with the file."""
    try:
        act()
    except OSError as exc:
        if exc.errno not in _NO_ROOM:
            file.failed = exc.strerror or str(exc)
            return
        with suppress(OSError):
            file.part.remove()
        raise DiskFull(
            f"no space is left beside the notebook for {file.name}; it is safe on the worker",
            f"make room, then: %remote get {file.name}",
        ).not_again() from exc


def _windows(files: Sequence[Coming]) -> Iterator[list[list[Any]]]:
    """The ranges of all files in requests of at most 8 MiB, so that what is under way has a bound."""
    window: list[list[Any]] = []
    size = 0
    for file in files:
        for at, length in file.ranges if not file.failed else ():
            if window and (size + length > _WINDOW_BYTES or len(window) >= _MOST_IN_FRAME):
                yield window
                window, size = [], 0
            window.append([file.name, at, length])
            size += length
    if window:
        yield window


def _ask(link: KernelLink, number: int, ranges: list[list[Any]]) -> int:
    link.tell({"op": "take", "number": number, "ranges": ranges})
    return 1

"""A file's place below a folder, reached without following a link: each folder on the way is opened by itself.

What the kernel's ``openat2`` does with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, for every Linux: names with ``..`` are refused,
and a link on the way, or at the end of it, is an OSError with ``errno`` ELOOP.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

_MARK = "user.cellferry.came"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Stamp = tuple[int, int]
"""(mtime in ns, bytes)."""


def stays_inside(name: str) -> bool:
    """Whether a name that somebody else gave is a plain one of a place below the folder that it is relative to. Pure."""
    path = PurePosixPath(name)
    return (
        bool(path.parts)
        and not path.is_absolute()
        and ".." not in path.parts
        and "\0" not in name
        and str(path) == name
    )


@dataclass(frozen=True)
class Place:
    """A file's place: ``root`` may be any path of ours; ``name`` is relative to it and stays inside (``stays_inside``)."""

    root: Path
    name: str

    @property
    def path(self) -> Path:
        """To be shown and compared; not to be opened."""
        return self.root / self.name

    @property
    def last(self) -> str:
        return PurePosixPath(self.name).name

    def beside(self, last: str) -> Place:
        """Another name in the same folder."""
        return Place(self.root, str(PurePosixPath(self.name).with_name(last)))

    @contextmanager
    def folder(self, *, make: bool = False) -> Iterator[int]:
        """The open folder of this place; ``make``: folders that are missing, too. Raises OSError."""
        if not stays_inside(self.name):
            raise OSError(errno.EXDEV, "it leads out of the folder", self.name)
        now = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in PurePosixPath(self.name).parts[:-1]:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=now)
                before, now = now, _entered(part, now)
                os.close(before)
            yield now
        finally:
            os.close(now)

    def look(self) -> os.stat_result | None:
        """What is there, a link as itself; None for nothing. Raises OSError for a link on the way."""
        try:
            with self.folder() as at:
                return os.stat(self.last, dir_fd=at, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def is_file(self) -> bool:
        found = self.look()
        return found is not None and stat.S_ISREG(found.st_mode)

    def open(self, flags: int = os.O_RDONLY) -> Any:
        """The regular file there as a raw file; its folders are made if ``flags`` creates. Raises OSError."""
        with self.folder(make=bool(flags & os.O_CREAT)) as at:
            file = os.open(self.last, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666, dir_fd=at)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(errno.EINVAL, "it is no plain file", self.name)
        return open(file, "rb" if flags & os.O_ACCMODE == os.O_RDONLY else "r+b", buffering=0)  # noqa: PTH123

    def take_over(self, other: Place) -> None:
        """Give the file at ``other``, a place in the same folder, this name, in place of what has it. Raises OSError."""
        with self.folder() as at:
            os.replace(other.last, self.last, src_dir_fd=at, dst_dir_fd=at)

    def remove(self) -> None:
        with self.folder() as at:
            os.unlink(self.last, dir_fd=at)

    def keep_at(self, other: Place) -> None:
        """Have the file that is here at ``other``, too, which is new. Raises OSError."""
        with self.folder() as at, other.folder(make=True) as there:
            try:
                os.link(self.last, other.last, src_dir_fd=at, dst_dir_fd=there, follow_symlinks=False)
                return
            except OSError as exc:
                if exc.errno not in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
                    raise
        with self.open() as old, other.open(os.O_RDWR | os.O_CREAT | os.O_EXCL) as new:
            while block := old.read(1 << 20):
                new.write(block)


def same_file(file: Any) -> Path:
    """A path by which an open file can be opened once more, whatever has become of its name."""
    return Path(f"/proc/self/fd/{file.fileno()}")


def stamp_of(found: os.stat_result) -> Stamp:
    return found.st_mtime_ns, found.st_size


def mark_came(file: Any) -> None:
    """Note on an open file that it is as it came from a worker; where the file system takes no notes, nothing."""
    stamp = stamp_of(os.fstat(file.fileno()))
    with suppress(OSError):
        os.setxattr(file.fileno(), _MARK, b"%d %d" % stamp)


def as_it_came(place: Place) -> bool:
    """Whether the file there is one that came from a worker, of this notebook or an earlier one, and nobody has changed since."""
    try:
        with place.open() as file:
            return os.getxattr(file.fileno(), _MARK) == b"%d %d" % stamp_of(os.fstat(file.fileno()))
    except OSError:
        return False


def _entered(part: str, at: int) -> int:
    try:
        return os.open(part, _FOLDER, dir_fd=at)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(part, dir_fd=at, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, "a link is on the way", part) from None
        raise

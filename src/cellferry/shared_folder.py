"""Look into folders where others can write too (``/tmp``): only at what is our own, is no link, and is what it should be.

Another user of this machine may put anything there under a name of ours: a link to somewhere else, a pipe that never
answers, a file without end. Everything here says no to that without waiting; nothing follows a link.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

MOST_BYTES = 4 << 20
"""More than any file that a worker's folder holds for others to read."""
_OTHERS_WRITE = 0o022


def our_folders(base: Path, prefix: str) -> Iterator[Path]:
    """Folders in ``base`` with names that begin so: real ones, ours, and writable by nobody else. In the order of their names."""
    try:
        names = sorted(name for name in os.listdir(base) if name.startswith(prefix))  # noqa: PTH208 - links are not followed
    except OSError:
        return
    for name in names:
        try:
            os.close(_open_folder(base / name, None))
        except OSError:
            continue
        yield base / name


def read_ours(folder: Path, *names: str, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a file below ``folder``, by the names on the way to it.

    Raises OSError: FileNotFoundError where there is none, PermissionError where ``folder``, a folder on the way or the file is
    another user's or a link, or the file is no regular one or is larger than ``most_bytes``.
    """
    descriptor = _open_file(folder, names)
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise PermissionError(f"{'/'.join(names)} in {folder} is larger than {most_bytes} bytes")
    return content


def is_there(folder: Path, *names: str) -> bool:
    """Whether ``read_ours`` would find a file."""
    try:
        os.close(_open_file(folder, names))
    except OSError:
        return False
    return True


def _open_file(folder: Path, names: tuple[str, ...]) -> int:
    at = _open_folder(folder, None)
    try:
        for name in names[:-1]:
            below = _open_folder(name, at)
            os.close(at)
            at = below
        # O_NONBLOCK: a pipe is opened, not waited for, and turned away below
        descriptor = os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    finally:
        os.close(at)
    told = os.fstat(descriptor)
    if stat.S_ISREG(told.st_mode) and told.st_uid == os.geteuid():
        return descriptor
    os.close(descriptor)
    raise PermissionError(f"{'/'.join(names)} in {folder} is no file of this user")


def _open_folder(path: Path | str, at: int | None) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    told = os.fstat(descriptor)
    # below one that is ours alone nobody else gets in, whatever the mode of what is there
    if told.st_uid == os.geteuid() and (at is not None or not told.st_mode & _OTHERS_WRITE):
        return descriptor
    os.close(descriptor)
    raise PermissionError(f"{path} is not this user's alone")

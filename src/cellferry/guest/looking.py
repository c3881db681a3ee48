"""Where Python looks at files: what leads from there to the notebook's folder (``guest.home_folder``).

An audit hook sees files that are opened, moved and removed, and programs that start; it cannot change what a call returns, so
``os.listdir``, ``os.scandir``, ``os.stat``, ``os.lstat`` and ``os.access`` are wrapped. Imports use none of these five. All
of it is set up by the first cell that has another folder than its notebook, and does nothing between cells.
"""

from __future__ import annotations

import os
import posix
import shlex
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from cellferry.guest.home_folder import HomeFolder, Row

_current: HomeFolder | None = None
_is_set_up = False
_NO_FD = -1
"""What an audit event has for a ``dir_fd`` that was not given; another one means a path from somewhere else."""


def look_into(folder: HomeFolder | None) -> None:
    """From now on, paths lead to this folder; None: a cell has ended."""
    global _current
    if folder is not None and not _is_set_up:
        _set_up()
    _current = folder


def _set_up() -> None:
    global _is_set_up
    _is_set_up = True
    for real, ours in ((posix.listdir, listdir), (posix.scandir, scandir), (posix.stat, stat), (posix.lstat, lstat),
                       (posix.access, access)):  # fmt: skip
        setattr(os, ours.__name__, ours)
        for places in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks, os.supports_effective_ids):
            if real in places:
                places.add(ours)
    sys.addaudithook(_hook)


# -- what the hook sees --------------------------------------------------------------------------------------------------


def _hook(event: str, args: tuple[Any, ...]) -> None:
    handler = _HANDLERS.get(event)
    if handler is not None and _current is not None:
        handler(_current, *args)


def _is_here(path: Any) -> bool:
    try:
        posix.stat(path)
    except FileNotFoundError:
        return False
    except (OSError, ValueError, TypeError):
        return True  # not to be seen, or no path: whoever opens it says so
    return True


def _on_open(folder: HomeFolder, path: Any, _mode: Any, flags: Any) -> None:
    if type(path) is int or _is_here(path):
        return
    flags = flags if isinstance(flags, int) else 0
    if flags & os.O_TRUNC and flags & os.O_CREAT:
        if not _is_here(os.fsdecode(path).rpartition("/")[0] or "."):
            folder.inside(path)  # its folder may be one at home
        return
    folder.need(path, creates=bool(flags & os.O_CREAT))


def _on_file(folder: HomeFolder, path: Any, *_more: Any) -> None:
    """Something is done to a file that has to be there."""
    if type(path) is not int and not _is_here(path):
        row = folder.away(path)
        if row is not None:
            folder.bring([row.name])


def _on_remove(folder: HomeFolder, path: Any, dir_fd: int = _NO_FD) -> None:
    if dir_fd == _NO_FD:
        _on_file(folder, path)
        folder.removed(path)


def _on_rename(folder: HomeFolder, source: Any, _target: Any, dir_fd: int = _NO_FD, *_more: Any) -> None:
    if dir_fd != _NO_FD:
        return
    _on_file(folder, source)
    rows = folder.below(source)
    if rows:
        folder.bring([row.name for row in rows])
    folder.removed(source)


def _on_rmdir(folder: HomeFolder, path: Any, dir_fd: int = _NO_FD) -> None:
    if dir_fd == _NO_FD and folder.inside(path):
        raise OSError(39, "Directory not empty", path)  # ENOTEMPTY: as it would be at home


def _on_rmtree(folder: HomeFolder, path: Any, *_more: Any) -> None:
    folder.removed_below(path)


def _on_folder(folder: HomeFolder, path: Any, *_more: Any) -> None:
    """A folder is made or entered: one that is at home is here, too."""
    if type(path) is not int and not _is_here(path):
        folder.inside(path)


def _on_database(folder: HomeFolder, path: Any, *_more: Any) -> None:
    text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
    if text.startswith("file:"):
        text = unquote(urlsplit(text).path)
    for name in (text, text + "-wal", text + "-journal") if text and text != ":memory:" else ():
        _on_file(folder, name)


def _on_program(folder: HomeFolder, _executable: Any, args: Any, cwd: Any = None, *_more: Any) -> None:
    words = args if isinstance(args, (list, tuple)) else [args]
    folder.before_program([part for word in words for part in _parts(word)], cwd)


def _on_command(folder: HomeFolder, command: Any) -> None:
    folder.before_program(_parts(command))


def _on_posix_spawn(folder: HomeFolder, _path: Any, args: Any, _environment: Any) -> None:
    _on_program(folder, None, list(args))


def _on_terminal(folder: HomeFolder) -> None:
    """IPython's ``!command``: the words of it were looked at before the cell was sent."""
    folder.before_program(())


def _parts(word: Any) -> list[str]:
    """A word of a command line, and the words in it: it may be one for a shell."""
    if not isinstance(word, (str, bytes, os.PathLike)):
        return []
    text = os.fsdecode(word)
    try:
        return [text, *shlex.split(text)]
    except ValueError:
        return [text]


_HANDLERS: dict[str, Callable[..., None]] = {
    "open": _on_open, "os.truncate": _on_file, "os.chmod": _on_file, "os.utime": _on_file, "os.link": _on_file,
    "os.remove": _on_remove, "os.rename": _on_rename, "os.rmdir": _on_rmdir, "shutil.rmtree": _on_rmtree, "os.mkdir": _on_folder,
    "os.chdir": _on_folder, "sqlite3.connect": _on_database, "ctypes.dlopen": _on_file, "subprocess.Popen": _on_program,
    "os.system": _on_command, "os.posix_spawn": _on_posix_spawn, "os.forkpty": _on_terminal,
}  # fmt: skip


# -- what is wrapped -----------------------------------------------------------------------------------------------------


def stat(path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
    """``os.stat``; of a file at home that is not here, as it is there."""
    try:
        return posix.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
    except FileNotFoundError:
        row = _row(path, dir_fd)
        if row is None:
            if _made_folder(path, dir_fd):
                return posix.stat(path, follow_symlinks=follow_symlinks)
            raise
    return _status(row)


def lstat(path: Any, *, dir_fd: int | None = None) -> os.stat_result:
    """``os.lstat``, likewise."""
    return stat(path, dir_fd=dir_fd, follow_symlinks=False)


def access(
    path: Any, mode: int, *, dir_fd: int | None = None, effective_ids: bool = False, follow_symlinks: bool = True
) -> bool:
    """``os.access``, likewise."""
    if posix.access(path, mode, dir_fd=dir_fd, effective_ids=effective_ids, follow_symlinks=follow_symlinks):
        return True
    if _current is None or dir_fd is not None or type(path) is int or _is_here(path):
        return False
    row = _current.away(path)
    if row is None:
        return _is_here(path) and posix.access(path, mode, effective_ids=effective_ids, follow_symlinks=follow_symlinks)
    return row.executable or not mode & os.X_OK


def listdir(path: Any = None) -> list[Any]:
    """``os.listdir``, with what is at home."""
    rows = _rows(path)
    names = posix.listdir(path)
    if rows:
        more: list[Any] = [row.name.rpartition("/")[2] for row in rows]
        names += [os.fsencode(name) for name in more] if isinstance(path, bytes) else more
    return names


def scandir(path: Any = None) -> Any:
    """``os.scandir``, with what is at home."""
    rows = _rows(path)
    entries = posix.scandir(path)
    return _Scan(entries, path, rows) if rows else entries


class AtHome:
    """What ``os.scandir`` gives for a file that is not here: an ``os.DirEntry`` in all but its type."""

    def __init__(self, folder: Any, row: Row) -> None:
        name = row.name.rpartition("/")[2]
        self.name: Any = os.fsencode(name) if isinstance(folder, bytes) else name
        self.path: Any = os.path.join(folder, self.name)  # noqa: PTH118 - bytes, too, and "." as it is given
        self._row = row

    def __fspath__(self) -> Any:
        return self.path

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return False

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return True

    def is_symlink(self) -> bool:
        return False

    def is_junction(self) -> bool:
        return False

    def inode(self) -> int:
        return _status(self._row).st_ino

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return stat(self.path, follow_symlinks=follow_symlinks)


class _Scan:
    """The iterator of ``os.scandir`` with more at its end."""

    def __init__(self, entries: Any, path: Any, rows: list[Row]) -> None:
        folder = os.fspath(path) if path is not None else "."
        self._entries = entries
        self._rest: Iterator[AtHome] = (AtHome(folder, row) for row in rows)

    def __iter__(self) -> _Scan:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._entries)
        except StopIteration:
            return next(self._rest)

    def __enter__(self) -> _Scan:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries.close()
        self._rest = iter(())


def _row(path: Any, dir_fd: int | None) -> Row | None:
    if _current is None or dir_fd is not None or type(path) is int:
        return None
    return _current.away(path)


def _made_folder(path: Any, dir_fd: int | None) -> bool:
    """Whether asking home has made a folder of what was missing before."""
    return _current is not None and dir_fd is None and type(path) is not int and _is_here(path)


def _rows(path: Any) -> list[Row]:
    if _current is None or type(path) is int:
        return []
    return _current.inside("." if path is None else path)


def _status(row: Row) -> os.stat_result:
    seconds = row.mtime_ns / 1e9
    whole = row.mtime_ns // 1_000_000_000
    mode = 0o100755 if row.executable else 0o100644
    number = hash(row.name) & 0x7FFFFFFF  # two of them are not the same file
    return os.stat_result((
        mode, number, 0, 1, os.getuid(), os.getgid(), row.size, whole, whole, whole, seconds, seconds, seconds,
        row.mtime_ns, row.mtime_ns, row.mtime_ns,
    ))  # fmt: skip

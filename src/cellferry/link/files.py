"""Files beside the notebook and in the remote working directory: out when a cell names them, home when it wrote them."""

from __future__ import annotations

import errno
import glob
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cellferry.errors import BadValue, DiskFull, PreflightError
from cellferry.link.session import KernelLink
from cellferry.parcels.placeholder import human_bytes

_STEP_BYTES = 4 << 20
_LONGEST_NAME = 512
_MOST_IN_FOLDER = 1000
_NEVER = (".env", ".git", ".ssh", ".aws", ".netrc", "id_rsa", "id_ed25519", "credentials")

Stamp = tuple[int, int]
"""(mtime in ns, bytes)."""


class FileSync:
    """The files that one worker and the notebook's folder have exchanged, and how they looked then."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._agreed: dict[str, Stamp] = {}

    def send(self, link: KernelLink, folder: Path, strings: Sequence[str], patterns: Sequence[str]) -> int:
        """Send files that the cell's strings name, and those of ``files=``, unless they are there already.

        Files that are there and have changed here since go along while there is room, whether the cell names them or
        not: the cell may have their names from elsewhere.
        Returns the bytes sent. Raises PreflightError over the limit, BadValue for a pattern that matches nothing.
        """
        names = [
            *(n for n in strings if _is_file(folder, n)),
            *_matched(folder, patterns),
            *self._in_folders(folder, strings),
        ]
        wanted = {name: _stamp(folder / name) for name in dict.fromkeys(os.path.normpath(n) for n in names)}
        fresh = {name: stamp for name, stamp in wanted.items() if self._agreed.get(name) != stamp}
        total = sum(size for _mtime, size in fresh.values())
        if total > self.limit_bytes:
            raise _too_large(fresh, total, self.limit_bytes)
        for name in [name for name in self._agreed if name not in wanted and _is_file(folder, name)]:
            stamp = _stamp(folder / name)
            if stamp != self._agreed[name] and total + stamp[1] <= self.limit_bytes:
                fresh[name] = stamp
                total += stamp[1]
        for name, stamp in fresh.items():
            link.put(name, _pieces(folder / name), stamp[1])
            self._agreed[name] = stamp
        return total

    def _in_folders(self, folder: Path, strings: Sequence[str]) -> list[str]:
        """Files of the folders (and globs) that the strings name; a folder too large for the limit is left alone.

        A string may name a folder by chance, so here nothing is an error.
        """
        found: list[str] = []
        for text in strings:
            if not _may_travel(text) or os.path.normpath(text) == ".":
                continue
            if any(mark in text for mark in "*?["):
                names = _globbed(folder, text)[:_MOST_IN_FOLDER]
            elif (folder / text).is_dir():
                names = [
                    str(p.relative_to(folder)) for p in itertools.islice((folder / text).rglob("*"), _MOST_IN_FOLDER)
                ]
            else:
                continue
            files = [name for name in names if _is_file(folder, name) and "__pycache__" not in name]
            if sum((folder / name).stat().st_size for name in files) <= self.limit_bytes:
                found += files
        return found

    def bring(
        self, link: KernelLink, folder: Path, files: Sequence[dict[str, Any]], started_ns: int
    ) -> tuple[list[str], list[str]]:
        """Write files that the cell made beside the notebook. Returns their names here and notes for the user.

        A file that changed here since the two sides agreed (or since ``started_ns``) is kept; the worker's is put
        beside it. Raises DiskFull.
        """
        came: list[str] = []
        notes: list[str] = []
        left = self.limit_bytes
        for file in files:
            name, size = str(file["path"]), int(file["size"])
            if size > left:
                notes.append(
                    f"{name} ({human_bytes(size)}) stayed on the worker: over file_limit; bring it: %remote get {name}"
                )
                continue
            left -= size
            target = self._target(folder, name, started_ns)
            if target.name != Path(name).name:
                notes.append(
                    f"{name} changed here meanwhile: yours is kept, the worker's is {target.relative_to(folder)}"
                )
            self._write(link, name, target)
            came.append(str(target.relative_to(folder)))
            if target == folder / name:
                self._agreed[name] = _stamp(target)
        return came, notes

    def _target(self, folder: Path, name: str, started_ns: int) -> Path:
        target = folder / name
        if not target.exists():
            return target
        agreed = self._agreed.get(name)
        mine = _stamp(target)
        if mine == agreed or (agreed is None and mine[0] < started_ns):
            return target
        count = 1
        while (beside := target.with_name(f"{target.stem}.remote-{count}{target.suffix}")).exists():
            count += 1
        return beside

    def _write(self, link: KernelLink, name: str, target: Path) -> None:
        part = target.with_name(f".{target.name}.cellferry-part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as out:
                for piece in link.get(name):
                    out.write(piece)
            part.replace(target)
        except BaseException as exc:
            part.unlink(missing_ok=True)
            if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(
                    f"no space is left beside the notebook for {name}; it is safe on the worker",
                    f"make room, then: %remote get {name}",
                ) from exc
            raise


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _may_travel(text: str) -> bool:
    """Whether a string could be the name of something inside the notebook's folder that is no secret."""
    if not text or len(text) > _LONGEST_NAME or "\n" in text or "\0" in text or text.startswith(("/", "~")):
        return False
    parts = Path(os.path.normpath(text)).parts
    return ".." not in parts and not any(part.startswith(_NEVER) for part in parts)


def _is_file(folder: Path, text: str) -> bool:
    """Whether a string of the cell names a file inside the notebook's folder that may travel."""
    try:
        return _may_travel(text) and (folder / os.path.normpath(text)).is_file()
    except OSError:
        return False


def _matched(folder: Path, patterns: Iterable[str]) -> list[str]:
    found: list[str] = []
    for pattern in patterns:
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise BadValue(
                f"files={pattern} is outside of the notebook's folder", "files=data/*.csv  (relative to the notebook)"
            )
        names = [n for n in _globbed(folder, pattern) if (folder / n).is_file()]
        if not names:
            raise BadValue(
                f"files={pattern} matches no file in {folder}", "files=data/*.csv  (relative to the notebook)"
            )
        found += names
    return found


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_STEP_BYTES):
            yield piece


def _too_large(files: dict[str, Stamp], total: int, limit: int) -> PreflightError:
    top = sorted(files.items(), key=lambda item: -item[1][1])[:5]
    rows = ", ".join(f"{name} {human_bytes(stamp[1])}" for name, stamp in top)
    return PreflightError(
        f"the files that this cell names are {human_bytes(total)}, over file_limit ({human_bytes(limit)}): {rows}",
        f"c.Cellferry.file_limit = {total}, or name fewer files, or read them there from a URL",
    )


def _globbed(folder: Path, pattern: str) -> list[str]:
    """Names relative to ``folder``; glob's own hidden-file rule keeps ``.env`` and its like out, which Path.glob has not."""
    return glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207

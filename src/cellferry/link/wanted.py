"""Which files a cell means by its strings and by ``files=``, and which of those may travel. Reads the disk, sends nothing."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cellferry.errors import BadValue
from cellferry.link.ignored import Ignored
from cellferry.link.never_sent import HEAD_BYTES, is_litter, why_secret

MOST_UP = 3
"""So many folders above the notebook's are there on the worker, too (``guest.files.WORK``)."""

_LONGEST_NAME = 512
_MOST_IN_FOLDER = 1000
_SMALL_BYTES = 64 << 10
"""No private key is larger; larger files are not looked into, unless their name ends like a key's."""
_EXAMPLE = "files=data/*.csv  (relative to the notebook)"


@dataclass
class Wanted:
    """Names relative to the notebook's folder. ``named``: literally, or by a pattern; ``asked``: by ``files=`` or
    ``%remote put``; ``perhaps``: groups that go together if there is room, for their folder may be named by chance."""

    named: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    perhaps: list[list[str]] = field(default_factory=list)
    secret: dict[str, str] = field(default_factory=dict)
    """Named, but never sent: why."""
    ignored: list[str] = field(default_factory=list)
    """Named, but only sent when asked for."""
    far: list[str] = field(default_factory=list)
    """Exist here, but outside of what a worker's folders can mirror."""


def wanted(folder: Path, strings: Sequence[str], patterns: Iterable[str], exchanged: Container[str]) -> Wanted:
    """What the cell's strings and the ``patterns`` of ``files=`` name.

    ``exchanged``: files that both sides have had; ``.gitignore`` is not asked about them. Raises BadValue for a pattern
    that matches nothing or names a secret.
    """
    found = Wanted()
    ignored = Ignored(folder)
    for text in dict.fromkeys(strings):
        if 0 < len(text) <= _LONGEST_NAME and "\n" not in text and "\0" not in text:
            try:
                _by_string(found, folder, text, ignored, exchanged)
            except (OSError, ValueError):
                continue  # no text that the file system takes for a path
    for pattern in patterns:
        found.asked += _by_pattern(found, folder, pattern)
    found.ignored = [name for name in found.ignored if name not in found.asked]
    return found


def _by_string(found: Wanted, folder: Path, text: str, ignored: Ignored, exchanged: Container[str]) -> None:
    if "://" in text:
        return
    name = os.path.normpath(text)
    if not reaches(name):
        if (folder / text).is_file() and os.sep in text:
            found.far.append(text)
        return
    if (folder / name).is_file():
        members, literal = [name], True
    elif any(mark in text for mark in "*?["):
        members, literal = _globbed(folder, text)[:_MOST_IN_FOLDER], any(map(str.isalnum, text))
    elif set(name) - {".", "/"} and (folder / name).is_dir():
        members, literal = list(itertools.islice(_below(folder, name), _MOST_IN_FOLDER)), False
    else:
        return
    may = [member for member in members if _may(found, folder, member, ignored, exchanged, told=literal)]
    if literal:
        found.named += may
    elif may:
        found.perhaps.append(may)


def _may(
    found: Wanted, folder: Path, name: str, ignored: Ignored, exchanged: Container[str], *, told: bool
) -> bool:  # fmt: skip
    path = folder / name
    if not path.is_file() or is_litter(name):
        return False
    why = secret(folder, name)
    if why:
        if told:
            found.secret[name] = why
        return False
    if name not in exchanged and name in ignored:
        if told:
            found.ignored.append(name)
        return False
    return True


def files_matching(folder: Path, pattern: str) -> list[str]:
    """The files that a pattern of ``files=`` names; the last resort is a folder, with all that is in it. Raises BadValue for
    none."""
    name = os.path.normpath(pattern)
    if (folder / name).is_file():
        return [name]
    names = [n for n in _globbed(folder, pattern) if (folder / n).is_file()]
    if not names and (folder / name).is_dir():
        names = list(_below(folder, name))
    if not names:
        raise BadValue(f"{pattern} matches no file in {folder}", _EXAMPLE)
    return names


def _by_pattern(found: Wanted, folder: Path, pattern: str) -> list[str]:
    name = os.path.normpath(pattern)
    if not reaches(name):
        raise BadValue(
            f"{pattern} is outside of the notebook's folder and of the {MOST_UP} above it, which a worker mirrors",
            f"!ln -s {os.path.abspath(pattern)} .   and name the link",  # noqa: PTH100 - links are not to be followed
        )
    names = files_matching(folder, pattern)
    exact = names == [name]
    may = []
    for name in names:
        why = secret(folder, name)
        if why:
            found.secret[name] = why
        elif exact or not is_litter(name):
            may.append(os.path.normpath(name))
    if not may:
        why = next(iter(found.secret.values()), "only caches and the like match")
        raise BadValue(
            f"{pattern} never travels: {why}", "put the one value that the cell needs into a variable, or make it there"
        )
    return may


def reaches(name: str) -> bool:
    """Whether a normalized path is relative and goes up no further than a worker's folders do. Pure."""
    parts = Path(name).parts
    return not Path(name).is_absolute() and not name.startswith("~") and parts.count("..") <= MOST_UP


def secret(folder: Path, name: str) -> str:
    """``why_secret`` of the file ``name`` below ``folder``, by its content and by where links lead, too."""
    path = folder / name
    why = why_secret(name, head_of(path))
    if not why:
        real, plain = os.path.realpath(path), os.path.join(os.path.realpath(folder), name)  # noqa: PTH118
        why = why_secret(real) if real != os.path.normpath(plain) else ""
    return why


def head_of(path: Path) -> bytes:
    """The first bytes of a file in which a private key could be; b"" for one that is too large for it."""
    try:
        if path.stat().st_size > _SMALL_BYTES and path.suffix not in (".pem", ".key"):
            return b""
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def _below(folder: Path, name: str) -> Iterator[str]:
    """Every file below the folder ``name``, relative to ``folder``; litter is not entered."""
    for place, folders, files in os.walk(folder / name):
        folders[:] = sorted(each for each in folders if not is_litter(each))
        for file in sorted(files):
            yield os.path.relpath(os.path.join(place, file), folder)  # noqa: PTH118 - os.walk gives texts


def _globbed(folder: Path, pattern: str) -> list[str]:
    """Names relative to ``folder``; glob's own hidden-file rule keeps ``.env`` and its like out, which Path.glob has not."""
    found = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207
    return [os.path.normpath(name) for name in found]

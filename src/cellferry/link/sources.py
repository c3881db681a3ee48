"""Local modules: sent as source when they are first needed, and again when their files change."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from cellferry.link.session import KernelLink

_MOST_DATA_BYTES = 1 << 20
"""Data beside a package's sources travels with them up to this size a file; more is data, and named as such."""


class Source(Protocol):
    """One top-level module or package: ``files`` relative to ``root`` (``capture.modules.LocalSource``)."""

    @property
    def name(self) -> str: ...
    @property
    def root(self) -> str: ...
    @property
    def files(self) -> tuple[str, ...]: ...


_NOT_SENT = (-1, -1)


Find = Callable[[Iterable[str]], Sequence[Source]]


class SourceSync:
    """What one worker has of the project's modules. ``find`` says which of some names are local, with their files.

    A worker that can import them from where they lie is told of a change all the same.
    """

    def __init__(self, find: Find) -> None:
        self._find = find
        self.without: frozenset[str] = frozenset()
        """Names that the worker has as packages, compiled: their sources would hide what is compiled."""
        self._sent: dict[tuple[str, bool], tuple[int, int]] = {}
        self._seen: set[str] = set()
        self._modules = 0
        self._sources: dict[tuple[str, str], Source] = {}

    def send(self, link: KernelLink, imports: Iterable[str], *, in_place: bool = False) -> int:
        """Send what is new or changed of every local module that is loaded here or imported by the cell; ``in_place``: only say
        which it is, for the worker imports from the same folders.

        Returns the bytes sent.
        """
        self._look(imports)
        files: list[str] = []
        contents: list[bytes] = []
        stamps: list[tuple[int, int] | None] = []
        for source in [each for each in self._sources.values() if each.name not in self.without]:
            for file in source.files:
                path = Path(source.root, file)
                stamp = _stamp(str(path))
                if stamp is None or (not file.endswith(".py") and stamp[1] > _MOST_DATA_BYTES):
                    continue
                if (before := self._sent.get((str(path), in_place))) != stamp:
                    stamps.append(None if before == _NOT_SENT else stamp)
                    self._sent[str(path), in_place] = stamp
                    files.append(file)
                    if not in_place:
                        contents.append(path.read_bytes())
        if files:
            link.tell({"op": "modules", "files": files, "stamps": stamps}, contents)
        return sum(map(len, contents))

    def stale(self, reloaded: Iterable[str]) -> list[str]:
        """Modules whose sources the worker has to take anew: their files have changed, or they were executed anew here
        (``reloaded``). ``send`` sends them."""
        found = []
        for source in self._sources.values():
            for file in source.files:
                path = str(Path(source.root, file))
                name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                told = [key for key in ((path, False), (path, True)) if key in self._sent] if file.endswith(".py") else []
                if name in reloaded:
                    self._sent.update(dict.fromkeys(told, _NOT_SENT))
                if any(self._sent[key] != _stamp(path) for key in told):
                    found.append(name)
        return found

    def _look(self, imports: Iterable[str]) -> None:
        """Classify names not seen yet; a package already known is listed again, for it may have new files."""
        names = {name.partition(".")[0] for name in imports}
        if len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            names |= {name.partition(".")[0] for name in list(sys.modules)}
        names = {name for name in names if name not in self._seen} | {
            name for name, _root in self._sources if name in names
        }
        if names:
            self._seen |= names
            self._sources.update({(source.name, source.root): source for source in self._find(names)})


def _stamp(path: str) -> tuple[int, int] | None:
    """By which a change of the file is seen; None if it is gone."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def text_of(path: str) -> str | None:
    """The text of a source file, or None if it cannot be read."""
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        return None


def module_file(name: str) -> str | None:
    """The file of a top-level module that is not imported yet, or its folder; None if there is no such module."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    return spec.origin if spec.has_location else next(iter(spec.submodule_search_locations or ()), None)


def load_submodules(names: Iterable[str]) -> None:
    """``import a.b`` there binds ``a`` here: its submodule is loaded here too, if ``a`` is and has one of that name."""
    for name in names:
        if "." in name and name not in sys.modules and name.partition(".")[0] in sys.modules:
            try:
                importlib.import_module(name)
            except Exception:
                continue  # ``from a import b`` where b is no module, or one that only the worker can import

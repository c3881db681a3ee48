"""One worker in use: the connection, and what it already has of the notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any

from cellferry.errors import PreflightError
from cellferry.link.files import FileSync
from cellferry.link.session import KernelLink
from cellferry.link.sources import SourceSync
from cellferry.model import Worker
from cellferry.parcels.ambient import Ambient, at_home
from cellferry.parcels.heap import Heap
from cellferry.parcels.module_state import ModuleStates
from cellferry.parcels.parcel import Parcel
from cellferry.parcels.shell_state import ShellState

SourceOf = Callable[[str], tuple[int, str] | None]
"""Number and text of the notebook cell that was compiled under a file name; None if it was no cell."""


@dataclass
class There:
    """One worker in use. ``names``: the notebook's names bound there."""

    worker: Worker
    link: KernelLink
    files: FileSync
    sources: SourceSync
    same_folder: bool = False
    """It works in the notebook's own folder, and not in one that files are copied to."""
    names: set[str] = field(default_factory=set)
    _meanings: dict[str, tuple[int | None, Any]] = field(default_factory=dict)
    ambient: Ambient = field(default_factory=at_home)
    shell: ShellState = field(default_factory=lambda: ShellState(None))
    kept: set[str] = field(default_factory=set)
    """Names that cells bound there and ``returns=`` left there: later cells on this worker find them."""

    declared: set[str] = field(default_factory=set)
    """Names that functions of cells declare ``global``: such a function may have stayed there, and bind them in a later cell."""

    submodules: set[str] = field(default_factory=set)
    """Submodules loaded there because they are loaded here and a cell may use them."""

    cells: set[str] = field(default_factory=set)
    """File names of notebook cells whose text the worker has, for tracebacks and ``inspect``."""

    modules: ModuleStates = field(init=False)
    """What both ends know of the states of the project's modules."""

    def __post_init__(self) -> None:
        self.modules = ModuleStates(self.link.heap)

    @property
    def folder(self) -> Path:
        """The notebook's folder, which files are sent from and come home to. Raises PreflightError if it has been removed and
        files would have to be copied."""
        try:
            return Path.cwd()
        except OSError as error:
            if self.same_folder:
                return Path()
            what = "the notebook's working directory has been removed"
            raise PreflightError(what, "%cd  to another one, and run the cell again") from error

    @property
    def heap(self) -> Heap:
        return self.link.heap

    def supply(self, answer: dict[str, Any], parcel: Parcel | None) -> None:
        """Answer a running cell that asked for names of the notebook, with what there is of them."""
        if parcel is None:
            self.link.tell({"op": "named", **answer})
        else:
            self.link.supply({"op": "named", **answer}, parcel)

    def note(self, names: Iterable[str]) -> None:
        """These names are bound there to what the notebook holds under them at this moment."""
        for name in names:
            self.names.add(name)
            self._meanings[name] = self._meaning(name)

    def rebound(self) -> list[str]:
        """Names that mean another object here than they still do there; an object that only changed is not another one."""
        namespace = self.heap.namespace
        found = []
        for name in self.names & self._meanings.keys() & namespace.keys():
            oid, value = self._meanings[name]
            oid_now, value_now = self._meaning(name)
            if oid != oid_now or value is not value_now:
                found.append(name)
        return found

    def _meaning(self, name: str) -> tuple[int | None, Any]:
        """The number of an object that both ends know; any other object itself, which is small."""
        value = self.heap.namespace.get(name)
        oid = self.heap.oid_of.get(id(value))
        return oid, value if oid is None else None

    def new_submodules(self, used: Sequence[str]) -> list[str]:
        """Those of ``used`` that the worker has not been told to load."""
        fresh = [name for name in used if name not in self.submodules]
        self.submodules.update(fresh)
        return fresh

    def new_cells(self, functions: Sequence[FunctionType], source_of: SourceOf) -> dict[str, tuple[int, str]]:
        """The notebook cells that define these functions, by file name, unless the worker has their text."""
        files = {function.__code__.co_filename for function in functions} - self.cells
        self.cells |= files
        found = {file: source_of(file) for file in files}
        return {file: source for file, source in found.items() if source is not None}

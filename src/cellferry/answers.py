"""What the notebook answers to a cell that looks up names which its text does not show. Beside ``journey``, see decision 015.

The worker asks while the cell runs; the thread that waits for the cell answers, so that nobody else packs meanwhile.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from cellferry import errors
from cellferry.baggage import refuse_secrets
from cellferry.capture.mentions import submodules_used
from cellferry.capture.needs import Needs
from cellferry.capture.unseen import is_shells
from cellferry.config import Cellferry
from cellferry.parcels.parcel import Parcel
from cellferry.payload import Beside, pack_all
from cellferry.screen import Cell, Host

if TYPE_CHECKING:
    from cellferry.capture.dataflow import Flow
    from cellferry.link.there import There
    from cellferry.model import CellRequest

_OF_ANNOTATIONS = frozenset({"typing", "types", "typing_extensions"})


class Notebook(Protocol):
    """What is needed of ``journey.Session``."""

    config: Cellferry
    host: Host
    namespace: dict[str, Any]


class Answers:
    """The answers to one running cell, whose parcel was ``parcel``."""

    def __init__(
        self, notebook: Notebook, there: There, request: CellRequest, cell: Cell, flow: Flow, parcel: Parcel
    ) -> None:  # fmt: skip
        self._notebook, self._there, self._request, self._cell, self._flow = notebook, there, request, cell, flow
        self._never = flow.deletes - set(parcel.roots)
        """Names that the cell makes and deletes itself: what they are here is not what they are there."""
        self._sent: Parcel | None = None

    @property
    def why_not(self) -> str:
        """Why nobody answers this cell; "" if somebody does."""
        if self._request.detach:
            return "it had been let go"
        if self._notebook.config.trust == "data":
            return "with trust='data' a worker gets what the text of a cell names, and no more"
        return ""

    def frame(self) -> dict[str, Any]:
        """What the cell's frame says about asking."""
        notebook = self._notebook
        shadows = vars(builtins).keys() & notebook.namespace.keys()
        return {
            "unasked": self.why_not,
            "shadows": sorted(name for name in shadows if name not in notebook.host.hidden),
        }

    def __call__(self, question: Mapping[str, Any]) -> None:
        """Answer one question; raises WorkerLost."""
        if question["op"] == "unnamed":  # it could not make them
            if self._sent is not None:
                self._sent.undo(self._there.heap)
                self._there.names -= set(self._sent.roots)
            return
        # One that is sent by half would leave the two ends with different numbers. A press is only counted while the cell is
        # waited for (``waited.home``), and must not be looked for in the middle of an answer.
        link = self._there.link
        pressed, link.pressed = link.pressed, lambda: False
        try:
            self._answer(question)
        finally:
            link.pressed = pressed

    def _answer(self, question: Mapping[str, Any]) -> None:
        there, self._sent = self._there, None
        reasons: dict[str, str] = {}
        head: dict[str, Any] = {"number": question["number"], "reasons": reasons}
        parcel = None if self.why_not else self._packed(self._wanted(question), reasons, explain=not question["scope"])
        if parcel is None:
            there.supply(head, None)
            return
        host, given = self._notebook.host, [self._notebook.namespace.get(name) for name in parcel.roots]
        head["cells"] = there.new_cells(parcel.functions, host.source_of)
        head["submodules"] = there.new_submodules(submodules_used(self._flow, given, parcel.functions, sys.modules))
        head["masked"] = {
            n: v for n, v in zip(parcel.roots, given, strict=True) if n in self._request.allow and type(v) is str
        }
        there.supply(head, parcel)
        parcel.sealed(there.heap)
        there.note(parcel.roots)
        self._sent = parcel

    def _wanted(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The notebook's values that a question is about."""
        namespace, hidden = self._notebook.namespace, self._notebook.host.hidden
        scope, known = question["scope"], set(question["known"])
        if not scope:
            names: Iterable[str] = question["names"]
        else:
            names = [name for name in list(namespace) if name not in known and not is_shells(name)]
        found = {n: namespace[n] for n in names if n in namespace and n not in hidden and n not in self._never}
        return found if scope != "types" else {name: value for name, value in found.items() if _is_type(value)}

    def _packed(self, values: Mapping[str, Any], reasons: dict[str, str], *, explain: bool) -> Parcel | None:
        """These values in a parcel, but for those that must not or cannot travel; ``reasons`` says why, as far as one asks."""
        parcel = self._try(Needs({}, values))
        if isinstance(parcel, errors.CellferryError):  # for one of them: which?
            alone = {name: self._try(Needs({}, {name: value})) for name, value in values.items()}
            reasons.update({name: _line(it) for name, it in alone.items() if isinstance(it, errors.CellferryError)})
            parcel = self._try(Needs({}, {name: value for name, value in values.items() if name not in reasons}))
        if isinstance(parcel, errors.CellferryError):
            return None
        for name in values.keys() - reasons.keys() - set(parcel.roots) if explain else ():
            failed = self._try(Needs({name: values[name]}, {}))
            reasons[name] = _line(failed) if isinstance(failed, errors.CellferryError) else ""
        return parcel if parcel.roots else None

    def _try(self, needs: Needs) -> Parcel | errors.CellferryError:
        """A parcel of values; the error where one of them must not or cannot travel."""
        notebook, heap = self._notebook, self._there.heap
        try:
            parcel = pack_all(needs, heap, Beside(), notebook.host.hidden)
            refuse_secrets(
                self._request, notebook.config.secrets, self._cell, self._flow, parcel, heap, notebook.namespace, notebook.host
            )
        except errors.PreflightError as error:
            return error
        return parcel


def _line(error: errors.CellferryError) -> str:
    return f"{error.what}; {error.advice}" if error.advice else error.what


def _is_type(value: object) -> bool:
    return isinstance(value, (type, ModuleType)) or type(value).__module__ in _OF_ANNOTATIONS

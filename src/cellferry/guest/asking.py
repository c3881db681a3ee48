"""Names that the text of a cell does not show: asked from the notebook when the running cell looks them up.

What a cell was given is what its text names. Whatever looks a name up in another way (``__main__.x``, a pickle, a text that
is evaluated) comes here first, so that it finds what a local cell would find: also where this kernel still holds what the
name meant in an earlier cell.
"""

from __future__ import annotations

import builtins
import os
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Any

from cellferry.guest.questions import Supplied

ALL, TYPES = "all", "types"
"""What may be asked for at once: every name; those of classes, modules and the like, which annotations name."""

Take = Callable[[dict[str, Any], list[Any], "list[Any] | None", "list[bytes] | None"], Any]
_MISSING = object()
_NOBODY = "the notebook could not be asked for it while the cell ran ({why}): name it in the text of the cell, so that it is sent along"


class Asking:
    """What the running cell of one link may still ask for. Any thread of the cell may ask; one question at a time.

    ``before``: the namespace as the cell found it, ``given``: what it was given, by name; both grow by what is asked for.
    ``take`` makes the values of a parcel.
    """

    def __init__(self, link: Any, namespace: dict[str, Any], hidden: Collection[str], take: Take) -> None:
        self.namespace = namespace
        self._link, self._hidden, self._take = link, hidden, take
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._answering = self._running = self._whole = False
        self._why_not = ""
        self._settled: set[str] = set()
        self._shadows: frozenset[str] = frozenset()
        self._reasons: dict[str, str] = {}
        self.before: dict[str, Any] = {}
        self.given: dict[str, Any] = {}

    def begin(self, before: dict[str, Any], given: dict[str, Any], meta: dict[str, Any]) -> None:
        """A cell begins."""
        global _current
        self.before, self.given = before, given
        self._settled = set(given)
        self._shadows = frozenset(meta.get("shadows", ()))
        self._reasons = {}
        self._why_not = str(meta.get("unasked", "it is from an older cellferry")) if meta.get("unasked", True) else ""
        self._whole, self._running = False, True
        _current = self

    def end(self) -> None:
        """The cell is over: a question under way is answered first, and no other is asked."""
        global _current
        with self._lock:
            self._running = False
            _current = None

    def look_up(self, names: Iterable[str]) -> None:
        """Have what the notebook holds under these names, as far as it can be had."""
        wanted = [name for name in names if self._is_open(name)]
        if wanted:
            self._ask(wanted, "")

    def look_at(self, scope: str) -> None:
        """Have everything of ``scope``."""
        if not self._whole:
            self._ask([], scope)

    def why(self, name: str) -> str:
        """Why a name could not be had although it was asked for; "" if nobody knows it."""
        return self._reasons.get(name, "")

    def _is_open(self, name: str) -> bool:
        """Whether the notebook may hold something else under ``name`` than this kernel, and the cell has not touched it."""
        if name in self._settled or name in self._hidden or (name.startswith("__") and name.endswith("__")):
            return False
        if name not in self.namespace and name not in self._shadows and hasattr(builtins, name):
            return False
        return self._untouched(name)

    def _untouched(self, name: str) -> bool:
        return self.namespace.get(name, _MISSING) is self.before.get(name, _MISSING)

    def _ask(self, names: list[str], scope: str) -> None:
        if os.getpid() != self._pid:
            return  # a forked process has no link
        with self._lock:
            names = [name for name in names if name not in self._settled]
            if not self._running or self._answering or not (names or scope):
                return
            self._answering = True
            try:
                self._settle(names, scope)
            finally:
                self._answering = False

    def _settle(self, names: list[str], scope: str) -> None:
        supplied = None
        if not self._why_not:
            supplied = self._link.ask_names(
                {"names": names, "scope": scope, "known": sorted(self._settled) if scope else []}
            )
            self._why_not = "" if supplied is not None else "it is not connected"
        if supplied is None:
            self._reasons.update(dict.fromkeys(names, _NOBODY.format(why=self._why_not)))
        else:
            self._bind(supplied)
        self._settled.update(names)
        self._whole |= scope == ALL and supplied is not None

    def _bind(self, supplied: Supplied) -> None:
        meta = supplied.meta
        self._reasons.update(meta["reasons"])
        if "parcel" not in meta:
            return
        try:
            roots = self._take(meta, supplied.buffers, supplied.leaves, supplied.sums)
        except Exception as exc:
            reason = getattr(exc, "what", None) or f"{type(exc).__name__}: {exc}"
            self._reasons.update(dict.fromkeys(meta["parcel"]["roots"], f"it could not be made here: {reason}"))
            self._link.send({"op": "unnamed", "number": meta["number"]})
            return
        for name, value in roots.items():
            if name in self._settled or not self._untouched(name):
                continue  # the cell itself, or what it was given, comes first
            self.namespace[name] = self.before[name] = self.given[name] = value
        self._settled.update(roots)


_current: Asking | None = None


def current() -> Asking | None:
    """What the running cell may ask for; None between cells."""
    return _current

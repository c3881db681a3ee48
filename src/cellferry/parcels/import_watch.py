"""Tells when modules have been imported: the moment at which a module is still as its source makes it.

One finder stands before ``sys.meta_path``'s own for files. It finds what that one finds, and has the loader say when the
module has been executed, a reload included. A module that came before the watch, or by a finder of its own, is not told.
"""

from __future__ import annotations

import sys
import threading
import weakref
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Protocol


class Listener(Protocol):
    """Somebody who wants to know; held weakly. What it raises is not the import's business."""

    def imported(self, modules: list[ModuleType]) -> None:
        """These, of one top-level package, have been executed, and none of that package is still under way."""


_listeners: weakref.WeakSet[Any] = weakref.WeakSet()
_local = threading.local()


def listen(listener: Listener) -> None:
    """Tell ``listener`` from now on, for as long as somebody else holds it."""
    _listeners.add(listener)
    if not any(isinstance(finder, _Watch) for finder in sys.meta_path):
        at = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
        sys.meta_path.insert(at, _Watch())


class _Watch:
    """A finder; see above."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        loader: Any = spec.loader if spec is not None else None
        if loader is not None and not isinstance(loader, type):
            try:
                loader.exec_module = _Executing(loader)
            except AttributeError:
                pass  # a loader with slots: its modules are not told
        return spec


class _Executing:
    """Stands for a loader's ``exec_module`` once, and takes itself away: afterwards the loader is as it was."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __call__(self, module: ModuleType) -> None:
        self._loader.__dict__.pop("exec_module", None)
        under_way = _under_way()
        top = module.__name__.partition(".")[0]
        mine = under_way.setdefault(top, [0, []])
        mine[0] += 1
        try:
            self._loader.exec_module(module)
            mine[1].append(module)
        finally:
            mine[0] -= 1
            if not mine[0]:
                del under_way[top]
                _tell(mine[1])


def _under_way() -> dict[str, list[Any]]:
    """For each top-level package that this thread is importing: how many of its modules, and which are through."""
    found: dict[str, list[Any]] | None = getattr(_local, "under_way", None)
    if found is None:
        found = _local.under_way = {}
    return found


def _tell(modules: list[ModuleType]) -> None:
    if not modules:
        return
    for listener in list(_listeners):
        try:
            listener.imported(modules)
        except Exception:
            continue  # an import must not fail for what somebody wanted to know about it

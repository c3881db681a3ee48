"""The packages of this kernel while it runs: made by the worker's server, waited for here, and asked for when missing."""

from __future__ import annotations

import importlib
import site
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

_LOOK_S = 0.2


class PackagesMissing(Exception):
    """The environment that a cell was to wait for could not be made; whoever sent the cell knows why."""


class Packages:
    """One for each kernel. ``told`` is called from the door's thread, ``wait`` from the main one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tickets: dict[str, bool] = {}

    def told(self, message: dict[str, Any]) -> None:
        """The server has made the environment of a ticket, or failed."""
        if message["ok"]:
            site.addsitedir(message["site"])  # runs .pth files that are new; the folder itself is on the path already
            importlib.invalidate_caches()
        with self._changed:
            self._tickets[message["ticket"]] = bool(message["ok"])
            self._changed.notify_all()

    def wait(self, ticket: str, wanted: Callable[[], bool]) -> None:
        """Return when the environment of ``ticket`` is there; raises PackagesMissing if it cannot be, or when nobody
        waits for the cell any more (``wanted`` is false)."""
        with self._changed:
            while ticket and ticket not in self._tickets:
                if not wanted():
                    raise PackagesMissing("the client is gone")
                self._changed.wait(_LOOK_S)
            if ticket and not self._tickets[ticket]:
                raise PackagesMissing("the packages that the cell needs could not be installed")


class Importer:
    """The last finder on ``sys.meta_path``: asks the notebook for a package that is there and not here.

    It covers what nobody can read in a cell: names computed at run time, backends that a library imports when they
    are first used. ``ask`` returns whether the package is here now; None while no cell runs.
    """

    def __init__(self) -> None:
        self.ask: Callable[[str], bool] | None = None
        self.offered: set[str] = set()
        self._one_at_a_time = threading.Lock()

    def offer(self, names: Iterable[str]) -> None:
        """Top-level names that the notebook's environment has."""
        self.offered.update(names)
        if self not in sys.meta_path:
            sys.meta_path.append(self)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if path is not None or name not in self.offered or self.ask is None:
            return None
        with self._one_at_a_time:
            if name not in self.offered:  # another thread has asked meanwhile
                return PathFinder.find_spec(name)
            self.offered.discard(name)  # asked once: what cannot be had is not asked for again
            if not self.ask(name):
                return None
        importlib.invalidate_caches()
        return PathFinder.find_spec(name)

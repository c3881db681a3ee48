"""Where the cells of one client run: in the notebook's own folder, or in the folder that the worker keeps for them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_own_path = list(sys.path)
_told_path: list[str] = []


class Place:
    """The working directory of one client's cells. Another client of this kernel may be somewhere else meanwhile."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._last = str(work)
        self.at_home = False
        """Whether it is the notebook's own folder, so that no file needs to travel."""

    def enter(self, meta: dict[str, Any], modules: Path) -> None:
        """Go where the coming cell is to run. Raises OSError if there is no such folder."""
        wanted = meta.get("cwd")
        self.at_home = wanted is not None
        if meta.get("path") is not None:
            import_from(meta["path"], str(modules))
        here = where()
        if wanted is None and not Path(self._last).is_dir():
            self._work.mkdir(parents=True, exist_ok=True)
            self._last = str(self._work)
        if here != (wanted or self._last):
            os.chdir(wanted or self._last)

    def leave(self) -> str | None:
        """The cell has ended: remember where, for it may have gone elsewhere. Returns what its client is told of it."""
        here = where()
        if self.at_home:
            return here
        self._last = here or str(self._work)
        return None


def where() -> str | None:
    """The working directory; None if it has been removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - a text, in a microsecond
    except OSError:
        return None


def import_from(path: Sequence[str], modules: str) -> None:
    """Import from where the notebook does, then from where this kernel did at its start; what a cell has changed here stays
    until the notebook's own path changes."""
    if path != _told_path:
        _told_path[:] = path
        more = [place for place in dict.fromkeys([*_own_path, modules]) if place not in path]
        sys.path[:] = [*path, *more]

"""One hidden state of a module: how it is taken as data, and how it is put in force."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Source:
    """One state. ``ready``: an attribute that the module has once it is loaded completely.

    ``take`` gives plain data that can be compared and pickled; ``give`` puts it in force, and raises ValueError, TypeError,
    KeyError, RuntimeError or OSError where this machine or this version cannot. Packages add their own by the entry point
    group ``cellferry.ambient``, each a ``Source``.
    """

    module: str
    ready: str
    take: Callable[[Any], Any]
    give: Callable[[Any, Any], None]

    def loaded(self) -> Any:
        """The module if it is loaded, completely; else None."""
        module = sys.modules.get(self.module)
        return module if module is not None and hasattr(module, self.ready) else None

"""Has it noted what each module of the project is when it has been imported. Light, for it is there from the first moment on."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType

from cellferry.parcels import import_watch
from cellferry.parcels.own_code import is_own


class _OwnWatch:
    def imported(self, modules: Iterable[ModuleType]) -> None:
        own = [module for module in modules if is_own(module)]
        if own:
            from cellferry.parcels.module_state import BASELINES  # and all kinds of objects: not before it is needed

            BASELINES.imported(own)


_watch = _OwnWatch()


def watch() -> None:
    """From now on; what is loaded already is looked at now. Repeatable."""
    import_watch.listen(_watch)
    own = [module for module in list(sys.modules.values()) if isinstance(module, ModuleType) and is_own(module)]
    if own:
        from cellferry.parcels.module_state import BASELINES

        BASELINES.catch_up(own)

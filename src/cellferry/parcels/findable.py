"""Whether a module can be imported by its name: one that was put into ``sys.modules`` by hand is nowhere but here."""

from __future__ import annotations

import sys
from typing import Any

WHY = "its module was made by hand here (no file that `import` would find has that name)"
REMEDY = "write the module to a .py file beside the notebook and import it, or make it inside the %%remote cell"
_found: dict[str, Any] = {}
"""Modules that an import finds, by their name: the very module object, for another may come under the same name."""


def findable(name: Any) -> bool:
    """Whether an import at the other end may find the module: something here finds it, or what it is a part of.

    A module that is not loaded here counts as findable: whoever needs it will say so.
    """
    if type(name) is not str or name == "__main__":
        return True
    top = name.partition(".")[0]
    module = sys.modules.get(top)
    if module is None or _found.get(top) is module:
        return True
    if top in sys.builtin_module_names or _spec(top):
        _found[top] = module
        return True
    return False


def _spec(top: str) -> bool:
    for finder in list(sys.meta_path):
        try:
            if finder.find_spec(top, None) is not None:
                return True
        except KeyboardInterrupt:
            raise
        except BaseException:  # a finder of somebody else: it may know the module, so nothing is refused for it
            return True
    return False

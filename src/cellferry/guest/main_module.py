"""``__main__`` on a worker: whoever looks into it finds what the notebook has."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from cellferry.guest.asking import ALL, TYPES, current

_NOT_LOOKING = frozenset({"IPython", "ipykernel", "cellferry", "dataclasses"})
"""Packages that take the namespace of ``__main__`` and look nothing up that the text of a cell does not show."""
_ANNOTATIONS = frozenset(
    {
        "typing",
        "typing_extensions",
        "annotationlib",
        "pydantic",
        "attr",
        "attrs",
        "cattrs",
        "msgspec",
        "beartype",
        "typeguard",
    }
)
"""Those that look up what annotations name."""


class NotebookMain(ModuleType):
    """The notebook's module on a worker. It holds what its cells were given; the rest is asked for when it is looked up."""

    def __getattribute__(self, name: str) -> Any:
        asking = current()
        if asking is None:
            return super().__getattribute__(name)
        if name == "__dict__":
            scope = _scope(sys._getframe(1).f_globals.get("__name__"))
            if scope:
                asking.look_at(scope)
            return super().__getattribute__(name)
        asking.look_up((name,))
        try:
            return super().__getattribute__(name)
        except AttributeError as error:
            if reason := asking.why(name):
                error.add_note(f"{name}: {reason}")
            raise

    def __delattr__(self, name: str) -> None:
        asking = current()
        if asking is not None:
            asking.look_up((name,))
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        asking = current()
        if asking is not None:
            asking.look_at(ALL)
        return list(super().__getattribute__("__dict__"))


NotebookMain.__name__ = NotebookMain.__qualname__ = "module"
NotebookMain.__module__ = "builtins"


def _scope(caller: object) -> str:
    """What of the namespace the module ``caller`` may want that has just taken hold of it."""
    package = caller.partition(".")[0] if isinstance(caller, str) else ""
    return "" if package in _NOT_LOOKING else TYPES if package in _ANNOTATIONS else ALL

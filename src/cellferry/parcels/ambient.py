"""Hidden state of modules that a cell expects to find where it left it: random generators, options, filters.

``random.seed(0)`` or ``pd.set_option(...)`` in a local cell counts in the next remote one, and the other way round,
because a cell that runs elsewhere must show what it would have shown here.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from cellferry.parcels.ambient_sources import SOURCES

AMBIENT = "\x00ambient"
"""Root under which the states travel."""

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


class Ambient:
    """One end's view of the module states that the two ends of a link agree on."""

    def __init__(self) -> None:
        self._agreed: dict[str, Any] = {}
        self._waiting: dict[str, Any] = {}

    def changed(self) -> dict[str, Any]:
        """States of loaded modules that are not as agreed; call ``agree`` once the other end has them."""
        found = {}
        for name, source in SOURCES.items():
            module = source.loaded()
            if module is not None:
                state = source.take(module)
                if self._agreed.get(name) != state:
                    found[name] = state
        return found

    def agree(self, states: Mapping[str, Any]) -> None:
        self._agreed.update(states)

    def receive(self, states: Any, imports: Iterable[str] = ()) -> None:
        """Take over the other end's states: at once for loaded modules and those in ``imports``, later for others.

        Whatever is no mapping of states (they could not travel) changes nothing.
        """
        if isinstance(states, Mapping):
            self._waiting.update(states)
        for name in [name for name in self._waiting if name in SOURCES]:
            source = SOURCES[name]
            top = source.module.partition(".")[0]
            if top in imports or top in sys.modules:  # numpy loads its random module on first use: too late for us
                try:
                    importlib.import_module(source.module)
                except ImportError:
                    pass
            module = source.loaded()
            if module is not None:
                try:
                    source.give(module, self._waiting.pop(name))
                except (TypeError, ValueError, KeyError):
                    pass  # another version of the library here, with other options
                self._agreed[name] = source.take(module)


def plain_states(states: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are nothing but data, for when some state (an option that is a function) cannot travel."""
    return {name: state for name, state in states.items() if _is_plain(state)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    return isinstance(value, _PLAIN)

"""Hidden state of modules that a cell expects to find where it left it: the global random generators.

``random.seed(0)`` in a local cell counts in the next remote one, and the other way round, because a cell that runs
elsewhere must give the numbers it would have given here.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

AMBIENT = "\x00ambient"
"""Root under which the states travel."""


def _take_random(module: Any) -> Any:
    return module.getstate()


def _give_random(module: Any, state: Any) -> None:
    module.setstate(state)


def _take_numpy(module: Any) -> Any:
    name, key, position, has_gauss, gauss = module.get_state()
    return name, key.tobytes(), int(position), int(has_gauss), float(gauss)


def _give_numpy(module: Any, state: Any) -> None:
    import numpy as np

    name, key, position, has_gauss, gauss = state
    module.set_state((name, np.frombuffer(key, np.uint32), position, has_gauss, gauss))


def _take_torch(module: Any) -> Any:
    return module.get_rng_state().numpy().tobytes()


def _give_torch(module: Any, state: Any) -> None:
    module.set_rng_state(module.frombuffer(bytearray(state), dtype=module.uint8))


_SOURCES: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], None]]] = {
    "random": (_take_random, _give_random),
    "numpy.random": (_take_numpy, _give_numpy),
    "torch": (_take_torch, _give_torch),
}


class Ambient:
    """One end's view of the module states that the two ends of a link agree on."""

    def __init__(self) -> None:
        self._agreed: dict[str, Any] = {}
        self._waiting: dict[str, Any] = {}

    def changed(self) -> dict[str, Any]:
        """States of loaded modules that are not as agreed; call ``agree`` once the other end has them."""
        found = {}
        for name, (take, _give) in _SOURCES.items():
            module = _ready(name)
            if module is not None:
                state = take(module)
                if self._agreed.get(name) != state:
                    found[name] = state
        return found

    def agree(self, states: Mapping[str, Any]) -> None:
        self._agreed.update(states)

    def receive(self, states: Mapping[str, Any], imports: Iterable[str] = ()) -> None:
        """Take over the other end's states: at once for loaded modules and those in ``imports``, later for others."""
        self._waiting.update(states)
        for name in list(self._waiting):
            top = name.partition(".")[0]
            if top in imports or top in sys.modules:  # numpy loads its random module on first use: too late for us
                try:
                    importlib.import_module(name)
                except ImportError:
                    pass
            module = _ready(name)
            if module is not None:
                state = self._waiting.pop(name)
                _SOURCES[name][1](module, state)
                self._agreed[name] = state


def _ready(name: str) -> Any:
    """The module if it is loaded, completely."""
    module = sys.modules.get(name)
    return module if module is not None and hasattr(module, "get_rng_state" if name == "torch" else "seed") else None

"""What code of the notebook and of the project sets on others by name, cell by cell as they are run: beside ``baggage``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cellferry.capture.attribute_stores import Chain, attribute_stores
from cellferry.link.sources import text_of
from cellferry.parcels.module_state import BASELINES, Baseline


class Stores:
    """Of one notebook. Each cell and each module is read once."""

    def __init__(self) -> None:
        self._cells = 0
        self._chains: dict[Chain, None] = {}
        self._modules: dict[str, Baseline] = {}

    def chains(self, namespace: Mapping[str, Any], text: str) -> tuple[Chain, ...]:
        """Those of all cells so far, of the one with this text (Python) and of the project's modules."""
        history = namespace.get("_ih", ())
        for source in history[self._cells :] if isinstance(history, list) else ():
            self._add(source)
        self._cells = len(history)
        self._add(text)
        for name, baseline in BASELINES.modules.items():
            if self._modules.get(name) is not baseline:
                self._modules[name] = baseline
                for chain in attribute_stores(text_of(str(baseline.module.__file__)) or ""):
                    self._chains[(f"{name}:", *chain)] = None
        return tuple(self._chains)

    def _add(self, source: Any) -> None:
        if type(source) is str:
            self._chains.update(dict.fromkeys(attribute_stores(source)))

"""Hidden state of modules that a cell expects to find where it left it: random generators, options, filters.

``random.seed(0)`` or ``pd.set_option(...)`` in a local cell counts in the next remote one, and the other way round,
because a cell that runs elsewhere must show what it would have shown here.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from cellferry.parcels import import_watch
from cellferry.parcels.ambient_source import Source
from cellferry.parcels.ambient_sources import SOURCES

AMBIENT = "\x00ambient"
"""Root under which the states travel."""

GROUP = "cellferry.ambient"
"""Entry points of packages that have states of their own: each names a ``Source``."""

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


class Ambient:
    """One end's view of the module states that the two ends of a link agree on."""

    def __init__(self) -> None:
        self.more: dict[str, Source] = {}
        """States of installed packages, beside our own table; the notebook's end finds them and tells the other."""
        self._agreed: dict[str, Any] = {}
        self._waiting: dict[str, Any] = {}
        self.refused: list[str] = []
        """What could not be put in force here since somebody has looked: the state and why."""
        import_watch.listen(self)

    def changed(self) -> dict[str, Any]:
        """States of loaded modules that are not as agreed; call ``agree`` once the other end has them."""
        found = {}
        for name, source in {**SOURCES, **self.more}.items():
            module = source.loaded()
            if module is not None:
                state = source.take(module)
                if self._agreed.get(name) != state:
                    found[name] = state
        return found

    def agree(self, states: Mapping[str, Any]) -> None:
        self._agreed.update(states)

    def receive(self, states: Any, imports: Iterable[str] = ()) -> None:
        """Take over the other end's states: at once for loaded modules and those in ``imports``, for others when they are
        imported.

        Whatever is no mapping of states (they could not travel) changes nothing.
        """
        if isinstance(states, Mapping):
            self._waiting.update(states)
        for name in list(self._waiting):
            source = self._source(name)
            if source is None:
                continue
            top = source.module.partition(".")[0]
            if top in imports or top in sys.modules:  # numpy loads its random module on first use: too late for us
                try:
                    importlib.import_module(source.module)
                except ImportError:
                    pass
            self._give(name, source)

    def imported(self, modules: list[ModuleType]) -> None:
        """States that have waited for these modules."""
        names = {module.__name__ for module in modules}
        for name in list(self._waiting):
            source = self._source(name)
            if source is not None and source.module in names:
                self._give(name, source)

    def _give(self, name: str, source: Source) -> None:
        module = source.loaded()
        if module is None or name not in self._waiting:
            return
        try:
            source.give(module, self._waiting.pop(name))
        except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, OSError) as exc:
            # another version of the library here, or another machine
            self.refused.append(f"{name}: {exc}")
        self._agreed[name] = source.take(module)

    def know(self, places: Iterable[str]) -> None:
        """Further states, each by the place (``package.module:name``) where its ``Source`` is; those that are not here are none."""
        for place in places:
            if place not in self.more:
                try:
                    found = pkgutil.resolve_name(place)
                except (ImportError, AttributeError, ValueError):
                    continue
                if isinstance(found, Source):
                    self.more[place] = found

    def _source(self, name: str) -> Source | None:
        return SOURCES.get(name) or self.more.get(name)

    def take_refused(self) -> list[str]:
        """What could not be put in force, once."""
        found, self.refused = self.refused, []
        return found


def at_home() -> Ambient:
    """The notebook's end."""
    ambient = Ambient()
    ambient.more = installed_sources()
    return ambient


@cache
def installed_sources() -> dict[str, Source]:
    """Those of installed packages, each under the place where it is; looked up once."""
    if not any(map(_names_group, sys.path)):
        return {}
    from importlib.metadata import entry_points  # which reads the metadata of every package

    found = {}
    for entry in entry_points(group=GROUP):
        try:
            source = entry.load()
        except Exception:
            continue  # a package that is broken here
        if isinstance(source, Source):
            found[entry.value] = source
    return found


def _names_group(folder: str) -> bool:
    """Whether the metadata of a package in ``folder`` names our group."""
    try:
        infos = [path for path in Path(folder).iterdir() if path.name.endswith((".dist-info", ".egg-info"))]
    except OSError:
        return False
    return any(_holds(info / "entry_points.txt", GROUP.encode()) for info in infos)


def _holds(path: Path, text: bytes) -> bool:
    try:
        return text in path.read_bytes()
    except OSError:
        return False


def plain_states(states: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are nothing but data, for when some state (an option that is a function) cannot travel."""
    return {name: state for name, state in states.items() if _is_plain(state)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    return isinstance(value, _PLAIN)

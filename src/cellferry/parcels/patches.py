"""What was set from outside on modules and classes of installed packages: methods, accessors, options, started mocks.

An installed package may change its own insides as it likes: caches, lazy imports, counters. None of that is looked at. Carried is
what somebody else has put there: an attribute that code of the notebook or of the project sets by name, a function or class of
the notebook, of the project or of another package that hangs on a class, and what ``unittest.mock`` has patched.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import (
    BuiltinFunctionType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)  # fmt: skip
from typing import Any

from cellferry.parcels.own_code import own_module

Key = tuple[str, str]
"""Module, and the way to the attribute in it: ``("pandas", "DataFrame.shout")``."""

_INERT = frozenset([
    str, int, float, bool, bytes, tuple, dict, list, set, frozenset, type(None), BuiltinFunctionType, GetSetDescriptorType,
    MemberDescriptorType, MethodDescriptorType, WrapperDescriptorType, type,
])  # fmt: skip
_BEHIND = ("__func__", "fget", "fset", "func", "__wrapped__", "_accessor")
"""Where an attribute of a class keeps the function or class that somebody gave it."""

_NEVER = frozenset(
    ["sys", "builtins", "os", "IPython", "ipykernel", "traitlets", "cellferry", "__main__", "__mp_main__"]
)
"""Modules whose attributes belong to this process."""

_MISSING = object()


class Patches:
    """One end's view of what both ends agree on about attributes of installed modules and classes."""

    def __init__(self) -> None:
        self._agreed: dict[Key, Any] = {}
        self._first: dict[Key, Any] = {}
        """What the other end has replaced here, to put it back."""

    def changed(
        self, tops: Collection[str], chains: Iterable[tuple[str, ...]], namespace: Mapping[str, Any]
    ) -> dict[Key, Any]:
        """Attributes of packages in ``tops`` that are not as agreed. ``chains``: the notebook's, or a module's (its name and a
        colon first), as ``capture.attribute_stores`` finds them."""
        found = dict(SCANS.foreign(tops))
        for chain in chains:
            owner = _owner(chain, namespace)
            if owner is not None:
                found.update(_attribute(owner, chain[-1]))
        wanted = {key: value for key, value in found.items() if key[0].partition(".")[0] in tops}
        wanted.update(_mocked())  # a mock names what it patches in a text: nobody sees in a cell what it reaches
        for key in self._agreed.keys() - wanted.keys():  # gone, or as it was before
            value = _now(key)
            if key[0].partition(".")[0] in tops and value is not self._agreed[key]:
                wanted[key] = value
        return {key: value for key, value in wanted.items() if self._agreed.get(key, _MISSING) is not value}

    def as_sent(self, key: Key, value: Any) -> Any:
        """What travels for a value: ``ORIGINAL`` for one that the other end has had under this very name, until this end replaced it
        there. Its name would mean what stands there now."""
        if key not in self._first and isinstance(value, (FunctionType, type)) and (value.__module__, value.__qualname__) == key:
            return ORIGINAL
        return value

    def agree(self, key: Key) -> None:
        """The other end has it as it is here."""
        self._agreed[key] = _now(key)

    def put(self, key: Key, value: Any) -> bool:
        """Set the other end's value here, ``ORIGINAL`` for what was there first, ``GONE`` for nothing; False if there is
        nothing to set it on."""
        owner, name = _resolve(key)
        if owner is None:
            return False
        held = vars(owner).get(name, _MISSING)
        first = self._first.setdefault(key, held)
        mark = value if type(value) is str else ""
        wanted = first if mark == ORIGINAL else _MISSING if mark == GONE else value
        try:
            if wanted is not _MISSING and wanted is not held:
                setattr(owner, name, wanted)
            elif wanted is _MISSING and held is not _MISSING:
                delattr(owner, name)
        except (AttributeError, TypeError):
            return False
        self._agreed[key] = vars(owner).get(name, GONE)
        return True


GONE = "\x00gone"
"""In place of a value: there is none."""

ORIGINAL = "\x00original"
"""In place of a value: as the package has it."""


def _now(key: Key) -> Any:
    owner, name = _resolve(key)
    return GONE if owner is None else vars(owner).get(name, GONE)


def _resolve(key: Key) -> tuple[Any, str]:
    *path, name = key[1].split(".")
    try:
        owner: Any = importlib.import_module(key[0])
    except Exception:
        return None, name
    for step in path:
        owner = vars(owner).get(step) if isinstance(owner, (type, ModuleType)) else None
    return owner, name


def _owner(chain: tuple[str, ...], namespace: Mapping[str, Any]) -> Any:
    """The installed module or class whose attribute a chain sets; None for any other."""
    if chain[0].endswith(":"):
        module = sys.modules.get(chain[0][:-1])
        value, rest = (vars(module) if module is not None else {}).get(chain[1]), chain[2:-1]
    else:
        value, rest = namespace.get(chain[0]), chain[1:-1]
    for name in rest:
        if not isinstance(value, (type, ModuleType)):
            return None
        value = vars(value).get(name)
    return value if _is_installed(value) else None


def _is_installed(owner: Any) -> bool:
    if isinstance(owner, ModuleType):
        home = owner.__name__
    elif isinstance(owner, type):
        home = owner.__module__
    else:
        return False
    return type(home) is str and home.partition(".")[0] not in _NEVER and home in sys.modules and not own_module(home)


def _attribute(owner: Any, name: str) -> dict[Key, Any]:
    """The attribute as it is now, if the owner has it and is found by its name."""
    if isinstance(owner, ModuleType):
        key = (owner.__name__, name)
    else:
        key = (owner.__module__, f"{owner.__qualname__}.{name}")
    value = vars(owner).get(name, _MISSING)
    return {} if value is _MISSING or _resolve(key)[0] is not owner else {key: value}


def _mocked() -> dict[Key, Any]:
    """What ``unittest.mock`` has patched by ``start()``."""
    mock = sys.modules.get("unittest.mock")
    found: dict[Key, Any] = {}
    for patch in list(getattr(getattr(mock, "_patch", None), "_active_patches", ())):
        owner = getattr(patch, "target", None)
        if _is_installed(owner):
            found.update(_attribute(owner, patch.attribute))
    return found


class Scans:
    """The classes of loaded packages, and what hangs on them from elsewhere. One for the process; a class is looked at again
    when its number of attributes is another one."""

    def __init__(self) -> None:
        self._modules = 0
        self._tops: dict[str, list[ModuleType]] = {}
        self._seen: dict[str, set[str]] = {}
        self._classes: dict[str, list[type]] = {}
        self._sizes: dict[str, list[int]] = {}
        self._found: dict[str, dict[Key, Any]] = {}

    def foreign(self, tops: Iterable[str]) -> Iterator[tuple[Key, Any]]:
        """Attributes from elsewhere of the public classes in these packages."""
        self._look_for_modules()
        for top in tops:
            if top in self._tops and top not in _NEVER and top not in sys.stdlib_module_names and not own_module(top):
                yield from self._package(top).items()

    def _look_for_modules(self) -> None:
        if len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            self._tops = {}
            for name, module in list(sys.modules.items()):
                if isinstance(module, ModuleType) and not any(part.startswith("_") for part in name.split(".")):
                    self._tops.setdefault(name.partition(".")[0], []).append(module)

    def _package(self, top: str) -> dict[Key, Any]:
        seen, classes = self._seen.setdefault(top, set()), self._classes.setdefault(top, [])
        for module in self._tops[top]:
            name = module.__name__
            if name not in seen:
                seen.add(name)
                classes += [
                    v
                    for v in list(vars(module).values())
                    if issubclass(type(v), type) and vars(v).get("__module__") == name
                ]
        sizes = [*map(len, map(_dict_of, classes))]
        before = self._sizes.get(top, [])
        if sizes != before:
            found = self._found.setdefault(top, {})
            for at, kind in enumerate(classes):
                if at >= len(before) or before[at] != sizes[at]:
                    for key in [
                        key
                        for key in found
                        if key[0] == kind.__module__ and key[1].rpartition(".")[0] == kind.__qualname__
                    ]:
                        del found[key]
                    found.update(_from_elsewhere(kind, top))
            self._sizes[top] = sizes
        return {key: now for key in self._found.get(top, {}) if (now := _now(key)) is not GONE}


_dict_of = type.__dict__["__dict__"].__get__
SCANS = Scans()


def _from_elsewhere(kind: type, top: str) -> dict[Key, Any]:
    """Attributes of a class that somebody else has set."""
    home, found = kind.__module__, {}
    for name, value in list(vars(kind).items()):
        inner = type(value)
        if inner is FunctionType:
            if value.__module__ is not home and _elsewhere(value, top):
                found.update(_attribute(kind, name))
        elif inner not in _INERT and not isinstance(value, type):
            behind = (_held(value, part) for part in _BEHIND)
            if any(isinstance(each, (FunctionType, type)) and _elsewhere(each, top) for each in behind):
                found.update(_attribute(kind, name))
    return found


def _held(value: Any, name: str) -> Any:
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return None


def _elsewhere(made: Any, top: str) -> bool:
    """Whether a function or class is of the notebook, the project or another package; not one that the other package offers by
    name to whoever wants to use it, for that is how classes are written."""
    home = made.__module__
    if type(home) is not str or home.partition(".")[0] == top:
        return False
    if home == "__main__" or own_module(home):
        return True
    if home not in sys.modules or home == "typing_extensions" or home.partition(".")[0] in sys.stdlib_module_names:
        return False
    return isinstance(made, type) or "<locals>" in made.__qualname__

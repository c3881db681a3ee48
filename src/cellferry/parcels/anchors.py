"""What hangs on a module of the project and can change in place: containers, instances, classes, functions.

An *anchor* is such an object with the way that leads to it from its module (``conf``, then ``SETTINGS``, then ``"paths"``),
and the seal that says how it was when the module had been imported. Both ends import the same source, so the same way leads to
the object's counterpart at the other end: the two are one object for the heap from the first time that it travels.
"""

from __future__ import annotations

import enum
import importlib
import sys
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from operator import is_
from typing import Any

from cellferry.parcels import bare
from cellferry.parcels.kind import Kind, PointerKind, flat, same, table_of
from cellferry.parcels.kinds import kind_of
from cellferry.parcels.objects import CellKind, InstanceKind, class_variables
from cellferry.parcels.own_code import own_module

Way = tuple[tuple[str, Any], ...]
"""Steps from a module: ("name", global), ("key", key of a dict), ("at", index), ("dict", attribute), ("cell", number) ..."""

_NO_STATE = object()
_MOST_ANCHORS = 1000
_MOST_ITEMS = 10_000
_CONTAINERS = (list, dict, set, deque, OrderedDict, defaultdict, Counter)
_KEYS = (str, int, bool, type(None), bytes, float)


@dataclass(frozen=True, eq=False)
class Anchor:
    """An object, the way to it, its kind, and its seal when the module had been imported."""

    module: str
    way: Way
    obj: Any
    kind: Kind
    seal: Any

    @property
    def label(self) -> str:
        """As a user would write it: ``conf.SETTINGS['paths']``."""
        return self.module + "".join(_written(step) for step in self.way)

    @property
    def met_counts(self) -> bool:
        """Whether it is an object of its own for whoever refers to it; classes and functions travel by their names."""
        return not issubclass(type(self.obj), (type, types.FunctionType, types.CellType))

    def change(self, heap: Any) -> Any:
        """What travels when the other end has it as it was imported."""
        return self.kind.state(self.obj, self.seal, self.kind.seal(self.obj, heap))

    def below(self, other: Anchor) -> bool:
        """Whether the way to this one leads through ``other``."""
        return self.module == other.module and self.way[: len(other.way)] == other.way

    def unlike(self) -> Anchor:
        """The same, with a seal that is none of its states: for what had changed before anybody looked."""
        return replace(self, seal=(_NO_STATE,)) if issubclass(type(self.obj), (list, dict, set)) else self

    def holds(self) -> bool:
        """Whether the way still leads to the object."""
        try:
            return follow(self.module, self.way) is self.obj
        except LookupError:
            return False


def _written(step: tuple[str, Any]) -> str:
    how, what = step
    return f".{what}" if how in ("name", "dict", "class") else f"[{what!r}]" if how in ("key", "at") else f".{how}"


class OwnClassKind(PointerKind):
    """A class of a module of the project: its attributes. One that is as it was when the module was imported is not sent, the
    other end has its own."""

    def __init__(self, first: Mapping[str, Any]) -> None:
        self.first = first

    def pointers(self, obj: Any) -> tuple[Any, ...]:
        return flat(class_variables(obj))

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        held = bare.body_of(obj)
        if 2 * len(held) == len(seal) and all(map(is_, chain(held, held.values()), seal)):
            return None
        now = self.pointers(obj)
        return None if same(seal, now) else now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        old, new = dict(table_of(before)), dict(table_of(now))
        changed = {name: value for name, value in new.items() if old.get(name, now) is not value}
        again = [name for name, value in changed.items() if self.first.get(name, now) is value]
        return (
            {name: value for name, value in changed.items() if name not in again},
            [n for n in old if n not in new],
            again,
        )

    def apply(self, obj: Any, state: Any) -> bool:
        changed, removed, again = state
        for name, value in chain(changed.items(), ((n, self.first[n]) for n in again if n in self.first)):
            type.__setattr__(obj, name, value)
        for name in removed:
            if name in bare.body_of(obj):
                type.__delattr__(obj, name)
        return True


class OwnFunctionKind(PointerKind):
    """A function of a module of the project: its attributes and defaults. Its code is that of its source."""

    def pointers(self, obj: Any) -> tuple[Any, ...]:
        return (obj.__defaults__, obj.__kwdefaults__, *flat(obj.__dict__))

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return now[0], now[1], table_of(now[2:])

    def apply(self, obj: Any, state: Any) -> bool:
        obj.__defaults__, obj.__kwdefaults__, attributes = state
        obj.__dict__.clear()
        obj.__dict__.update(attributes)
        return True


_FUNCTION, _CELL = OwnFunctionKind(), CellKind()


def survey(module: types.ModuleType, known: Mapping[int, Anchor]) -> list[Anchor]:
    """The anchors of a module that has just been imported, parents before what hangs on them; without those in ``known``."""
    name = module.__name__
    found: dict[int, Anchor] = {}
    waiting: list[tuple[Way, Any]] = [
        ((("name", key),), value) for key, value in list(vars(module).items()) if not _dunder(key)
    ]
    waiting.reverse()
    while waiting and len(found) < _MOST_ANCHORS:
        way, obj = waiting.pop()
        if id(obj) in found or id(obj) in known:
            continue
        kind = _kind(obj, name)
        if kind is not None:
            found[id(obj)] = Anchor(name, way, obj, kind, kind.seal(obj))
        if kind is not None or type(obj) is tuple:
            waiting.extend(((*way, step), inner) for step, inner in steps(obj))
    return list(found.values())


def _kind(obj: Any, module: str) -> Kind | None:
    """How ``obj`` is compared; None where it is not."""
    kind = type(obj)
    if bare.is_among(_CONTAINERS, kind):
        return kind_of(obj, {}) if len(obj) <= _MOST_ITEMS else None
    if kind is types.FunctionType:
        return _FUNCTION if obj.__module__ == module and obj.__globals__ is vars(sys.modules[module]) else None
    if kind is types.CellType:
        return _CELL
    if issubclass(kind, type):
        own = bare.module_of(obj) == module and not issubclass(kind, enum.EnumMeta)
        return OwnClassKind(class_variables(obj)) if own else None
    if kind is types.SimpleNamespace or own_module(bare.module_of(kind)):
        found = kind_of(obj, {})
        return found if isinstance(found, (InstanceKind, PointerKind)) else None
    return None


def steps(obj: Any) -> Iterator[tuple[tuple[str, Any], Any]]:
    """What hangs on an object, with the step that leads there."""
    kind = type(obj)
    if bare.is_among((list, tuple, deque), kind):
        yield from ((("at", index), value) for index, value in enumerate(obj))
    elif issubclass(kind, dict):
        yield from ((("key", key), value) for key, value in list(dict.items(obj)) if bare.is_among(_KEYS, type(key)))
    elif kind is types.FunctionType:
        yield from ((("dict", key), value) for key, value in list(obj.__dict__.items()))
        yield from ((("cell", number), cell) for number, cell in enumerate(obj.__closure__ or ()))
        yield from ((("default", number), value) for number, value in enumerate(obj.__defaults__ or ()))
    elif kind is types.CellType:
        try:
            yield ("content", 0), obj.cell_contents
        except ValueError:
            return
    elif issubclass(kind, type):
        yield from ((("class", key), _plain_function(value)) for key, value in class_variables(obj).items())
    elif not bare.is_among((set, frozenset), kind):
        yield from ((("dict", key), value) for key, value in list((bare.own_table(obj) or {}).items()))


def _plain_function(value: Any) -> Any:
    return value.__func__ if issubclass(type(value), (staticmethod, classmethod)) else value


def follow(module: str, way: Iterable[tuple[str, Any]]) -> Any:
    """The object at the end of the way; raises LookupError, or ImportError if there is no such module."""
    obj: Any = importlib.import_module(module)
    for how, what in way:
        if how == "name":
            obj = vars(obj)[what]
            continue
        for step, inner in steps(obj):
            if step == (how, what):
                obj = inner
                break
        else:
            raise LookupError(what)
    return obj


def find_anchor(module: str, way: list[tuple[str, Any]], kind: Any) -> Any:
    """Called while a parcel is unpacked: the object at the end of the way, or, where the module is another one here, an empty
    one in its place. Its state follows."""
    try:
        obj = follow(module, map(tuple, way))
    except (ImportError, LookupError):
        if kind is None:
            raise
        return kind.__new__(kind)
    return obj if kind is None or type(obj) is kind else kind.__new__(kind)


def _dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")

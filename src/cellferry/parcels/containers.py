"""Kinds of Python's own containers: compared pointer by pointer, updated in place through the base type's methods."""

from __future__ import annotations

import collections
import weakref
from collections.abc import Iterable
from itertools import chain
from operator import is_
from typing import Any

from cellferry.parcels import bare, weakly
from cellferry.parcels.kind import Kind, PointerKind, flat, same, table_of


class Untracked(Kind):
    """Small and immutable: sent by value every time."""

    tracked = False


class Loose(Kind):
    """Sent by value every time, though something known may hang on it."""

    tracked = False

    def children(self, obj: Any) -> Iterable[Any]:
        return (type(obj),)


class MethodKind(Kind):
    """Bound methods, of Python functions and of built-in types: they never change, what they are bound to may."""

    def children(self, obj: Any) -> Iterable[Any]:
        return (obj.__self__, getattr(obj, "__func__", None))


class Frozen(Kind):
    """Immutable: the identity matters, what is inside may change."""

    def children(self, obj: Any) -> Iterable[Any]:
        kind = type(obj)
        if issubclass(kind, tuple):
            return tuple.__iter__(obj)
        return frozenset.__iter__(obj) if issubclass(kind, frozenset) else ()


class FrozenTable(Kind):
    """A dict that cannot change (``frozendict``, Python 3.15), what is inside may."""

    def children(self, obj: Any) -> Iterable[Any]:
        return (*obj.keys(), *obj.values())


class FrozenParts(Kind):
    """Immutable objects with the named attributes inside."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def children(self, obj: Any) -> Iterable[Any]:
        return [getattr(obj, name, None) for name in self._names]


class ReferenceKind(Kind):
    """Weak references: what they point to matters, while it is there."""

    def children(self, obj: Any) -> Iterable[Any]:
        return (obj(),)


class WeakProxyKind(Kind):
    """``weakref.proxy``: never asked for anything, for it would ask what it points to."""

    def children(self, obj: Any) -> Iterable[Any]:
        return weakly.target_of(obj)


class BoundKind(Kind):
    """Lives in this process only; at home there is a placeholder. Nothing is noticed, nothing sent."""


class ListKind(PointerKind):
    """Lists."""

    def pointers(self, obj: Any) -> tuple[Any, ...]:
        return tuple(list.__iter__(obj))

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        if len(obj) == len(seal) and all(map(is_, obj, seal)):
            return None
        return self.pointers(obj)

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return list(now)

    def apply(self, obj: Any, state: Any) -> bool:
        list.__setitem__(obj, slice(None), state)
        return True

    def swap(self, obj: Any, old: Any, new: Any) -> bool:
        found = [i for i, value in enumerate(list.__iter__(obj)) if value is old]
        for i in found:
            list.__setitem__(obj, i, new)
        return bool(found)


class DictKind(PointerKind):
    """Dicts, with nothing else to them."""

    late = True

    def pointers(self, obj: Any) -> tuple[Any, ...]:
        return flat(obj)

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        if 2 * len(obj) == len(seal) and all(map(is_, chain(obj, obj.values()), seal)):
            return None
        return flat(obj)

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return table_of(now)

    def apply(self, obj: Any, state: Any) -> bool:
        fresh = dict(state)  # an unhashable key must not leave half a dict
        obj.clear()
        obj.update(fresh)
        return True

    def swap(self, obj: Any, old: Any, new: Any) -> bool:
        found = [key for key, value in dict.items(obj) if value is old]
        for key in found:
            dict.__setitem__(obj, key, new)
        return bool(found)


class DictLikeKind(DictKind):
    """Subclasses of dict; OrderedDict through its own methods, for it keeps a list beside the table."""

    cheap = True

    def children(self, obj: Any) -> Iterable[Any]:
        items, attributes = self.seal(obj)
        return (*items, *attributes)

    def seal(self, obj: Any, heap: Any = None) -> Any:
        items = list(_base(obj).items(obj))
        return tuple([k for k, _v in items] + [v for _k, v in items]), flat(_attributes(obj))

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        now = self.seal(obj)
        return None if same(seal[0], now[0]) and same(seal[1], now[1]) else now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return table_of(now[0]), table_of(now[1])

    def apply(self, obj: Any, state: Any) -> bool:
        items, attributes = state
        dict(items)  # an unhashable key must not leave half a dict
        base, table = _base(obj), bare.own_table(obj)
        if issubclass(type(obj), collections.defaultdict):
            _FACTORY.__set__(obj, dict(attributes).pop("default_factory", None))
            attributes = [pair for pair in attributes if pair[0] != "default_factory"]
        if table is not None and table is not obj:
            table.clear()
            table.update(attributes)
        base.clear(obj)
        for key, value in items:
            base.__setitem__(obj, key, value)
        return True


def _base(obj: Any) -> Any:
    return collections.OrderedDict if issubclass(type(obj), collections.OrderedDict) else dict


_FACTORY: Any = collections.defaultdict.__dict__["default_factory"]


def _attributes(obj: Any) -> dict[str, Any]:
    table = bare.own_table(obj)
    found = {} if table is None or table is obj else table
    if issubclass(type(obj), collections.defaultdict):
        found = {**found, "default_factory": _FACTORY.__get__(obj)}
    return found


class SetKind(PointerKind):
    """Sets. An untouched set keeps its order, so pointers are enough."""

    late = True

    def pointers(self, obj: Any) -> tuple[Any, ...]:
        return tuple(obj)

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return list(now)

    def apply(self, obj: Any, state: Any) -> bool:
        fresh = set(state)
        obj.clear()
        obj.update(fresh)
        return True


class DequeKind(PointerKind):
    def pointers(self, obj: Any) -> tuple[Any, ...]:
        return tuple(obj)

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return list(now)

    def apply(self, obj: Any, state: Any) -> bool:
        obj.clear()
        obj.extend(state)
        return True


class BytesKind(Kind):
    """bytearray and array.array: content by value."""

    def seal(self, obj: Any, heap: Any = None) -> Any:
        from cellferry.parcels import memories

        return len(obj), memories.digest(memoryview(obj))

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        now = self.seal(obj)
        return None if now == seal else now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return obj[:]

    def apply(self, obj: Any, state: Any) -> bool:
        if len(obj) == len(state):
            memoryview(obj)[:] = memoryview(state)  # also while somebody looks at this memory
            return True
        try:
            obj[:] = state
        except BufferError:
            return False
        return True

    def replacement(self, obj: Any, state: Any) -> Any:
        return state


class WeakMapKind(Kind):
    """WeakValueDictionary, WeakKeyDictionary, WeakSet: compared by the identity of what they hold at the moment."""

    def children(self, obj: Any) -> Iterable[Any]:
        # without a table of its own, which would hash what it holds
        return list(chain.from_iterable(obj.items())) if type(obj) is not weakref.WeakSet else tuple(obj)

    def seal(self, obj: Any, heap: Any = None) -> Any:
        return tuple(map(id, self.children(obj)))

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        now = self.seal(obj)
        return None if now == seal else now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return dict(obj) if type(obj) is not weakref.WeakSet else list(obj)

    def apply(self, obj: Any, state: Any) -> bool:
        obj.clear()
        obj.update(state)
        return True

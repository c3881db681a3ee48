"""How each kind of object changes: what to remember of it, how to see a change, what to send, how to apply it.

A ``Kind`` never descends: children that can change are objects of their own in the heap. ``seal`` is what is
remembered after both ends agreed; ``changed`` compares with it; ``state`` is what travels; ``apply`` makes the
object here like the one there, in place, and returns False where the type does not allow that.
"""

from __future__ import annotations

import array as array_module
import collections
import copyreg
import enum
import operator
import types
from collections.abc import Iterable
from typing import Any

from cellferry.parcels import frames, memories
from cellferry.parcels.kind import Kind
from cellferry.parcels.pickler import cell_contents, function_state, is_bound
from cellferry.parcels.placeholder import Placeholder
from cellferry.parcels.rebuild import set_cell, set_function

_HEAP_TYPE = 1 << 9


def _same(before: Iterable[Any], after: Iterable[Any]) -> bool:
    return all(map(operator.is_, before, after))


class Untracked(Kind):
    """Small and immutable: sent by value every time."""

    tracked = False


class Frozen(Kind):
    """Immutable containers: the identity matters, what is inside may change."""

    def children(self, obj: Any) -> Iterable[Any]:
        return obj if isinstance(obj, (tuple, frozenset)) else ()


class ListKind(Kind):
    """Lists and subclasses of list without state of their own."""

    cheap = True

    def children(self, obj: Any) -> Iterable[Any]:
        return list.__iter__(obj)

    def seal(self, obj: Any) -> Any:
        return list.__getitem__(obj, slice(None))

    def changed(self, obj: Any, seal: Any) -> bool:
        return list.__len__(obj) != len(seal) or not _same(seal, list.__iter__(obj))

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return list.__getitem__(obj, slice(None))

    def apply(self, obj: Any, state: Any) -> bool:
        list.__setitem__(obj, slice(None), state)
        return True


class DictKind(Kind):
    """Dicts of any kind; OrderedDict through its own methods, for it keeps a list beside the table."""

    cheap = True

    def children(self, obj: Any) -> Iterable[Any]:
        yield from dict.keys(obj)
        yield from dict.values(obj)
        yield from _attributes(obj).values()

    def seal(self, obj: Any) -> Any:
        # iteration of an OrderedDict is the order that matters
        return list(_base(obj).items(obj)), dict(_attributes(obj))

    def changed(self, obj: Any, seal: Any) -> bool:
        items, attributes = seal
        if len(items) != dict.__len__(obj) or not _same_items(attributes, _attributes(obj)):
            return True
        return any(k is not key or v is not value for (k, v), (key, value) in zip(items, _base(obj).items(obj), strict=False))

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        items, attributes = now
        return items, dict(attributes)

    def apply(self, obj: Any, state: Any) -> bool:
        items, attributes = state
        base = _base(obj)
        base.clear(obj)
        for key, value in items:
            base.__setitem__(obj, key, value)
        _restore_attributes(obj, attributes)
        return True


def _base(obj: Any) -> Any:
    return collections.OrderedDict if isinstance(obj, collections.OrderedDict) else dict


def _attributes(obj: Any) -> dict[str, Any]:
    if type(obj) in (dict, list, set, collections.OrderedDict, collections.Counter):
        return {}
    found = dict(getattr(obj, "__dict__", {}))
    if isinstance(obj, collections.defaultdict):
        found["default_factory"] = obj.default_factory
    return found


def _restore_attributes(obj: Any, attributes: dict[str, Any]) -> None:
    if isinstance(obj, collections.defaultdict):
        obj.default_factory = attributes.pop("default_factory", None)
    if getattr(obj, "__dict__", None) is not None:
        obj.__dict__.clear()
        obj.__dict__.update(attributes)


def _same_items(before: dict[Any, Any], after: dict[Any, Any]) -> bool:
    return len(before) == len(after) and _same(before, after) and _same(before.values(), after.values())


class SetKind(Kind):
    cheap = True

    def children(self, obj: Any) -> Iterable[Any]:
        return set.__iter__(obj)

    def seal(self, obj: Any) -> Any:
        return frozenset(obj)

    def changed(self, obj: Any, seal: Any) -> bool:
        return not set.__eq__(obj, seal)

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return list(obj)

    def apply(self, obj: Any, state: Any) -> bool:
        set.clear(obj)
        set.update(obj, state)
        return True


class DequeKind(Kind):
    cheap = True

    def children(self, obj: Any) -> Iterable[Any]:
        return list(obj)

    def seal(self, obj: Any) -> Any:
        return list(obj)

    def changed(self, obj: Any, seal: Any) -> bool:
        return len(obj) != len(seal) or not _same(seal, obj)

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return list(obj)

    def apply(self, obj: Any, state: Any) -> bool:
        obj.clear()
        obj.extend(state)
        return True


class BytesKind(Kind):
    """bytearray and array.array: content by value."""

    def seal(self, obj: Any) -> Any:
        return len(obj), memories.digest(memoryview(obj))

    def changed(self, obj: Any, seal: Any) -> bool:
        return bool(self.seal(obj) != seal)

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return obj[:]

    def apply(self, obj: Any, state: Any) -> bool:
        obj[:] = state
        return True


class InstanceKind(Kind):
    """Objects whose whole state is their ``__dict__`` and ``__slots__``."""

    cheap = True

    def children(self, obj: Any) -> Iterable[Any]:
        yield type(obj)
        yield from _vars(obj).values()

    def seal(self, obj: Any) -> Any:
        return type(obj), _vars(obj)

    def changed(self, obj: Any, seal: Any) -> bool:
        return type(obj) is not seal[0] or not _same_items(seal[1], _vars(obj))

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return type(obj), _vars(obj)

    def apply(self, obj: Any, state: Any) -> bool:
        kind, values = state
        if type(obj) is not kind:
            obj.__class__ = kind
        names = _slot_names(type(obj))
        if hasattr(obj, "__dict__"):
            table = obj.__dict__
            table.clear()
            table.update({k: v for k, v in values.items() if k not in names})
        for name in names:
            if name in values:
                object.__setattr__(obj, name, values[name])
            elif _slot(obj, name)[0]:
                object.__delattr__(obj, name)
        return True


def _slot_names(kind: type) -> list[str]:
    names: list[str] = copyreg._slotnames(kind)  # type: ignore[attr-defined]
    return names


def _slot(obj: Any, name: str) -> tuple[bool, Any]:
    try:
        return True, object.__getattribute__(obj, name)
    except AttributeError:
        return False, None


def _vars(obj: Any) -> dict[str, Any]:
    values = dict(getattr(obj, "__dict__", {}))
    for name in _slot_names(type(obj)):
        there, value = _slot(obj, name)
        if there:
            values[name] = value
    return values


_CLASS_NOISE = frozenset(
    ["__dict__", "__weakref__", "__module__", "__doc__", "__qualname__", "_abc_impl", "__abstractmethods__",
     "__firstlineno__", "__static_attributes__", "__annotations_cache__", "__annotate_func__", "__slotnames__",
     "__getstate__", "__orig_bases__", "__parameters__"]
)  # fmt: skip


class ClassKind(Kind):
    """Classes of the notebook: attributes added, changed or removed."""

    cheap = True

    def children(self, obj: Any) -> Iterable[Any]:
        yield from _class_vars(obj).values()
        yield from obj.__bases__

    def seal(self, obj: Any) -> Any:
        return _class_vars(obj)

    def changed(self, obj: Any, seal: Any) -> bool:
        return not _same_items(seal, _class_vars(obj))

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return {k: v for k, v in now.items() if before.get(k, now) is not v}, [k for k in before if k not in now]

    def apply(self, obj: Any, state: Any) -> bool:
        changed, removed = state
        for name, value in changed.items():
            type.__setattr__(obj, name, value)
        for name in removed:
            if name in vars(obj):
                type.__delattr__(obj, name)
        return True


def _class_vars(kind: type) -> dict[str, Any]:
    members = types.MemberDescriptorType, types.GetSetDescriptorType
    return {k: v for k, v in vars(kind).items() if k not in _CLASS_NOISE and not isinstance(v, members)}


class FunctionKind(Kind):
    """Functions of the notebook: defaults, attributes, even their code."""

    cheap = True

    def children(self, obj: Any) -> Iterable[Any]:
        yield from obj.__closure__ or ()
        yield from obj.__defaults__ or ()
        yield from (obj.__kwdefaults__ or {}).values()
        yield from obj.__dict__.values()
        yield from obj.__annotations__.values()

    def seal(self, obj: Any) -> Any:
        return obj.__code__, obj.__defaults__, obj.__kwdefaults__, dict(obj.__dict__)

    def changed(self, obj: Any, seal: Any) -> bool:
        now = self.seal(obj)
        return not _same(seal[:3], now[:3]) or not _same_items(seal[3], now[3])

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return {**function_state(obj), "cells": (), "__code__": obj.__code__}

    def apply(self, obj: Any, state: Any) -> bool:
        set_function(obj, state)
        return True


class CellKind(Kind):
    """The cells of closures: what ``nonlocal`` writes to."""

    cheap = True

    def children(self, obj: Any) -> Iterable[Any]:
        return cell_contents(obj)

    def seal(self, obj: Any) -> Any:
        return cell_contents(obj)

    def changed(self, obj: Any, seal: Any) -> bool:
        now = cell_contents(obj)
        return len(now) != len(seal) or not _same(seal, now)

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return cell_contents(obj)

    def apply(self, obj: Any, state: Any) -> bool:
        if state:
            set_cell(obj, state)
        else:
            del obj.cell_contents
        return True


class BoundKind(Kind):
    """Lives in this process only; at home there is a placeholder. Nothing is noticed, nothing sent."""


class MethodKind(Kind):
    tracked = False

    def children(self, obj: Any) -> Iterable[Any]:
        return (obj.__self__, obj.__func__)


UNTRACKED, FROZEN, BOUND = Untracked(), Frozen(), BoundKind()
INSTANCE, OPAQUE = InstanceKind(), frames.OpaqueKind()
_LARGE_TEXT = 1 << 14
_BY_TYPE: dict[type, Kind] = {
    list: ListKind(), dict: DictKind(), set: SetKind(), tuple: FROZEN, frozenset: FROZEN,
    collections.OrderedDict: DictKind(), collections.defaultdict: DictKind(), collections.Counter: DictKind(),
    collections.deque: DequeKind(), bytearray: BytesKind(), array_module.array: BytesKind(),
    types.CellType: CellKind(), types.MethodType: MethodKind(), Placeholder: FROZEN,
    types.ModuleType: UNTRACKED, types.CodeType: UNTRACKED, types.BuiltinFunctionType: UNTRACKED,
    int: UNTRACKED, float: UNTRACKED, bool: UNTRACKED, complex: UNTRACKED, type(None): UNTRACKED,
    range: UNTRACKED, slice: UNTRACKED, type(...): UNTRACKED, types.MappingProxyType: UNTRACKED,
}  # fmt: skip
_UNTRACKED_MODULES = frozenset(
    ["datetime", "decimal", "fractions", "uuid", "pathlib", "re", "zoneinfo", "ipaddress", "numpy.dtypes", "operator", "typing",
     "_frozen_importlib", "importlib._bootstrap", "weakref", "logging"]
)  # fmt: skip
_BY_NAME: dict[str, Kind] = {
    "numpy.ndarray": memories.ArrayKind(),
    "numpy.memmap": memories.ArrayKind(),
    "numpy.dtype": UNTRACKED,
    "numpy.ufunc": UNTRACKED,
    "torch.dtype": UNTRACKED,
    "torch.device": UNTRACKED,
    "torch.Size": FROZEN,
    "torch.storage.UntypedStorage": memories.StorageKind(),
    "torch.Tensor": memories.TensorKind(),
    "torch.nn.parameter.Parameter": memories.TensorKind(),
    "torch.nn.parameter.Buffer": memories.TensorKind(),
    "pandas.DataFrame": frames.FrameKind(),
    "pandas.Series": frames.FrameKind(),
    "pandas.core.frame.DataFrame": frames.FrameKind(),
    "pandas.core.series.Series": frames.FrameKind(),
}


def kind_of(obj: Any, namespace: Any) -> Kind:
    """How ``obj`` changes; ``namespace`` tells the notebook's functions from those of libraries."""
    kind = type(obj)
    found = _BY_TYPE.get(kind)
    if found is not None:
        return found
    if kind is str or kind is bytes:
        return FROZEN if len(obj) >= _LARGE_TEXT else UNTRACKED
    if kind is types.FunctionType:
        return _FUNCTION if obj.__globals__ is namespace else UNTRACKED
    if isinstance(obj, type):
        return _CLASS if obj.__module__ == "__main__" else UNTRACKED
    if is_bound(obj):
        return BOUND
    return _by_layout(obj, kind)


_FUNCTION, _CLASS = FunctionKind(), ClassKind()


def _by_layout(obj: Any, kind: type) -> Kind:
    """For everything else: by name, by module, by base class, by how it pickles."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    found = _BY_NAME.get(name)
    if found is None:
        found = _classify(obj, kind)
    if kind.__module__ != "__main__":
        _BY_TYPE[kind] = found
    return found


def _classify(obj: Any, kind: type) -> Kind:
    top = kind.__module__.partition(".")[0]
    if kind.__module__ in _UNTRACKED_MODULES or isinstance(obj, (enum.Enum, int, float, str, bytes)) or top == "pyarrow":
        return FROZEN if isinstance(obj, (str, bytes)) and len(obj) >= _LARGE_TEXT else UNTRACKED
    if top == "numpy" and hasattr(obj, "dtype") and getattr(obj, "shape", None) == () and not hasattr(obj, "__setitem__"):
        return UNTRACKED
    if _plain_state(kind):
        for base, found in ((dict, _BY_TYPE[dict]), (list, None), (set, None), (tuple, FROZEN)):
            if isinstance(obj, base):
                return found or OPAQUE
        solid = kind
        while solid.__flags__ & _HEAP_TYPE and solid.__base__ is not None:
            solid = solid.__base__
        if solid is object:
            return INSTANCE
    return OPAQUE


def _plain_state(kind: type) -> bool:
    """Whether pickle takes the object's state by default, so that its ``__dict__`` and slots are all there is."""
    return (
        (kind.__reduce_ex__ in (object.__reduce_ex__,) or issubclass(kind, dict))
        and (kind.__reduce__ is object.__reduce__ or issubclass(kind, dict))
        and kind.__getstate__ is object.__getstate__  # type: ignore[attr-defined]
        and not hasattr(kind, "__setstate__")
        and not hasattr(kind, "__getnewargs_ex__")
        and (not hasattr(kind, "__getnewargs__") or issubclass(kind, tuple))
        and kind not in copyreg.dispatch_table
    )

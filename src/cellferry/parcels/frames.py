"""Kinds of objects that only pickle can look into: seen to change by the digest of their own parcel."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterable
from typing import Any

import xxhash

from cellferry.parcels.kind import Kind
from cellferry.parcels.leaves import Leaf


def fingerprint(obj: Any, namespace: Any) -> bytes | None:
    """XXH3 over everything that ``obj`` holds, or None where it cannot be pickled."""
    from cellferry.parcels.pickler import Packer

    leaves: list[Leaf] = []
    packer = Packer(namespace, leaves, sub=True)
    try:
        packer.dump(obj)
    except Exception:
        return None
    whole = xxhash.xxh3_128(b"".join(packer.sink.parts))
    packer.release()
    for leaf in leaves:
        whole.update(leaf.digests)
    return whole.digest()


class OpaqueKind(Kind):
    """Objects with a reduction of their own. Applied through ``__setstate__`` or their ``__dict__``."""

    def children(self, obj: Any) -> Iterable[Any]:
        skip = (types.ModuleType, type, types.FunctionType, types.BuiltinFunctionType, types.FrameType)
        return [child for child in gc.get_referents(obj) if not isinstance(child, skip)]

    def seal(self, obj: Any) -> Any:
        return fingerprint(obj, None)

    def probe(self, obj: Any, seal: Any) -> Any:
        now = fingerprint(obj, None)
        return None if now == seal else now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        reduced = obj.__reduce_ex__(5)
        return reduced if isinstance(reduced, str) else tuple(_listed(part) for part in reduced)

    def apply(self, obj: Any, state: Any) -> bool:
        if isinstance(state, str):
            return False
        inner, items, pairs = (*state, None, None, None)[2:5]
        setter = getattr(type(obj), "__setstate__", None)
        if setter is not None and inner is not None and not items and not pairs:
            setter(obj, inner)
            return True
        made = self.replacement(obj, state)
        return type(made) is type(obj) and _transplant(obj, made)

    def replacement(self, obj: Any, state: Any) -> Any:
        if isinstance(state, str):
            return obj
        make, arguments, inner, items, pairs = (*state, None, None, None)[:5]
        made = make(*arguments)
        if inner is not None:
            _set_state(made, inner)
        if items:
            made.extend(items)
        for key, value in pairs or ():
            made[key] = value
        return made


def _listed(part: Any) -> Any:
    return list(part) if hasattr(part, "__next__") else part


def _set_state(made: Any, state: Any) -> None:
    setter = getattr(type(made), "__setstate__", None)
    if setter is not None:
        setter(made, state)
        return
    values, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    made.__dict__.update(values or {})
    for name, value in (slots or {}).items():
        object.__setattr__(made, name, value)


def _transplant(obj: Any, made: Any) -> bool:
    """Give ``obj`` all that ``made`` has; False where a part of it cannot be reached from Python."""
    if isinstance(obj, list):
        list.__setitem__(obj, slice(None), made)
    elif isinstance(obj, set):
        set.clear(obj)
        set.update(obj, made)
    elif isinstance(obj, BaseException):
        obj.args = made.args
    elif type(obj).__module__ == "numpy.random._generator":
        obj.bit_generator.state = made.bit_generator.state
        return True
    elif isinstance(obj, (dict, tuple)) or not hasattr(obj, "__dict__"):
        return False
    if hasattr(obj, "__dict__"):
        obj.__dict__.clear()
        obj.__dict__.update(made.__dict__)
    return True


class FrameKind(Kind):
    """pandas' DataFrame and Series: sent whole (their memory is shared copy-on-write), applied by swapping the insides."""

    def children(self, obj: Any) -> Iterable[Any]:
        return ()

    def seal(self, obj: Any) -> Any:
        return fingerprint(obj, None)

    def probe(self, obj: Any, seal: Any) -> Any:
        now = fingerprint(obj, None)
        return None if now == seal else now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return obj.copy(deep=False)

    def apply(self, obj: Any, state: Any) -> bool:
        if type(obj) is not type(state):
            return False
        obj.__dict__.clear()
        obj.__dict__.update(state.__dict__)
        obj._mgr = state._mgr
        return True

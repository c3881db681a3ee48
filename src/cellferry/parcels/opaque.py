"""Kinds of objects that only pickle can look into: seen to change by the digest of what they reduce to."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any

import xxhash

from cellferry.parcels.kind import Kind
from cellferry.parcels.leaves import Leaf
from cellferry.parcels.pickler import Packer, parts_of, reduce
from cellferry.parcels.rebuild import set_state

_UNREADABLE = b"this object does not pickle"


class Prober(Packer):
    """Pickles one object for its digest; what both ends know stands there as a number."""

    def __init__(self, heap: Any, root: Any, leaves: list[Leaf]) -> None:
        super().__init__(heap.namespace, leaves, sub=True)
        self.nested_placeholders = True
        self._oid_of: dict[int, int] = heap.oid_of
        self._root = root

    def persistent_id(self, obj: Any) -> Any:
        return None if obj is self._root else self._oid_of.get(id(obj))


def fingerprint(obj: Any, heap: Any, cut: bool, known: dict[tuple[int, int], bytes] | None = None) -> bytes:
    """XXH3 over what ``obj`` holds; with ``cut``, only of what both ends do not know by number.

    ``known``: digests of memories, by address and size, that need not be taken again.
    """
    leaves: list[Leaf] = []
    packer = (
        Prober(heap, obj, leaves)
        if cut and heap is not None
        else Packer(getattr(heap, "namespace", {}), leaves, sub=True)
    )
    try:
        packer.dump(obj)
    except Exception:
        return _UNREADABLE
    finally:
        packer.release()
    whole = xxhash.xxh3_128(b"".join(packer.sink.parts))
    for leaf in leaves:
        whole.update((known and known.get(leaf.place)) or leaf.digests)
    return whole.digest()


class OpaqueKind(Kind):
    """Objects with a reduction of their own. Applied through ``__setstate__`` or their ``__dict__``."""

    leans = True

    def children(self, obj: Any) -> Iterable[Any]:
        try:
            return parts_of(obj)
        except Exception:  # it cannot travel: whoever packs it will say so
            return ()

    def seal(self, obj: Any, heap: Any = None) -> Any:
        return fingerprint(obj, heap, cut=True)

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        now = fingerprint(obj, heap, cut=True)
        return None if now == seal else now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        reduced = reduce(obj)
        return reduced if isinstance(reduced, str) else (*reduced[:3], *map(_listed, reduced[3:5]), *reduced[5:])

    def apply(self, obj: Any, state: Any) -> bool:
        if isinstance(state, str):
            return False
        make, arguments, inner, items, pairs = (*state, None, None, None)[:5]
        if (
            type(obj).__module__ != "numpy"
            and hasattr(type(obj), "__setstate__")
            and inner is not None
            and not items
            and not pairs
        ):
            if getattr(make, "__name__", "") == "__newobj__" and arguments[0] is not type(obj):
                return False
            return _take_state(obj, inner)
        if make is iter and hasattr(obj, "__next__") and not (arguments[0] if arguments else ()):
            # a used-up iterator of Python's own says nothing about what it once ran over: use up the one here
            collections.deque(obj, maxlen=0)
            return True
        made = self.replacement(obj, state)
        return type(made) is type(obj) and _transplant(obj, made)

    def replacement(self, obj: Any, state: Any) -> Any:
        if isinstance(state, str):
            return obj
        make, arguments, inner, items, pairs, setter = (*state, None, None, None, None)[:6]
        made = make(*arguments)
        if inner is not None:
            (setter or set_state)(made, inner)
        if items:
            made.extend(items)
        for key, value in pairs or ():
            made[key] = value
        return made


def _listed(part: Any) -> Any:
    return list(part) if hasattr(type(part), "__next__") else part


def _take_state(obj: Any, inner: Any) -> bool:
    """``__setstate__`` on an object as bare as pickle would give it; as it was if that fails."""
    table = getattr(obj, "__dict__", None)
    before = dict(table) if table is not None else {}
    if table is not None:
        table.clear()
    try:
        type(obj).__setstate__(obj, inner)
    except Exception:
        if table is not None:
            table.clear()
            table.update(before)
        return False
    return True


def _transplant(obj: Any, made: Any) -> bool:
    """Give ``obj`` all that ``made`` has; False where a part of it cannot be reached from Python."""
    if isinstance(obj, list):
        list.__setitem__(obj, slice(None), made)
    elif isinstance(obj, set):
        set.clear(obj)
        set.update(obj, made)
    elif hasattr(obj, "maxlen") and hasattr(obj, "appendleft"):
        if obj.maxlen != made.maxlen:
            return False
        obj.clear()
        obj.extend(made)
    elif hasattr(obj, "bit_generator"):
        obj.bit_generator.state = made.bit_generator.state
        return True
    elif hasattr(obj, "get_state") and hasattr(obj, "set_state"):  # torch.Generator
        obj.set_state(made.get_state())
        return True
    elif isinstance(obj, (dict, tuple)) or not hasattr(obj, "__dict__"):
        return False
    if hasattr(obj, "__dict__"):
        kept = _left_out(obj)
        obj.__dict__.clear()
        obj.__dict__.update({**kept, **made.__dict__})
    return True


def _left_out(obj: Any) -> dict[str, Any]:
    """What ``obj`` holds but keeps out of its pickle (``__getstate__``): it has not travelled and is still meant."""
    reduced = reduce(obj)
    state = None if isinstance(reduced, str) else (*reduced, None)[2]
    if type(state) is tuple and len(state) == 2:
        state = state[0]
    return {k: v for k, v in obj.__dict__.items() if k not in state} if isinstance(state, dict) else {}


class PassingKind(OpaqueKind):
    """Part of the content of those that hold it, and always sent with them."""

    tracked = False


class FrameKind(Kind):
    """pandas' DataFrame and Series: sent whole (their memory is shared copy-on-write), applied by swapping the insides."""

    def seal(self, obj: Any, heap: Any = None) -> Any:
        return fingerprint(obj, heap, cut=False)

    def seal_among(self, obj: Any, heap: Any, known: dict[tuple[int, int], bytes]) -> Any:
        """The seal when the digests of most of its memory have been taken already."""
        return fingerprint(obj, heap, cut=False, known=known)

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        now = self.seal(obj, heap)
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

    def replacement(self, obj: Any, state: Any) -> Any:
        return state

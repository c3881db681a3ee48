"""Kinds of objects that only pickle can look into: seen to change by the digest of what they reduce to."""

from __future__ import annotations

import collections
import copyreg
from collections.abc import Iterable
from itertools import islice
from typing import Any

import xxhash

from cellferry.parcels import frames
from cellferry.parcels.bare import has, module_of, own_table
from cellferry.parcels.kind import Kind, flat
from cellferry.parcels.leaves import Leaf
from cellferry.parcels.pickler import Packer, parts_of, reduce
from cellferry.parcels.rebuild import set_ctypes, set_state

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
    except KeyboardInterrupt:
        raise
    except BaseException:  # whatever its own code raises
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
        except KeyboardInterrupt:
            raise
        except BaseException:  # it cannot travel: whoever packs it will say so
            return ()

    def seal(self, obj: Any, heap: Any = None) -> Any:
        return fingerprint(obj, heap, cut=True)

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        now = fingerprint(obj, heap, cut=True)
        return None if now == seal else now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        reduced = reduce(obj)
        return reduced if isinstance(reduced, str) else (*reduced[:3], *map(_listed, reduced[3:5]), *reduced[5:])

    def leaning(self, obj: Any, old: Any, new: Any) -> Any:
        try:
            if not any(part is old for part in parts_of(obj)):
                return None
            state = self.state(obj, None, None)
        except KeyboardInterrupt:
            raise
        except BaseException:  # it does not let itself be looked into
            return None
        make, arguments, *rest = state
        swapped = tuple(new if part is old else part for part in arguments)
        return make, swapped, *(new if part is old else part for part in rest)

    def apply(self, obj: Any, state: Any) -> bool:
        if isinstance(state, str):
            return False
        make, arguments, inner, items, pairs = (*state, None, None, None)[:5]
        if make is iter and type(obj) in _RANGES and inner is None:
            return _advanced(obj, arguments[0])
        if state[5:6] == (set_ctypes,):
            set_ctypes(obj, inner)
            return True
        if (
            module_of(type(obj)) != "numpy"
            and has(type(obj), "__setstate__")
            and inner is not None
            and not items
            and not pairs
        ):
            if make is copyreg.__newobj__ and arguments[0] is not type(obj):  # type: ignore[attr-defined]
                return False
            return _take_state(obj, inner)
        if make is iter and has(type(obj), "__next__") and not (arguments[0] if arguments else ()):
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


_RANGES = (type(iter(range(1))), type(iter(range(1 << 99))))


def _advanced(iterator: Any, left: range) -> bool:
    """Let one over a range go on to where ``left`` is all that it has; since 3.12 it has no state that could be set. False where
    that is not ahead of it."""
    _make, (whole,), *state = iterator.__reduce__()
    mine = whole[state[0] if state and state[0] else 0 :]
    try:
        steps = len(mine) - len(left)
    except OverflowError:
        return False
    if steps < 0 or mine[steps:] != left:
        return False
    collections.deque(islice(iterator, steps), maxlen=0)
    return True


def _listed(part: Any) -> Any:
    return list(part) if has(type(part), "__next__") else part


def _take_state(obj: Any, inner: Any) -> bool:
    """``__setstate__`` on an object as bare as pickle would give it; as it was if that fails."""
    table = own_table(obj)
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
    kind, table = type(obj), own_table(obj)
    if issubclass(kind, list):
        list.__setitem__(obj, slice(None), list.__iter__(made))
    elif issubclass(kind, set):
        content = list(set.__iter__(made))
        set.clear(obj)
        set.update(obj, content)
    elif issubclass(kind, collections.deque):
        if _MAXLEN(obj) != _MAXLEN(made):
            return False
        content = list(collections.deque.__iter__(made))
        collections.deque.clear(obj)
        collections.deque.extend(obj, content)
    elif has(kind, "bit_generator"):
        obj.bit_generator.state = made.bit_generator.state
        return True
    elif has(kind, "get_state") and has(kind, "set_state"):  # torch.Generator
        obj.set_state(made.get_state())
        return True
    elif issubclass(kind, (dict, tuple)) or table is None:
        return False
    if table is not None:
        kept = _left_out(obj)
        table.clear()
        table.update({**kept, **(own_table(made) or {})})
    return True


_MAXLEN = collections.deque.__dict__["maxlen"].__get__


def _left_out(obj: Any) -> dict[str, Any]:
    """What ``obj`` holds but keeps out of its pickle (``__getstate__``): it has not travelled and is still meant."""
    reduced = reduce(obj)
    state = None if isinstance(reduced, str) else (*reduced, None)[2]
    if type(state) is tuple and len(state) == 2:
        state = state[0]
    return {k: v for k, v in (own_table(obj) or {}).items() if k not in state} if type(state) is dict else {}


class PassingKind(OpaqueKind):
    """Part of the content of those that hold it, and always sent with them."""

    tracked = False


class FrameKind(Kind):
    """pandas' DataFrame and Series, and their subclasses: the memory is sent whole, and applied by swapping the insides."""

    def children(self, obj: Any) -> Iterable[Any]:
        _inner, state, beside = frames.split(obj)
        return (*state.values(), *beside.values())

    def seal(self, obj: Any, heap: Any = None) -> Any:
        return self.seal_among(obj, heap, None)

    def seal_among(self, obj: Any, heap: Any, known: dict[tuple[int, int], bytes] | None) -> Any:
        """The seal when the digests of most of its memory have been taken already."""
        inner, state, beside = frames.split(obj)
        return fingerprint(inner, heap, cut=False, known=known), flat(state), flat(beside)

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        now = self.seal(obj, heap)
        same_inside = now[0] == seal[0]
        return None if same_inside and frames.alike(seal[1], now[1]) and frames.alike(seal[2], now[2]) else now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return frames.twin(obj)

    def apply(self, obj: Any, state: Any) -> bool:
        if type(obj) is not type(state):
            return False
        frames.take_over(obj, state)
        return True

    def replacement(self, obj: Any, state: Any) -> Any:
        return state

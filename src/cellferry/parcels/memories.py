"""Kinds of numpy arrays, and how pieces of memory travel: only changed chunks do."""

from __future__ import annotations

import ctypes
import gc
import sys
import types
from collections.abc import Iterable
from typing import Any

from cellferry.parcels import arrays, rebuild, relayout
from cellferry.parcels.kind import Kind, flat, same, table_of
from cellferry.parcels.leaves import CHUNK_BYTES, DIGEST_BYTES, bytes_of, changed_chunks, digests


def digest(view: memoryview) -> bytes:
    """All chunk digests of a memory, in one bytes object."""
    return digests(view.cast("B")) if view.nbytes else b""


class Patch:
    """Changed pieces of a memory: (offset, bytes) pairs; the bytes are arrays of uint8 and travel as leaves."""

    __slots__ = ("pieces",)

    def __init__(self, pieces: list[tuple[int, Any]]) -> None:
        self.pieces = pieces

    def write_to(self, memory: memoryview) -> None:
        for offset, data in self.pieces:
            view = bytes_of(data)
            memory[offset : offset + len(view)] = view

    def spliced(self, before: bytes, memory: memoryview) -> bytes:
        """The digests ``before``, with those of the patched chunks taken anew from ``memory``."""
        out = bytearray(before)
        for offset, data in self.pieces:
            first = offset // CHUNK_BYTES
            fresh = digests(memory[offset : offset + bytes_of(data).nbytes])
            out[first * DIGEST_BYTES : first * DIGEST_BYTES + len(fresh)] = fresh
        return bytes(out)


def patch(memory: memoryview, chunks: list[int]) -> Patch:
    """The given chunks of ``memory``, neighbours joined, as views (nothing is copied)."""
    import numpy as np

    flat = np.frombuffer(memory, np.uint8)
    runs: list[list[int]] = []
    for chunk in chunks:
        if runs and runs[-1][1] == chunk:
            runs[-1][1] = chunk + 1
        else:
            runs.append([chunk, chunk + 1])
    return Patch([(a * CHUNK_BYTES, Piece(flat[a * CHUNK_BYTES : b * CHUNK_BYTES])) for a, b in runs])


class Piece:
    """A window on memory that travels as a leaf of its own; arrives as an array."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array


class ArrayKind(Kind):
    """Arrays whose content is their own at the other end: owners, and windows on something that did not travel."""

    def children(self, obj: Any) -> Iterable[Any]:
        if obj.dtype.hasobject:
            return _objects(obj)
        owner = arrays.owner_of(obj)
        return () if owner is obj else (owner,)

    def seal(self, obj: Any, heap: Any = None) -> Any:
        return arrays.look(obj), _content(obj)

    def seal_from(self, obj: Any, known: bytes) -> Any:
        """The seal when the digests of the content are known already."""
        return arrays.look(obj), known

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        now = self.seal(obj)
        return None if now[0] == seal[0] and _same_content(now[1], seal[1]) else now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        """(look, patch) when only content changed, else (look, fresh copy of everything)."""
        if before[0] == now[0] and type(now[1]) is bytes and now[1]:
            return now[0], patch(bytes_of(arrays.dense(obj)), changed_chunks(before[1], now[1]))
        return now[0], arrays.plain(obj).copy("K")

    def reseal(self, obj: Any, state: Any, before: Any, heap: Any = None) -> Any:
        if isinstance(state[1], Patch):
            return before[0], state[1].spliced(before[1], bytes_of(arrays.dense(obj)))
        return self.seal(obj)

    def replacement(self, obj: Any, state: Any) -> Any:
        if isinstance(state[1], Patch):
            made = arrays.plain(obj).copy("K")
            self.apply(made, state)
            return made
        return state[1]

    def apply(self, obj: Any, state: Any) -> bool:
        look, content = state
        try:
            if isinstance(content, Patch):
                return arrays.look(obj) == look and _apply_patch(arrays.plain(obj), content, obj.flags.writeable)
            return _reshape(obj, content) and _assign(arrays.plain(obj), content, obj.flags.writeable)
        except (ValueError, TypeError):  # read-only memory, an exported buffer
            return False


def _objects(obj: Any) -> tuple[Any, ...]:
    """The elements of an array of objects, those of all fields."""
    found = arrays.plain(obj).ravel("K").tolist()
    if obj.dtype.names is not None:
        found = [value for row in found for value in row]
    return tuple(found)


def _content(obj: Any) -> Any:
    if not obj.dtype.hasobject:
        return digest(bytes_of(arrays.dense(obj)))
    if obj.dtype.names is None:
        return _objects(obj)
    raw = ctypes.string_at(arrays.dense(obj).ctypes.data, obj.nbytes)  # pointers and numbers as they lie
    return (_objects(obj), raw)


def _same_content(now: Any, before: Any) -> bool:
    if type(now) is bytes or type(before) is bytes:
        return bool(now == before)
    if len(now) == len(before) == 2 and type(now[1]) is bytes:  # with fields: the tuples are made anew each time
        return bool(now[1] == before[1])
    return same(now, before)


def _apply_patch(plain: Any, content: Patch, writeable: bool) -> bool:
    if arrays.dense_order(plain) is not None:
        with arrays.unlocked(plain, writeable):
            content.write_to(bytes_of(plain))
        return True
    copy = arrays.dense(plain)
    content.write_to(bytes_of(copy))
    return _assign(plain, copy, writeable)


def _assign(plain: Any, content: Any, writeable: bool) -> bool:
    with arrays.unlocked(plain, writeable):
        plain[...] = content
    return True


def _reshape(obj: Any, content: Any) -> bool:
    """Give ``obj`` the type and shape of ``content``, whatever its own content becomes."""
    if obj.dtype != content.dtype:
        if obj.dtype.itemsize != content.dtype.itemsize or obj.dtype.hasobject or content.dtype.hasobject:
            return False
        relayout.set_dtype(obj, content.dtype)
    if obj.shape == content.shape:
        return True
    if obj.size == content.size:
        relayout.set_shape(obj, content.shape)
        return True
    if type(obj).__module__ != "numpy" or not obj.flags.owndata:
        return False
    if not _sample:
        _measure_own_references()
    if _has_views(obj):
        return False
    relayout.resize(obj, content.shape)
    return True


def _has_views(obj: Any) -> bool:
    """Whether something holds ``obj`` that the garbage collector does not see: a view, whose memory must not move.

    The collector does not see dicts and tuples of nothing but arrays either; their owners are asked for those, all of them: that
    takes a while, and is done only for an array that changes its size and has such a holder, or a view.
    """
    unseen = sys.getrefcount(obj)
    for holder in gc.get_referrers(obj):
        if not isinstance(holder, types.FrameType):
            unseen -= list(map(id, gc.get_referents(holder))).count(id(obj))
    if not _own_references:
        _own_references.append(unseen)
        return True
    return unseen > _own_references[0] and unseen - _times_in_untracked(obj) > _own_references[0]


def _times_in_untracked(obj: Any) -> int:
    """How often dicts and tuples hold ``obj`` that the garbage collector has lost sight of, since they hold nothing but arrays."""
    times, known, owners = 0, set[int](), gc.get_objects()
    while owners:
        inner = gc.get_referents(owners.pop())
        for held in inner:
            if (type(held) is dict or type(held) is tuple) and not gc.is_tracked(held) and id(held) not in known:
                known.add(id(held))
                times += list(map(id, gc.get_referents(held))).count(id(obj))
                owners.append(held)
    return times


_own_references: list[int] = []
"""Of the calls from ``settle`` down to ``_has_views``, which the collector does not see: measured, for Pythons differ."""

_sample: list[Any] = []


def _measure_own_references() -> None:
    import numpy as np

    _sample.append(np.zeros(1))
    for obj in _sample:
        ArrayKind().apply(obj, ((), np.zeros(2)))


class SubclassKind(ArrayKind):
    """Subclasses of ndarray (matrix, masked array, the notebook's own): content, and the ``__dict__`` beside it."""

    def children(self, obj: Any) -> Iterable[Any]:
        plain = arrays.plain(obj)
        inner = _objects(obj) if obj.dtype.hasobject else (arrays.owner_of(plain),)
        return (type(obj), *inner, *flat(obj.__dict__))

    def seal(self, obj: Any, heap: Any = None) -> Any:
        return arrays.look(obj), _content(obj), flat(obj.__dict__)

    def seal_from(self, obj: Any, known: bytes) -> Any:
        return arrays.look(obj), known, flat(obj.__dict__)

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        now = self.seal(obj)
        return now if not same(now[2], seal[2]) else super().probe(obj, seal) and now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return (*super().state(obj, before[:2], now[:2]), table_of(now[2]))

    def reseal(self, obj: Any, state: Any, before: Any, heap: Any = None) -> Any:
        return self.seal(obj)

    def apply(self, obj: Any, state: Any) -> bool:
        if not super().apply(obj, state[:2]):
            return False
        obj.__dict__.clear()
        obj.__dict__.update(state[2])
        return True

    def replacement(self, obj: Any, state: Any) -> Any:
        made = rebuild.array_as(super().replacement(obj, state), type(obj))
        made.__dict__.update(state[2])
        return made


class RecordKind(Kind):
    """One row of an array with fields: a window on that array, or all that there is of it."""

    def children(self, obj: Any) -> Iterable[Any]:
        return () if obj.base is None else (arrays.owner_of(obj.base),)

    def seal(self, obj: Any, heap: Any = None) -> Any:
        return obj.tobytes() if obj.base is None else None

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        now = self.seal(obj)
        return None if now == seal else now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return obj.copy()

    def apply(self, obj: Any, state: Any) -> bool:
        for name in obj.dtype.names or ():
            obj[name] = state[name]
        return bool(obj.dtype.names)

    def replacement(self, obj: Any, state: Any) -> Any:
        return state


class ViewKind(Kind):
    """A view whose owner is known too: only its look is its own."""

    def children(self, obj: Any) -> Iterable[Any]:
        return (arrays.owner_of(obj),)

    def seal(self, obj: Any, heap: Any = None) -> Any:
        return arrays.layout(obj)

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        now = arrays.layout(obj)
        return None if now == seal else now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return now

    def apply(self, obj: Any, state: Any) -> bool:
        dtype, shape, _strides = state
        try:
            if obj.dtype != dtype:
                relayout.set_dtype(obj, dtype)
            if obj.shape != shape:
                relayout.set_shape(obj, shape)
        except (ValueError, AttributeError, TypeError):
            return False
        return bool(arrays.layout(obj) == state)

    def replacement(self, obj: Any, state: Any) -> Any:
        import numpy as np

        return np.lib.stride_tricks.as_strided(obj, state[1], state[2])

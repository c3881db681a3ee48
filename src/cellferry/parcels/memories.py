"""Kinds of objects that are memory: arrays, torch storages and tensors. Only changed chunks travel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cellferry.parcels import arrays
from cellferry.parcels.kind import Kind
from cellferry.parcels.leaves import CHUNK_BYTES, DIGEST_BYTES, bytes_of, changed_chunks, chunk_count, digests


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
    """numpy arrays. Of a view only the look is noticed; its owner holds the content."""

    def children(self, obj: Any) -> Iterable[Any]:
        if obj.dtype.hasobject:
            return obj.reshape(-1).tolist() if obj.dtype.names is None else ()
        owner = arrays.owner_of(obj)
        return () if owner is obj else (owner,)

    def _content(self, obj: Any) -> Any:
        if obj.dtype.hasobject:
            return obj.ravel("K").tolist()
        if arrays.dense_order(obj):
            return digest(bytes_of(obj))
        import numpy as np

        return digest(bytes_of(np.ascontiguousarray(obj)))

    def seal(self, obj: Any) -> Any:
        return arrays.layout(obj), self._content(obj)

    def seal_from(self, obj: Any, known: bytes) -> Any:
        """The seal when the digests of the content are known already."""
        return arrays.layout(obj), known

    def changed(self, obj: Any, seal: Any) -> bool:
        return self.probe(obj, seal) is not None

    def probe(self, obj: Any, seal: Any) -> Any:
        now = self.seal(obj)
        if now[0] == seal[0]:
            if obj.dtype.hasobject:
                if len(now[1]) == len(seal[1]) and all(a is b for a, b in zip(now[1], seal[1], strict=True)):
                    return None
            elif now[1] == seal[1]:
                return None
        return now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        """(layout, patch) when only content changed in dense memory, else (layout, fresh copy of everything)."""
        dense = not obj.dtype.hasobject and arrays.dense_order(obj) and obj.nbytes
        if dense and before[0] == now[0] and len(before[1]) == len(now[1]):
            return now[0], patch(bytes_of(obj), changed_chunks(before[1], now[1]))
        return now[0], obj.copy("K")

    def reseal(self, obj: Any, state: Any, before: Any) -> Any:
        if isinstance(state[1], Patch):
            return before[0], state[1].spliced(before[1], bytes_of(obj))
        return self.seal(obj)

    def replacement(self, obj: Any, state: Any) -> Any:
        return state[1]

    def apply(self, obj: Any, state: Any) -> bool:
        look, content = state
        if isinstance(content, Patch):
            if arrays.layout(obj) != look:
                return False
            content.write_to(_writable(obj))
            return True
        if obj.dtype != content.dtype and obj.dtype.itemsize == content.dtype.itemsize:
            obj.dtype = content.dtype
        if obj.shape != content.shape:
            try:
                obj.resize(content.shape, refcheck=False)
            except ValueError:
                if obj.size != content.size:
                    return False
                obj.shape = content.shape
        if obj.dtype != content.dtype:
            return False
        writeable = obj.flags.writeable
        if not writeable and obj.base is None:
            obj.flags.writeable = True
        obj[...] = content
        if not writeable:
            obj.flags.writeable = False
        return True


def _writable(obj: Any) -> memoryview:
    view = bytes_of(obj)
    if not view.readonly:
        return view
    obj.flags.writeable = True
    try:
        return bytes_of(obj)
    finally:
        obj.flags.writeable = False


class ViewKind(Kind):
    """A view whose owner is known too: only its look is its own."""

    def children(self, obj: Any) -> Iterable[Any]:
        return (arrays.owner_of(obj),)

    def seal(self, obj: Any) -> Any:
        return arrays.layout(obj)

    def changed(self, obj: Any, seal: Any) -> bool:
        return bool(arrays.layout(obj) != seal)

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return now

    def apply(self, obj: Any, state: Any) -> bool:
        dtype, shape, _strides = state
        try:
            if obj.dtype != dtype:
                obj.dtype = dtype
            obj.shape = shape
        except (ValueError, AttributeError):
            return False
        return arrays.layout(obj) == state

    def replacement(self, obj: Any, state: Any) -> Any:
        import numpy as np

        return np.lib.stride_tricks.as_strided(obj, state[1], state[2])


class StorageKind(Kind):
    """Memory of torch tensors."""

    def children(self, obj: Any) -> Iterable[Any]:
        return ()

    def seal(self, obj: Any) -> Any:
        return digest(arrays.storage_memory(obj))

    def seal_from(self, obj: Any, known: bytes) -> Any:
        return known

    def probe(self, obj: Any, seal: Any) -> Any:
        now = self.seal(obj)
        return None if now == seal else now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        chunks = changed_chunks(before, now) if len(before) == len(now) else list(range(len(now) // DIGEST_BYTES))
        return obj.nbytes(), patch(arrays.storage_memory(obj), chunks)

    def reseal(self, obj: Any, state: Any, before: Any) -> Any:
        if state[0] == obj.nbytes() and len(before) == DIGEST_BYTES * chunk_count(state[0]):
            return state[1].spliced(before, arrays.storage_memory(obj))
        return self.seal(obj)

    def apply(self, obj: Any, state: Any) -> bool:
        size, content = state
        if obj.nbytes() != size:
            if not obj.resizable():
                return False
            obj.resize_(size)
        if obj.device.type == "cpu":
            content.write_to(arrays.storage_memory(obj))
            return True
        copy = obj.cpu()
        content.write_to(arrays.storage_memory(copy))
        obj.copy_(copy)
        return True


class TensorKind(Kind):
    """torch tensors and parameters: how they look at their storage, their gradient; content is the storage's."""

    def children(self, obj: Any) -> Iterable[Any]:
        try:
            yield obj.untyped_storage()
        except (NotImplementedError, RuntimeError):
            return
        if obj.is_leaf and obj.grad is not None:
            yield obj.grad
        yield from obj.__dict__.values()

    def _look(self, obj: Any) -> Any:
        try:
            base = obj.untyped_storage()
        except (NotImplementedError, RuntimeError):
            return (obj.dtype, tuple(obj.shape))
        return (obj.dtype, tuple(obj.shape), obj.stride(), obj.storage_offset(), obj.requires_grad, base.data_ptr())

    def seal(self, obj: Any) -> Any:
        return self._look(obj), obj.grad if obj.is_leaf else None, dict(obj.__dict__)

    def changed(self, obj: Any, seal: Any) -> bool:
        now = self.seal(obj)
        if now[0] != seal[0] or now[1] is not seal[1]:
            return True
        return len(now[2]) != len(seal[2]) or any(seal[2].get(k, seal) is not v for k, v in now[2].items())

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        grad = obj.grad if obj.is_leaf else None
        plain = obj.data if obj.is_leaf else obj.detach()
        return plain, obj.requires_grad, grad, dict(obj.__dict__)

    def apply(self, obj: Any, state: Any) -> bool:
        data, requires_grad, grad, attributes = state
        if obj.data.data_ptr() != data.data_ptr() or self._look(obj.data)[:4] != self._look(data)[:4]:
            obj.data = data
        if obj.is_leaf and obj.requires_grad != requires_grad:
            obj.requires_grad_(requires_grad)
        if obj.is_leaf:
            obj.grad = grad
        obj.__dict__.clear()
        obj.__dict__.update(attributes)
        return True

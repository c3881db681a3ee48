"""Kinds of torch's memory: storages hold content, tensors and parameters look at them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cellferry.parcels import arrays
from cellferry.parcels.kind import Kind, flat, same, table_of
from cellferry.parcels.leaves import DIGEST_BYTES, changed_chunks, chunk_count
from cellferry.parcels.memories import digest, patch


class StorageKind(Kind):
    """Memory of torch tensors."""

    def seal(self, obj: Any, heap: Any = None) -> Any:
        return digest(arrays.storage_memory(obj))

    def seal_from(self, obj: Any, known: bytes) -> Any:
        return known

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        now = self.seal(obj)
        return None if now == seal else now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        chunks = changed_chunks(before, now) if len(before) == len(now) else list(range(len(now) // DIGEST_BYTES))
        return obj.nbytes(), patch(arrays.storage_memory(obj), chunks)

    def reseal(self, obj: Any, state: Any, before: Any, heap: Any = None) -> Any:
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
    """Tensors and parameters: how they look at their storage, their gradient; content is the storage's."""

    def children(self, obj: Any) -> Iterable[Any]:
        storage = arrays.storage_of(obj)
        grad = obj.grad if obj.is_leaf else None
        return (type(obj), storage, grad, *flat(obj.__dict__))

    def _look(self, obj: Any) -> Any:
        base = arrays.storage_of(obj)
        if base is None:
            return (obj.dtype, tuple(obj.shape))
        return (obj.dtype, tuple(obj.shape), obj.stride(), obj.storage_offset(), obj.requires_grad, base.data_ptr())

    def seal(self, obj: Any, heap: Any = None) -> Any:
        return self._look(obj), obj.grad if obj.is_leaf else None, flat(obj.__dict__)

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        now = self.seal(obj)
        return None if now[0] == seal[0] and now[1] is seal[1] and same(now[2], seal[2]) else now

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        plain = obj.data if obj.is_leaf else obj.detach()
        return plain, obj.requires_grad, now[1], table_of(now[2])

    def apply(self, obj: Any, state: Any) -> bool:
        data, requires_grad, grad, attributes = state
        if self._look(obj.data) != self._look(data):
            obj.data = data
        if obj.is_leaf:
            if obj.requires_grad != requires_grad:
                obj.requires_grad_(requires_grad)
            obj.grad = grad
        obj.__dict__.clear()
        obj.__dict__.update(attributes)
        return True

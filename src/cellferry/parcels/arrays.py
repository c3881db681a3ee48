"""Arrays and tensors: memory as leaves, shared memory stays shared.

numpy and torch are never imported here for their own sake: a value of theirs being packed means they are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cellferry.parcels import rebuild
from cellferry.parcels.leaves import Leaf, bytes_of

if TYPE_CHECKING:
    from cellferry.parcels.pickler import Packer

_INLINE_BYTES = 2048
_SIMPLE_KINDS = "biufcSUMm"
_LONE_VIEW_BYTES = 1 << 20


def owner_of(array: Any) -> Any:
    """What owns the memory of an ndarray: the last array of its chain of bases, or a torch tensor, or itself."""
    import numpy as np

    base = array
    while isinstance(base.base, np.ndarray) and type(base.base) in (np.ndarray, np.memmap):
        base = base.base
    if type(base.base).__module__ == "torch" and hasattr(base.base, "untyped_storage"):
        return base.base
    return base


def dense_order(array: Any) -> str | None:
    """"C" or "F" when the array's memory is dense in that order, else None."""
    if array.flags.c_contiguous:
        return "C"
    return "F" if array.flags.f_contiguous else None


def memory_of(array: Any) -> memoryview:
    """The bytes of a dense array, without a copy (read-only arrays too)."""
    return bytes_of(array)


def reduce_array(packer: Packer, array: Any) -> Any:
    """A dense owner becomes a leaf, a view refers to its owner, an array of objects is left to numpy."""
    import numpy as np

    owner = owner_of(array)
    if owner is not array and shares_owner(packer, array, owner):
        offset = array.__array_interface__["data"][0] - _start(owner)
        make = rebuild.array_view if isinstance(owner, np.ndarray) else rebuild.array_of_tensor
        view: Any = (make, (owner, array.dtype, array.shape, array.strides, offset))
        return view if array.flags.writeable else (rebuild.set_flags, (_Lazy(view), False))
    if array.dtype.hasobject:
        return array.__reduce_ex__(5)
    made = _dense(packer, array if dense_order(array) else np.ascontiguousarray(array))
    return made if array.flags.writeable else (rebuild.set_flags, (_Lazy(made), False))


class _Lazy:
    """An inner call of a reduction: pickles as the result of that call."""

    def __init__(self, reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def shares_owner(packer: Packer, array: Any, owner: Any) -> bool:
    """Whether a view must travel with its owner; a small window on something large that nobody else needs does not."""
    import numpy as np

    if not isinstance(owner, np.ndarray):
        return True
    if dense_order(owner) is None or (owner.dtype.hasobject and not array.dtype.hasobject):
        return False
    if id(owner) in packer.shared_bases or owner.nbytes <= max(_LONE_VIEW_BYTES, 2 * array.nbytes):
        return True
    return False


def _start(owner: Any) -> int:
    if hasattr(owner, "untyped_storage"):
        return int(owner.untyped_storage().data_ptr())
    return int(owner.__array_interface__["data"][0])


def _dense(packer: Packer, array: Any) -> Any:
    order = dense_order(array) or "C"
    dtype = array.dtype
    if array.nbytes <= _INLINE_BYTES:
        return rebuild.array_from_bytes, (array.tobytes("A"), dtype, array.shape, order)
    simple = dtype.kind in _SIMPLE_KINDS and dtype.names is None
    spec = ["nd", dtype.str, list(array.shape), order] if simple else ["raw"]
    index = packer.add_leaf(Leaf(memory_of(array), spec, array))
    if simple:
        return rebuild.leaf, (index,)
    return rebuild.array_on, (_Lazy((rebuild.leaf, (index,))), dtype, array.shape, order)


def storage_memory(storage: Any) -> memoryview:
    """The bytes of a torch storage: a view on the CPU, a copy from another device."""
    import torch

    if storage.nbytes() == 0:
        return memoryview(bytearray(0))
    here = storage if storage.device.type == "cpu" else storage.cpu()
    flat = torch.empty(0, dtype=torch.uint8).set_(here)
    return memoryview(flat.numpy())


def reduce_storage(packer: Packer, storage: Any) -> Any:
    """A torch storage; one that lies on an array of the same parcel stays on it."""
    import numpy as np

    if storage.device.type != "cpu" and packer.going_home:
        return packer.refuse(storage, f"it lives on {storage.device}")
    array = packer.array_at.get(storage.data_ptr()) if storage.device.type == "cpu" else None
    if array is not None and array.nbytes == storage.nbytes() and isinstance(array, np.ndarray):
        return rebuild.storage_from, (array, "cpu")
    index = packer.add_leaf(Leaf(storage_memory(storage), ["nd", "|u1", [storage.nbytes()], "C"], storage))
    return rebuild.storage_from, (_Lazy((rebuild.leaf, (index,))), str(storage.device))


def reduce_tensor(packer: Packer, tensor: Any) -> Any:
    """A tensor: its storage, how it looks at it, whether it wants gradients and which it has."""
    import torch

    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_conj() or tensor.is_neg():
        return tensor.__reduce_ex__(5)
    call = (tensor.untyped_storage(), tensor.dtype, tensor.storage_offset(), tuple(tensor.shape), tensor.stride())
    state = (tensor.requires_grad, tensor.grad if tensor.is_leaf else None, dict(tensor.__dict__))
    return rebuild.tensor_from, call, state, None, None, rebuild.set_tensor


def reduce_parameter(packer: Packer, parameter: Any) -> Any:
    """A module's parameter, with its gradient (torch's own reduction drops it)."""
    state = (parameter.requires_grad, parameter.grad, dict(parameter.__dict__))
    return rebuild.parameter_from, (type(parameter), parameter.data, parameter.requires_grad), state, None, None, rebuild.set_tensor


def reduce_piece(packer: Packer, piece: Any) -> Any:
    """A window on changed memory: a leaf of its own, whatever its size."""
    memory = memoryview(piece.array)
    return rebuild.leaf, (packer.add_leaf(Leaf(memory, ["nd", "|u1", [len(memory)], "C"], piece.array)),)


def layout(array: Any) -> tuple[Any, tuple[int, ...], tuple[int, ...]]:
    return (array.dtype, array.shape, array.strides)

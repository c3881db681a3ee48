"""Arrays and tensors: memory as leaves, shared memory stays shared.

numpy and torch are never imported here for their own sake: a value of theirs being packed means they are there.
"""

from __future__ import annotations

import array as array_module
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cellferry.parcels import rebuild
from cellferry.parcels.leaves import Leaf, bytes_of

if TYPE_CHECKING:
    from cellferry.parcels.pickler import Packer

_INLINE_BYTES = 2048
_SIMPLE_KINDS = "biufcSUMm"
_LONE_VIEW_BYTES = 1 << 20


def owner_of(array: Any) -> Any:
    """What owns the memory of an ndarray: the last array of its chain of bases, a torch tensor, a bytearray, or itself."""
    import numpy as np

    base = array
    while True:
        below = base.base
        if type(below).__name__ == "DummyArray":  # between an array made by as_strided and what it looks at
            below = below.base
        if type(below) not in (np.ndarray, np.memmap):
            break
        base = below
    last = base.base
    if last is None:
        return base
    if type(last) is memoryview:
        last = last.obj
    if (type(last).__module__ == "torch" and hasattr(last, "untyped_storage")) or type(last) in (
        bytearray,
        array_module.array,
    ):
        return last
    return base


def plain(array: Any) -> Any:
    """``array`` itself, or the ndarray under an instance of a subclass."""
    import numpy as np

    return array if type(array) is np.ndarray else np.ndarray.view(array, np.ndarray)


def dense_order(array: Any) -> str | None:
    """ "C" or "F" when the array's memory is dense in that order, else None."""
    if array.flags.c_contiguous:
        return "C"
    return "F" if array.flags.f_contiguous else None


def dense(array: Any) -> Any:
    """``array`` as dense memory: itself where it is, else a copy in C order."""
    import numpy as np

    inner = plain(array)
    return inner if dense_order(inner) else np.ascontiguousarray(inner)


@contextmanager
def unlocked(array: Any, writeable: bool) -> Iterator[None]:
    """Make a read-only array writable for a moment; ValueError where its memory does not allow that."""
    if writeable:
        yield
        return
    array.flags.writeable = True
    try:
        yield
    finally:
        array.flags.writeable = False


def look(array: Any) -> tuple[Any, tuple[int, ...], str]:
    """What both ends see alike of an array whose content travels."""
    return (array.dtype, array.shape, dense_order(array) or "C")


def layout(array: Any) -> tuple[Any, tuple[int, ...], tuple[int, ...]]:
    """What both ends see alike of a view whose owner is there too."""
    return (array.dtype, array.shape, array.strides)


def reduce_array(packer: Packer, array: Any, original: Any = None) -> Any:
    """A dense owner becomes a leaf, a view refers to its owner, an array of objects is left to numpy."""
    import numpy as np

    owner = owner_of(array)
    if owner is not array and shares_owner(packer.shared_bases, array, owner):
        offset = array.__array_interface__["data"][0] - start_of(owner)
        make = (
            rebuild.array_view
            if isinstance(owner, (np.ndarray, bytearray, array_module.array))
            else rebuild.array_of_tensor
        )
        view: Any = (make, (owner, array.dtype, array.shape, array.strides, offset))
        return view if array.flags.writeable else (rebuild.set_flags, (Lazy(view), False))
    if array.dtype.hasobject:
        return np.ndarray.__reduce_ex__(plain(array), 5)
    made = _dense(packer, dense(array), array if original is None else original)
    return made if array.flags.writeable else (rebuild.set_flags, (Lazy(made), False))


def reduce_subclass(packer: Packer, array: Any) -> Any:
    """matrix, masked array and their like: the ndarray under it, then what stands in its ``__dict__``."""
    state = dict(array.__dict__)
    inner = Lazy(reduce_array(packer, plain(array), array))
    return rebuild.array_as, (inner, type(array)), state, None, None, rebuild.set_array_dict


def reduce_record(packer: Packer, record: Any) -> Any:
    """One row of an array with fields: a window on that array, when it still is one."""
    import numpy as np

    if not isinstance(record.base, np.ndarray):
        return record.__reduce_ex__(5)
    owner = owner_of(record.base)
    offset = record.__array_interface__["data"][0] - start_of(owner)
    return rebuild.record_of, (owner, record.dtype, offset)


def reduce_flat(packer: Packer, flat: Any) -> Any:
    """``array.flat``, as far as it has been advanced."""
    return rebuild.flat_of, (flat.base, flat.index)


class Lazy:
    """An inner call of a reduction: pickles as the result of that call."""

    def __init__(self, reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def shares_owner(shared_bases: set[int], array: Any, owner: Any) -> bool:
    """Whether a view must travel with its owner; a small window on something large that nobody else needs does not."""
    import numpy as np

    if not isinstance(owner, np.ndarray):
        return True
    if dense_order(owner) is None or (owner.dtype.hasobject and not array.dtype.hasobject):
        return False
    return id(owner) in shared_bases or owner.nbytes <= max(_LONE_VIEW_BYTES, 2 * array.nbytes)


def bounds(array: Any) -> tuple[int, int]:
    """First byte, and the one after the last, that ``array`` looks at."""
    low = high = array.__array_interface__["data"][0]
    if not array.size:
        return low, low
    for count, stride in zip(array.shape, array.strides, strict=True):
        low += min(0, (count - 1) * stride)
        high += max(0, (count - 1) * stride)
    return low, high + array.itemsize


def start_of(owner: Any) -> int:
    """Where the memory of an owner begins."""
    import numpy as np

    if hasattr(owner, "untyped_storage"):
        return int(owner.untyped_storage().data_ptr())
    array = owner if isinstance(owner, np.ndarray) else np.frombuffer(owner, np.uint8)
    return int(array.__array_interface__["data"][0])


def _dense(packer: Packer, array: Any, original: Any) -> Any:
    order = dense_order(array) or "C"
    dtype = array.dtype
    if array.nbytes <= _INLINE_BYTES:
        return rebuild.array_from_bytes, (array.tobytes("A"), dtype, array.shape, order)
    simple = dtype.kind in _SIMPLE_KINDS and dtype.names is None
    spec = ["nd", dtype.str if simple else f"|V{dtype.itemsize}", list(array.shape), order]
    index = packer.add_leaf(Leaf(bytes_of(array), spec, original))
    if simple:
        return rebuild.leaf, (index,)
    return rebuild.array_typed, (Lazy((rebuild.leaf, (index,))), dtype)


def storage_of(tensor: Any) -> Any:
    """The storage of a tensor that has one."""
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return None


def storage_memory(storage: Any) -> memoryview:
    """The bytes of a torch storage: a view on the CPU, a copy from another device."""
    import torch

    if storage.nbytes() == 0:
        return memoryview(bytearray(0))
    here = storage if storage.device.type == "cpu" else storage.cpu()
    flat = torch.empty(0, dtype=torch.uint8).set_(here)
    memory: memoryview = flat.numpy().data
    return memory


def reduce_storage(packer: Packer, storage: Any) -> Any:
    """A torch storage; one that lies on an array of the same parcel stays on it."""
    import numpy as np

    if storage.device.type != "cpu" and packer.going_home:
        return packer.refuse(storage, f"it lives on {storage.device}")
    array = packer.array_at.get(storage.data_ptr()) if storage.device.type == "cpu" else None
    if array is not None and array.nbytes == storage.nbytes() and isinstance(array, np.ndarray):
        return rebuild.storage_from, (array, "cpu")
    index = packer.add_leaf(Leaf(storage_memory(storage), ["nd", "|u1", [storage.nbytes()], "C"], storage))
    return rebuild.storage_from, (Lazy((rebuild.leaf, (index,))), str(storage.device))


def reduce_tensor(packer: Packer, tensor: Any) -> Any:
    """A tensor: its storage, how it looks at it, whether it wants gradients and which it has."""
    import torch

    if (
        tensor.layout is not torch.strided
        or tensor.is_quantized
        or tensor.is_meta
        or tensor.is_conj()
        or tensor.is_neg()
    ):
        return tensor.__reduce_ex__(5)
    call = (tensor.untyped_storage(), tensor.dtype, tensor.storage_offset(), tuple(tensor.shape), tensor.stride())
    state = (tensor.requires_grad, tensor.grad if tensor.is_leaf else None, dict(tensor.__dict__))
    return rebuild.tensor_from, call, state, None, None, rebuild.set_tensor


def reduce_parameter(packer: Packer, parameter: Any) -> Any:
    """A module's parameter, with its gradient (torch's own reduction drops it)."""
    state = (parameter.requires_grad, parameter.grad, dict(parameter.__dict__))
    return (
        rebuild.parameter_from,
        (type(parameter), parameter.data, parameter.requires_grad),
        state,
        None,
        None,
        rebuild.set_tensor,
    )


def reduce_piece(packer: Packer, piece: Any) -> Any:
    """A window on changed memory: a leaf of its own, whatever its size."""
    memory: memoryview = piece.array.data
    return rebuild.leaf, (packer.add_leaf(Leaf(memory, ["nd", "|u1", [len(memory)], "C"], piece.array)),)

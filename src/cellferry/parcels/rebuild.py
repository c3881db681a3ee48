"""Functions that parcels call to make objects again; they run on the receiving end, inside ``context.unpacking``.

Their names and arguments are part of what travels, so they are only ever added to.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from cellferry.parcels import context


def leaf(index: int) -> Any:
    """The memory of leaf ``index``: an array of its own, or raw bytes."""
    return context.current().leaves[index]


def array_from_bytes(data: bytes, dtype: Any, shape: tuple[int, ...], order: str) -> Any:
    """A small array, owning and writable."""
    import numpy as np

    array = np.empty(shape, dtype, order)  # type: ignore[call-overload]
    if data:
        flat = array.reshape(-1) if array.flags.c_contiguous else array.T.reshape(-1)
        flat[:] = np.frombuffer(data, array.dtype)
    return array


def array_on(memory: Any, dtype: Any, shape: tuple[int, ...], order: str) -> Any:
    """An array over raw leaf memory, for types that the leaf itself cannot name (structured ones)."""
    import numpy as np

    return np.ndarray(shape, dtype, memory, order=order)  # type: ignore[call-overload]


def array_view(base: Any, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    """A view into ``base``'s memory: shares it, as it did at the sender."""
    import numpy as np

    if dtype.hasobject:
        flat = base.reshape(-1) if base.flags.c_contiguous else base.T.reshape(-1)
        return np.lib.stride_tricks.as_strided(flat[offset // dtype.itemsize :], shape, strides)
    return np.ndarray(shape, dtype, base if base.flags.c_contiguous else base.T, offset, strides)


def set_flags(array: Any, writeable: bool) -> Any:
    array.flags.writeable = writeable
    return array


def array_of_tensor(tensor: Any, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    """``tensor.numpy()`` and views of it."""
    whole = tensor.detach().numpy()
    import numpy as np

    flat = np.lib.stride_tricks.as_strided(whole, (tensor.untyped_storage().nbytes() // whole.itemsize,), (whole.itemsize,))
    return np.ndarray(shape, dtype, flat, offset, strides)


def storage_from(memory: Any, device: str) -> Any:
    """A torch storage over leaf memory (CPU), moved to ``device`` if that is another one."""
    import numpy as np
    import torch

    array = memory if isinstance(memory, np.ndarray) else np.frombuffer(memory, np.uint8)
    if not array.size:
        return torch.UntypedStorage(0, device=device)
    storage = torch.from_numpy(array.reshape(-1).view(np.uint8)).untyped_storage()
    return storage if device == "cpu" else storage.to(device=device)


def tensor_from(storage: Any, dtype: Any, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> Any:
    import torch

    return torch.empty(0, dtype=dtype, device=storage.device).set_(storage, offset, torch.Size(shape), stride)


def set_tensor(tensor: Any, state: tuple[bool, Any, dict[str, Any]]) -> None:
    """Finish a tensor: requires_grad, gradient, Python attributes."""
    requires_grad, grad, attributes = state
    if requires_grad != tensor.requires_grad:
        tensor.requires_grad_(requires_grad)
    tensor.grad = grad
    if attributes:
        tensor.__dict__.update(attributes)


def parameter_from(kind: type, data: Any, requires_grad: bool) -> Any:
    import torch

    made = torch.nn.Parameter(data, requires_grad)
    if kind is not torch.nn.Parameter:
        made.__class__ = kind
    return made


def empty_cell() -> types.CellType:
    return types.CellType()


def set_cell(cell: types.CellType, contents: tuple[Any, ...]) -> None:
    if contents:
        cell.cell_contents = contents[0]


def function_from(code: types.CodeType, name: str, cells: tuple[types.CellType, ...]) -> types.FunctionType:
    """A function of the notebook; its globals are the notebook's namespace on this side."""
    return types.FunctionType(code, context.current().namespace, name, None, cells)


def set_function(function: types.FunctionType, state: dict[str, Any]) -> None:
    """Finish or update a function of the notebook. ``cells``: pairs of (cell, contents)."""
    for cell, contents in state["cells"]:
        set_cell(cell, contents)
    for name in ("__code__", "__defaults__", "__kwdefaults__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        if name in state:
            setattr(function, name, state[name])
    if "__type_params__" in state:
        function.__type_params__ = state["__type_params__"]  # type: ignore[attr-defined]
    function.__dict__.clear()
    function.__dict__.update(state["__dict__"])


def lru_cached(function: Any, maxsize: int | None, typed: bool) -> Any:
    """``functools.lru_cache`` around a function of the notebook; the cache itself starts empty."""
    import functools

    return functools.lru_cache(maxsize, typed)(function)


def standard_stream(name: str) -> Any:
    return getattr(sys, name)


def current_shell() -> Any:
    return context.current().shell()


def sub_parcel(data: bytes, leaf_indices: list[int]) -> Any:
    """A value that was packed by itself, with leaves of its own (see ``pickler.sealed``)."""
    import pickle

    leaves = context.current().leaves
    return pickle.loads(data, buffers=[leaves[i] for i in leaf_indices])  # noqa: S301 - authenticated on both ends


def dead_reference() -> Any:
    """A weak reference whose target is gone."""
    import weakref

    return weakref.ref(type("gone", (), {})())

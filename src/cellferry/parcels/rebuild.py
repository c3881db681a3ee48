"""Functions that parcels call to make objects again; they run on the receiving end, inside ``context.unpacking``.

Their names and arguments are part of what travels, so they are only ever added to.
"""

from __future__ import annotations

import logging
import sys
import types
import typing
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from cellferry.parcels import annotated, context, loggers, registrations, relayout, weakly
from cellferry.parcels.bare import own_table


def leaf(index: int) -> Any:
    """The memory of leaf ``index``: an array of its own, or raw bytes."""
    return context.current().leaves[index]


def array_from_bytes(data: bytes, dtype: Any, shape: tuple[int, ...], order: str) -> Any:
    """A small array, owning and writable."""
    import numpy as np

    array = np.zeros(shape, dtype, order)  # type: ignore[call-overload]
    if data:  # else it is as it was made: never what was in that memory before
        flat = array.reshape(-1) if array.flags.c_contiguous else array.T.reshape(-1)
        flat[:] = np.frombuffer(data, array.dtype)
    return array


def array_typed(array: Any, dtype: Any) -> Any:
    """A leaf's array of raw items under a type that the leaf itself cannot name (structured ones); still an owner."""
    relayout.set_dtype(array, dtype)
    return array


def array_as(array: Any, kind: type) -> Any:
    """The same memory as an instance of a subclass of ndarray."""
    return array.view(kind)


def set_array_dict(array: Any, attributes: dict[str, Any]) -> None:
    """What stands beside the memory of such an instance (a mask, the notebook's own attributes)."""
    array.__dict__.clear()
    array.__dict__.update(attributes)


def array_view(base: Any, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    """A view into the memory of ``base`` (an array or a bytearray): shares it, as it did at the sender."""
    import numpy as np

    if not isinstance(base, np.ndarray):
        return np.ndarray(shape, dtype, base, offset, strides)

    if dtype.hasobject:
        flat = base.reshape(-1) if base.flags.c_contiguous else base.T.reshape(-1)
        return np.lib.stride_tricks.as_strided(flat[offset // dtype.itemsize :], shape, strides)
    return np.ndarray(shape, dtype, base if base.flags.c_contiguous else base.T, offset, strides)


def record_of(base: Any, dtype: Any, offset: int) -> Any:
    """A row of ``base``, through which its fields can be set."""
    return array_view(base, dtype, (), (), offset)[()]


def flat_of(base: Any, index: int) -> Any:
    """``base.flat``, moved on to its element ``index``."""
    flat = base.flat
    deque(islice(flat, index), maxlen=0)
    return flat


def logger_from(name: str, handlers: list[Any]) -> Any:
    """The logger of that name, writing to the output of cells as it does at the other end."""
    logger = logging.getLogger(name)
    loggers.give_handlers(logger, handlers)
    return logger


def set_flags(array: Any, writeable: bool) -> Any:
    array.flags.writeable = writeable
    return array


def array_of_tensor(tensor: Any, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Any:
    """``tensor.numpy()`` and views of it."""
    whole = tensor.detach().numpy()
    import numpy as np

    flat = np.lib.stride_tricks.as_strided(
        whole, (tensor.untyped_storage().nbytes() // whole.itemsize,), (whole.itemsize,)
    )
    return np.ndarray(shape, dtype, flat, offset, strides)


def storage_from(memory: Any, device: str) -> Any:
    """A torch storage over leaf memory (CPU), moved to ``device`` if that is another one."""
    import numpy as np
    import torch

    array = memory if isinstance(memory, np.ndarray) else np.frombuffer(memory, np.uint8)
    if not array.size:
        return torch.empty(0, dtype=torch.uint8, device=device).untyped_storage()
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


def sentinel_from(name: str, text: str, module: str) -> Any:
    """A sentinel of the notebook (Python 3.15)."""
    import builtins

    made: Any = getattr(builtins, "sentinel")(name, repr=text)  # noqa: B009 - older Pythons have none
    made.__module__ = module
    return made


def same(value: Any) -> Any:
    """For an object in whose place another one travels."""
    return value


def empty_cell() -> types.CellType:
    return types.CellType()


def set_cell(cell: types.CellType, contents: tuple[Any, ...]) -> None:
    if contents:
        cell.cell_contents = contents[0]


def function_from(
    code: types.CodeType, name: str, cells: tuple[types.CellType, ...], home: Any = None
) -> types.FunctionType:
    """A function; its globals are those of the module ``home``, or the notebook's namespace on this side."""
    namespace = context.current().namespace if home is None else vars(home)
    return types.FunctionType(code, namespace, name, None, cells)


def set_function(function: types.FunctionType, state: dict[str, Any]) -> None:
    """Finish or update a function of the notebook. ``cells``: pairs of (cell, contents)."""
    for cell, contents in state["cells"]:
        set_cell(cell, contents)
    for name in (
        "__code__",
        "__defaults__",
        "__kwdefaults__",
        "__qualname__",
        "__module__",
        "__doc__",
        "__annotations__",
        "__annotate__",
    ):
        if name in state:
            annotated.give(function, name, state[name])
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
    return pickle.loads(data, buffers=[leaves[i] for i in leaf_indices])


def bare_frame(kind: type) -> Any:
    """A subclass of pandas' frame or series with nothing in it yet."""
    return object.__new__(kind)


def set_frame(frame: Any, state: tuple[Any, dict[str, Any], dict[str, Any]]) -> None:
    """Its own way to take a state, then the attributes that its state leaves out."""
    inner, outer, beside = state
    frame.__setstate__({**inner, **outer})
    table = own_table(frame)
    if table is not None:
        table.pop("_typ", None)  # its class says that; pandas puts it here because it stands in the state
        table.update(beside)


def bare_ctypes(kind: Any) -> Any:
    """An instance of a ctypes type, its memory zeroed; its state is what the memory holds."""
    return kind.__new__(kind)


def set_ctypes(data: Any, state: tuple[Any, bytes]) -> None:
    """What its memory holds, and its attributes; in place."""
    data.__setstate__(*state)


def array_type(element: Any, length: int) -> Any:
    """The ctypes type of arrays of so many elements."""
    return element * length


def dead_reference() -> Any:
    """A weak reference whose target is gone."""
    import weakref

    return weakref.ref(type("gone", (), {})())


def weak_proxy(target: Any) -> Any:
    """``weakref.proxy``."""
    import weakref

    return weakref.proxy(target)


def dead_proxy() -> Any:
    """``weakref.proxy`` of something that is gone."""
    return weakly.dead_proxy()


def weak_method(method: Any) -> Any:
    """A weak reference to a bound method."""
    import weakref

    return weakref.WeakMethod(method)


def module_attribute(module: str, name: str) -> Any:
    """What a module calls ``name``: sentinels are compared by identity, so they never travel by value."""
    import importlib

    return getattr(importlib.import_module(module), name)


def set_own_dict(obj: Any, state: tuple[dict[str, Any], dict[str, Any] | None]) -> None:
    """The state of an object whose ``__dict__`` something else refers to as well (often the object itself)."""
    table, slots = state
    obj.__dict__ = table
    for name, value in (slots or {}).items():
        object.__setattr__(obj, name, value)


def set_state(obj: Any, state: Any) -> None:
    """What pickle does with a state."""
    setter = getattr(type(obj), "__setstate__", None)
    if setter is not None:
        setter(obj, state)
        return
    values, slots = state if type(state) is tuple and len(state) == 2 else (state, None)
    if values is not None:
        obj.__dict__.update(values)
    for name, value in (slots or {}).items():
        object.__setattr__(obj, name, value)


def exception_from(kind: Any, *arguments: Any) -> Any:
    """An exception without calling an ``__init__`` written in Python: its arguments need not be ``args``."""
    if not isinstance(kind.__init__, types.FunctionType):
        return kind(*arguments)
    made = kind.__new__(kind, *arguments)
    base = next(base for base in kind.__mro__ if not isinstance(base.__init__, types.FunctionType))
    base.__init__(made, *arguments)
    made.args = arguments
    return made


def set_exception(exc: Any, state: tuple[Any, ...]) -> None:
    """Attributes (notes among them), arguments, cause and context of an exception."""
    attributes, arguments, cause, surrounding, hidden = state
    table = own_table(exc)
    if table is not None:
        table.clear()
        table.update(attributes)
    for name, value in (
        ("args", arguments),
        ("__cause__", cause),
        ("__context__", surrounding),
        ("__suppress_context__", hidden),
    ):
        BaseException.__dict__[name].__set__(exc, value)


def cached_property_from(function: Any, name: str | None) -> Any:
    """``functools.cached_property``, which holds a lock in some versions of Python."""
    import functools

    made: Any = functools.cached_property(function)
    if name is not None:
        made.__set_name__(None, name)
    return made


def new_type(name: str, supertype: Any, module: str, qualname: str) -> Any:
    """``typing.NewType`` of the notebook, which pickle would look up by name."""
    import typing

    make: Any = typing.NewType
    made = make(name, supertype)
    made.__module__, made.__qualname__ = module, qualname
    return made


def class_from(meta: Any, name: str, bases: tuple[Any, ...], body: dict[str, Any], tracker_id: str | None) -> type:
    """A class of the notebook, to be filled by its state; the same one if it was made here before.

    It has been made once already, where it was defined: neither its metaclass's ``__new__`` nor the
    ``__init_subclass__`` of its bases are called again, for they may keep lists of what they have seen.
    """
    import cloudpickle.cloudpickle as by_cloudpickle

    known = by_cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)
    if known is not None:
        return known  # type: ignore[no-any-return]
    resolved = types.resolve_bases(bases)
    if resolved is not bases:
        body = {**body, "__orig_bases__": bases}
    maker = next(kind for kind in meta.__mro__ if kind.__module__ != "__main__")
    with without_init_subclass(resolved):
        made = maker.__new__(meta, name, resolved, body)
    return by_cloudpickle._lookup_class_or_track(tracker_id, made)  # type: ignore[no-any-return]


def set_class(kind: Any, state: tuple[Any, list[Any]]) -> Any:
    """What cloudpickle does with the state of a class; then the abstract classes that it was registered with."""
    import cloudpickle.cloudpickle as by_cloudpickle

    of_class, virtual = state
    by_cloudpickle._class_setstate(kind, of_class)
    for base in virtual:
        registrations.tie(kind, "base", base)
    return kind


@contextmanager
def without_init_subclass(bases: tuple[type, ...]) -> Iterator[None]:
    """While it lasts the ``__init_subclass__`` of these bases and theirs is not called, where it is the notebook's."""
    own = {kind for base in bases for kind in base.__mro__ if kind.__module__ == "__main__"}
    hooks = [(kind, vars(kind)["__init_subclass__"]) for kind in own if "__init_subclass__" in vars(kind)]
    try:
        for kind, _hook in hooks:
            type.__setattr__(kind, "__init_subclass__", classmethod(lambda cls, **options: None))
        yield
    finally:
        for kind, hook in hooks:
            type.__setattr__(kind, "__init_subclass__", hook)


def set_module(made: Any, module: str) -> Any:
    """Say where a type variable was made."""
    made.__module__ = module
    return made


def type_parameter(kind: str, name: str, options: dict[str, Any], module: str) -> Any:
    """``ParamSpec`` or ``TypeVarTuple`` of the notebook."""
    return set_module(getattr(typing, kind)(name, **options), module)

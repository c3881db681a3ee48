"""What travels how: one pickler for both ends, on top of cloudpickle.

Functions of the notebook are rebuilt with the notebook's namespace as their globals; arrays and torch storages
become leaves and keep sharing memory; what is bound to this process is refused (or, on the way home inside a
container that is known at home, replaced by a placeholder).
"""

from __future__ import annotations

import enum
import functools
import io
import sys
import types
import weakref
from collections.abc import Callable, Mapping
from pickle import PickleBuffer
from typing import Any

import cloudpickle

from cellferry.errors import CannotTravel
from cellferry.parcels import arrays, rebuild
from cellferry.parcels.leaves import Leaf
from cellferry.parcels.placeholder import describe, make_placeholder

Reduced = Any
Reducer = Callable[["Packer", Any], Reduced]
_INLINE_BUFFER_BYTES = 4096


class Sink:
    """Collects what the pickler writes; large byte strings are kept by reference, not copied."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def write(self, data: Any) -> int:
        part = data if type(data) is bytes else bytes(data)
        self.parts.append(part)
        self.size += len(part)
        return len(part)


class Packer(cloudpickle.Pickler):
    """Pickles values of ``namespace``'s notebook into ``sink`` and ``leaves``.

    ``stuck``: ids of objects that must stay, with the reason; they travel as placeholders. ``nested_placeholders``:
    whether values bound to this process become placeholders too instead of raising CannotTravel.
    ``shared_bases``: ids of arrays whose views must keep sharing them (found by ``heap``'s walk).
    """

    def __init__(self, namespace: Mapping[str, Any], leaves: list[Leaf], *, going_home: bool = False, sub: bool = False) -> None:
        self.sink = Sink()
        super().__init__(self.sink, protocol=5, buffer_callback=self._take_buffer)
        self.namespace = namespace
        self.leaves = leaves
        self.going_home = going_home
        self.sub = sub
        self.buffer_leaves: list[int] = []
        self.stuck: dict[int, str] = {}
        self.nested_placeholders = False
        self.shared_bases: set[int] = set()
        self.array_at: dict[int, Any] = {}
        self._bare_cells: set[int] = set()

    def release(self) -> None:
        """Let go of everything that was packed; the pickler refers to itself, so this must not wait for the collector."""
        self.clear_memo()
        self.stuck, self.array_at, self.leaves = {}, {}, []

    def add_leaf(self, leaf: Leaf) -> int:
        self.leaves.append(leaf)
        return len(self.leaves) - 1

    def reducer_override(self, obj: Any) -> Reduced:
        if self.stuck and id(obj) in self.stuck:
            return self._placeholder(obj, self.stuck[id(obj)])
        kind = type(obj)
        reducer = _BY_TYPE.get(kind)
        if reducer is None:
            reducer = _resolve(kind)
        if reducer is not _plain:
            return reducer(self, obj)
        if isinstance(obj, enum.EnumMeta) and obj.__module__ == "__main__":
            return _enum(super().reducer_override(obj), obj)
        if kind.__module__ in _SENTINEL_MODULES:
            return _by_name(obj) or super().reducer_override(obj)
        return super().reducer_override(obj)

    def default(self, obj: Any) -> Reduced:
        """What cloudpickle or the object itself does."""
        return super().reducer_override(obj)

    def refuse(self, obj: Any, reason: str) -> Reduced:
        """``obj`` is bound to this process: a placeholder or CannotTravel."""
        if self.nested_placeholders:
            return self._placeholder(obj, reason)
        raise CannotTravel(f"a {describe(obj)[0]} cannot travel: {reason}")

    def _placeholder(self, obj: Any, reason: str) -> Reduced:
        return make_placeholder, (*describe(obj), reason)

    def _take_buffer(self, buffer: PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes <= _INLINE_BUFFER_BYTES:
            return True
        self.buffer_leaves.append(self.add_leaf(Leaf(raw, ["buf"], buffer)))
        return False


def sealed(packer: Packer, obj: Any) -> Reduced:
    """Pack ``obj`` by itself: nothing inside keeps its identity with the rest.

    For types whose insides are shared copy-on-write (pandas): writing into their memory here, because it changed
    there, would change other objects that only borrow it.
    """
    sub = Packer(packer.namespace, packer.leaves, going_home=packer.going_home, sub=True)
    sub.dump(obj)
    sub.release()
    return rebuild.sub_parcel, (b"".join(sub.sink.parts), sub.buffer_leaves)


def _sealed_unless_sub(packer: Packer, obj: Any) -> Reduced:
    return packer.default(obj) if packer.sub else sealed(packer, obj)


def _function(packer: Packer, function: types.FunctionType) -> Reduced:
    if function.__globals__ is not packer.namespace:
        return packer.default(function)
    cells = function.__closure__ or ()
    # The cells travel empty and are filled by the state, after the function exists: closures may contain themselves.
    packer._bare_cells.update(map(id, cells))
    return rebuild.function_from, (function.__code__, function.__name__, cells), function_state(function), None, None, rebuild.set_function


def cell_contents(cell: types.CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def function_state(function: types.FunctionType) -> dict[str, Any]:
    """Everything of a function that can change, and what its code cannot tell."""
    state: dict[str, Any] = {
        "cells": tuple((cell, cell_contents(cell)) for cell in function.__closure__ or ()),
        "__defaults__": function.__defaults__,
        "__kwdefaults__": function.__kwdefaults__,
        "__qualname__": function.__qualname__,
        "__module__": function.__module__,
        "__doc__": function.__doc__,
        "__annotations__": function.__annotations__,
        "__dict__": dict(function.__dict__),
    }
    if getattr(function, "__type_params__", ()):
        state["__type_params__"] = function.__type_params__  # type: ignore[attr-defined]
    return state


def _cell(packer: Packer, cell: types.CellType) -> Reduced:
    if id(cell) in packer._bare_cells:
        return rebuild.empty_cell, ()
    return rebuild.empty_cell, (), cell_contents(cell), None, None, rebuild.set_cell


def _lru_cache(packer: Packer, wrapper: Any) -> Reduced:
    inner = wrapper.__wrapped__
    if getattr(inner, "__globals__", None) is not packer.namespace:
        return packer.default(wrapper)
    parameters = wrapper.cache_parameters()
    return rebuild.lru_cached, (inner, parameters["maxsize"], parameters["typed"])


def _file(packer: Packer, file: Any) -> Reduced:
    for name in ("stdout", "stderr", "stdin", "__stdout__", "__stderr__", "__stdin__"):
        if file is getattr(sys, name, None):
            return rebuild.standard_stream, (name,)
    if isinstance(file, (io.StringIO, io.BytesIO)):
        return packer.default(file)
    return packer.refuse(file, "it is an open file of this process")


def _weakref(packer: Packer, ref: Any) -> Reduced:
    target = ref()
    return (weakref.ref, (target,)) if target is not None else (rebuild.dead_reference, ())


def _weak_mapping(packer: Packer, mapping: Any) -> Reduced:
    return type(mapping), (dict(mapping),)


def _memoryview(packer: Packer, view: memoryview) -> Reduced:
    whole = memoryview(view.obj)
    if whole.nbytes == view.nbytes and whole.format == view.format and whole.shape == view.shape:
        return memoryview, (view.obj,)
    return packer.refuse(view, "it is a partial view of another object's memory")


def _shell(packer: Packer, shell: Any) -> Reduced:
    return rebuild.current_shell, ()


def _enum(reduced: Reduced, obj: Any) -> Reduced:
    """cloudpickle's way of an enum of the notebook, with the aliases that it leaves out."""
    if not isinstance(reduced, tuple) or len(reduced[1]) < 4 or not isinstance(reduced[1][3], dict):
        return reduced
    members = {name: member.value for name, member in obj.__members__.items()}
    attributes, slots = reduced[2]
    attributes = {name: value for name, value in attributes.items() if name not in members}
    return (reduced[0], (*reduced[1][:3], members, *reduced[1][4:]), (attributes, slots), *reduced[3:])


def _by_name(obj: Any) -> str | None:
    """The global name of a sentinel, an object that is compared with ``is`` (``dataclasses.MISSING``)."""
    module = sys.modules.get(type(obj).__module__)
    return next((name for name, value in vars(module).items() if value is obj), None) if module is not None else None


def _bound(reason: str) -> Reducer:
    def refuse(packer: Packer, obj: Any) -> Reduced:
        return packer.refuse(obj, reason)

    return refuse


def _plain(packer: Packer, obj: Any) -> Reduced:
    raise AssertionError("marker: nothing special about this type")


_SENTINEL_MODULES = frozenset(["dataclasses", "inspect", "typing", "unittest.mock", "functools"])
_RUNNING = "it is a computation in progress"
_LOCK = "locks belong to the process that made them"
_CONNECTION = "it is a connection of this process"
_BY_TYPE: dict[type, Reducer] = {
    types.FunctionType: _function,
    types.CellType: _cell,
    functools._lru_cache_wrapper: _lru_cache,
    weakref.ref: _weakref,
    weakref.WeakValueDictionary: _weak_mapping,
    weakref.WeakKeyDictionary: _weak_mapping,
    memoryview: _memoryview,
    types.GeneratorType: _bound(_RUNNING),
    types.CoroutineType: _bound(_RUNNING),
    types.AsyncGeneratorType: _bound(_RUNNING),
    types.FrameType: _bound(_RUNNING),
    types.TracebackType: _bound(_RUNNING),
}
_BY_NAME: dict[str, Reducer] = {
    "numpy.ndarray": arrays.reduce_array,
    "numpy.memmap": arrays.reduce_array,
    "torch.Tensor": arrays.reduce_tensor,
    "torch.storage.UntypedStorage": arrays.reduce_storage,
    "torch.nn.parameter.Parameter": arrays.reduce_parameter,
    "torch.nn.parameter.Buffer": arrays.reduce_tensor,
    "cellferry.parcels.memories.Piece": arrays.reduce_piece,
    "pandas.DataFrame": _sealed_unless_sub,
    "pandas.Series": _sealed_unless_sub,
    "pandas.core.frame.DataFrame": _sealed_unless_sub,
    "pandas.core.series.Series": _sealed_unless_sub,
    "_thread.lock": _bound(_LOCK),
    "_thread.RLock": _bound(_LOCK),
    "socket.socket": _bound(_CONNECTION),
    "_socket.socket": _bound(_CONNECTION),
    "sqlite3.Connection": _bound(_CONNECTION),
    "sqlite3.Cursor": _bound(_CONNECTION),
    "mmap.mmap": _bound("it maps memory of this process"),
    "threading.Thread": _bound("it is a thread of this process"),
    "subprocess.Popen": _bound("it is a process started by this one"),
    "concurrent.futures.thread.ThreadPoolExecutor": _bound("it is a pool of threads of this process"),
    "concurrent.futures.process.ProcessPoolExecutor": _bound("it is a pool of processes"),
    "_asyncio.Task": _bound(_RUNNING),
    "_asyncio.Future": _bound(_RUNNING),
}
_BY_BASE: dict[str, Reducer] = {
    "io.IOBase": _file,
    "_io._IOBase": _file,
    "ipykernel.iostream.OutStream": _file,
    "IPython.core.interactiveshell.InteractiveShell": _shell,
    "ipywidgets.widgets.widget.Widget": _bound("it is a widget, alive in that process"),
    "threading.Thread": _BY_NAME["threading.Thread"],
    "asyncio.events.AbstractEventLoop": _bound("it is a running event loop"),
    "socket.socket": _BY_NAME["socket.socket"],
    "sqlite3.Connection": _BY_NAME["sqlite3.Connection"],
    "sqlite3.Cursor": _BY_NAME["sqlite3.Cursor"],
}


def _resolve(kind: type) -> Reducer:
    """The reducer for a type seen for the first time; found by name so that no library is imported for it."""
    reducer = _BY_NAME.get(f"{kind.__module__}.{kind.__qualname__}")
    if reducer is None:
        reducer = _plain
        for base in kind.__mro__[1:] if kind.__mro__[-1] is object else ():
            found = _BY_BASE.get(f"{base.__module__}.{base.__qualname__}")
            if found is not None:
                reducer = found
                break
    if kind.__module__ != "__main__":  # classes of the notebook come and go
        _BY_TYPE[kind] = reducer
    return reducer


def is_bound(obj: Any) -> bool:
    """Whether this very object is bound to its process (files, locks, generators, widgets ...)."""
    reducer = _BY_TYPE.get(type(obj)) or _resolve(type(obj))
    if reducer is _file:
        return not isinstance(obj, (io.StringIO, io.BytesIO)) and obj not in (sys.stdout, sys.stderr, sys.stdin)
    return getattr(reducer, "__name__", "") == "refuse"

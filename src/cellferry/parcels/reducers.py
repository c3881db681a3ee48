"""The rules for single types: how each is taken apart for a parcel. ``rebuild`` puts them together again."""

from __future__ import annotations

import _io
import copyreg
import functools
import sys
import types
import typing
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cloudpickle.cloudpickle as by_cloudpickle

from cellferry.parcels import (
    annotated,
    arrays,
    bare,
    by_fields,
    classes,
    ctypes_memory,
    descriptors,
    findable,
    frames,
    language,
    loggers,
    mapping_views,
    process_wide,
    rebuild,
    recompiled,
    regenerated,
    weakly,
)  # fmt: skip
from cellferry.parcels.objects import cell_contents, exception_state, function_state
from cellferry.parcels.type_parameters import reduce_alias, reduce_parameter

if TYPE_CHECKING:
    from cellferry.parcels.pickler import Packer

Reduced = Any
Reducer = Callable[["Packer", Any], Reduced]


def by_reference(function: Any) -> bool:
    """Whether a function or class is found by name on the other end too."""
    return bool(by_cloudpickle._should_pickle_by_reference(function))


def home_of(function: types.FunctionType) -> types.ModuleType | None:
    """The importable module whose variables are the function's globals."""
    name = function.__globals__.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) and name != "__main__" else None
    return module if module is not None and vars(module) is function.__globals__ else None


def _function(packer: Packer, function: types.FunctionType) -> Reduced:
    home: tuple[Any, ...] = ()
    if function.__globals__ is not packer.namespace:
        module = None if by_reference(function) else home_of(function)
        if module is None:
            return packer.default(function)
        home = (module,)
    cells = annotated.closure_of(function)
    # The cells travel empty and are filled by the state, after the function exists: closures may contain themselves.
    packer.bare_cells.update(map(id, cells))
    make = (function.__code__, function.__name__, cells, *home)
    made_by = recompiled.library_function if home and packer.by_source else rebuild.function_from
    return made_by, make, function_state(function, cells), None, None, rebuild.set_function


def _cell(packer: Packer, cell: types.CellType) -> Reduced:
    if id(cell) in packer.bare_cells:
        return rebuild.empty_cell, ()
    return rebuild.empty_cell, (), cell_contents(cell), None, None, rebuild.set_cell


def _lru_cache(packer: Packer, wrapper: Any) -> Reduced:
    if by_cloudpickle._lookup_module_and_qualname(wrapper) is not None:
        return packer.default(wrapper)
    parameters = wrapper.cache_parameters()
    return rebuild.lru_cached, (wrapper.__wrapped__, parameters["maxsize"], parameters["typed"])


def _cached_property(packer: Packer, prop: Any) -> Reduced:
    return rebuild.cached_property_from, (prop.func, prop.attrname)


def _file(packer: Packer, file: Any) -> Reduced:
    for name in ("stdout", "stderr", "stdin", "__stdout__", "__stderr__", "__stdin__"):
        if file is getattr(sys, name, None):
            return rebuild.standard_stream, (name,)
    if issubclass(type(file), (_io.StringIO, _io.BytesIO)):
        return _object(packer, file)
    return packer.refuse(file, "it is an open file of this process")


def _logger(packer: Packer, logger: Any) -> Reduced:
    """By name, with its handlers for the cell's output; one that writes to a file here would fall silent there, so that is
    said beforehand."""
    for handler in [] if packer.going_home else logger.handlers:
        stream = getattr(handler, "stream", None)
        if stream is not None and is_bound(stream):
            return packer.refuse(stream, "it is an open file of this process")
    handlers = loggers.handlers_of(logger)
    return (rebuild.logger_from, (logger.name, handlers)) if handlers else packer.default(logger)


def _weakref(packer: Packer, ref: Any) -> Reduced:
    target = ref()
    return (weakref.ref, (target,)) if target is not None else (rebuild.dead_reference, ())


def _weak_proxy(packer: Packer, proxy: Any) -> Reduced:
    target = weakly.target_of(proxy)
    if not target and not weakly.is_dead(proxy):
        return packer.refuse(proxy, "what it points to hides itself")
    return (rebuild.weak_proxy, target) if target else (rebuild.dead_proxy, ())


def _weak_method(packer: Packer, ref: Any) -> Reduced:
    method = ref()
    return (rebuild.weak_method, (method,)) if method is not None else (rebuild.dead_reference, ())


def _weak_mapping(packer: Packer, mapping: Any) -> Reduced:
    return type(mapping), (dict(mapping),)


def _memoryview(packer: Packer, view: memoryview) -> Reduced:
    whole = memoryview(view.obj)
    if whole.nbytes == view.nbytes and whole.format == view.format and whole.shape == view.shape:
        return memoryview, (view.obj,)
    return packer.refuse(view, "it is a partial view of another object's memory")


def _shell(packer: Packer, shell: Any) -> Reduced:
    return rebuild.current_shell, ()


def _magics(packer: Packer, magics: Any) -> Reduced:
    """What the notebook's own class of magics holds, without the settings of this process's application."""
    state = magics.__getstate__()
    values = {name: value for name, value in state["_trait_values"].items() if name not in ("config", "log")}
    return copyreg.__newobj__, (type(magics),), {**state, "_trait_values": values}  # type: ignore[attr-defined, unused-ignore]


def _exception(packer: Packer, exc: BaseException) -> Reduced:
    """Without its traceback; ``__init__`` is not called again, for its arguments are not remembered."""
    kind = type(exc)
    if any(type(bare.found_in(kind, name)) is types.FunctionType for name in ("__reduce__", "__reduce_ex__")):
        return _object(packer, exc)
    reduced: Any = exc.__reduce_ex__(5)
    make = (rebuild.exception_from, (kind, *reduced[1])) if reduced[0] is kind else reduced[:2]
    return (*make, exception_state(exc), None, None, rebuild.set_exception)


def _frame(packer: Packer, frame: Any) -> Reduced:
    if packer.sub:
        return _object(packer, frame)
    inner, state, beside = frames.split(frame)
    if inner is frame:
        return packer.sealed(frame)
    return rebuild.bare_frame, (type(frame),), (frames.Apart(inner), state, beside), None, None, rebuild.set_frame


def _apart(packer: Packer, apart: frames.Apart) -> Reduced:
    return packer.sealed(apart.content)


def _object(packer: Packer, obj: Any) -> Reduced:
    """Whatever the object says of itself; its ``__dict__`` as a copy, for the other end has another one."""
    reduced = obj.__reduce_ex__(5)
    if (
        type(reduced) is str
        and not findable.findable(module := getattr(obj, "__module__", None))
        and module != "__main__"
    ):
        return packer.refuse(obj, findable.WHY, findable.REMEDY)
    if type(reduced) is str or len(reduced) < 3 or reduced[2] is None:
        table = bare.own_table(obj) if packer.reached else None
        if table is None or id(table) not in packer.reached or type(reduced) is str:
            return _singleton(obj, reduced)
        reduced = (*reduced[:2], table, *reduced[3:])
    state = reduced[2]
    slots = state[1] if type(state) is tuple and len(state) == 2 else None
    table = state if slots is None else state[0]
    if (type(table) is not dict and table is not obj) or table is not bare.own_table(obj):
        return reduced
    if id(table) in packer.reached and not bare.has(type(obj), "__setstate__"):
        return (*reduced[:2], (table, slots), *(*reduced[3:], None, None)[:2], rebuild.set_own_dict)
    copy = {**table}  # type: ignore[dict-item]
    return (*reduced[:2], copy if slots is None else (copy, slots), *reduced[3:])


def _singleton(obj: Any, reduced: Reduced) -> Reduced:
    """Objects without any state are often sentinels: one that a module names is found there on the other end too."""
    kind = type(obj)
    module = bare.module_of(kind)
    if module in ("__main__", "builtins") or type(reduced) is str:
        return reduced
    if reduced[0] is not copyreg.__newobj__ or len(reduced[1]) > 1 or issubclass(kind, (list, dict, set)):  # type: ignore[attr-defined]
        return reduced
    for name, value in vars(sys.modules.get(module, types)).items():
        if value is obj:
            return rebuild.module_attribute, (module, name)
    return reduced


def _forward_reference(packer: Packer, name: Any) -> Reduced:
    """The code that it keeps for its evaluation is the interpreter's; another one compiles its text again."""
    if not packer.by_source:
        return _object(packer, name)
    parts = name.__forward_arg__, name.__forward_is_argument__, name.__forward_module__, name.__forward_is_class__
    return regenerated.forward_reference, parts


def _process_wide(packer: Packer, obj: Any) -> Reduced:
    place = process_wide.place_of(obj)
    if place is not None:
        return process_wide.own, (place,)
    return by_fields.reduce_object(packer, obj) if by_fields.taken_apart(type(obj)) else _object(packer, obj)


def _descriptor(packer: Packer, descriptor: Any) -> Reduced:
    base, arguments, held = descriptors.parts(descriptor)
    make = (type(descriptor), base, arguments)
    return descriptors.descriptor_from, make, held, None, None, descriptors.set_descriptor


def _module(packer: Packer, module: Any) -> Reduced:
    if not findable.findable(module.__name__):
        return packer.refuse(module, findable.WHY, findable.REMEDY)
    return packer.default(module)


def _module_subclass(packer: Packer, module: types.ModuleType) -> Reduced:
    """An instance of a subclass: by name, as any module that can be imported."""
    known = sys.modules.get(module.__name__)
    if known is None or type(known) is not type(module):
        return _object(packer, module)
    return by_cloudpickle._module_reduce(known)


def _listed(packer: Packer, obj: Any) -> Reduced:
    return NotImplemented  # in the dispatch table of cloudpickle or copyreg


def _bound(reason: str) -> Reducer:
    def refuse(packer: Packer, obj: Any) -> Reduced:
        return packer.refuse(obj, reason)

    return refuse


_RUNNING = "it is a computation in progress"
_LOCK = "locks belong to the process that made them"
_CONNECTION = "it is a connection of this process"
BY_TYPE: dict[type, Reducer] = {
    type: classes.reduce_class,
    types.FunctionType: _function,
    types.CodeType: recompiled.reduce_code,
    types.ModuleType: _module,
    **dict.fromkeys(mapping_views.WHICH, mapping_views.reduce_view),
    annotated.Unevaluated: language.reduce_unevaluated,
    types.CellType: _cell,
    functools._lru_cache_wrapper: _lru_cache,
    functools.cached_property: _cached_property,
    weakref.ref: _weakref,
    weakref.WeakMethod: _weak_method,
    weakref.ProxyType: _weak_proxy,
    weakref.CallableProxyType: _weak_proxy,
    weakref.WeakValueDictionary: _weak_mapping,
    weakref.WeakKeyDictionary: _weak_mapping,
    memoryview: _memoryview,
    types.GetSetDescriptorType: language.reduce_getset,
    typing.NewType: language.reduce_new_type,
    typing.TypeVar: reduce_parameter,
    typing.ParamSpec: reduce_parameter,
    typing.TypeVarTuple: reduce_parameter,
    types.GeneratorType: _bound(_RUNNING),
    types.CoroutineType: _bound(_RUNNING),
    types.AsyncGeneratorType: _bound(_RUNNING),
    types.FrameType: _bound(_RUNNING),
    types.TracebackType: _bound(_RUNNING),
}
_BY_NAME: dict[str, Reducer] = {
    **dict.fromkeys(process_wide.TYPES, _process_wide),
    "typing.TypeAliasType": reduce_alias,
    "typing.ForwardRef": _forward_reference,
    "annotationlib.ForwardRef": _forward_reference,
    "dataclasses.Field": regenerated.reduce_field,
    "types.UnionType": regenerated.reduce_union,
    "typing.Union": regenerated.reduce_union,
    "builtins.lazy_import": language.reduce_lazy_import,
    "builtins.sentinel": language.reduce_sentinel,
    "numpy.ndarray": arrays.reduce_array,
    "numpy.memmap": arrays.reduce_array,
    "numpy.flatiter": arrays.reduce_flat,
    "numpy.void": arrays.reduce_record,
    "numpy.record": arrays.reduce_record,
    "torch.Tensor": arrays.reduce_tensor,
    "torch.storage.UntypedStorage": arrays.reduce_storage,
    "torch.nn.parameter.Parameter": arrays.reduce_parameter,
    "torch.nn.parameter.Buffer": arrays.reduce_tensor,
    "cellferry.parcels.memories.Piece": arrays.reduce_piece,
    "cellferry.parcels.frames.Apart": _apart,
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
    "sqlalchemy.orm.decl_api.DeclarativeMeta": classes.reduce_mapped,
    "sqlalchemy.orm.decl_api.DeclarativeAttributeIntercept": classes.reduce_mapped,
    "_ctypes.PyCArrayType": ctypes_memory.reduce_array_type,
    "_ctypes._CData": ctypes_memory.reduce_data,
    "builtins.type": classes.reduce_class,
    "builtins.property": _descriptor,
    "builtins.staticmethod": _descriptor,
    "builtins.classmethod": _descriptor,
    "functools.cached_property": _descriptor,
    "builtins.BaseException": _exception,
    "builtins.module": _module_subclass,
    **dict.fromkeys(frames.NAMES, _frame),
    "numpy.ndarray": arrays.reduce_subclass,
    "logging.Logger": _logger,
    "io.IOBase": _file,
    "_io._IOBase": _file,
    "ipykernel.iostream.OutStream": _file,
    "IPython.core.interactiveshell.InteractiveShell": _shell,
    "IPython.core.magic.Magics": _magics,
    "ipywidgets.widgets.widget.Widget": _bound("it is a widget, alive in that process"),
    "threading.Thread": _BY_NAME["threading.Thread"],
    "multiprocessing.pool.Pool": _bound("it is a pool of workers of this process"),
    "asyncio.events.AbstractEventLoop": _bound("it is a running event loop"),
    "socket.socket": _BY_NAME["socket.socket"],
    "sqlite3.Connection": _BY_NAME["sqlite3.Connection"],
    "sqlite3.Cursor": _BY_NAME["sqlite3.Cursor"],
}


def resolve(kind: type) -> Reducer:
    """The reducer for a type seen for the first time; found by name so that no library is imported for it."""
    reducer = _BY_NAME.get(bare.full_name(kind))
    if reducer is None:
        # what is registered for a class is better than what is known of its bases; cloudpickle's own is not
        registered = bare.is_among(copyreg.dispatch_table, kind)
        listed = registered or bare.is_among(by_cloudpickle.Pickler.dispatch_table, kind)
        apart = by_fields.taken_apart(kind)
        reducer = (None if registered else _by_base(kind)) or (_listed if listed else by_fields.reduce_object if apart else _object)
    if bare.module_of(kind) == "itertools" and "__reduce__" not in bare.body_of(kind):  # since 3.14 none of them has it
        reducer = _bound("this Python cannot pickle iterators of itertools")
    if bare.module_of(kind) != "__main__":  # classes of the notebook come and go
        try:
            BY_TYPE[kind] = reducer
        except KeyboardInterrupt:
            raise
        except BaseException:  # its metaclass does not let it be kept
            pass
    return reducer


def known_reducer(kind: type) -> Reducer | None:
    """What was found for the type before."""
    try:
        return BY_TYPE.get(kind)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None


def _by_base(kind: type) -> Reducer | None:
    for base in bare.mro_of(kind):
        found = _BY_BASE.get(bare.full_name(base))
        if found is not None:
            return found
    return None


def is_bound(obj: Any) -> bool:
    """Whether this very object is bound to its process (files, locks, generators, widgets ...)."""
    reducer = known_reducer(type(obj)) or resolve(type(obj))
    if reducer is _file:
        streams = (sys.stdout, sys.stderr, sys.stdin, sys.__stdout__, sys.__stderr__, sys.__stdin__)
        in_memory = issubclass(type(obj), (_io.StringIO, _io.BytesIO))
        return not in_memory and not any(obj is stream for stream in streams)
    return getattr(reducer, "__name__", "") == "refuse"

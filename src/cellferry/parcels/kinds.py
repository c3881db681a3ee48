"""How each kind of object changes: what to remember of it, how to see a change, what to send, how to apply it.

A ``Kind`` never descends: children that can change are objects of their own in the heap. ``seal`` is what is
remembered after both ends agreed; ``probe`` compares with it; ``state`` is what travels; ``apply`` makes the
object here like the one there, in place, and returns False where the type does not allow that. This page only says
which type is of which kind.
"""

from __future__ import annotations

import _io
import array as array_module
import collections
import copyreg
import enum
import functools
import types
import weakref
from typing import Any

from cellferry.parcels import annotated, bare, frames, mapping_views, memories, process_wide, tensors
from cellferry.parcels.containers import (
    BoundKind,
    BytesKind,
    DequeKind,
    DictKind,
    DictLikeKind,
    Frozen,
    FrozenParts,
    FrozenTable,
    ListKind,
    Loose,
    MethodKind,
    ReferenceKind,
    SetKind,
    Untracked,
    WeakMapKind,
    WeakProxyKind,
)  # fmt: skip
from cellferry.parcels.enums import EnumKind
from cellferry.parcels.kind import Kind
from cellferry.parcels.objects import CellKind, ClassKind, ExceptionKind, FunctionKind, InstanceKind, SetStateKind
from cellferry.parcels.opaque import FrameKind, OpaqueKind, PassingKind
from cellferry.parcels.placeholder import Placeholder
from cellferry.parcels.reducers import by_reference, home_of, is_bound

_LARGE_TEXT = 1 << 14
_REAL_TABLES = (types.GetSetDescriptorType, types.MemberDescriptorType, type(None))
UNTRACKED, LOOSE, FROZEN, BOUND = Untracked(), Loose(), Frozen(), BoundKind()
INSTANCE, SET_STATE, OPAQUE, EXCEPTION = InstanceKind(), SetStateKind(), OpaqueKind(), ExceptionKind()
VIEW = memories.ViewKind()
_FRAME, _ENUM, _EVALUATOR = FrameKind(), EnumKind(), annotated.EvaluatorKind()
_FUNCTION, _CLASS, _DICT_LIKE = FunctionKind(), ClassKind(), DictLikeKind()
_METHOD, _WEAK_MAP, _WRAPPED, _WRAPS = (
    MethodKind(),
    WeakMapKind(),
    FrozenParts("__wrapped__", "__dict__"),
    FrozenParts("__func__"),
)
BY_TYPE: dict[type, Kind] = {
    list: ListKind(), dict: DictKind(), set: SetKind(), tuple: FROZEN, frozenset: FROZEN,
    collections.OrderedDict: _DICT_LIKE, collections.defaultdict: _DICT_LIKE, collections.Counter: _DICT_LIKE,
    collections.deque: DequeKind(), bytearray: BytesKind(), array_module.array: BytesKind(),
    types.CellType: CellKind(), types.MethodType: _METHOD, types.BuiltinMethodType: _METHOD,
    staticmethod: _WRAPS, classmethod: _WRAPS, property: FrozenParts("fget", "fset", "fdel"),
    functools.cached_property: FrozenParts("func"), functools._lru_cache_wrapper: _WRAPPED,
    functools.partialmethod: FrozenParts("func", "args", "keywords"),
    functools.singledispatchmethod: FrozenParts("dispatcher", "func"),
    weakref.ref: ReferenceKind(), weakref.WeakMethod: ReferenceKind(),
    weakref.ProxyType: WeakProxyKind(), weakref.CallableProxyType: WeakProxyKind(),
    weakref.WeakValueDictionary: _WEAK_MAP, weakref.WeakKeyDictionary: _WEAK_MAP, weakref.WeakSet: _WEAK_MAP,
    Placeholder: FROZEN, **dict.fromkeys(mapping_views.WHICH, mapping_views.MappingViewKind()),
    types.GenericAlias: FrozenParts("__origin__", "__args__"),
    types.ModuleType: UNTRACKED, types.CodeType: UNTRACKED, annotated.Unevaluated: UNTRACKED,
    int: UNTRACKED, float: UNTRACKED, bool: UNTRACKED, complex: UNTRACKED, type(None): UNTRACKED,
    range: UNTRACKED, slice: UNTRACKED, type(...): UNTRACKED, object: FROZEN,
}  # fmt: skip
_FROZEN_MODULES = frozenset(
    ["datetime", "decimal", "fractions", "uuid", "pathlib", "re", "zoneinfo", "ipaddress"]
)  # fmt: skip
_GENERIC_MODULES = frozenset(["typing"])
_UNTRACKED_MODULES = frozenset(["_frozen_importlib", "importlib._bootstrap", "logging"])
_BY_NAME: dict[str, Kind] = {
    "builtins.frozendict": FrozenTable(),
    "builtins.lazy_import": UNTRACKED,
    "builtins.sentinel": FROZEN,
    "string.templatelib.Template": FrozenParts("interpolations"),
    "string.templatelib.Interpolation": FrozenParts("value"),
    "numpy.ndarray": memories.ArrayKind(),
    "numpy.memmap": memories.ArrayKind(),
    "numpy.void": memories.RecordKind(),
    "numpy.record": memories.RecordKind(),
    "numpy.dtype": UNTRACKED,
    "itertools._tee_dataobject": PassingKind(),
    "numpy.ufunc": UNTRACKED,
    "torch.dtype": UNTRACKED,
    "torch.device": UNTRACKED,
    "torch.Size": FROZEN,
    "torch.storage.UntypedStorage": tensors.StorageKind(),
    "torch.Tensor": tensors.TensorKind(),
    "torch.nn.parameter.Parameter": tensors.TensorKind(),
    "torch.nn.parameter.Buffer": tensors.TensorKind(),
}
_own_types: weakref.WeakKeyDictionary[type, Kind] = weakref.WeakKeyDictionary()


def kind_of(obj: Any, namespace: Any) -> Kind:
    """How ``obj`` changes; ``namespace`` tells the notebook's functions from those of libraries."""
    kind = type(obj)
    try:
        found = BY_TYPE.get(kind)
    except KeyboardInterrupt:
        raise
    except BaseException:  # its metaclass does not let it be looked up
        return _classify(obj, kind)
    if found is not None:
        return found
    if kind is str or kind is bytes:
        return FROZEN if len(obj) >= _LARGE_TEXT else UNTRACKED
    if kind is types.FunctionType:
        if not travels_by_value(obj, namespace):
            return UNTRACKED
        return _EVALUATOR if annotated.looks_into_class(obj) else _FUNCTION
    if issubclass(kind, type):
        if bare.module_of(obj) != "__main__":
            return UNTRACKED
        return _ENUM if issubclass(kind, enum.EnumMeta) else _CLASS
    found = _own_types.get(kind) if bare.module_of(kind) == "__main__" else None
    return found or _by_layout(obj, kind)


def travels_by_value(function: types.FunctionType, namespace: Any) -> bool:
    """Whether the function is rebuilt from its code on the other end."""
    if function.__globals__ is namespace:
        return True
    return not by_reference(function) and home_of(function) is not None


def forget_own_types() -> None:
    """Look at the notebook's classes anew: one has changed."""
    _own_types.clear()


def _by_layout(obj: Any, kind: type) -> Kind:
    """For everything else: by name, by module, by base class, by how it pickles."""
    if is_bound(obj):
        return BOUND
    name = bare.full_name(kind)
    if name in process_wide.TYPES:  # which of its instances it is decides, so the type is not remembered
        return UNTRACKED if process_wide.place_of(obj) is not None else _classify(obj, kind)
    found = _BY_NAME.get(name) or _classify(obj, kind)
    if bare.module_of(kind) == "__main__":
        _own_types[kind] = found
    elif not issubclass(kind, (_io._IOBase, str, bytes)):
        BY_TYPE[kind] = found
    return found


def _classify(obj: Any, kind: type) -> Kind:
    module = bare.module_of(kind)
    top = module.partition(".")[0]
    if issubclass(kind, types.ModuleType):
        return UNTRACKED
    if issubclass(kind, (str, bytes)):
        length = str.__len__(obj) if issubclass(kind, str) else bytes.__len__(obj)
        return FROZEN if length >= _LARGE_TEXT else LOOSE
    if issubclass(kind, (enum.Enum, int, float, complex)):
        return LOOSE
    bases = bare.mro_of(kind)
    if module in _UNTRACKED_MODULES or any(bare.name_of(base) == "InteractiveShell" for base in bases):
        return UNTRACKED
    if module == "numpy.dtypes":
        return UNTRACKED
    if module in _FROZEN_MODULES or top == "pyarrow":
        return FROZEN
    if module in _GENERIC_MODULES:
        return FrozenParts("__origin__", "__args__", "__supertype__", "__bound__", "__constraints__")
    if (
        top == "numpy"
        and hasattr(obj, "dtype")
        and getattr(obj, "shape", None) == ()
        and not hasattr(obj, "__setitem__")
    ):
        return UNTRACKED
    if issubclass(kind, BaseException):
        return EXCEPTION
    if frames.is_frame(kind):
        return _FRAME
    if any(bare.full_name(base) == "numpy.ndarray" for base in bases):
        return memories.SubclassKind()
    return _by_state(obj, kind)


def _by_state(obj: Any, kind: type) -> Kind:
    """Objects that pickle takes apart by default have their ``__dict__`` and slots and nothing else."""
    if not _plain_state(kind):
        return OPAQUE
    if issubclass(kind, dict):
        return _DICT_LIKE if not bare.has(kind, "__setstate__") and not bare.slot_names(kind) else OPAQUE
    if issubclass(kind, tuple):
        return FROZEN
    solid: type | None = kind
    while solid is not None and bare.made_in_python(solid):
        solid = bare.base_of(solid)
    if solid is not object:
        return OPAQUE
    return SET_STATE if bare.has(kind, "__setstate__") else INSTANCE


def _plain_state(kind: type) -> bool:
    def is_inherited(name: str, *bases: type) -> bool:
        given = bare.found_in(kind, name)
        return any(given is bare.found_in(base, name) for base in bases)

    inherited = (object, collections.OrderedDict, collections.defaultdict, collections.Counter)
    return (
        is_inherited("__reduce_ex__", *inherited)
        and is_inherited("__reduce__", *inherited)
        and is_inherited("__getstate__", object)
        and not bare.has(kind, "__getnewargs_ex__")
        and (not bare.has(kind, "__getnewargs__") or issubclass(kind, tuple))
        and not bare.is_among(copyreg.dispatch_table, kind)
        and type(bare.found_in(kind, "__dict__")) in _REAL_TABLES
        and type(bare.found_in(kind, "__class__")) is types.GetSetDescriptorType
    )

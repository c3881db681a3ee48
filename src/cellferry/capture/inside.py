"""What a value holds, and how a user would write the way there; found without running anything of the value's own.

Attributes are read from where they are kept (``__dict__``, slots) and never by asking for them: no property, no
``__getattr__`` and no overridden ``__iter__`` gets to run.
"""

from __future__ import annotations

import functools
import gc
import logging
import sys
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cellferry.capture.globals_of import code_globals
from cellferry.capture.stuck import (
    class_dict,
    class_mro,
    class_name,
    class_origin,
    made_in_python,
    travels_its_own_way,
)


class Step(NamedTuple):
    """One step further in. ``doubtful``: the value around it says itself what travels, and may leave this out."""

    label: str
    value: Any
    doubtful: bool = False


# Types that hold nothing of the notebook's, or that travel by name.
_CLOSED = (
    types.ModuleType,
    types.CodeType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    weakref.ReferenceType,
    memoryview,
)
# C iterators and the like: what they hold is only to be had from the garbage collector.
_FROM_COLLECTOR = frozenset({"builtins", "itertools", "operator", "_collections", "_asyncio"})


def inside(value: Any) -> Iterator[Step]:
    """The values that ``value`` holds directly."""
    # By `type(value)` throughout: isinstance would ask the value for its `__class__`.
    cls = type(value)
    if issubclass(cls, _CLOSED):
        return
    look = next((look for sort, look in _LOOKS if issubclass(cls, sort)), _by_type_name)
    yield from look(value)
    if not issubclass(cls, (type, types.FunctionType)):
        yield from _attributes(value)


# ---- containers -----------------------------------------------------------------------------------------------------


def _dict(value: dict[Any, Any]) -> Iterator[Step]:
    # The base class's own methods: a subclass may have overridden them.
    for key, item in dict.items(value):
        yield Step(f"[{_key(key)}]", item)
        yield Step(f".<key {_key(key)}>", key)


def _sequence(value: Any) -> Iterator[Step]:
    cls = type(value)
    sort: Any = next(base for base in (list, tuple, deque) if issubclass(cls, base))
    fields = next((found for owner in class_mro(cls) if type(found := class_dict(owner).get("_fields")) is tuple), ())
    for index, item in enumerate(sort.__iter__(value)):
        yield Step(f".{fields[index]}" if index < len(fields) else f"[{index}]", item)


def _set(value: Any) -> Iterator[Step]:
    sort: Any = set if issubclass(type(value), set) else frozenset
    for item in sort.__iter__(value):
        yield Step(".<element>", item)


def _key(key: Any) -> str:
    plain = type(key) in (str, int, float, bool, bytes, type(None))
    text = repr(key) if plain else ""
    return text if plain and len(text) <= 60 else f"<{type(key).__name__}>"


# ---- functions and classes ------------------------------------------------------------------------------------------


def by_name(value: Any) -> bool:
    """Whether a function or class travels as the name of something in an importable module."""
    if issubclass(type(value), type):
        module, path = class_origin(value)
    else:
        module, path = value.__module__, value.__qualname__
    if type(module) is not str or module in ("__main__", "__mp_main__") or "<" in path:
        return False
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = own_dict(found).get(part)
    return found is value or type(found) in (staticmethod, classmethod)


def _function(value: types.FunctionType) -> Iterator[Step]:
    if by_name(value):
        return
    code = value.__code__
    for name, cell in zip(code.co_freevars, value.__closure__ or (), strict=False):
        try:
            yield Step(f".<closure {name}>", cell.cell_contents)
        except ValueError:
            continue  # a variable that is not bound yet
    positional = code.co_varnames[: code.co_argcount]
    defaults = value.__defaults__ or ()
    for name, default in zip(positional[len(positional) - len(defaults) :], defaults, strict=False):
        yield Step(f".<default {name}>", default)
    for name, default in (value.__kwdefaults__ or {}).items():
        yield Step(f".<default {name}>", default)
    for name, item in value.__dict__.items():
        yield Step(f".{name}", item)
    for name in sorted(code_globals(code)):
        if name in value.__globals__:
            yield Step(f".<global {name}>", value.__globals__[name])


def _class(value: type) -> Iterator[Step]:
    if by_name(value) or not made_in_python(value):
        return
    for index, base in enumerate(class_mro(value)[1:]):
        yield Step(f".__mro__[{index + 1}]", base)
    for name, item in list(class_dict(value).items()):
        if name not in ("__dict__", "__weakref__", "__module__", "__doc__"):
            yield Step(f".{name}", item)


def _method(value: types.MethodType) -> Iterator[Step]:
    yield Step(".__self__", value.__self__)
    yield Step(".__func__", value.__func__)


def _builtin_method(value: types.BuiltinMethodType) -> Iterator[Step]:
    if not issubclass(type(value.__self__), types.ModuleType):
        yield Step(".__self__", value.__self__)


def _partial(value: functools.partial[Any]) -> Iterator[Step]:
    yield Step(".func", value.func)
    for index, item in enumerate(value.args):
        yield Step(f".args[{index}]", item)
    for name, item in value.keywords.items():
        yield Step(f".keywords[{name!r}]", item)


def _wrapper(value: staticmethod[..., Any] | classmethod[Any, ..., Any]) -> Iterator[Step]:
    yield Step(".__func__", value.__func__)


def _property(value: property) -> Iterator[Step]:
    yield from (
        Step(f".{name}", item)
        for name, item in (("fget", value.fget), ("fset", value.fset), ("fdel", value.fdel))
        if item is not None
    )


def _exception(value: BaseException) -> Iterator[Step]:
    for index, item in enumerate(value.args):
        yield Step(f".args[{index}]", item)


# ---- instances ------------------------------------------------------------------------------------------------------


def own_dict(value: Any) -> dict[str, Any]:
    """The instance's ``__dict__``, by the descriptor that C made for it; a property of that name is not asked."""
    if issubclass(type(value), type):
        return dict(class_dict(value))
    for owner in class_mro(type(value)):
        getter: Any = class_dict(owner).get("__dict__")
        if type(getter) in (types.GetSetDescriptorType, types.MemberDescriptorType):
            found = getter.__get__(value)
            return found if isinstance(found, dict) else {}
    return {}


def _slots(value: Any) -> Iterator[tuple[str, Any]]:
    for owner in class_mro(type(value)):
        if not made_in_python(owner):
            continue
        for name, member in list(class_dict(owner).items()):
            if type(member) is types.MemberDescriptorType:
                try:
                    yield name, member.__get__(value)
                except (AttributeError, TypeError):
                    continue  # not set


def _attributes(value: Any) -> Iterator[Step]:
    cls = type(value)
    own_way = travels_its_own_way(cls)
    if made_in_python(cls) and not by_name(cls):
        yield Step(".__class__", cls)
    for name, item in (*list(own_dict(value).items()), *_slots(value)):
        if not _beside_the_point(cls, name):
            yield Step(f".{name}", item, own_way)


def _beside_the_point(cls: type, name: str) -> bool:
    """Attributes that are stuck in every logger and handler, the harmless ones too; the stream is what matters."""
    if issubclass(cls, logging.Handler):
        return name == "lock"
    return issubclass(cls, logging.Logger) and name in ("manager", "parent", "root", "_cache")


def _by_type_name(value: Any) -> Iterator[Step]:
    cls = type(value)
    name = class_name(cls)
    if name == "builtins.lazy_import":
        return  # it holds the builtins of the module that imports, and those hold the shell's ``input``
    if name == "numpy.ndarray" and value.dtype.hasobject:
        yield from _object_array(value)
    elif name in _PANDAS:
        yield from _pandas(value)
    elif name.partition(".")[0] in _FROM_COLLECTOR:
        for item in gc.get_referents(value):
            if not issubclass(type(item), type):
                yield Step(".<inside>", item)


_PANDAS = frozenset({"pandas.DataFrame", "pandas.Series", "pandas.core.frame.DataFrame", "pandas.core.series.Series"})


def _object_array(value: Any) -> Iterator[Step]:
    import numpy as np

    for index, item in np.ndenumerate(value):
        yield Step(f"[{', '.join(map(str, index))}]", item)


def _pandas(value: Any) -> Iterator[Step]:
    columns = value.items() if type(value).__name__ == "DataFrame" else [(None, value)]
    for column, series in columns:
        if series.dtype != object:
            continue
        label = "" if column is None else f"[{_key(column)}]"
        for index, item in enumerate(series.array):
            yield Step(f"{label}.iloc[{index}]", item)


_LOOKS: tuple[tuple[Any, Callable[[Any], Iterator[Step]]], ...] = (
    ((dict, OrderedDict), _dict),
    ((list, tuple, deque), _sequence),
    ((set, frozenset), _set),
    (types.FunctionType, _function),
    (type, _class),
    (types.MethodType, _method),
    (types.BuiltinMethodType, _builtin_method),
    (functools.partial, _partial),
    ((staticmethod, classmethod), _wrapper),
    (property, _property),
    (BaseException, _exception),
)

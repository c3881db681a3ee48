"""Kinds of objects that Python code defines: instances, classes, functions, cells of closures, exceptions."""

from __future__ import annotations

import copyreg
import types
from collections.abc import Iterable
from typing import Any

from cellferry.parcels.kind import PointerKind, flat, table_of
from cellferry.parcels.rebuild import set_cell, set_exception, set_function, set_state


class InstanceKind(PointerKind):
    """Objects whose whole state is their ``__dict__`` and ``__slots__``."""

    def pointers(self, obj: Any) -> tuple[Any, ...]:
        return (type(obj), *flat(variables(obj)))

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return now[0], table_of(now[1:])

    def apply(self, obj: Any, state: Any) -> bool:
        kind, items = state
        if type(obj) is not kind:
            obj.__class__ = kind
        self._fill(obj, dict(items))
        return True

    def _fill(self, obj: Any, values: dict[str, Any]) -> None:
        names = slot_names(type(obj))
        table = getattr(obj, "__dict__", None)
        if table is not None:
            table.clear()
            table.update({k: v for k, v in values.items() if k not in names} if names else values)
        for name in names:
            if name in values:
                object.__setattr__(obj, name, values[name])
            elif _slot(obj, name)[0]:
                object.__delattr__(obj, name)

    def swap(self, obj: Any, old: Any, new: Any) -> bool:
        values = variables(obj)
        found = {name: new for name, value in values.items() if value is old}
        if found:
            self._fill(obj, {**values, **found})
        return bool(found)


class SetStateKind(InstanceKind):
    """As above, but the class has its own way to take a state (``__setstate__``)."""

    def _fill(self, obj: Any, values: dict[str, Any]) -> None:
        names = slot_names(type(obj))
        table = getattr(obj, "__dict__", None)
        slots = {k: v for k, v in values.items() if k in names}
        rest: Any = {k: v for k, v in values.items() if k not in names} if names else values
        if table is not None:
            table.clear()
        obj.__setstate__((rest or None, slots) if names else rest)


def slot_names(kind: type) -> list[str]:
    """All slots that hold values, of the class and its bases, with private names as they are stored."""
    names = kind.__dict__.get("__slotnames__")
    if names is None:
        names = copyreg._slotnames(kind)  # type: ignore[attr-defined]
    return names  # type: ignore[no-any-return]


def _slot(obj: Any, name: str) -> tuple[bool, Any]:
    try:
        return True, object.__getattribute__(obj, name)
    except AttributeError:
        return False, None


def variables(obj: Any) -> dict[str, Any]:
    """What ``obj`` holds in its ``__dict__`` and slots; only to be read."""
    values: dict[str, Any] = getattr(obj, "__dict__", None) or {}
    names = slot_names(type(obj))
    if names:
        values = dict(values)
        for name in names:
            there, value = _slot(obj, name)
            if there:
                values[name] = value
    return values


_CLASS_NOISE = frozenset(
    ["__dict__", "__weakref__", "__module__", "__doc__", "__qualname__", "_abc_impl", "__abstractmethods__",
     "__firstlineno__", "__static_attributes__", "__annotations_cache__", "__annotate_func__", "__slotnames__",
     "__getstate__", "__orig_bases__", "__parameters__"]
)  # fmt: skip


class ClassKind(PointerKind):
    """Classes of the notebook: attributes added, changed or removed."""

    def pointers(self, obj: Any) -> tuple[Any, ...]:
        return flat(class_variables(obj))

    def children(self, obj: Any) -> Iterable[Any]:
        return (type(obj), *obj.__bases__, *self.pointers(obj))

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        old, new = dict(table_of(before)), dict(table_of(now))
        return {k: v for k, v in new.items() if old.get(k, now) is not v}, [k for k in old if k not in new]

    def apply(self, obj: Any, state: Any) -> bool:
        changed, removed = state
        for name, value in changed.items():
            type.__setattr__(obj, name, value)
        for name in removed:
            if name in vars(obj):
                type.__delattr__(obj, name)
        return True


def class_variables(kind: type) -> dict[str, Any]:
    """A class's own attributes, without what Python and its pickling keep there."""
    members = types.MemberDescriptorType, types.GetSetDescriptorType
    return {k: v for k, v in vars(kind).items() if k not in _CLASS_NOISE and not isinstance(v, members)}


class FunctionKind(PointerKind):
    """Functions that travel by value: defaults, attributes, even their code."""

    def pointers(self, obj: Any) -> tuple[Any, ...]:
        return (obj.__code__, obj.__defaults__, obj.__kwdefaults__, *flat(obj.__dict__))

    def children(self, obj: Any) -> Iterable[Any]:
        return (
            *(obj.__closure__ or ()),
            obj.__defaults__,
            obj.__kwdefaults__,
            obj.__annotations__,
            *flat(obj.__dict__),
        )

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return {**function_state(obj), "cells": (), "__code__": obj.__code__}

    def apply(self, obj: Any, state: Any) -> bool:
        set_function(obj, state)
        return True


class CellKind(PointerKind):
    """The cells of closures: what ``nonlocal`` writes to."""

    def pointers(self, obj: Any) -> tuple[Any, ...]:
        return cell_contents(obj)

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return now

    def apply(self, obj: Any, state: Any) -> bool:
        if state:
            set_cell(obj, state)
        elif cell_contents(obj):
            del obj.cell_contents
        return True

    def swap(self, obj: Any, old: Any, new: Any) -> bool:
        found = any(value is old for value in cell_contents(obj))
        if found:
            obj.cell_contents = new
        return found


class ExceptionKind(PointerKind):
    """Exceptions: arguments, attributes, notes, what caused them. Not their traceback, which is frames."""

    def pointers(self, obj: Any) -> tuple[Any, ...]:
        return (*exception_state(obj)[1:], *flat(obj.__dict__))

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return exception_state(obj)

    def apply(self, obj: Any, state: Any) -> bool:
        set_exception(obj, state)
        return True


def cell_contents(cell: types.CellType) -> tuple[Any, ...]:
    """What the cell holds: one value or none."""
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


def exception_state(exc: BaseException) -> tuple[Any, ...]:
    """(attributes, args, cause, context, whether the context is hidden)."""
    return dict(exc.__dict__), exc.args, exc.__cause__, exc.__context__, exc.__suppress_context__


__all__ = [
    "CellKind", "ClassKind", "ExceptionKind", "FunctionKind", "InstanceKind", "SetStateKind", "cell_contents", "class_variables",
    "exception_state", "function_state", "set_state", "slot_names", "variables",
]  # fmt: skip

"""Kinds of objects that Python code defines: instances, classes, functions, cells of closures, exceptions."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any

from cellferry.parcels import annotated, registrations
from cellferry.parcels.bare import body_of, own_table, slot_names
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
            object.__setattr__(obj, "__class__", kind)
        self._fill(obj, dict(items))
        return True

    def _fill(self, obj: Any, values: dict[str, Any]) -> None:
        names = slot_names(type(obj))
        table = own_table(obj)
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
        table = own_table(obj)
        slots = {k: v for k, v in values.items() if k in names}
        rest: Any = {k: v for k, v in values.items() if k not in names} if names else values
        before = {**table} if table is not None else {}
        if table is not None:
            table.clear()
        try:
            type(obj).__setstate__(obj, (rest or None, slots) if names else rest)
        except BaseException:
            if table is not None:
                table.clear()
                table.update(before)
            raise


_get = object.__getattribute__


def _slot(obj: Any, name: str) -> tuple[bool, Any]:
    try:
        return True, _get(obj, name)
    except AttributeError:
        return False, None


def variables(obj: Any) -> dict[str, Any]:
    """What ``obj`` holds in its ``__dict__`` and slots; only to be read."""
    try:
        values: dict[str, Any] = _get(obj, "__dict__")
    except AttributeError:  # all in slots
        values = {}
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
     "__firstlineno__", "__static_attributes__", "__annotations_cache__", "__annotate_func__",
     "__conditional_annotations__", "__classdictcell__", "__slotnames__",
     "__getstate__", "__orig_bases__", "__parameters__"]
)  # fmt: skip


class ClassKind(PointerKind):
    """Classes of the notebook: attributes added, changed or removed, and what they are registered with."""

    def pointers(self, obj: Any) -> tuple[Any, ...]:
        return flat({**class_variables(obj), **registrations.ties(obj)})

    def children(self, obj: Any) -> Iterable[Any]:
        return (type(obj), *type.__dict__["__bases__"].__get__(obj), *self.pointers(obj))

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        old, new = dict(table_of(before)), dict(table_of(now))
        changed = {k: v for k, v in new.items() if old.get(k, now) is not v}
        return annotated.wrapped(changed), [k for k in old if k not in new and type(k) is str]

    def apply(self, obj: Any, state: Any) -> bool:
        changed, removed = state
        for name, value in changed.items():
            if type(name) is tuple:
                registrations.tie(obj, name[0], value)
            else:
                annotated.give(obj, name, value)
        for name in removed:
            if name in body_of(obj):
                type.__delattr__(obj, name)
        return True


def class_variables(kind: type) -> dict[str, Any]:
    """What a class itself holds and can change; not what Python keeps there."""
    members = types.MemberDescriptorType, types.GetSetDescriptorType
    found = {k: v for k, v in body_of(kind).items() if k not in _CLASS_NOISE and type(v) not in members}
    return found | dict(filter(None, [annotated.of_class(kind)]))


class FunctionKind(PointerKind):
    """Functions that travel by value: defaults, attributes, even their code."""

    def pointers(self, obj: Any) -> tuple[Any, ...]:
        return (obj.__code__, obj.__defaults__, obj.__kwdefaults__, *flat(obj.__dict__))

    def children(self, obj: Any) -> Iterable[Any]:
        return (
            *(obj.__closure__ or ()),
            obj.__defaults__,
            obj.__kwdefaults__,
            annotated.of_function(obj)[1],
            *flat(obj.__dict__),
        )

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        return {**function_state(obj, ()), "__code__": obj.__code__}

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
        attributes, *rest = exception_state(obj)
        return (*rest, *flat(attributes))

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


def function_state(function: types.FunctionType, cells: tuple[types.CellType, ...]) -> dict[str, Any]:
    """Everything of a function that can change, and what its code cannot tell. ``cells``: those whose contents go along."""
    state: dict[str, Any] = {
        "cells": tuple((cell, cell_contents(cell)) for cell in cells),
        "__defaults__": function.__defaults__,
        "__kwdefaults__": function.__kwdefaults__,
        "__qualname__": function.__qualname__,
        "__module__": function.__module__,
        "__doc__": function.__doc__,
        "__dict__": dict(function.__dict__),
        **annotated.wrapped(dict([annotated.of_function(function)])),
    }
    if getattr(function, "__type_params__", ()):
        state["__type_params__"] = function.__type_params__  # type: ignore[attr-defined]
    return state


_PARTS: list[Any] = [
    BaseException.__dict__[name] for name in ("args", "__cause__", "__context__", "__suppress_context__")
]


def exception_state(exc: BaseException) -> tuple[Any, ...]:
    """(attributes, args, cause, context, whether the context is hidden)."""
    return dict(own_table(exc) or {}), *(part.__get__(exc) for part in _PARTS)


__all__ = [
    "CellKind", "ClassKind", "ExceptionKind", "FunctionKind", "InstanceKind", "SetStateKind", "cell_contents", "class_variables",
    "exception_state", "function_state", "set_state", "slot_names", "variables",
]  # fmt: skip

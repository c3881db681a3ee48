"""A module of the project whose source has changed is executed anew, and what was made of the old one follows.

Classes and functions stay the objects that they are, with the new code in them: instances, subclasses, names imported from the
module and the heap's numbers all mean the new ones at once, as after ``%autoreload`` in the notebook. A class that cannot take
its new form (other slots, another layout) is replaced; its instances change over to the new one where Python allows that.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterable, Sequence
from enum import EnumMeta
from types import CellType, FunctionType, ModuleType
from typing import Any

from cellferry.parcels.kinds import forget_own_types, kind_of
from cellferry.parcels.module_state import BASELINES

_STAYS = frozenset(["__dict__", "__weakref__", "_abc_impl", "__module__", "__qualname__"])
_FUNCTION = ("__code__", "__defaults__", "__kwdefaults__", "__doc__", "__annotations__", "__module__", "__qualname__")


def reload_all(names: Sequence[str]) -> dict[str, Exception]:
    """Execute these loaded modules anew, in this order; returns those that could not be, and why. One that fails stays what it
    was, and is tried again after the others, for it may need what is new in them."""
    failed: dict[str, Exception] = {}
    for once_more in (False, True):
        for name in list(failed) if once_more else names:
            try:
                reload(sys.modules[name])
                failed.pop(name, None)
            except Exception as exc:
                failed[name] = exc
    return failed


def reload(module: ModuleType) -> None:
    """Execute ``module`` anew; its names that are no longer there go, and old objects follow. Raises what the source raises, with
    the module as it was."""
    before = dict(vars(module))
    own = {name: value for name, value in before.items() if not (name.startswith("__") and name.endswith("__"))}
    for name, value in own.items():
        if not (isinstance(value, ModuleType) and sys.modules.get(f"{module.__name__}.{name}") is value):
            del vars(module)[name]
    try:
        importlib.reload(module)
    except BaseException:
        vars(module).clear()
        vars(module).update(before)
        raise
    pairs = _pairs(module.__name__, own, vars(module))
    taken = [(old, new) for old, new in pairs if _take_over(old, new, pairs)]
    for old, new in pairs:
        if isinstance(old, type) and not any(old is each for each, _new in taken):
            _change_over(gc.get_referrers(old), old, new)
    _swap(taken)
    BASELINES.imported([module])  # once more: its objects are the old ones again
    forget_own_types()


def _pairs(module: str, before: dict[str, Any], after: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Classes and functions that the module defines under the same name as before, nested classes after what holds them."""
    found: list[tuple[Any, Any]] = []
    new: Any
    for name, old in before.items():
        new = after.get(name)
        if new is old or type(old) is not type(new) or not isinstance(old, (type, FunctionType)):
            continue
        if (
            old.__module__ == new.__module__ == module
            and old.__qualname__ == new.__qualname__
            and not isinstance(old, EnumMeta)
        ):
            found.append((old, new))
            if isinstance(old, type):
                inner = _pairs(module, dict(vars(old)), dict(vars(new)))
                found += [pair for pair in inner if isinstance(pair[0], type)]
    return found


def _take_over(old: Any, new: Any, pairs: Sequence[tuple[Any, Any]]) -> bool:
    """Make ``old`` what ``new`` is; False, with ``old`` as it was, where that cannot be."""
    return _take_function(old, new) if isinstance(old, FunctionType) else _take_class(old, new, pairs)


def _take_function(old: FunctionType, new: FunctionType) -> bool:
    cells, fresh = old.__closure__ or (), new.__closure__ or ()
    if len(cells) != len(fresh):
        return False
    for name in _FUNCTION:
        setattr(old, name, getattr(new, name))
    for cell, other in zip(cells, fresh, strict=True):
        _fill(cell, other)
    old.__dict__.clear()
    old.__dict__.update(new.__dict__)
    return True


def _fill(cell: CellType, other: CellType) -> None:
    try:
        cell.cell_contents = other.cell_contents
    except ValueError:
        pass  # it is empty


def _take_class(old: type, new: type, pairs: Sequence[tuple[Any, Any]]) -> bool:
    same: dict[int, Any] = {id(after): before for before, after in pairs}
    bases = tuple(same.get(id(base), base) for base in new.__bases__)
    if type(old) is not type(new) or vars(old).get("__slots__") != vars(new).get("__slots__"):
        return False
    try:
        if old.__bases__ != bases:
            old.__bases__ = bases
    except TypeError:
        return False
    for name in [name for name in vars(old) if name not in vars(new) and name not in _STAYS]:
        type.__delattr__(old, name)
    for name, value in list(vars(new).items()):
        if name not in _STAYS and not (
            type(value).__name__ in ("member_descriptor", "getset_descriptor") and name in vars(old)
        ):
            was = vars(old).get(name)
            if isinstance(was, FunctionType) and isinstance(value, FunctionType) and _take_function(was, value):
                value = was  # methods that somebody holds follow as well
            for function in _functions(value):
                _own_class(function, new, old)
            if name == "__class__":  # an object's own: a class that has such a property is not what it says
                return False
            type.__setattr__(old, name, same.get(id(value), value))
    if hasattr(old, "_abc_caches_clear"):
        old._abc_caches_clear()
    return True


def _functions(value: Any) -> Iterable[FunctionType]:
    """The functions behind an attribute of a class."""
    parts = (
        value,
        *(getattr(value, name, None) for name in ("__func__", "fget", "fset", "fdel", "func", "__wrapped__")),
    )
    return [part for part in parts if isinstance(part, FunctionType)]


def _own_class(function: FunctionType, new: type, old: type) -> None:
    """``super()`` in a method means the class whose method it is from now on."""
    for cell in function.__closure__ or ():
        try:
            if cell.cell_contents is new:
                cell.cell_contents = old
        except ValueError:
            continue


def _change_over(holders: Iterable[Any], old: type, new: type) -> None:
    for holder in holders:
        if type(holder) is old:
            try:
                object.__setattr__(holder, "__class__", new)
            except TypeError:
                continue  # another layout: it stays what it was


def _swap(taken: Sequence[tuple[Any, Any]]) -> None:
    """Whoever was given a new object while the module was executed (its names, registries, instances) gets the old one, which is
    the same by now."""
    if not taken:
        return
    mine = {id(pair) for pair in taken} | {id(taken)}
    holders = [holder for holder in gc.get_referrers(*(new for _old, new in taken)) if id(holder) not in mine]
    for holder in holders:
        for old, new in taken:
            if type(holder) is new:
                _change_over([holder], new, old)
            if type(holder).__name__ not in ("frame", "mappingproxy", "tuple") and not _of_class(holder):
                kind_of(holder, {}).swap(holder, new, old)


def _of_class(holder: Any) -> bool:
    """Whether it is the dictionary of a class, which only the class may change."""
    return type(holder) is dict and "__module__" in holder and "__doc__" in holder

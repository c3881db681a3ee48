"""Type variables and type aliases of the notebook, taken apart and made again.

Those of Python 3.12's syntax (``def f[T: Bound]``, ``type X = ...``) look at their bound, default or value when somebody asks
for it, so that these may lead back to them. They are made again by that syntax, with a table for what they will look at.

The names and arguments of the functions that make are part of what travels, so they are only ever added to.
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

import cloudpickle.cloudpickle as by_cloudpickle

if TYPE_CHECKING:
    from cellferry.parcels.pickler import Packer

_STARS = {"TypeVar": "", "TypeVarTuple": "*", "ParamSpec": "**"}


def reduce_parameter(packer: Packer, made: Any) -> Any:
    """A TypeVar, ParamSpec or TypeVarTuple: by name where a module has it."""
    owner = packer.parameters.get(id(made))
    if owner is not None:
        return parameter_of, owner
    if _found_by_name(made):
        return packer.default(made)
    kind, table = type(made).__name__, dict[str, Any]()
    values = _looks_at(made, "0")
    if getattr(made, "__infer_variance__", kind == "TypeVarTuple") and hasattr(typing, "TypeAliasType"):
        make = (late_parameter, (_spelled(made, "0", values), made.__module__, table))
        return (*make, (table, values), None, None, fill)
    given = {"bound": getattr(made, "__bound__", None), "default": values.get("default0")}
    options = {name: value for name, value in given.items() if value is not None or (name + "0") in values}
    options |= {name: True for name in ("covariant", "contravariant") if getattr(made, f"__{name}__", False)}
    return parameter, (kind, made.__name__, tuple(getattr(made, "__constraints__", ())), options, made.__module__)


def reduce_alias(packer: Packer, alias: Any) -> Any:
    """``type X[T] = ...``: by name where a module has it."""
    if _found_by_name(alias):
        return packer.default(alias)
    if not alias.__name__.isidentifier():
        return alias_by_call, (alias.__name__, alias.__value__, alias.__type_params__)
    table = dict[str, Any]()
    values = {"value": alias.__value__}
    spelled = []
    for number, made in enumerate(alias.__type_params__):
        packer.parameters[id(made)] = (alias, number)
        inner = _looks_at(made, str(number))
        spelled.append(_spelled(made, str(number), inner))
        values |= inner
    make = (late_alias, (alias.__name__, spelled, alias.__module__, table))
    return (*make, (table, values), None, None, fill)


def _found_by_name(made: Any) -> bool:
    return by_cloudpickle._lookup_module_and_qualname(made, name=made.__name__) is not None


def _looks_at(made: Any, number: str) -> dict[str, Any]:
    """Names for its bound and its default, and these."""
    found: dict[str, Any] = {}
    bound = getattr(made, "__bound__", None) or getattr(made, "__constraints__", None)
    if bound:
        found["bound" + number] = bound
    if hasattr(made, "has_default") and made.has_default():
        found["default" + number] = made.__default__
    return found


def _spelled(made: Any, number: str, values: dict[str, Any]) -> str:
    bound = f": bound{number}" if "bound" + number in values else ""
    if bound and getattr(made, "__constraints__", None):
        bound = ": (" + "".join(f"bound{number}[{at}], " for at in range(len(made.__constraints__))) + ")"
    default = f" = default{number}" if "default" + number in values else ""
    return f"{_STARS[type(made).__name__]}{made.__name__}{bound}{default}"


def late_parameter(spelled: str, module: str, table: dict[str, Any]) -> Any:
    """A type variable of that spelling, which looks into ``table`` when it is asked."""
    table["__name__"] = module
    exec(f"def holder[{spelled}](): ...", table)
    return table.pop("holder").__type_params__[0]


def late_alias(name: str, spelled: list[str], module: str, table: dict[str, Any]) -> Any:
    """A type alias whose value, and what its parameters look at, will be in ``table``."""
    table["__name__"] = module
    parameters = f"[{', '.join(spelled)}]" if spelled else ""
    exec(f"type {name}{parameters} = value", table)
    return table.pop(name)


def alias_by_call(name: str, value: Any, parameters: tuple[Any, ...]) -> Any:
    make: Any = getattr(typing, "TypeAliasType")  # noqa: B009 - since 3.12
    return make(name, value, type_params=parameters)


def fill(made: Any, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Give one of the late ones what it will look at."""
    table, values = state
    table.update(values)


def parameter_of(alias: Any, number: int) -> Any:
    return alias.__type_params__[number]


def parameter(kind: str, name: str, constraints: tuple[Any, ...], options: dict[str, Any], module: str) -> Any:
    """A type variable made by calling its type."""
    made = getattr(typing, kind)(name, *constraints, **options)
    made.__module__ = module
    return made

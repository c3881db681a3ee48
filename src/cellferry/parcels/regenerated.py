"""Between two minor versions of Python: classes with methods that a library writes as text, whose source nobody has any more.

A dataclass's and a named tuple's are written anew on the other end, by the library there, from what the class says of itself.
The names and arguments of the functions that do it are part of what travels, so they are only ever added to.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import operator
from types import FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, ForwardRef, Generic, NamedTuple, TypeVar, Union

import cloudpickle.cloudpickle as by_cloudpickle

if TYPE_CHECKING:
    from cellferry.parcels.pickler import Packer

_WRITTEN = frozenset(
    ["__init__", "__repr__", "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__setattr__", "__delattr__"]
)
_OPTIONS = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
T = TypeVar("T")


class _Generic(NamedTuple, Generic[T]):
    """Has what every generic named tuple of this Python has from ``typing``."""

    value: T


_TUPLES_OWN = frozenset(
    ["__new__", "__repr__", "__getnewargs__", "__replace__", "_make", "_replace", "_asdict", "_fields", "_field_defaults",
     "__slots__", "__match_args__", "_field_types"]
)  # fmt: skip


def without_written(kind: type, reduced: Any) -> Any:
    """The reduction of a class, for a Python that is to write such methods itself; ``reduced`` where there are none."""
    attributes = reduced[2][0]
    if kind.__bases__[0] is tuple and "_field_defaults" in attributes:
        return _named_tuple(kind, reduced, attributes)
    if "__dataclass_params__" not in attributes:
        return reduced
    written = [name for name in attributes if name in _WRITTEN and _has_no_file(attributes[name])]
    if getattr(attributes.get("__replace__"), "__module__", "") == dataclasses.__name__:
        written.append("__replace__")  # since 3.13, and not to be found by name before
    for name in written:
        del attributes[name]
    params = attributes.pop("__dataclass_params__")
    options = {name: getattr(params, name) for name in _OPTIONS} | {"init": "__init__" in written}
    return (*reduced[:2], (*reduced[2], options), None, None, set_dataclass)


def _has_no_file(found: Any) -> bool:
    function = getattr(found, "__wrapped__", found)  # a repr is wrapped, so that it does not go round in circles
    return isinstance(function, FunctionType) and function.__code__.co_filename.startswith("<string>")


def _named_tuple(kind: type, reduced: Any, attributes: dict[str, Any]) -> Any:
    fields: tuple[str, ...] = attributes["_fields"]
    defaults = [attributes["_field_defaults"][name] for name in fields if name in attributes["_field_defaults"]]
    rest = {name: value for name, value in attributes.items() if name not in _TUPLES_OWN and name not in fields}
    tracker = by_cloudpickle._get_or_create_tracker_id(kind)
    more = (kind.__bases__,) if len(kind.__bases__) > 1 else ()
    if more:
        rest.pop("__class_getitem__", None)
    make = (named_tuple_from, (kind.__name__, fields, defaults, kind.__module__, tracker, *more))
    return (*make, (rest, {}), None, None, by_cloudpickle._class_setstate)


def named_tuple_from(
    name: str, fields: tuple[str, ...], defaults: list[Any], module: str, tracker: str, bases: tuple[type, ...] = ()
) -> type:
    """The named tuple; the same one if it was made here before. ``bases``: those of one that is generic."""
    known = by_cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker)
    if known is not None:
        return known  # type: ignore[no-any-return]
    made = collections.namedtuple(name, fields, defaults=defaults, module=module)  # type: ignore[misc]
    if bases:
        made.__bases__ = bases  # as ``typing`` makes it
        type.__setattr__(made, "__class_getitem__", vars(_Generic)["__class_getitem__"])
    return by_cloudpickle._lookup_class_or_track(tracker, made)  # type: ignore[no-any-return]


def set_dataclass(made: type, state: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]) -> None:
    """Fill a class that is there, and let ``dataclasses`` write the methods that did not travel."""
    attributes, slots, options = state
    by_cloudpickle._class_setstate(made, (attributes, slots))
    fields: dict[str, Any] = attributes["__dataclass_fields__"]
    own = {name: fields[name] for name in vars(made).get("__annotations__") or made.__annotations__ if name in fields}
    before = {name: vars(made)[name] for name in own if name in vars(made)}
    for name, field in own.items():
        type.__setattr__(made, name, _declared(field))
    type.__delattr__(made, "__dataclass_fields__")
    dataclasses.dataclass(**options)(made)
    for name in own:  # a slot's descriptor stands where the field was declared
        if isinstance(before.get(name), MemberDescriptorType):
            type.__setattr__(made, name, before[name])
        elif name not in before and name in vars(made):
            type.__delattr__(made, name)
    type.__setattr__(made, "__dataclass_fields__", fields)


def reduce_field(packer: Packer, field: Any) -> Any:
    """With the parts that this Python gives it: since 3.14 it has a ``doc``."""
    make, arguments, state, *_rest = field.__reduce_ex__(5)
    if not packer.by_source:
        return make, arguments, state
    return make, arguments, state, None, None, set_field


def set_field(field: Any, state: tuple[None, dict[str, Any]]) -> None:
    """Give it what it has here of what came; what it has only here is None."""
    for name in dataclasses.Field.__slots__:
        setattr(field, name, state[1].get(name))


def _declared(field: Any) -> Any:
    names = ["default", "default_factory", "init", "repr", "hash", "compare", "metadata", "kw_only"]
    return dataclasses.field(**{name: getattr(field, name) for name in names})


def reduce_union(packer: Packer, union: Any) -> Any:
    """``int | None``: since 3.14 its type is ``typing.Union``, and it pickles as one of these."""
    return (union_of, union.__args__) if packer.by_source else NotImplemented


def union_of(*parts: Any) -> Any:
    """``parts[0] | parts[1] | ...``"""
    try:
        return functools.reduce(operator.or_, parts)
    except TypeError:  # a text among them
        return Union[parts]  # noqa: UP007


def forward_reference(text: str, is_argument: bool, module: Any, is_class: bool) -> Any:
    """A name in an annotation that nobody has looked up yet."""
    return ForwardRef(text, is_argument=is_argument, module=module, is_class=is_class)

"""Enums of the notebook: their members are made again as they are, without calling ``__new__`` or ``__init__`` once more.

What a member holds (set by ``__init__``, ``__new__`` or later) belongs to its class here: members themselves are looked up.
The names of the functions at the end are part of what travels.
"""

from __future__ import annotations

import enum
import types
from typing import Any

from cellferry.parcels import bare
from cellferry.parcels.kind import flat, table_of
from cellferry.parcels.objects import ClassKind, class_variables
from cellferry.parcels.rebuild import without_init_subclass


class _Empty(enum.Enum):
    pass


class _EmptyFlag(enum.Flag):
    pass


_MACHINERY = frozenset([*vars(_Empty), *vars(_EmptyFlag), "__new_member__", "_use_args_"])
_AS_IT_IS = ("_new_member_", "_use_args_")
"""Of the machinery, what depends on a ``__new__`` of the user's, in the class or in a base of it."""

_MEMBER_MACHINERY = frozenset(["_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_"])
_members: Any = enum.EnumMeta.__dict__["__members__"].__get__


class EnumKind(ClassKind):
    """The attributes of the class, by name, and those of its members, by (member, name)."""

    def pointers(self, obj: Any) -> tuple[Any, ...]:
        members = _members(obj)
        own = {k: v for k, v in class_variables(obj).items() if k not in members and _is_users(k, v)}
        held = {(n, k): v for n, table in member_attributes(obj).items() for k, v in table.items()}
        return flat({**own, **held})

    def children(self, obj: Any) -> Any:
        return (type(obj), *bare.mro_of(obj)[1:], *(value for _key, value in table_of(self.pointers(obj))))

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        changed, removed = super().state(obj, before, now)
        return changed, [
            *removed,
            *(k for k, _v in table_of(before) if type(k) is tuple and k not in dict(table_of(now))),
        ]

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        now = self.pointers(obj)
        before, after = dict(table_of(seal)), dict(table_of(now))
        same = before.keys() == after.keys() and all(before[key] is after[key] for key in after)
        return None if same else now

    def apply(self, obj: Any, state: Any) -> bool:
        changed, removed = state
        members = _members(obj)
        for key in removed:
            if type(key) is tuple:
                (bare.own_table(members[key[0]]) or {}).pop(key[1], None)
        for key, value in changed.items():
            if type(key) is tuple:
                _give(members[key[0]], {key[1]: value})
        own = {key: value for key, value in changed.items() if type(key) is str}
        return super().apply(obj, (own, [key for key in removed if type(key) is str]))


def member_attributes(kind: Any) -> dict[str, dict[str, Any]]:
    """What each member holds beside its name and value; aliases are not members of their own."""
    return {
        name: {k: v for k, v in (bare.own_table(member) or {}).items() if k not in _MEMBER_MACHINERY}
        for name, member in _members(kind).items()
        if member._name_ == name
    }


def parts(kind: Any) -> list[tuple[str, Any, tuple[Any, ...]]]:
    """(name, value, arguments of the built-in type that it is mixed with) of each member, aliases included, in order."""
    getter = getattr(_solid(kind._member_type_), "__getnewargs__", None)
    return [(name, member._value_, getter(member) if getter else ()) for name, member in _members(kind).items()]


def class_state(kind: Any, variables: dict[str, Any]) -> dict[str, Any]:
    """Those of the variables of the class that ``enum_from`` does not make by itself."""
    members = _members(kind)
    found = {k: v for k, v in variables.items() if k not in members and (_is_users(k, v) or k == "__doc__")}
    body = bare.body_of(kind)
    found.update({name: body[name] for name in _AS_IT_IS if name in body})
    own = body.get("_generate_next_value_")
    return {**found, "_generate_next_value_": own} if _is_users("_generate_next_value_", own) else found


def _is_users(name: str, value: Any) -> bool:
    """Whether it is part of the class by the user's doing, not by that of ``enum``."""
    if name not in _MACHINERY:
        return True
    function = value.__func__ if type(value) in (staticmethod, classmethod) else value
    return type(function) is types.FunctionType and function.__module__ != enum.__name__


def can_be_made(kind: Any) -> bool:
    """Whether ``enum_from`` can make it: members are plain objects, or of a type that says how it is made."""
    solid = _solid(kind._member_type_)
    return solid is object or hasattr(solid, "__getnewargs__")


def _solid(kind: type) -> type:
    return next(base for base in bare.mro_of(kind) if not bare.made_in_python(base))


class _Seed:
    """Stands for a member while its class is made."""

    def __init__(self, value: Any, arguments: tuple[Any, ...]) -> None:
        self.value, self.arguments = value, arguments


def _give(member: Any, attributes: dict[str, Any]) -> None:
    table = bare.own_table(member)
    if table is not None:
        table.update(attributes)


def enum_from(
    meta: Any, name: str, bases: tuple[type, ...], about: dict[str, Any], members: list[tuple[str, Any, tuple[Any, ...]]],
    boundary: Any, tracker_id: str | None,
) -> Any:  # fmt: skip
    """An enum of the notebook with its members; the same one if it was made here before. ``about``: its module and name."""
    import cloudpickle.cloudpickle as by_cloudpickle

    known = by_cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)
    if known is not None:
        return known

    def new(cls: Any, seed: _Seed) -> Any:
        solid = _solid(cls._member_type_)
        made = solid.__new__(cls, *seed.arguments)
        made._value_ = seed.value
        return made

    maker = next(kind for kind in bare.mro_of(meta) if bare.module_of(kind) != "__main__")
    body: Any = maker.__prepare__(name, bases)
    for key, value in {**about, "__new__": new, "__init__": lambda self, *seed: None}.items():
        body[key] = value
    for member, value, arguments in members:
        body[member] = _Seed(value, arguments)
    options = {"boundary": boundary} if boundary is not None else {}
    with without_init_subclass(bases):
        made = maker.__new__(meta, name, bases, body, **options)
    for key in ("__new_member__", "_new_member_", "__init__"):  # of the bases, unless the state that follows has others
        if key in bare.body_of(made):
            type.__delattr__(made, key)
    return by_cloudpickle._lookup_class_or_track(tracker_id, made)


def set_enum(kind: Any, state: tuple[Any, dict[str, dict[str, Any]]]) -> Any:
    """The attributes of the class, then those of its members."""
    import cloudpickle.cloudpickle as by_cloudpickle

    of_class, of_members = state
    by_cloudpickle._class_setstate(kind, of_class)
    for name, attributes in of_members.items():
        _give(_members(kind)[name], attributes)
    return kind

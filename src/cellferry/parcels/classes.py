"""How a class of the notebook is taken apart: plain ones, enums, parametrized models; and which ones cannot be."""

from __future__ import annotations

import enum
import operator
import typing
from typing import TYPE_CHECKING, Any

from cellferry.parcels import annotated, bare, enums, rebuild, regenerated, registrations

if TYPE_CHECKING:
    from cellferry.parcels.pickler import Packer

Reduced = Any


def reduce_class(packer: Packer, kind: type) -> Reduced:
    if bare.module_of(kind) == "__main__":
        if "__mapper__" in bare.body_of(kind):
            return packer.refuse(kind, _MAPPED)
        made_by_origin = _parametrized(kind)
        if made_by_origin is not None:
            return made_by_origin
    reduced = packer.default(kind)
    if not isinstance(reduced, tuple) or len(reduced[1]) < 4 or not isinstance(reduced[1][3], dict):
        return reduced
    _annotate(packer, reduced[2][0], kind)
    if issubclass(type(kind), enum.EnumMeta):
        return _enum(packer, reduced, kind)
    _make, (meta, name, bases, body, *rest), *state = reduced
    if typing.NamedTuple in getattr(kind, "__orig_bases__", ()):
        # that base would make the class anew, and refuse names that are in it by now
        given = {typing.get_origin(base): base for base in kind.__orig_bases__}  # type: ignore[attr-defined]
        bases = tuple(given.get(base, base) for base in kind.__bases__)
    slots = vars(kind).get("__slots__")
    if slots is not None:
        # cloudpickle only puts the name there, which gives the instances a __dict__ after all
        body = {**body, "__slots__": slots if isinstance(slots, str) else tuple(slots)}
    if "__class__" in reduced[2][0]:  # put there later it would be taken for the class's own class
        body = {**body, "__class__": reduced[2][0].pop("__class__")}
    reduced = (rebuild.class_from, (meta, name, bases, body, rest[0]), *state)
    if packer.by_source:
        written = regenerated.without_written(kind, reduced)
        if written is not reduced:
            return written
    virtual = registrations.virtual_bases(kind)
    return (*reduced[:2], (state[0], virtual), None, None, rebuild.set_class) if virtual else reduced


def _annotate(packer: Packer, attributes: dict[str, Any], kind: type) -> None:
    """Put the annotations among the attributes; cloudpickle leaves out what it takes for a part of the class's making."""
    for name in ("__annotations_cache__", "__classdictcell__"):  # the second is left over in a named tuple
        attributes.pop(name, None)
    found = annotated.of_class(kind)
    if found is not None:
        name = "__annotations__" if packer.by_source else found[0]
        attributes[name] = annotated.wrapped(dict([found]))[found[0]]


def _parametrized(kind: type) -> Reduced:
    """``Box[int]`` of a generic model (pydantic), which its origin makes and keeps; None for any other class."""
    about: Any = bare.body_of(kind).get("__pydantic_generic_metadata__")
    origin = about.get("origin") if type(about) is dict else None
    if origin is None:
        return None
    arguments = about["args"]
    return operator.getitem, (origin, arguments if len(arguments) != 1 else arguments[0])


_MAPPED = "it is a declarative class of SQLAlchemy, tied to its registry in this process"


def reduce_mapped(packer: Packer, kind: type) -> Reduced:
    return packer.refuse(kind, _MAPPED) if bare.module_of(kind) == "__main__" else reduce_class(packer, kind)


def _enum(packer: Packer, reduced: Reduced, kind: Any) -> Reduced:
    """Members as they are, aliases and attributes included: cloudpickle would make each anew from its value."""
    if not enums.can_be_made(kind):
        return packer.refuse(kind, "its members are of a type that does not say how it is made")
    attributes, slots = reduced[2]
    bases, name, qualname, _members, module, tracker_id, _extra = reduced[1]
    about = {"__module__": module, "__qualname__": qualname}
    make = (type(kind), name, bases, about, enums.parts(kind), bare.body_of(kind).get("_boundary_"), tracker_id)
    state = (enums.class_state(kind, attributes), slots), enums.member_attributes(kind)
    return enums.enum_from, make, state, None, None, enums.set_enum

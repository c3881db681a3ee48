"""Objects that travel as their variables, whatever they say of themselves: those behind a formula of patsy and statsmodels.

A model that was fitted by a formula holds them, and is used in the cells that follow. patsy refuses, for no more reason than
that another version might not read the pickle; statsmodels evaluates the formula anew, where the notebook's functions are not
to be seen.
"""

from __future__ import annotations

import copyreg
from typing import TYPE_CHECKING, Any

from cellferry.parcels import bare

if TYPE_CHECKING:
    from cellferry.parcels.pickler import Packer

_HOMES = ("patsy.", "statsmodels.base.data.")
"""Modules whose own ``__getstate__`` does not count."""


def taken_apart(kind: type) -> bool:
    """Whether objects of this type travel as their variables."""
    if not f"{bare.module_of(kind)}.".startswith(_HOMES):
        return False
    home = getattr(bare.found_in(kind, "__getstate__"), "__module__", None)
    return f"{home}.".startswith(_HOMES)


def reduce_object(packer: Packer, obj: Any) -> Any:
    """How the other end makes it again."""
    kind = type(obj)
    slots = {name: getattr(obj, name) for name in bare.slot_names(kind) if hasattr(obj, name)}
    table = {**(bare.own_table(obj) or {})}
    state = (table, slots) if slots else table
    return copyreg.__newobj__, (kind,), state, None, None, set_fields  # type: ignore[attr-defined, unused-ignore]


def set_fields(obj: Any, state: Any) -> None:
    """Called while a parcel is unpacked."""
    table, slots = state if type(state) is tuple else (state, {})
    if table:
        obj.__dict__.update(table)
    for name, value in slots.items():
        object.__setattr__(obj, name, value)

"""How ctypes' objects are taken apart: their memory is their state. For ``reducers``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cellferry.parcels import classes, rebuild

if TYPE_CHECKING:
    from cellferry.parcels.pickler import Packer

Reduced = Any


def reduce_data(packer: Packer, data: Any) -> Reduced:
    """Made without its ``__init__``; its memory is its state, so that it changes in place."""
    _make, (kind, state) = data.__reduce__()
    return rebuild.bare_ctypes, (kind,), state, None, None, rebuild.set_ctypes


def reduce_array_type(packer: Packer, kind: Any) -> Reduced:
    """``c_int * 3``: ctypes makes each such type once and keeps it."""
    made: Any = kind._type_ * kind._length_
    return (rebuild.array_type, (kind._type_, kind._length_)) if made is kind else classes.reduce_class(packer, kind)

"""Objects of which every process has one of its own; what of them changes goes along as a module's state (``ambient_sources``).

``from random import randint`` gives a method of the generator behind ``random.seed``. A copy of that generator would draw
other numbers than the seed promises, so these objects travel by their place: each end has its own, with the same state.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from operator import attrgetter, methodcaller
from typing import Any

from cellferry.parcels import bare

_PLACES: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "random": ("random.Random", "random", attrgetter("_inst")),
    "numpy.random": ("numpy.random.mtrand.RandomState", "numpy.random.mtrand", attrgetter("_rand")),
    "numpy.random bits": ("numpy.random._mt19937.MT19937", "numpy.random.mtrand", attrgetter("_rand._bit_generator")),
    "torch": ("torch._C.Generator", "torch", attrgetter("default_generator")),
    "decimal context": ("decimal.Context", "decimal", methodcaller("getcontext")),
    "matplotlib options": ("matplotlib.RcParams", "matplotlib", attrgetter("rcParams")),
    "jax settings": ("jax._src.config.Config", "jax", attrgetter("config")),
    "patsy intercept": ("patsy.desc.Term", "patsy.desc", attrgetter("INTERCEPT")),
}
"""By a name: the type, the module that has the object, and how to get it from there."""

_BY_TYPE = {type_name: place for place, (type_name, _module, _get) in _PLACES.items()}
TYPES = frozenset(_BY_TYPE)
"""Full names of the types; most of their instances are objects like any other."""


def place_of(obj: Any) -> str | None:
    """The name of its place, if ``obj`` is this process's own."""
    place = _BY_TYPE.get(bare.full_name(type(obj)))
    if place is None:
        return None
    _type_name, module, get = _PLACES[place]
    try:
        return place if get(sys.modules[module]) is obj else None
    except (KeyError, AttributeError):  # another version of the library
        return None


def own(place: str) -> Any:
    """Called while a parcel is unpacked: the object that this process has there."""
    _type_name, module, get = _PLACES[place]
    return get(importlib.import_module(module))

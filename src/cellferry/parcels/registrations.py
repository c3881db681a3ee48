"""Which classes are registered with which abstract ones (``ABCMeta.register``): it stands in neither's own variables."""

from __future__ import annotations

import abc
import collections.abc
import io
import numbers
import os
from typing import Any

_STANDARD: list[Any] = [
    made
    for module in (collections.abc, numbers, io, os)
    for made in vars(module).values()
    if issubclass(type(made), abc.ABCMeta)
]
"""Abstract classes of Python itself that a class of the notebook may be registered with."""

_dump: Any = getattr(abc, "_get_dump", None)


class _Index:
    """Who is registered with the standard ones; built anew when anything was registered anywhere."""

    def __init__(self) -> None:
        self.token: object = None
        self.of: dict[int, list[Any]] = {}

    def look(self, kind: type) -> list[Any]:
        token = abc.get_cache_token()
        if token != self.token:
            self.of = {}
            for standard in _STANDARD:
                for found in registered(standard):
                    self.of.setdefault(id(found), []).append(standard)
            self.token = token
        return self.of.get(id(kind), [])


_index = _Index()


def registered(kind: Any) -> list[Any]:
    """The classes that were registered with an abstract one, those that are left."""
    if _dump is None or not issubclass(type(kind), abc.ABCMeta):
        return []
    return [found for found in (ref() for ref in _dump(kind)[0]) if found is not None]


def virtual_bases(kind: type) -> list[Any]:
    """The abstract classes of Python itself with which ``kind`` was registered."""
    return _index.look(kind) if _dump is not None else []


def ties(kind: type) -> dict[tuple[str, int], Any]:
    """Both, as something that changes and can be compared: a class by (what it is to ``kind``, its id)."""
    found = {("registered", id(other)): other for other in registered(kind)}
    found.update({("base", id(base)): base for base in virtual_bases(kind)})
    return found


def tie(kind: Any, what: str, other: Any) -> None:
    """Register as ``ties`` has found it."""
    owner, member = (kind, other) if what == "registered" else (other, kind)
    if member not in registered(owner):
        abc.ABCMeta.register(owner, member)

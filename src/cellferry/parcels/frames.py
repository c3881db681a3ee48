"""pandas' frames and series, and what libraries derive from them: which part of one travels apart from everything else.

The memory of frames is shared copy-on-write: writing into it here, because it changed there, would change others that only
borrow it. So that part is packed by itself. What a subclass or the user has put beside it keeps its identity.
"""

from __future__ import annotations

from operator import is_
from typing import Any

from cellferry.parcels import bare

NAMES = frozenset(["pandas.DataFrame", "pandas.Series", "pandas.core.frame.DataFrame", "pandas.core.series.Series"])
_APART = ("_mgr", "_typ", "_metadata", "attrs", "_flags")
"""What pandas' own ``__getstate__`` says of every frame and series."""
_OWN = frozenset([*_APART, "_attrs", "_cache", "_item_cache", "_cacher", "_is_copy"])
"""Attributes that pandas itself keeps in the ``__dict__``."""


class Apart:
    """Pickles as its content, packed by itself."""

    __slots__ = ("content",)

    def __init__(self, content: Any) -> None:
        self.content = content


def is_frame(kind: type) -> bool:
    """Whether it is a frame or series, or derived from one."""
    return any(bare.full_name(base) in NAMES for base in bare.mro_of(kind))


def split(frame: Any) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """(what travels apart, the rest of its state, further attributes that its state leaves out).

    The first is the frame itself where there is nothing else to it, or where its state is none of pandas' own.
    """
    kind, table = type(frame), bare.own_table(frame) or {}
    beside = {name: value for name, value in table.items() if name not in _OWN}
    # a series' name is part of its state, but for a subclass with a ``_metadata`` of its own
    if not beside.keys() - {"_name"} and bare.full_name(kind) in NAMES:
        return frame, {}, {}
    state = frame.__getstate__()
    if type(state) is not dict or "_mgr" not in state:
        return frame, {}, {}
    inner = {name: state[name] for name in _APART if name in state}
    outer = {name: value for name, value in state.items() if name not in inner}
    return inner, outer, {name: value for name, value in beside.items() if name not in state}


def twin(frame: Any) -> Any:
    """Another object of the same type with the very same insides: it travels in the place of a frame that is known."""
    made = object.__new__(type(frame))
    own, table = bare.own_table(made), bare.own_table(frame)
    if own is None or table is None:
        return frame.copy(deep=False)
    own.update(table)
    return made


def take_over(frame: Any, state: Any) -> None:
    """Give ``frame`` the insides of another of its type; attributes that do not travel stay."""
    table, other = bare.own_table(frame), bare.own_table(state)
    assert table is not None and other is not None
    table.clear()
    table.update(other)
    object.__setattr__(frame, "_mgr", other["_mgr"])


def alike(before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
    """Whether two rows of attributes hold the same objects, or equal texts and numbers."""
    return len(before) == len(after) and all(map(_alike, before, after))


def _alike(one: Any, other: Any) -> bool:
    return is_(one, other) or (type(one) is type(other) and type(one) in _ATOMS and one == other)


_ATOMS = (str, int, float, bool, bytes)

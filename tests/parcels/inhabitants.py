"""Values of every mutable kind, and one way to change each of them: what random notebooks are made of."""

from __future__ import annotations

import array
import collections
import dataclasses
import enum
import types
from collections.abc import Callable
from typing import Any

import numpy as np


class Plain:
    """An instance with a ``__dict__``."""

    def __init__(self, held: Any) -> None:
        self.held = held


class Slotted:
    """An instance with slots, one of them often empty."""

    __slots__ = ("held", "other")

    def __init__(self, held: Any) -> None:
        self.held = held


@dataclasses.dataclass
class Record:
    held: Any
    notes: list[Any] = dataclasses.field(default_factory=list)


class Stated:
    """Takes itself apart and together in its own way."""

    def __init__(self, held: Any) -> None:
        self.held, self.count = held, 0

    def __getstate__(self) -> dict[str, Any]:
        return {"held": self.held, "count": self.count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class Named(dict):  # type: ignore[type-arg]
    """A dict with attributes."""


class Stacked(list):  # type: ignore[type-arg]
    """A list with attributes."""


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


def counter(held: Any) -> tuple[Callable[[], int], Callable[[], Any]]:
    """Two functions that share the variables of one call."""
    count = 0

    def step() -> int:
        nonlocal count, held
        count += 1
        held = [held]
        return count

    def look(default: Any = held) -> Any:
        return count, held, default

    return step, look


MAKERS: dict[str, Callable[[Any, Any], Any]] = {
    "list": lambda a, b: [a, b, 1],
    "dict": lambda a, b: {"a": a, "b": b, 3: None},
    "tuple": lambda a, b: (a, b),
    "set": lambda a, b: {1, "x", tuple(range(2, 4))},
    "frozenset": lambda a, b: frozenset([1, 2]),
    "deque": lambda a, b: collections.deque([a, b], maxlen=4),
    "ordered": lambda a, b: collections.OrderedDict(x=a, y=b),
    "default": lambda a, b: collections.defaultdict(list, x=a, y=b),
    "counts": lambda a, b: collections.Counter("aab"),
    "bytes": lambda a, b: bytearray(b"some bytes"),
    "array": lambda a, b: array.array("i", [1, 2, 3]),
    "plain": lambda a, b: Plain(a),
    "slotted": lambda a, b: Slotted(a),
    "record": lambda a, b: Record(a, [b]),
    "stated": lambda a, b: Stated(a),
    "named": lambda a, b: Named(k=a),
    "stacked": lambda a, b: Stacked([a, b]),
    "space": lambda a, b: types.SimpleNamespace(a=a),
    "enum": lambda a, b: Colour.RED,
    "closures": lambda a, b: counter(a),
    "closure": lambda a, b: counter(b)[0],
    "numbers": lambda a, b: np.arange(12.0).reshape(3, 4),
    "objects": lambda a, b: np.array([None, 1, a if not isinstance(a, np.ndarray) else 2], dtype=object),
    "fields": lambda a, b: np.zeros(3, [("n", "i4"), ("x", "f8")]),
    "window": lambda a, b: a[1:] if isinstance(a, np.ndarray) and a.ndim and len(a) > 1 else np.arange(6)[::2],
    "column": lambda a, b: a.T[::-1] if isinstance(a, np.ndarray) and a.ndim else np.arange(8).reshape(2, 4)[:, 1],
    "method": lambda a, b: a.append if isinstance(a, list) else len,
    "error": lambda a, b: ValueError("what", a),
    "text": lambda a, b: "t" * 20_000,
    "number": lambda a, b: 10**6,
}


def poke(value: Any, amount: int, other: Any) -> None:
    """Change ``value`` in place in the way of its type; some changes are of identity or order only."""
    change = next((change for kind, change in _CHANGES if isinstance(value, kind)), None)
    if change is not None:
        change(value, amount, other)


def _poke_list(value: list[Any], amount: int, other: Any) -> None:
    actions: list[Callable[[], Any]] = [
        lambda: value.append(other), lambda: value.insert(0, value), lambda: value.reverse(), lambda: value.clear(),
        lambda: value.extend([amount, [other]]), lambda: value.pop() if value else None,
    ]  # fmt: skip
    actions[amount % len(actions)]()
    if isinstance(value, Stacked):
        value.seen = other  # type: ignore[attr-defined]


def _poke_dict(value: dict[Any, Any], amount: int, other: Any) -> None:
    if amount % 4 == 0:
        value[amount] = other
    elif amount % 4 == 1 and value:
        value.pop(next(iter(value)))
    elif amount % 4 == 2 and value:
        key = next(iter(value))
        value[key] = value.pop(key)
    else:
        value["self"] = value
    if isinstance(value, Named):
        value.seen = other  # type: ignore[attr-defined]
    if isinstance(value, collections.OrderedDict) and value:
        value.move_to_end(next(iter(value)))


def _poke_counts(value: Any, amount: int, other: Any) -> None:
    value["ab"[amount % 2]] += 1


def _poke_object(value: Any, amount: int, other: Any) -> None:
    if amount % 3 == 0:
        value.held = other
    elif amount % 3 == 1:
        value.other = [getattr(value, "held", None)]
    elif hasattr(value, "held"):
        del value.held
    if isinstance(value, Stated):
        value.held, value.count = getattr(value, "held", None), value.count + 1
        value.__dict__.pop("other", None)


def _poke_array(value: Any, amount: int, other: Any) -> None:
    if not value.size or not value.flags.writeable:
        return
    flat = value.flat
    place = amount % value.size
    if value.dtype.hasobject:
        flat[place] = other if not isinstance(other, (np.ndarray, list, tuple)) else [None]
    elif value.dtype.names:
        value["n"][amount % len(value)] += 1
    else:
        flat[place] = amount


def _poke_deque(value: Any, amount: int, other: Any) -> None:
    value.appendleft(other) if amount % 2 else value.rotate(1)


def _poke_set(value: set[Any], amount: int, other: Any) -> None:
    value.symmetric_difference_update({amount % 5, "x"})


def _poke_memory(value: Any, amount: int, other: Any) -> None:
    if amount % 2:
        value[amount % len(value)] = amount % 100
    else:
        value.append(amount % 100)


def _poke_function(value: Any, amount: int, other: Any) -> None:
    if value.__name__ == "step":
        value()
    value.mark = other


def _poke_error(value: Any, amount: int, other: Any) -> None:
    value.extra = other
    value.args = (*value.args[:3], amount)


_CHANGES: list[tuple[Any, Callable[[Any, int, Any], None]]] = [
    (collections.Counter, _poke_counts),
    (list, _poke_list),
    (dict, _poke_dict),
    ((Plain, Slotted, Record, Stated, types.SimpleNamespace), _poke_object),
    (np.ndarray, _poke_array),
    (collections.deque, _poke_deque),
    (set, _poke_set),
    ((bytearray, array.array), _poke_memory),
    (types.FunctionType, _poke_function),
    (BaseException, _poke_error),
]

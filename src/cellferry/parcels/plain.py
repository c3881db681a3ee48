"""Values as data: a way home that cannot run code. Written by the worker, read by a client that trusts it with nothing.

A text of JSON and a row of buffers. What stands for itself in JSON (null, booleans, numbers, strings) does; everything else
is a list that begins with a tag::

    ["list", id, items]   ["tuple", items]   ["dict", id, pairs]   ["set", id, items]   ["frozenset", items]
    ["ref", id]           ["known", oid]     ["bytes", buffer]     ["bytearray", id, buffer]
    ["int", text]         ["float", text]    ["complex", re, im]   ["made", kind, text, ...]      (dates, decimals, ranges)
    ["media", kind, ...]  arrays, tensors, tables and images: see ``plain_media``

The reader looks up tags in a fixed table, makes only the types named there, imports nothing and calls nothing by a name
that was sent. ``id`` numbers what may be met again in the same message; ``oid`` is a number of the heap (``heap``).
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from cellferry.errors import CannotTravel, ParcelError
from cellferry.parcels import plain_media

DEEPEST = 100
"""Containers inside of each other; more is refused on both ends."""
_LONGEST_NUMBER = 1 << 20
"""Digits of a whole number."""
_SAME_HASH = 100
_WHY = "it is not plain data, and trust is set to data"


class Encoder:
    """Turns values into nodes and buffers. ``known``: number in the heap by ``id`` of each object that is home already."""

    def __init__(self, known: dict[int, int]) -> None:
        self.known = known
        self.buffers: list[Any] = []
        self._ids: dict[int, int] = {}
        self._alive: list[Any] = []

    def node(self, value: Any, depth: int = 0, *, itself: bool = False) -> Any:
        """The node of ``value``; raises CannotTravel for what is not data. ``itself``: write it out although it is known."""
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            if value.bit_length() > 4 * (_LONGEST_NUMBER - 3):  # with a sign and 0x
                raise CannotTravel("it has too many digits for plain data")
            return value if abs(value) < 1 << 53 else ["int", str(value) if abs(value) < 1 << 4096 else hex(value)]
        if kind is float:
            return value if math.isfinite(value) else ["float", repr(value)]
        if depth > DEEPEST:
            raise CannotTravel("it is nested too deeply for plain data")
        if not itself and id(value) in self.known:
            return ["known", self.known[id(value)]]
        if id(value) in self._ids:
            return ["ref", self._ids[id(value)]]
        return self._compound(value, kind, depth)

    def _compound(self, value: Any, kind: type, depth: int) -> Any:
        if kind is list:
            number = self._number(value)
            return ["list", number, [self.node(item, depth + 1) for item in value]]
        if kind is dict:
            number = self._number(value)
            return ["dict", number, [[self.node(k, depth + 1), self.node(v, depth + 1)] for k, v in value.items()]]
        if kind is set:
            number = self._number(value)
            return ["set", number, [self.node(item, depth + 1) for item in value]]
        if kind is tuple or kind is frozenset:
            return [kind.__name__, [self.node(item, depth + 1) for item in value]]
        if kind is bytes:
            return ["bytes", self.buffer(value)]
        if kind is bytearray:
            return ["bytearray", self._number(value), self.buffer(value)]
        if kind is complex:
            return ["complex", self.node(value.real), self.node(value.imag)]
        made = _written(value, kind)
        if made is not None:
            return ["made", *made]
        media = plain_media.write(value, self.buffer)
        if media is None:
            raise CannotTravel(_WHY)
        return ["media", self._number(value), *media]

    def mark(self) -> tuple[int, int]:
        """Where it stands, for ``back_to``."""
        return len(self.buffers), len(self._ids)

    def back_to(self, mark: tuple[int, int]) -> None:
        """As it was at ``mark``: what was begun since then did not travel, and nothing may refer to it."""
        del self.buffers[mark[0] :]
        while len(self._ids) > mark[1]:
            self._ids.popitem()

    def _number(self, value: Any) -> int:
        self._alive.append(value)  # an id is only an object's own while the object lives
        number = self._ids[id(value)] = len(self._ids)
        return number

    def buffer(self, memory: Any) -> int:
        """Keep a buffer; returns its number."""
        self.buffers.append(memory)
        return len(self.buffers) - 1


def _written(value: Any, kind: type) -> list[Any] | None:
    if kind is datetime.datetime and (value.tzinfo is None or type(value.tzinfo) is datetime.timezone):
        return ["datetime", value.isoformat() + "~" * value.fold]
    if kind is datetime.time and value.tzinfo is None:
        return ["time", value.isoformat() + "~" * value.fold]
    if kind is datetime.date:
        return ["date", value.isoformat()]
    if kind is datetime.timedelta:
        return ["timedelta", f"{value.days} {value.seconds} {value.microseconds}"]
    if kind is decimal.Decimal:
        return ["decimal", str(value)]
    if kind is range:
        return ["range", f"{value.start} {value.stop} {value.step}"]
    return None


class Decoder:
    """Makes values of nodes and buffers that nobody vouches for. ``known``: the object of this side by its number.

    Every method raises ParcelError for whatever is not as it should be, and nothing else.
    """

    def __init__(self, buffers: Sequence[Any], known: Callable[[int], Any]) -> None:
        self._buffers = list(buffers)
        self._known = known
        self._made: dict[int, Any] = {}
        self._taken: set[int] = set()

    def value(self, node: Any, depth: int = 0) -> Any:
        """The value of a node."""
        if node is None or isinstance(node, (bool, str, int, float)):
            return node
        if not isinstance(node, list) or not node or not isinstance(node[0], str) or depth > DEEPEST:
            raise ParcelError("data from the worker is not as it should be; it was refused")
        read = _READERS.get(node[0])
        if read is None:
            raise ParcelError(
                f"data from the worker has a kind that is not plain data ({node[0][:40]!r}); it was refused"
            )
        try:
            return read(self, node[1:], depth + 1)
        except ParcelError:
            raise
        except Exception as exc:  # a wrong length, type, number or text, wherever it is noticed
            raise ParcelError(f"data from the worker does not fit its kind ({node[0]}); it was refused") from exc

    def buffer(self, number: Any) -> Any:
        """One of the buffers, each for one value alone: two arrays must not share memory that the worker chose."""
        if type(number) is not int or not 0 <= number < len(self._buffers) or number in self._taken:
            raise ParcelError("data from the worker refers to memory that it did not send; it was refused")
        self._taken.add(number)
        return self._buffers[number]

    def remember(self, number: Any, value: Any) -> Any:
        if type(number) is not int or number in self._made:
            raise ParcelError("data from the worker uses a number twice; it was refused")
        self._made[number] = value
        return value

    def _list(self, parts: list[Any], depth: int) -> Any:
        number, items = parts
        made: list[Any] = self.remember(number, [])
        made.extend(self.value(item, depth) for item in _listed(items))
        return made

    def _dict(self, parts: list[Any], depth: int) -> Any:
        number, pairs = parts
        made: dict[Any, Any] = self.remember(number, {})
        items = [(self.value(key, depth), self.value(value, depth)) for key, value in _listed(pairs)]
        _check_hashes([key for key, _value in items])
        made.update(items)
        return made

    def _set(self, parts: list[Any], depth: int) -> Any:
        number, items = parts
        made: set[Any] = self.remember(number, set())
        made.update(_check_hashes([self.value(item, depth) for item in _listed(items)]))
        return made

    def _ref(self, parts: list[Any], depth: int) -> Any:
        (number,) = parts
        return self._made[number]

    def _object(self, parts: list[Any], depth: int) -> Any:
        (oid,) = parts
        if type(oid) is not int:
            raise ParcelError("data from the worker names an object by no number; it was refused")
        return self._known(oid)

    def _bytearray(self, parts: list[Any], depth: int) -> Any:
        number, buffer = parts
        return self.remember(number, bytearray(self.buffer(buffer)))

    def _media(self, parts: list[Any], depth: int) -> Any:
        number, *rest = parts
        return self.remember(number, plain_media.read(rest, self.buffer))


def _listed(items: Any) -> list[Any]:
    if not isinstance(items, list):
        raise TypeError("not a list")
    return items


def _check_hashes(keys: list[Any]) -> list[Any]:
    """Refuse keys that were chosen to have one hash: a table of them takes time by the square of their number."""
    if len(keys) > _SAME_HASH and max(Counter(map(hash, keys)).values()) > _SAME_HASH:
        raise ValueError("keys that are chosen")
    return keys


def _integer(text: Any) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("too long")
    return int(text, 16) if "x" in text else int(text)


_TIMES: dict[str, Callable[[str], Any]] = {
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
}


def _read_made(parts: list[Any]) -> Any:
    kind, text = parts
    if kind in _TIMES:
        made = _TIMES[kind](text.removesuffix("~"))
        return made.replace(fold=1) if text.endswith("~") else made  # the second time that a clock set back shows
    if kind == "timedelta":
        days, seconds, microseconds = map(int, text.split())
        return datetime.timedelta(days, seconds, microseconds)
    if kind == "decimal":
        return decimal.Decimal(text)
    if kind == "range":
        start, stop, step = map(int, text.split())
        return range(start, stop, step)
    raise ValueError(kind)


_Reader = Callable[[Decoder, list[Any], int], Any]


def _only(parts: list[Any]) -> Any:
    (part,) = parts
    return part


_READERS: dict[str, _Reader] = {
    "list": Decoder._list,
    "dict": Decoder._dict,
    "set": Decoder._set,
    "tuple": lambda d, parts, depth: tuple([d.value(item, depth) for item in _listed(_only(parts))]),
    "frozenset": lambda d, parts, depth: frozenset(_check_hashes([d.value(item, depth) for item in _listed(_only(parts))])),
    "ref": Decoder._ref,
    "known": Decoder._object,
    "bytes": lambda d, parts, depth: bytes(d.buffer(_only(parts))),
    "bytearray": Decoder._bytearray,
    "int": lambda d, parts, depth: _integer(_only(parts)),
    "float": lambda d, parts, depth: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[_only(parts)],
    "complex": lambda d, parts, depth: complex(*[float(d.value(p, depth)) for p in parts]),
    "made": lambda d, parts, depth: _read_made(parts),
    "media": Decoder._media,
}


def written(tree: Any) -> bytes:
    """The text of a tree of nodes."""
    return json.dumps(tree, separators=(",", ":"), allow_nan=False).encode()


def parsed(text: Any) -> Any:
    """The tree of a text; raises ParcelError."""
    try:
        return json.loads(bytes(text))
    except (ValueError, RecursionError) as exc:
        raise ParcelError("data from the worker cannot be read; it was refused") from exc

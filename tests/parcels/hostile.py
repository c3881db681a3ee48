"""Objects that resist whoever looks at them: what housekeeping must never ask, and packing must survive.

The same text runs as a module (its classes travel by name) and as a cell of a notebook (they travel by value).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock, Mock


class Escape(BaseException):
    """Not an Exception: what catches only these lets it through."""


class MuteError(Exception):
    """An exception that cannot even be shown."""

    def __str__(self) -> str:
        raise ValueError("no text")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name) if name == "__notes__" else Escape(name)  # or Python's own traceback cannot be shown


FAILURES: list[Callable[[], BaseException]] = [
    lambda: ValueError("no"), lambda: SystemExit(3), lambda: RecursionError("deep"), lambda: Escape("out"),
    lambda: ReferenceError("gone"), MuteError, lambda: GeneratorExit(), lambda: MemoryError(), lambda: StopIteration(1),
]  # fmt: skip
_failure = FAILURES[0]


def set_failure(number: int) -> None:
    """Which failure the objects made from now on raise."""
    global _failure
    _failure = FAILURES[number % len(FAILURES)]


def fail(*args: Any, **kwargs: Any) -> Any:
    raise _failure()


class NoAttributes:
    def __getattr__(self, name: str) -> Any:
        fail()


class NothingAtAll:
    def __init__(self) -> None:
        object.__setattr__(self, "held", [1])

    def __getattribute__(self, name: str) -> Any:
        fail()

    def __setattr__(self, name: str, value: Any) -> None:
        fail()


class Incomparable:
    def __init__(self) -> None:
        self.held = [1]

    __eq__ = __ne__ = __lt__ = fail

    def __hash__(self) -> int:
        return 7


class Unhashable:
    def __init__(self) -> None:
        self.held = [1]

    __hash__ = fail  # type: ignore[assignment]


class Liar:
    """Says that it is a class."""

    def __init__(self, kind: Any = type) -> None:
        self.kind = kind

    @property
    def __class__(self) -> Any:
        return type

    @__class__.setter
    def __class__(self, kind: Any) -> None:
        fail()


class Denier:
    @property
    def __class__(self) -> Any:
        return fail()


class HiddenDict:
    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        return fail()


class Irreducible:
    def __reduce_ex__(self, protocol: Any) -> Any:
        return fail()


class NotReduced:
    def __reduce_ex__(self, protocol: Any) -> Any:
        return 5


class Endless:
    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__reduce_ex__(protocol)


class Unmakeable:
    """Goes, and never arrives."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return fail, ()


class NoState:
    def __init__(self) -> None:
        self.held = [1]

    def __getstate__(self) -> Any:
        return fail()


class UntakeableState:
    def __init__(self) -> None:
        self.held = [1]

    def __setstate__(self, state: Any) -> None:
        fail()


class TakesItOnce:
    """Takes a state only while it has none."""

    def __init__(self) -> None:
        self.held, self.count = [1], 0

    def __setstate__(self, state: Any) -> None:
        if state["count"] == 1:
            fail()
        self.__dict__.update(state)


class Untrue:
    def __init__(self) -> None:
        self.held = [1]

    __len__ = __bool__ = __iter__ = __contains__ = __getitem__ = fail  # type: ignore[assignment]


class Undying:
    def __init__(self) -> None:
        self.held = [1]

    def __del__(self) -> None:
        fail()


class Mumbling:
    __repr__ = __str__ = __format__ = fail  # type: ignore[assignment]


class Shapeless:
    @property
    def shape(self) -> Any:
        return fail()

    @property
    def nbytes(self) -> Any:
        return fail()

    @property
    def __module__(self) -> Any:  # type: ignore[override]
        return fail()


class FalseDict(dict):  # type: ignore[type-arg]
    items = keys = values = __iter__ = __len__ = __getitem__ = fail  # type: ignore[assignment]


class FalseList(list):  # type: ignore[type-arg]
    __iter__ = __len__ = __getitem__ = extend = append = fail  # type: ignore[assignment]


class FalseTuple(tuple):  # type: ignore[type-arg]
    __iter__ = __len__ = __getitem__ = fail  # type: ignore[assignment]


class FalseSet(set):  # type: ignore[type-arg]
    __iter__ = __len__ = update = fail  # type: ignore[assignment]


class UnhashableMeta(type):
    def __eq__(cls, other: Any) -> Any:
        return fail()


class OfUnhashable(metaclass=UnhashableMeta):
    def __init__(self) -> None:
        self.held = [1]


class LyingMeta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__module__", "__qualname__", "__mro__", "__reduce_ex__", "__name__"):
            fail()
        return super().__getattribute__(name)


class OfLying(metaclass=LyingMeta):
    def __init__(self) -> None:
        self.held = [1]


class Forwarding:
    """A lazy object, as libraries make them: everything that it is asked it asks another."""

    def __init__(self, target: Any) -> None:
        object.__setattr__(self, "_target", target)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_target"), name)

    @property
    def __class__(self) -> Any:
        return object.__getattribute__(self, "_target").__class__

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        return object.__getattribute__(self, "_target").__dict__


class Target:
    pass


def nowhere(module: Any, qualname: str = "Nowhere") -> Any:
    """A class that says of itself that it is from nowhere."""
    made = type("Nowhere", (), {"held": 1})
    made.__module__ = module
    made.__qualname__ = qualname
    return made


def dead_proxy() -> Any:
    target = Target()
    return weakref.proxy(target)


def dead_inside() -> Any:
    holder = Target()
    holder.held = dead_proxy()  # type: ignore[attr-defined]
    return holder


def live_proxy() -> Any:
    holder = Target()
    holder.held = Target()  # type: ignore[attr-defined]
    holder.proxy = weakref.proxy(holder.held)  # type: ignore[attr-defined]
    return holder


def a_function_from(module: Any) -> Any:
    def made() -> int:
        return 1

    made.__module__ = module
    return made


MAKERS: dict[str, Callable[[], Any]] = {
    "no attributes": NoAttributes, "nothing at all": NothingAtAll, "incomparable": Incomparable,
    "unhashable": Unhashable, "liar": Liar, "denier": Denier, "hidden dict": HiddenDict, "irreducible": Irreducible,
    "not reduced": NotReduced, "endless": Endless, "unmakeable": Unmakeable, "no state": NoState,
    "untakeable state": UntakeableState, "untrue": Untrue, "undying": Undying, "mumbling": Mumbling,
    "shapeless": Shapeless, "false dict": lambda: FalseDict({"a": 1}), "false list": lambda: FalseList([1]),
    "false tuple": lambda: FalseTuple([1]), "false set": lambda: FalseSet({1}), "of unhashable": lambda: OfUnhashable(),
    "unhashable class": lambda: OfUnhashable, "of lying": lambda: OfLying(), "lying class": lambda: OfLying,
    "forwarding": lambda: Forwarding(Target()), "forwarding a list": lambda: Forwarding([1]),
    "forwarding a class": lambda: Forwarding(int), "class from None": lambda: nowhere(None),
    "object from None": lambda: nowhere(None)(), "class from 5": lambda: nowhere(5),
    "object from 5": lambda: nowhere(5)(), "class from a list": lambda: nowhere([]),
    "object from a list": lambda: nowhere([])(), "class from nowhere": lambda: nowhere("no.such.module"),
    "object from nowhere": lambda: nowhere("no.such.module")(), "function from None": lambda: a_function_from(None),
    "function from 5": lambda: a_function_from(5), "dead proxy": dead_proxy, "dead inside": dead_inside,
    "live proxy": live_proxy, "mock": Mock, "magic mock": MagicMock, "mock of a class": lambda: Mock(spec=type),
    "mock of a list": lambda: MagicMock(spec=list), "mute error": MuteError,
    "mute error in its args": lambda: ValueError(MuteError()),
}  # fmt: skip


def make(kind: str, failure: int) -> Any:
    """A new object of that kind; it will fail in that way."""
    set_failure(failure)
    return MAKERS[kind]()

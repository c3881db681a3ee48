"""How an object changes: the interface of ``kinds``."""

from __future__ import annotations

from collections.abc import Iterable
from operator import is_
from typing import Any


class Kind:
    """Base: immutable, or nothing to notice. Its identity is kept, its content never sent again.

    ``heap`` (where a method takes it) tells which objects both ends know; a seal may lean on their numbers.
    """

    tracked = True
    cheap = False
    """Whether a change is seen by comparing a few pointers."""

    leans = False
    """Whether a seal holds numbers of other objects, so that it must be taken after those are known."""

    late = False
    """Whether ``apply`` hashes what it stores, so that the states of others must be applied before."""

    def children(self, obj: Any) -> Iterable[Any]:
        """Objects one step away that may be known or change by themselves."""
        return ()

    def seal(self, obj: Any, heap: Any = None) -> Any:
        """What to remember of ``obj`` now that both ends agree on it."""
        return None

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        """The new seal if ``obj`` is not as ``seal`` remembers it, else None."""
        return None

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        """What travels of an object whose seal went from ``before`` to ``now``; fresh containers only."""
        raise NotImplementedError

    def apply(self, obj: Any, state: Any) -> bool:
        """Make ``obj`` as ``state`` says, in place; False, with ``obj`` as it was, where its type does not allow that."""
        raise NotImplementedError

    def reseal(self, obj: Any, state: Any, before: Any, heap: Any = None) -> Any:
        """The seal after ``apply`` succeeded."""
        return self.seal(obj, heap)

    def replacement(self, obj: Any, state: Any) -> Any:
        """A new object in place of one that ``apply`` could not update."""
        raise NotImplementedError

    def swap(self, obj: Any, old: Any, new: Any) -> bool:
        """Let ``obj`` refer to ``new`` where it referred to ``old``; True if it did."""
        return False

    def leaning(self, obj: Any, old: Any, new: Any) -> Any:
        """The state of ``obj`` with ``new`` where it has ``old``; None if it does not have it. For kinds that lean."""
        return None


class PointerKind(Kind):
    """Content is pointers, compared one by one; a seal holds them, so that none is reused meanwhile."""

    cheap = True

    def pointers(self, obj: Any) -> tuple[Any, ...]:
        """All that ``obj`` refers to, in order."""
        raise NotImplementedError

    def children(self, obj: Any) -> Iterable[Any]:
        return self.pointers(obj)

    def seal(self, obj: Any, heap: Any = None) -> Any:
        return self.pointers(obj)

    def probe(self, obj: Any, seal: Any, heap: Any = None) -> Any:
        now = self.pointers(obj)
        return None if same(seal, now) else now


def same(before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
    """Whether two rows hold the very same objects."""
    return len(before) == len(after) and all(map(is_, before, after))


def flat(table: dict[Any, Any]) -> tuple[Any, ...]:
    """Keys, then values: as much as a copy tells, in a third of its memory."""
    return (*table, *table.values())


def table_of(row: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    """The items of a ``flat`` row."""
    half = len(row) // 2
    return list(zip(row[:half], row[half:], strict=True))

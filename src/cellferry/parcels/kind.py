"""How an object changes: the interface of ``kinds``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Kind:
    """Base: immutable, or nothing to notice. Its identity is kept, its content never sent again."""

    tracked = True
    cheap = False
    """Whether a change is seen by comparing a few pointers."""

    def children(self, obj: Any) -> Iterable[Any]:
        """Objects one step away that may be known or change by themselves."""
        return ()

    def seal(self, obj: Any) -> Any:
        return None

    def changed(self, obj: Any, seal: Any) -> bool:
        return False

    def probe(self, obj: Any, seal: Any) -> Any:
        """The new seal if ``obj`` is not as ``seal`` remembers it, else None."""
        return self.seal(obj) if self.changed(obj, seal) else None

    def state(self, obj: Any, before: Any, now: Any) -> Any:
        """What travels of an object whose seal went from ``before`` to ``now``; fresh containers only."""
        raise NotImplementedError

    def apply(self, obj: Any, state: Any) -> bool:
        raise NotImplementedError

    def reseal(self, obj: Any, state: Any, before: Any) -> Any:
        """The seal after ``apply`` succeeded."""
        return self.seal(obj)

    def replacement(self, obj: Any, state: Any) -> Any:
        """A new object in place of one that ``apply`` could not update."""
        raise NotImplementedError

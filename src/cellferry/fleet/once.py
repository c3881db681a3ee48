"""A part that an object makes when it is first asked for, once, whichever threads ask."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any, TypeVar

T = TypeVar("T")

_making = threading.RLock()


class once(cached_property[T]):
    """``functools.cached_property`` that two threads do not make twice: from Python 3.12 on that one lets them."""

    def __get__(self, instance: object, owner: type[Any] | None = None) -> T:  # type: ignore[override]
        with _making:
            return super().__get__(instance, owner)

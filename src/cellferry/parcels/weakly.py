"""What a ``weakref.proxy`` points to. A proxy passes everything that it is asked on, so it is not asked but found out."""

from __future__ import annotations

import weakref
from typing import Any

_METHODS = ("__reduce_ex__", "__repr__", "__init__")
"""Every object has these, bound to itself unless its class does something unheard of."""


def target_of(proxy: Any) -> tuple[Any, ...]:
    """(what it points to,); () where that is gone, or hides itself."""
    for name in _METHODS:
        try:
            found = object.__getattribute__(getattr(proxy, name), "__self__")
        except KeyboardInterrupt:
            raise
        except BaseException:
            continue
        if any(known is proxy for known in weakref.getweakrefs(found)):
            return (found,)
    return ()


def is_dead(proxy: Any) -> bool:
    """Whether what it points to is gone. Python itself shows a proxy: nothing of the object's own runs."""
    return _shown(proxy) == _shown(dead_proxy())


def _shown(proxy: Any) -> str:
    return repr(proxy).replace(hex(id(proxy)), "")


class _Gone:
    """Nobody keeps an instance of it."""


def dead_proxy() -> Any:
    """A proxy of something that is gone."""
    return weakref.proxy(_Gone())

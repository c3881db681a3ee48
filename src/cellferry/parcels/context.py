"""What the functions that rebuild values may need to know while a parcel is unpacked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Unpacking:
    """``namespace``: where functions of the notebook find their globals; ``shell``: the running IPython shell, if any."""

    namespace: dict[str, Any]
    leaves: list[Any] = field(default_factory=list)
    shell: Callable[[], Any] = lambda: None
    worker: str = ""
    """Name of the worker that placeholders refer to."""


_local = threading.local()


@contextmanager
def unpacking(context: Unpacking) -> Iterator[None]:
    before = getattr(_local, "context", None)
    _local.context = context
    try:
        yield
    finally:
        _local.context = before


def current() -> Unpacking:
    """The unpacking in progress in this thread; RuntimeError outside of one (a parcel is no ordinary pickle)."""
    context: Unpacking | None = getattr(_local, "context", None)
    if context is None:
        raise RuntimeError("this pickle is part of a cellferry parcel and cannot be loaded by itself")
    return context

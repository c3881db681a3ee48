"""Work that recurses further than Python's limit allows: on a thread of its own, with a large stack."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

_STACK_BYTES = 512 << 20
_LIMIT = 400_000


def on_a_deep_stack(work: Callable[[], Any]) -> Any:
    """The result of ``work()``, or its exception; the thread that calls waits."""
    outcome: list[Any] = []

    def body() -> None:
        try:
            outcome.append((True, work()))
        except BaseException as exc:
            outcome.append((False, exc))

    limit, stack = sys.getrecursionlimit(), threading.stack_size(_STACK_BYTES)
    sys.setrecursionlimit(_LIMIT)
    try:
        thread = threading.Thread(target=body, name="cellferry-deep")
        thread.start()
        thread.join()
    finally:
        threading.stack_size(stack)
        sys.setrecursionlimit(limit)
    good, value = outcome[0]
    if not good:
        raise value
    return value

"""Work that recurses further than Python's limit allows: on a thread of its own, with a large stack."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

_STACK_BYTES = 512 << 20
_LIMIT = 400_000

BEYOND = (
    "its values are nested in each other deeper than this Python can pickle (about 3,000 levels on 3.12 and 3.13)",
    "hold them in a flat list or dict that refers by index or key, or use a kernel with Python 3.11, or 3.14 or newer",
)
"""What a user reads, and what can be done, where the largest stack does not help: CPython 3.12 and 3.13 count calls in C whatever
the stack (https://docs.python.org/3/whatsnew/3.12.html, "sys")."""


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

"""Room for this kernel's own work where its cells are held to a limit of memory (``worker.spawn.limit``).

A cell that has filled its memory must not take the kernel's door with it: a thread that cannot be started is a client that is
never answered. So the limit that cells meet (the soft one of RLIMIT_DATA) lies below the hard one, and the kernel goes up to that
one for as long as it takes a connection or says that something failed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

FULL = 0.75
"""From this part of the limit on memory is likely to be what was missing: a library needs some tens of MiB at once."""

_lock = threading.Lock()
_inside = 0
_limits = (0, 0)


@contextmanager
def beyond_the_limit() -> Iterator[None]:
    """Memory up to the hard limit; costs nothing where the two limits are the same. For all threads meanwhile: keep it short."""
    global _inside, _limits
    import resource

    with _lock:
        if _inside == 0:
            _limits = resource.getrlimit(resource.RLIMIT_DATA)
            _raise(_limits[1], _limits[1])
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _raise(*_limits)


def _raise(soft: int, hard: int) -> None:
    import resource

    try:
        if resource.getrlimit(resource.RLIMIT_DATA) != (soft, hard):
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    except (OSError, ValueError):
        pass  # the cell has changed the limits itself: then these count


def fullness() -> dict[str, int] | None:
    """How much of what the cells may use is in use, where there is a limit and it is nearly reached; None otherwise."""
    import resource

    with _lock:
        limit = _limits[0] if _inside else resource.getrlimit(resource.RLIMIT_DATA)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - memory is what is missing
            used = int(file.read().split()[5]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return None
    return {"used_bytes": used, "limit_bytes": limit} if used >= FULL * limit else None

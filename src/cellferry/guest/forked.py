"""A process that a cell forks off has all of this kernel, its connections included, but may not speak for it.

What the child writes goes to the cell by ipykernel's own pipe (``app.CellPublisher``). Where it runs out of the cell's code, by its
end or by an exception, it ends as a script would: no answer is its to give.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from cellferry.guest.door import Door


def watch(door: Door) -> None:
    """Have every process that is forked off from now on let go of this kernel's connections."""
    os.register_at_fork(after_in_child=lambda: _let_go(door))


def is_child(door: Door) -> bool:
    """Whether this process was forked off by a cell."""
    return os.getpid() != door.pid


def leave(door: Door, reply: dict[str, Any]) -> None:
    """The cell's code is over: end here, if this is a child. Its status is that of a script which ended so."""
    if is_child(door):
        _exit(0 if reply.get("status") == "ok" else 1)


def show_error() -> bool:
    """In a child, instead of the notebook's own display of an error: what a script would print. True: it has been seen to."""
    error = sys.exc_info()[1]
    if isinstance(error, SystemExit):
        code = error.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
        _exit(0 if code is None else code if isinstance(code, int) else 1)
    if error is not None:
        # the frames above the cell are IPython's
        frames = error.__traceback__.tb_next if error.__traceback__ is not None else None
        print("".join(traceback.format_exception(type(error), error, frames)), end="", file=sys.stderr)
    return error is not None


def _let_go(door: Door) -> None:
    """Runs in the child, at once. Other threads are gone, and their locks are as they were: none is waited for."""
    links, door.links = door.links, []
    door.running, door.importer.ask = None, None
    door.control.close()
    for link in links:
        link.channel.abandon()
    for stream in (sys.stdout, sys.stderr):
        for name in ("_flush_lock", "_buffer_lock"):
            if hasattr(stream, name):
                setattr(stream, name, threading.RLock())


def _exit(status: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            continue  # whatever it is: this process has nobody to tell
    os._exit(status & 0xFF)

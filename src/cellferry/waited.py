"""The part of a cell's way in which the user waits for the worker, and may press stop. Beside ``journey``, see decision 007."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from cellferry import runs
from cellferry.fleet.fleet import Fleet
from cellferry.link.refused import NeverRan
from cellferry.link.returned import Returned
from cellferry.link.there import There
from cellferry.model import CellRequest
from cellferry.parcels.context import Unpacking
from cellferry.parcels.parcel import Parcel
from cellferry.presses import Presses
from cellferry.screen import Screen


def send(presses: Presses, there: There, frame: dict[str, Any], parcel: Parcel) -> int:
    """Send a cell; returns the bytes. Called while presses are held. Interrupted when the cell may have begun, this returns and the
    press counts for whoever waits for it: only that tells what became of the cell."""
    try:
        with presses.raising():
            return there.link.run(frame, parcel)
    except KeyboardInterrupt:
        if not there.link.at_work:
            raise
        presses.put_back()
        return 0


def home(fleet: Fleet, screen: Screen, there: There, context: Unpacking, request: CellRequest, run: str) -> Returned:
    """The results of the cell that was sent, however often the user interrupts: what is on its way is told first, and a cell that
    does not listen is ended with its kernel. Raises KeyboardInterrupt only where nothing runs there any more, or where it is said
    what does; and as ``KernelLink.home`` does."""
    interrupts = 0
    left_to_worker = request.timeout_s is None or there.worker.token
    deadline = None if left_to_worker else time.monotonic() + (request.timeout_s or 0)
    while True:
        try:
            return there.link.home(context, deadline)
        except TimeoutError:
            screen.note(f"timeout: this cell had {request.timeout_s:g} s; it is interrupted")
            there.link.interrupt()
            deadline = None
        except NeverRan:
            screen.note("the cell was interrupted before it began: nothing of it has run")
            raise KeyboardInterrupt from None
        except KeyboardInterrupt:
            interrupts += 1
            if interrupts == 1 and screen.leaving():  # a restart of this kernel interrupts first
                fleet.left.add(there.worker.id)
                raise
            if not there.link.at_work:
                screen.note(f"the cell has ended; you interrupted while its results came home, and they are kept; {runs.AGAIN} {run}")
                raise
            there.link.interrupted(interrupts)


def twice(presses: Presses, screen: Screen, names: Sequence[str]) -> Callable[[], bool]:
    """For ``KernelLink.pressed`` while values come home that only a worker has: the first press says what the second one does."""
    said: list[bool] = []

    def pressed() -> bool:
        if presses.count == 1 and not said:
            said.append(True)
            screen.note(
                f"{', '.join(names)} is on its way; interrupt once more to give that up: then what stayed on that worker is out of "
                "this notebook's reach until the cell that made it runs again"
            )
        return presses.count > 1 and presses.take()

    return pressed


def wake(all_: Sequence[There]) -> None:
    """Have whoever waits for one of these look around; from a signal's handler, too."""
    for there in all_:
        there.link.wake()

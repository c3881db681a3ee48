"""The states of a worker in the fleet, and which worker serves a request. Pure: no clock, no process, no lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from cellferry.errors import RequestError
from cellferry.model import CellRequest, Hardware, Worker

State = Literal["starting", "ready", "ending", "ended"]
Event = Literal["started", "failed", "lost", "stop", "stopped"]

DEFAULT_NAME = "default"

_NEXT: dict[tuple[State, Event], State] = {
    ("starting", "started"): "ready",
    ("starting", "failed"): "ended",
    ("ready", "stop"): "ending",
    ("ready", "lost"): "ending",  # what is left of it is still to be removed
    ("ending", "lost"): "ending",
    ("ending", "stop"): "ending",
    ("ending", "stopped"): "ended",
    ("ended", "stopped"): "ended",
}


@dataclass(frozen=True)
class Entry:
    """One worker of the fleet. ``worker`` is None only while it starts. ``story``: the events so far, for errors."""

    name: str
    hardware: Hardware
    state: State = "starting"
    worker: Worker | None = None
    story: tuple[Event, ...] = ()
    env: str = ""
    """What its cells said after ``env=``: it was made for that."""


@dataclass(frozen=True)
class WorkerRow:
    """One line of ``%remote status``. ``links``, ``busy`` and ``ends_in_s`` are None when the worker did not answer."""

    name: str
    provider: str
    state: State
    id: str = ""
    pid: int | None = None
    started_unix_s: float = 0.0
    links: int | None = None
    busy: bool | None = None
    ends_in_s: float | None = None
    memory_available_bytes: int | None = None
    ours: bool = True
    """Started by this process."""


@dataclass(frozen=True)
class Choice:
    """What to do for a request: use the worker of that name, start one, or wait until it has left its state."""

    action: Literal["reuse", "start", "wait"]
    name: str


def after(entry: Entry, event: Event, worker: Worker | None = None) -> Entry:
    """The entry after an event. Raises RuntimeError with the entry's story for one that cannot happen in its state."""
    state = _NEXT.get((entry.state, event))
    if state is None:
        told = " > ".join(entry.story) or "new"
        raise RuntimeError(f"worker {entry.name!r} is {entry.state} ({told}): {event!r} cannot happen")
    return replace(entry, state=state, worker=worker or entry.worker, story=(*entry.story, event))


def choose(request: CellRequest, entries: Mapping[str, Entry]) -> Choice:
    """Which worker serves the request: the one of its name; without a name, the unnamed one of the same hardware.

    Raises RequestError when a named worker has other hardware than asked for.
    """
    name = request.name or _unnamed(request, entries)
    entry = entries.get(name)
    if entry is None or entry.state == "ended":
        return Choice("start", name)
    if request.hardware not in (Hardware(), entry.hardware):
        raise RequestError(
            f"worker {name!r} was started with other hardware than this cell asks for",
            f"end it first: %remote down {name} - or give this cell another name=",
        )
    if request.env != entry.env:
        raise RequestError(
            f"worker {name!r} was started with {_env(entry.env)}, this cell asks for {_env(request.env)}",
            f"end it first: %remote down {name} - or give this cell another name=",
        )
    return Choice("reuse" if entry.state == "ready" else "wait", name)


def _env(word: str) -> str:
    return f"env={word}" if word else "the notebook's own packages"


def _unnamed(request: CellRequest, entries: Mapping[str, Entry]) -> str:
    """``default`` for the first hardware and environment used without a name, ``default-2`` for the next, and so on."""
    number = 1
    while True:
        name = DEFAULT_NAME if number == 1 else f"{DEFAULT_NAME}-{number}"
        entry = entries.get(name)
        if entry is None or entry.state == "ended" or (entry.hardware, entry.env) == (request.hardware, request.env):
            return name
        number += 1

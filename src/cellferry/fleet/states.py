"""The states of a worker in the fleet, and which worker serves a request. Pure: no clock, no process, no lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from cellferry.config import Cellferry
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


Where = tuple[tuple[str, ...], str | None, str | None, bool]


def where(request: CellRequest) -> Where:
    """Where a request wants its worker, as far as that tells workers apart."""
    return (request.providers if request.providers != ("local",) else (), request.region, request.host, request.spot)


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
    where: Where = ((), None, None, False)
    """Providers, region, host and spot that its first cell asked for."""
    named: bool = False
    """Its first cell gave it its name: other notebooks may use it under that."""


@dataclass(frozen=True)
class WorkerRow:
    """One line of ``%remote status``. ``links``, ``busy`` and ``ends_in_s`` are None when the worker did not answer."""

    name: str
    provider: str
    state: State
    id: str = ""
    pid: int | None = None
    started_unix_s: float = 0.0
    up_for_s: float | None = None
    links: int | None = None
    busy: bool | None = None
    ends_in_s: float | None = None
    memory_available_bytes: int | None = None
    ours: bool = True
    """Started by this process."""
    machine: str = ""
    """What it runs on, in the provider's words, and where: "p4d.24xlarge, us-east-1"; "" for a local one."""
    simulated: bool = False
    microusd_per_hour: int = 0
    spent_microusd: int = 0
    reserved_microusd: int = 0


def seller(provider: str) -> str:
    """A provider's name for people: what is simulated says so everywhere."""
    return f"{provider} (simulated)" if provider == "demo" else provider


@dataclass(frozen=True)
class Ended:
    """A worker that was ended by ``down``, and what it came to in all."""

    name: str
    provider: str
    spent_microusd: int = 0
    reserved_microusd: int = 0
    dropped: tuple[str, ...] = ()
    """The cells that nobody waited for and that ended with it, in words."""


@dataclass(frozen=True)
class Choice:
    """What to do for a request: use the worker of that name, start one, or wait until it has left its state.

    "meanwhile": it is being started, and the user has said where the cell may run until then.
    """

    action: Literal["reuse", "start", "wait", "meanwhile"]
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
    wanted = where(request)
    if wanted != where(CellRequest()) and wanted != entry.where:
        raise RequestError(
            f"worker {name!r} was started elsewhere than this cell asks for",
            f"end it first: %remote down {name} - or give this cell another name=",
        )
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
    if entry.state == "starting" and request.meanwhile:
        return Choice("meanwhile", name)
    return Choice("reuse" if entry.state == "ready" else "wait", name)


def set_up(config: Cellferry) -> tuple[str, ...]:
    """The providers elsewhere that the configuration names, or that it says enough about to be used."""
    named = tuple(config.providers) or (*(("ssh",) if config.hosts else ()), *(("aws",) if config.aws_regions else ()))
    return tuple(name for name in named if name != "local")


def candidates(request: CellRequest, config: Cellferry) -> tuple[str, ...]:
    """The providers that may serve ``request``. Raises RequestError when a GPU is wanted and nobody is set up to have one."""
    if request.providers:
        return request.providers
    if request.host:
        return ("ssh",)
    asked = request.hardware
    if asked.gpu is None and not asked.gpu_memory_bytes and not request.region and not request.spot:
        return ("local",)
    elsewhere = set_up(config)
    if not elsewhere:
        raise RequestError(
            f"`%%remote {request.line}` needs a machine elsewhere, and no provider is set up",
            'try it on the simulated cloud: add provider=demo - or set c.Cellferry.hosts = ["me@box"] (any machine with '
            'ssh) or c.Cellferry.aws_regions = ["eu-west-1"] in jupyter_cellferry_config.py',
        )
    return elsewhere


def _env(word: str) -> str:
    return f"env={word}" if word else "the notebook's own packages"


def _unnamed(request: CellRequest, entries: Mapping[str, Entry]) -> str:
    """``default`` for the first hardware and environment used without a name, ``default-2`` for the next, and so on."""
    number = 1
    while True:
        name = DEFAULT_NAME if number == 1 else f"{DEFAULT_NAME}-{number}"
        entry = entries.get(name)
        if entry is None or entry.state == "ended":
            return name
        if (entry.hardware, entry.env, entry.where) == (request.hardware, request.env, where(request)):
            return name
        number += 1

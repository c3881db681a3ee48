"""Tell a worker which packages its kernel is to have, and ask it what is there; over a connection of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellferry.errors import EnvironmentNotBuilt, IdentityError, LinkError
from cellferry.link.dial import dial
from cellferry.link.redial import HANDSHAKE_S, SHOWN_AFTER_S, Away
from cellferry.model import Endpoint
from cellferry.parcels.wire import PACKAGES_ALPN, PACKAGES_PREAMBLE, Channel, WireClosed

_STEP_BYTES = 4 << 20
_LOOK_S = 0.2
SILENT_S = 10.0
"""After so long without a sign of life, while the worker builds, the connection is given up for another one."""


@dataclass(frozen=True)
class Order:
    """An environment to be made. ``key`` and ``text`` are the lock's; ``versions`` what it names.

    ``files`` travel with it, by the relative paths that the text gives them. ``credentials``: user and password of
    indexes by host name, for the worker's memory alone. The kernel runs no cell that waits for ``ticket`` before this
    is done.
    """

    ticket: str
    key: str
    text: str
    versions: Mapping[str, str]
    files: Mapping[str, Path]
    credentials: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class EnvironmentThere:
    """What a worker's kernel has: ``python`` ("3.11"), names and versions; ``own``: whether cellferry made it."""

    python: str
    versions: Mapping[str, str]
    own: bool = True
    seconds: float = 0.0


def build_there(
    endpoint: Endpoint, name: str, order: Order, progress: Callable[[str], None], gone: Callable[[], Exception | None]
) -> EnvironmentThere:
    """Have the environment made by worker ``name``; returns when the kernel can use it. ``progress`` gets the installer's lines,
    and how it stands with a connection that broke: it is made anew until ``gone`` says why nothing will come of that.

    Raises EnvironmentNotBuilt with the worker's words, IdentityError, and what ``gone`` says. Called in a thread of its own
    while the cell's data is on its way.
    """
    asking = _Asking(endpoint, order, progress)
    return _again(asking.once, lambda: asking.heard, name, progress, gone)


def ask_versions(
    endpoint: Endpoint, name: str, progress: Callable[[str], None], gone: Callable[[], Exception | None]
) -> EnvironmentThere:
    """What the kernel of worker ``name`` has; asked over new connections until ``gone`` says why there will be no answer.

    Raises IdentityError, and what ``gone`` says.
    """
    return _again(lambda: _ask_once(endpoint), lambda: False, name, progress, gone)


def _ask_once(endpoint: Endpoint) -> EnvironmentThere:
    channel = dial(endpoint, PACKAGES_PREAMBLE, PACKAGES_ALPN)
    try:
        channel.send({"op": "versions"})
        frame: dict[str, Any] = channel.recv()[0]
        return EnvironmentThere(frame["python"], frame["versions"], frame["own"])
    finally:
        channel.close()


def _again(
    once: Callable[[], EnvironmentThere], heard: Callable[[], bool], name: str, progress: Callable[[str], None],
    gone: Callable[[], Exception | None],
) -> EnvironmentThere:  # fmt: skip
    """Do it over one connection after the other, soon after one over which anything was ``heard``."""
    away = None
    while True:
        try:
            return once()
        except IdentityError:
            raise
        except (WireClosed, LinkError) as exc:
            if away is None or heard():
                away = Away(time.monotonic())
            _pause(away, name, progress, gone, exc)


def _pause(
    away: Away, name: str, progress: Callable[[str], None], gone: Callable[[], Exception | None], why: Exception
) -> None:
    """Until the next try; raises what ``gone`` says."""
    away.next_s = time.monotonic() + away.pause_s()
    while True:
        lost = gone()
        if lost is not None:
            raise lost from why
        left_s = away.next_s - time.monotonic()
        if left_s <= 0:
            return
        if time.monotonic() - away.since_s >= SHOWN_AFTER_S:
            progress(away.told(name))
        time.sleep(min(left_s, _LOOK_S))


class _Asking:
    """An order on its way, over one connection after the other."""

    def __init__(self, endpoint: Endpoint, order: Order, progress: Callable[[str], None]) -> None:
        self._endpoint, self._order, self._progress = endpoint, order, progress
        self._wait_s: float | None = None
        self._beats = False
        """Whether the worker gives signs of life, as those of earlier releases do not."""
        self.heard = False
        """Whether anything came over this connection."""

    def once(self) -> EnvironmentThere:
        """One connection. Raises WireClosed or LinkError when it breaks, EnvironmentNotBuilt."""
        order, remote, self.heard = self._order, self._endpoint.kind != "unix", False
        channel = dial(self._endpoint, PACKAGES_PREAMBLE, PACKAGES_ALPN, self._wait_s)
        self._wait_s = HANDSHAKE_S
        try:
            channel.send({
                "op": "environment", "ticket": order.ticket, "key": order.key, "lock": order.text, "files": self._files(),
                "wanted": dict(order.versions), "credentials": {host: list(pair) for host, pair in order.credentials.items()},
            })  # fmt: skip
            while True:
                channel.stream.set_timeout(SILENT_S if remote and self._beats else None)
                frame, _buffers = channel.recv()
                channel.stream.set_timeout(None)
                self.heard = True
                found = self._take(channel, frame)
                if found is not None:
                    return found
        finally:
            channel.close()

    def _files(self) -> list[dict[str, str]]:
        here = self._endpoint.kind == "unix"
        return [{"name": name, "path": str(path) if here else ""} for name, path in self._order.files.items()]

    def _take(self, channel: Channel, frame: dict[str, Any]) -> EnvironmentThere | None:
        """Do what the worker says; what it has made, when it has."""
        if frame["op"] == "want":
            for name in frame["files"]:
                _send_file(channel, name, self._order.files[name], int(frame.get("have", {}).get(name, 0)))
        elif frame["op"] == "progress":
            self._progress(str(frame["text"]))
        elif frame["op"] == "beat":
            self._beats = True
        elif frame["op"] == "failed":
            raise EnvironmentNotBuilt(frame["what"], frame["advice"])
        elif frame["op"] == "built":
            return EnvironmentThere("", frame["versions"], True, frame["seconds"])
        return None


def _send_file(channel: Channel, name: str, path: Path, at: int) -> None:
    """What comes after its first ``at`` bytes, which are there."""
    left = path.stat().st_size - at
    with path.open("rb") as file:
        file.seek(at)
        while True:
            piece = file.read(_STEP_BYTES)
            left -= len(piece)
            last = left <= 0 or not piece
            channel.send({"op": "wheel", "name": name, "last": last}, [piece] if piece else [])
            if last:
                return

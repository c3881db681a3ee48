"""Tell a worker which packages its kernel is to have, and ask it what is there; over a connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellferry.errors import EnvironmentNotBuilt, WorkerLost
from cellferry.link.dial import dial
from cellferry.model import Endpoint
from cellferry.parcels.wire import PACKAGES_ALPN, PACKAGES_PREAMBLE, Channel, WireClosed

_STEP_BYTES = 4 << 20


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


def build_there(endpoint: Endpoint, order: Order, progress: Callable[[str], None]) -> EnvironmentThere:
    """Have the environment made; returns when the kernel can use it. ``progress`` gets the installer's lines.

    Raises EnvironmentNotBuilt with the worker's words, LinkError, WorkerLost. Called in a thread of its own while the
    cell's data is on its way.
    """
    channel = _open(endpoint)
    try:
        files = [
            {"name": name, "path": str(path) if endpoint.kind == "unix" else ""} for name, path in order.files.items()
        ]
        channel.send({
            "op": "environment", "ticket": order.ticket, "key": order.key, "lock": order.text, "files": files,
            "wanted": dict(order.versions), "credentials": {host: list(pair) for host, pair in order.credentials.items()},
        })  # fmt: skip
        while True:
            frame, _buffers = channel.recv()
            if frame["op"] == "want":
                for name in frame["files"]:
                    _send_file(channel, name, order.files[name])
            elif frame["op"] == "progress":
                progress(str(frame["text"]))
            elif frame["op"] == "failed":
                raise EnvironmentNotBuilt(frame["what"], frame["advice"])
            elif frame["op"] == "built":
                return EnvironmentThere("", frame["versions"], True, frame["seconds"])
    except WireClosed as exc:
        raise WorkerLost("the worker ended while it made the environment", "run the cell again") from exc
    finally:
        channel.close()


def ask_versions(endpoint: Endpoint) -> EnvironmentThere:
    """What the kernel there has. Raises LinkError, WorkerLost."""
    channel = _open(endpoint)
    try:
        channel.send({"op": "versions"})
        frame: dict[str, Any] = channel.recv()[0]
        return EnvironmentThere(frame["python"], frame["versions"], frame["own"])
    except WireClosed as exc:
        raise WorkerLost("the worker ended while it was asked for its packages", "run the cell again") from exc
    finally:
        channel.close()


def _open(endpoint: Endpoint) -> Channel:
    return dial(endpoint, PACKAGES_PREAMBLE, PACKAGES_ALPN)


def _send_file(channel: Channel, name: str, path: Path) -> None:
    left = path.stat().st_size
    with path.open("rb") as file:
        while True:
            piece = file.read(_STEP_BYTES)
            left -= len(piece)
            last = left <= 0 or not piece
            channel.send({"op": "wheel", "name": name, "last": last}, [piece] if piece else [])
            if last:
                return

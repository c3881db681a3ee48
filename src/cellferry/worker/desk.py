"""Connections in frames that the worker's server takes itself: about the kernel's packages, and about runs.

They come from the acceptor, as authenticated as those to the kernel; each is served in a thread of its own.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellferry.parcels import tls
from cellferry.parcels.wire import PACKAGES_PREAMBLE, Channel, WireClosed

if TYPE_CHECKING:
    from cellferry.worker.environments import Environments
    from cellferry.worker.runs import Runs

_ABOUT_RUNS = frozenset({"follow", "result", "claimed"})
_ABOUT_PACKAGES = frozenset({"environment", "versions"})


class Desk:
    """What serves a frame is imported by the first client that asks, not for the first cell."""

    def __init__(self, folder: Path, pinned: str | None, environments: Callable[[], Environments]) -> None:
        """``pinned``: the client's certificate (PEM); None behind a unix socket."""
        self._folder, self._pinned, self._make_environments = folder, pinned, environments
        self._lock = threading.Lock()

    def take(self, connection: socket.socket) -> None:
        """A client's connection, from the acceptor."""
        threading.Thread(target=self._serve, args=(connection,), name="cellferry-desk", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            channel = Channel(tls.taken(connection, PACKAGES_PREAMBLE, self._folder, self._pinned))
        except (OSError, WireClosed):
            connection.close()
            return
        try:
            while True:
                meta: dict[str, Any] = channel.recv()[0]
                if meta.get("op") in _ABOUT_RUNS:
                    self._runs.serve(channel, meta)
                elif meta.get("op") in _ABOUT_PACKAGES:
                    self._environments.serve(channel, meta)
        except (WireClosed, OSError):
            pass
        finally:
            channel.close()

    @cached_property
    def _environments(self) -> Environments:
        with self._lock:
            return self._make_environments()

    @cached_property
    def _runs(self) -> Runs:
        from cellferry.worker.runs import Runs

        return Runs(self._folder / "runs")

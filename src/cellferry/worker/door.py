"""Open the worker's listening socket: a unix socket in its private folder, or TLS with a key made on this machine."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from cellferry.model import PROTOCOL
from cellferry.worker.settings import WorkerSettings

BACKLOG = 128


def open_listener(folder: Path, settings: WorkerSettings) -> tuple[socket.socket, dict[str, Any]]:
    """The listening socket, and what ``ready.json`` says about it.

    ``pid`` there is the keeper's: the process that the provider started, and the one to send SIGTERM. With TLS, a key
    pair that lies in the folder already is used: on a machine at a provider its fingerprint is known before the worker is.
    """
    ready: dict[str, Any] = {"protocol": PROTOCOL, "pid": os.getppid(), "transport": settings.transport}
    if settings.transport == "tls":
        from cellferry.parcels.identity import make_key_pair

        pair = make_key_pair(folder, "worker")
        listener = socket.create_server((settings.listen_host, settings.listen_port), backlog=BACKLOG)
        host, port = listener.getsockname()
        return listener, ready | {"host": host, "port": port, "cert_pem": pair.cert_pem}
    path = folder / "worker.sock"
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # no moment at which another user could connect
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    return listener, ready | {"path": str(path)}

"""Open an authenticated connection to a worker's kernel."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from pathlib import Path

from cellferry.errors import IdentityError, LinkError
from cellferry.model import Endpoint
from cellferry.parcels import tls
from cellferry.parcels.wire import PREAMBLE, Channel, PlainStream

_CONNECT_S = 5.0


def dial(endpoint: Endpoint) -> Channel:
    """A channel to the kernel behind ``endpoint``; both ends know each other when this returns.

    Raises IdentityError for a wrong certificate or another user's socket, LinkError when nobody answers.
    """
    try:
        return _unix(endpoint) if endpoint.kind == "unix" else _tls(endpoint)
    except ssl.SSLError as exc:
        raise IdentityError(f"the worker at {endpoint.host}:{endpoint.port} did not prove who it is: {exc}", "%remote down, then run the cell again") from exc
    except OSError as exc:
        raise LinkError(f"the worker does not answer ({exc})", "%remote down, then run the cell again") from exc


def _unix(endpoint: Endpoint) -> Channel:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(_CONNECT_S)
    try:
        sock.connect(endpoint.path)
        check_peer(sock)
        sock.settimeout(None)
        sock.sendall(PREAMBLE)
    except BaseException:
        sock.close()
        raise
    return Channel(PlainStream(sock))


def check_peer(sock: socket.socket) -> None:
    """The process at the other end of a unix socket must be ours; raises IdentityError."""
    _pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if uid != os.geteuid():
        raise IdentityError(f"the worker's socket belongs to user {uid}, not to you ({os.geteuid()})", "remove that socket and run the cell again")


def _tls(endpoint: Endpoint) -> Channel:
    folder = Path(endpoint.client_dir)
    context = tls.client_context(endpoint.worker_cert_pem, folder / "client.crt", folder / "client.key")
    sock = socket.create_connection((endpoint.host, endpoint.port), _CONNECT_S)
    return Channel(tls.TlsStream(sock, context, server_side=False, pinned_pem=endpoint.worker_cert_pem))

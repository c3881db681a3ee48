"""Open an authenticated connection to a worker's kernel."""

from __future__ import annotations

import socket
import ssl

from cellferry.errors import IdentityError, LinkError
from cellferry.link.identity import client_context
from cellferry.link.proving import connect
from cellferry.model import Endpoint
from cellferry.parcels import tls
from cellferry.parcels.wire import ALPN, PREAMBLE, Channel, PlainStream

_CONNECT_S = 5.0
_PROVE_S = 30.0
"""How long a worker behind a tunnel may take to prove itself, where nothing else is said: its door does it, not its kernel."""
_TRIES = 3


def dial(endpoint: Endpoint, preamble: bytes = PREAMBLE, alpn: str = ALPN, wait_s: float | None = None) -> Channel:
    """A channel to the kernel behind ``endpoint``, or to what ``preamble`` and ``alpn`` name; both ends know each other
    when this returns. ``wait_s``: how long the other end may take to prove itself; None: as long as its kernel takes to boot.

    Raises IdentityError for a wrong certificate or another user's socket, LinkError when nobody answers.
    """
    try:
        return _tls(endpoint, alpn, wait_s) if endpoint.kind == "tls" else _unix(endpoint, preamble, wait_s)
    except tls.HandshakeCut as exc:
        raise LinkError(f"the worker does not answer ({exc.args[0]})", "%remote down, then run the cell again") from exc
    except ssl.SSLError as exc:
        raise IdentityError(
            f"the worker at {endpoint.host}:{endpoint.port} did not prove who it is: {exc}",
            "%remote down, then run the cell again",
        ) from exc
    except OSError as exc:
        raise LinkError(f"the worker does not answer ({exc})", "%remote down, then run the cell again") from exc


def _unix(endpoint: Endpoint, preamble: bytes, wait_s: float | None) -> Channel:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connect(endpoint, sock, _CONNECT_S if endpoint.kind == "unix" else wait_s or _PROVE_S)
        sock.settimeout(None)
        sock.sendall(preamble)
    except BaseException:
        sock.close()
        raise
    return Channel(PlainStream(sock))


def _tls(endpoint: Endpoint, alpn: str, wait_s: float | None, tries: int = _TRIES) -> Channel:
    context = client_context(endpoint, alpn)
    sock = socket.create_connection((endpoint.host, endpoint.port), _CONNECT_S)
    pin = endpoint.worker_cert_pem
    try:
        return Channel(tls.TlsStream(sock, context, server_side=False, pinned_pem=pin, wait_s=wait_s))
    except ConnectionResetError:  # by the end of a kernel that had it in its queue: nothing was said yet, the next takes it
        if tries == 1:
            raise
    return _tls(endpoint, alpn, wait_s, tries - 1)

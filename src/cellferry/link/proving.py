"""This end's part of the proof that a worker behind a tunnel is the one that was started: before a byte of it is read as a frame."""

from __future__ import annotations

import socket
from pathlib import Path

from cellferry.errors import IdentityError
from cellferry.link.identity import check_peer
from cellferry.model import PROOF_FILE, Endpoint
from cellferry.parcels.proof import NONCE_BYTES, PREAMBLE, PROOF_BYTES, Exchange, read_secret
from cellferry.shared_folder import read_ours

AGAIN = "%remote down, then run the cell again"


def connect(endpoint: Endpoint, sock: socket.socket, wait_s: float) -> None:
    """Connect ``sock`` to a worker's socket, and return when it is known who is behind it: a process of our own user, and
    behind a tunnel the worker that holds its secret. Each step within ``wait_s``, which stays the socket's timeout.

    Raises IdentityError; OSError where nobody answers, or the connection ended before it was known.
    """
    secret = _secret(endpoint) if endpoint.kind == "tunnel" else None
    sock.settimeout(wait_s)
    sock.connect(endpoint.path)
    check_peer(sock)
    if secret is not None:
        _prove(sock, secret)


def _secret(endpoint: Endpoint) -> bytes:
    folder = Path(endpoint.path).parent
    try:
        return read_secret(read_ours(folder, PROOF_FILE, most_bytes=1024).decode("ascii"))
    except FileNotFoundError as error:
        raise IdentityError(
            "the worker cannot prove that it is the one that was started: an earlier version of cellferry started it, or its "
            "folder is gone or another user's", AGAIN,
        ) from error  # fmt: skip
    except (OSError, ValueError) as error:
        raise IdentityError(f"the secret of the worker cannot be read: {error}", AGAIN) from error


def _prove(sock: socket.socket, secret: bytes) -> None:
    exchange = Exchange(secret)
    sock.sendall(PREAMBLE + exchange.client_nonce)
    answer = _exactly(sock, NONCE_BYTES + PROOF_BYTES)
    exchange.worker_nonce = answer[:NONCE_BYTES]
    if not exchange.holds("worker", answer[NONCE_BYTES:]):
        raise IdentityError(
            "whoever answers at the worker's socket did not prove to be the worker that was started there: another process "
            "has taken its place", AGAIN,
        )  # fmt: skip
    sock.sendall(exchange.proof("client"))


def _exactly(sock: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        piece = sock.recv(count - len(got))
        if not piece:
            raise ConnectionResetError("the connection ended before the worker proved who it is")
        got += piece
    return got

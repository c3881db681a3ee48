"""The worker's part of the proof: who connects over a tunnel shows that it holds the secret, and is shown that we do."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Literal

from cellferry.model import PROOF_FILE
from cellferry.parcels.proof import NONCE_BYTES, PREAMBLE, PROOF_BYTES, Exchange, read_secret

Step = Literal["proven", "more", "taken", "refuse"]
""""more": not all of a message is there; "taken": it was, and is off the connection."""


def secret_in(folder: Path) -> bytes | None:
    """The secret that the provider put into the worker's folder; None where it put none. Raises ValueError for no secret."""
    try:
        return read_secret((folder / PROOF_FILE).read_text("ascii"))
    except FileNotFoundError:
        return None


class Proofs:
    """Connections that are to prove something. For one thread, the acceptor's, which nothing here lets wait."""

    def __init__(self, secret: bytes | None) -> None:
        """``secret`` None: whoever is let in needs to prove nothing more."""
        self._secret = secret
        self._asked: dict[socket.socket, Exchange] = {}
        self._proven: set[socket.socket] = set()

    def step(self, connection: socket.socket, head: bytes) -> Step:
        """Take what is there of the proof (``head`` has been peeked at) off the connection, and answer. What stands behind a
        proof stays on it. Raises OSError."""
        if self._secret is None or connection in self._proven:
            return "proven"
        exchange = self._asked.get(connection)
        if exchange is None:
            return self._ask(connection, head, self._secret)
        if len(head) < PROOF_BYTES:
            return "more"
        if not exchange.holds("client", connection.recv(PROOF_BYTES)):
            return "refuse"
        self._proven.add(connection)
        return "taken"  # what it wants stands behind that, or comes now

    def forget(self, connection: socket.socket) -> None:
        """It belongs to somebody else now, or is closed."""
        self._asked.pop(connection, None)
        self._proven.discard(connection)

    def _ask(self, connection: socket.socket, head: bytes, secret: bytes) -> Step:
        if head[: len(PREAMBLE)] != PREAMBLE[: len(head)]:
            return "refuse"
        if len(head) < len(PREAMBLE) + NONCE_BYTES:
            return "more"
        nonce = connection.recv(len(PREAMBLE) + NONCE_BYTES)[len(PREAMBLE) :]
        exchange = self._asked[connection] = Exchange(secret, nonce)
        connection.send(
            exchange.worker_nonce + exchange.proof("worker"), socket.MSG_DONTWAIT
        )  # it fits: nothing else was sent
        return "taken"

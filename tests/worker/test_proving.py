"""The door of a worker behind a tunnel hears nothing before the proof, and both ends notice who does not hold the secret."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cellferry.errors import IdentityError, LinkError
from cellferry.link.dial import dial
from cellferry.model import PROOF_FILE, Endpoint
from cellferry.parcels.proof import NONCE_BYTES, Exchange
from cellferry.parcels.proof import PREAMBLE as PROOF
from cellferry.parcels.wire import PACKAGES_PREAMBLE, PREAMBLE
from cellferry.worker.acceptor import Acceptor

SECRET = bytes(range(32))
PATIENCE_S = 20


class Door:
    def __init__(self, folder: Path) -> None:
        self.taken: list[tuple[str, socket.socket]] = []
        self.came = threading.Semaphore(0)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "worker.sock"))
        listener.listen()
        self.acceptor = Acceptor(
            listener,
            tls=False,
            to_kernel=lambda s: self.take("kernel", s),
            to_packages=lambda s: self.take("packages", s),
            secret=SECRET,
        )
        self.acceptor.serve_http(lambda s: self.take("server", s))
        self.acceptor.start()

    def take(self, who: str, connection: socket.socket) -> None:
        self.taken.append((who, connection))
        self.came.release()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    tmp_path.chmod(0o700)
    door = Door(tmp_path)
    yield door
    door.acceptor.close()
    for _, connection in door.taken:
        connection.close()


def endpoint(folder: Path, secret: bytes | None = SECRET) -> Endpoint:
    if secret is not None:
        (folder / PROOF_FILE).write_text(secret.hex())
    return Endpoint("tunnel", path=str(folder / "worker.sock"))


def connected(folder: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE_S)
    sock.connect(str(folder / "worker.sock"))
    return sock


@pytest.mark.parametrize(
    ("preamble", "who"), [(PREAMBLE, "kernel"), (PACKAGES_PREAMBLE, "packages"), (b"GET / HTTP/1.1", "server")]
)
def test_behind_the_proof_everything_is_as_without(door: Door, tmp_path: Path, preamble: bytes, who: str) -> None:
    channel = dial(endpoint(tmp_path), preamble)
    assert door.came.acquire(timeout=PATIENCE_S)
    assert door.taken[0][0] == who
    assert door.taken[0][1].recv(len(preamble)) == preamble
    channel.close()


@pytest.mark.parametrize(
    "said", [PREAMBLE, PACKAGES_PREAMBLE, b"GET /cellferry/v1/status HTTP/1.1\r\n\r\n", os.urandom(200)]
)
def test_without_it_nobody_is_heard(door: Door, tmp_path: Path, said: bytes) -> None:
    with connected(tmp_path) as sock:
        sock.sendall(said)
        try:
            assert sock.recv(1) == b""
        except ConnectionResetError:
            pass
    assert not door.taken


def test_a_client_with_another_secret_is_turned_away(door: Door, tmp_path: Path) -> None:
    exchange = Exchange(bytes(32))
    with connected(tmp_path) as sock:
        sock.sendall(PROOF + exchange.client_nonce)
        answer = sock.recv(64, socket.MSG_WAITALL)
        exchange.worker_nonce = answer[:NONCE_BYTES]
        for proof in (exchange.proof("client"), answer[NONCE_BYTES:]):  # its own sent back proves nothing either
            assert not Exchange(SECRET, exchange.client_nonce).holds("client", proof)
        sock.sendall(answer[NONCE_BYTES:])
        assert sock.recv(1) == b""
    assert not door.taken
    with pytest.raises(IdentityError, match="another process"):
        dial(endpoint(tmp_path, bytes(32)))


def test_it_may_come_in_pieces(door: Door, tmp_path: Path) -> None:
    exchange = Exchange(SECRET)
    with connected(tmp_path) as sock:
        for byte in PROOF + exchange.client_nonce:
            sock.sendall(bytes([byte]))
        exchange.worker_nonce = sock.recv(64, socket.MSG_WAITALL)[:NONCE_BYTES]
        for byte in exchange.proof("client") + PREAMBLE:
            sock.sendall(bytes([byte]))
        assert door.came.acquire(timeout=PATIENCE_S)
        assert door.taken[0][0] == "kernel"


def test_an_end_without_a_word_is_the_network(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "worker.sock"))
        listener.listen()
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        with pytest.raises(LinkError) as caught:
            dial(endpoint(tmp_path))
    assert not isinstance(caught.value, IdentityError)


def test_a_worker_without_a_secret_is_not_connected_to(door: Door, tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="earlier version"):
        dial(endpoint(tmp_path, None))

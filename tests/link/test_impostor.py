"""Whoever is not the pinned worker has nothing of his unpickled, whatever he sends and however early."""

from __future__ import annotations

import json
import os
import pickle
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cellferry.errors import IdentityError
from cellferry.link.identity import make_identity
from cellferry.link.session import KernelLink
from cellferry.model import PROTOCOL, Endpoint
from cellferry.parcels.context import Unpacking
from cellferry.parcels.wire import ALPN

PATIENCE_S = 20
NOBODY = 65534


class Evil:
    """Leaves a mark wherever it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def frame(meta: dict[str, Any], *buffers: bytes) -> bytes:
    head = json.dumps(meta).encode()
    sizes = struct.pack(f"!{len(buffers)}Q", *map(len, buffers))
    return struct.pack("!II", len(head), len(buffers)) + sizes + head + b"".join(buffers)


def welcome_and_home(mark: Path) -> bytes:
    """All that a worker says to a client that brings one root home: a pickle."""
    parcel = {"roots": ["x"], "parts": 1, "seeds": 0, "dropped": 0, "base": 0, "stuck": False, "states": False,
              "bufs": [], "bulk": False, "leaves": []}  # fmt: skip
    home = {"op": "home", "reply": {"status": "ok"}, "deleted": [], "kept": [], "stayed": {}, "lost": [], "ran_s": 0,
            "flags": 0, "files": [], "parcel": parcel}  # fmt: skip
    welcome = {"op": "welcome", "protocol": PROTOCOL, "pid": 1, "python": [3, 11, 0], "work": "/"}
    return frame(welcome) + frame(home, pickle.dumps(Evil(mark)), b"", b"")


def bring_home(endpoint: Endpoint) -> None:
    """What a cell does with a worker: connect, take the results."""
    link = KernelLink(endpoint, None, {}, "w", lambda closed: None)  # type: ignore[arg-type]
    try:
        link.open()
        link.home(Unpacking({}))
    finally:
        link.close()


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


@pytest.fixture
def unix_worker(tmp_path: Path, mark: Path) -> Iterator[Any]:
    """``unix_worker(uid)``: the endpoint of a process of that user, which says everything at once."""
    pids: list[int] = []

    def start(uid: int) -> Endpoint:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s"))
        said = welcome_and_home(mark)
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setuid(uid)
                listener.settimeout(PATIENCE_S)
                listener.listen()  # Linux tells a client who did this
                os.write(tell, b"!")
                connection, _ = listener.accept()
                connection.sendall(said)
                while connection.recv(4096):
                    pass
            finally:
                os._exit(0)
        pids.append(pid)
        os.close(tell)
        assert os.read(ready, 1) == b"!"
        os.close(ready)
        listener.close()
        return Endpoint("unix", path=str(tmp_path / "s"))

    yield start
    for pid in pids:
        assert os.waitpid(pid, 0)[0] == pid


def test_this_is_what_the_pinned_one_could_do(unix_worker: Any, mark: Path) -> None:
    """The attack works, so that its failure below means something."""
    bring_home(unix_worker(os.getuid()))
    assert mark.is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_process_of_another_user_is_not_believed(unix_worker: Any, mark: Path) -> None:
    with pytest.raises(IdentityError):
        bring_home(unix_worker(NOBODY))
    assert not mark.exists()


def test_a_worker_with_another_certificate_is_not_believed(tmp_path: Path, mark: Path) -> None:
    pinned, stranger = make_identity(tmp_path / "pinned"), make_identity(tmp_path / "stranger")
    (tmp_path / "client").mkdir(mode=0o700)
    make_identity(tmp_path / "client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # it asks the client for nothing: all it wants is to be heard
    context.load_cert_chain(stranger.cert_path, stranger.key_path)
    context.set_alpn_protocols([ALPN])
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(PATIENCE_S)
    heard: list[str] = []

    def serve() -> None:
        connection, _ = listener.accept()
        connection.settimeout(PATIENCE_S)
        heard.append("connected")
        try:
            with context.wrap_socket(connection, server_side=True) as speaking:
                speaking.sendall(welcome_and_home(mark))
                heard.append("welcomed by the client" if speaking.recv(4096) else "")
        except (OSError, ssl.SSLError):
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    endpoint = Endpoint(
        "tls", port=listener.getsockname()[1], worker_cert_pem=pinned.cert_pem, client_dir=str(tmp_path / "client")
    )
    with pytest.raises(IdentityError):
        bring_home(endpoint)
    thread.join(PATIENCE_S)
    listener.close()
    assert not thread.is_alive() and "connected" in heard and "welcomed by the client" not in heard
    assert not mark.exists()

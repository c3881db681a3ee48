"""The one door: who is let in, and to whom each connection goes."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellferry.parcels.wire import ALPN, PREAMBLE
from cellferry.worker.acceptor import Acceptor, judge_plain, judge_tls, offered_protocols, same_user

Wait = Callable[..., Any]
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
NOBODY = 65534
NAMES = st.lists(st.text("abcdefgh/123.", min_size=1, max_size=40), max_size=6, unique=True)


def client_hello(protocols: list[str], server_name: str | None = None) -> bytes:
    """What OpenSSL says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(protocols)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@given(NAMES, st.none() | st.just("worker.example"))
def test_the_offered_protocols_are_read_as_openssl_writes_them(protocols: list[str], name: str | None) -> None:
    hello = client_hello(protocols, name)
    assert offered_protocols(hello) == [each.encode() for each in protocols]
    assert judge_tls(hello) == ("kernel" if ALPN in protocols else "server")


@given(NAMES, st.integers(1, 200))
def test_a_hello_may_come_in_pieces_and_in_several_records(protocols: list[str], size: int) -> None:
    hello = client_hello([*protocols, ALPN])
    assert all(judge_tls(hello[:length]) == "more" for length in range(len(hello)))
    body = hello[5:]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    split = b"".join(hello[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    assert judge_tls(split) == "kernel"


@given(st.binary(max_size=400))
def test_whatever_comes_is_judged(head: bytes) -> None:
    assert judge_tls(head) in ("kernel", "packages", "server", "refuse", "more")
    assert judge_tls(b"\x16\x03\x01" + head) in ("kernel", "packages", "server", "refuse", "more")
    assert judge_plain(head) in ("kernel", "packages", "server", "more")


@given(st.integers(0, 500), st.binary(min_size=1, max_size=20))
def test_a_damaged_hello_is_judged(at: int, damage: bytes) -> None:
    hello = client_hello([ALPN])
    judge_tls(hello[:at] + damage + hello[at + len(damage) :])


def test_plain_connections() -> None:
    assert judge_plain(PREAMBLE) == judge_plain(PREAMBLE + b"\0\0") == "kernel"
    assert judge_plain(b"GET / HTTP/1.1\r\n") == judge_plain(b"CFRX") == judge_plain(b"CO") == "server"
    assert [judge_plain(PREAMBLE[:length]) for length in range(4)] == ["more"] * 4
    assert judge_tls(b"GET / HTTP/1.1\r\n") == judge_tls(PREAMBLE) == "refuse"


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Any]:
    """A plain acceptor: ``door.connect()``, and what it handed over by destination."""

    class Door:
        def __init__(self) -> None:
            self.kernel: list[socket.socket] = []
            self.server: list[socket.socket] = []
            self.packages: list[socket.socket] = []
            self.path = tmp_path / "s"
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self.path))
            listener.listen()
            self.acceptor = Acceptor(listener, tls=False, to_kernel=self.kernel.append, to_packages=self.packages.append)
            self.acceptor.start()
            self.mine: list[socket.socket] = []

        def connect(self, first: bytes) -> socket.socket:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(20)
            connection.connect(str(self.path))
            if first:
                connection.sendall(first)
            self.mine.append(connection)
            return connection

    door = Door()
    yield door
    door.acceptor.close()
    door.acceptor._thread.join(20)
    assert not door.acceptor._thread.is_alive()
    for each in [*door.mine, *door.kernel, *door.server, *door.packages]:
        each.close()


def hung_up(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_nothing_is_taken_off_a_connection(door: Any, wait: Wait) -> None:
    door.connect(PREAMBLE + b"rest")
    given_over = wait(lambda: door.kernel)[0]
    assert given_over.recv(100) == PREAMBLE + b"rest"


def test_a_preamble_in_pieces(door: Any, wait: Wait) -> None:
    connection = door.connect(PREAMBLE[:2])
    other = door.connect(b"GET /")
    door.acceptor.serve_http(door.server.append)
    wait(lambda: door.server, "a slow client does not hold up another")
    assert not door.kernel
    connection.sendall(PREAMBLE[2:])
    wait(lambda: door.kernel)
    assert other in door.mine


def test_http_waits_for_the_server(door: Any, wait: Wait) -> None:
    door.connect(b"GET /1")
    door.connect(PREAMBLE)
    wait(lambda: door.kernel)
    door.acceptor.serve_http(door.server.append)
    door.connect(b"GET /2")
    wait(lambda: len(door.server) == 2)


def test_a_silent_client_is_turned_away(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellferry.worker.acceptor.FIRST_BYTES_S", 0.05)
    silent, partial = door.connect(b""), door.connect(PREAMBLE[:3])
    assert hung_up(silent) and hung_up(partial)


def test_a_crowd_of_silent_clients_does_not_fill_the_worker(door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellferry.worker.acceptor.MOST_PENDING", 2)
    crowd = [door.connect(b"") for _ in range(3)]
    assert hung_up(crowd[2])


def as_nobody(act: Callable[[], bytes]) -> bytes:
    """What ``act`` returns in a process of another user; our own process is not changed."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"broken"
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            answer = act()
        finally:
            os.write(writes, answer or b"end")
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as file:
        answer = file.read()
    os.waitpid(child, 0)
    return answer


def ask_for_the_kernel(path: str) -> bytes:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    try:
        connection.connect(path)
        connection.sendall(PREAMBLE + b"pid\n")
        return connection.recv(10)
    except PermissionError:
        return b"no permission"
    except (ConnectionResetError, BrokenPipeError):
        return b""


@pytest.mark.parametrize("transport", ["unix"], scope="module", indirect=True)
def test_another_user_is_turned_away_twice(shared: Any, transport: str) -> None:
    """By the folder, and by the acceptor even when folder and socket are open to all."""
    sock, home = Path(shared.worker.endpoint.path), os.open(shared.folder, os.O_RDONLY)
    try:
        os.fchmod(home, 0o700)
        before = Path.cwd()
        os.chdir(home)  # so that the folders above, private as well, do not count
        assert as_nobody(lambda: ask_for_the_kernel("worker.sock")) == b"no permission"
        os.fchmod(home, 0o711)
        assert stat.S_IMODE(sock.stat().st_mode) == 0o600
        assert as_nobody(lambda: ask_for_the_kernel("worker.sock")) == b"no permission"
        sock.chmod(0o666)
        assert as_nobody(lambda: ask_for_the_kernel("worker.sock")) == b"end"
        assert int(shared.link().ask("pid")), "our own user is let in all the while"
    finally:
        os.chdir(before)
        os.fchmod(home, 0o700)
        os.close(home)


def test_same_user() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert same_user(ours)

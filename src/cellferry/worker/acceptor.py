"""The worker's one door. Whoever connects is checked here, and each connection goes to the kernel or to the server.

On a unix socket Linux tells which user connects; any other user than our own is turned away. Where a tunnel leads to it, who
connects proves more than that, and so do we (``proving``). Over TLS both ends must
show a pinned certificate: the end that terminates TLS (kernel or server) checks that; this thread only reads, without
taking anything off the socket, which of the two the client asks for.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable
from typing import Literal

from cellferry.parcels.wire import ALPN, PACKAGES_ALPN, PACKAGES_PREAMBLE, PREAMBLE
from cellferry.worker.proving import Proofs

Verdict = Literal["kernel", "packages", "server", "refuse", "more", "taken"]
Take = Callable[[socket.socket], None]

PEEK_BYTES = 1 << 14
FIRST_BYTES_S = 10.0
"""A client that connects and says nothing is turned away after this time."""
PARTIAL_S = 0.01
NO_FILES_S = 0.05
MOST_PENDING = 128


def judge_plain(head: bytes) -> Verdict:
    """To whom a plain connection that begins with ``head`` belongs."""
    if head.startswith(PREAMBLE):
        return "kernel"
    if head.startswith(PACKAGES_PREAMBLE):
        return "packages"
    return "more" if PREAMBLE.startswith(head) or PACKAGES_PREAMBLE.startswith(head) else "server"


def judge_tls(head: bytes) -> Verdict:
    """To whom a connection belongs that begins with this part of a TLS ClientHello: what protocol does it ask for."""
    try:
        protocols = offered_protocols(head)
    except ValueError:
        return "refuse"
    if protocols is None:
        return "more" if len(head) < PEEK_BYTES else "refuse"
    if PACKAGES_ALPN.encode() in protocols:
        return "packages"
    return "kernel" if ALPN.encode() in protocols else "server"


def offered_protocols(hello: bytes) -> list[bytes] | None:
    """The ALPN protocols in a TLS ClientHello (RFC 8446, 4.1.2; RFC 7301); None while it is incomplete.

    Raises ValueError for bytes that are no ClientHello.
    """
    if hello[:1] not in (b"", b"\x16") or hello[1:2] not in (b"", b"\x03"):
        raise ValueError("not a TLS handshake")
    message = _handshake_bytes(hello)
    if message is None or len(message) < 4:
        return None
    if message[0] != 1:
        raise ValueError("not a ClientHello")
    length = int.from_bytes(message[1:4], "big")
    if len(message) < 4 + length:
        return None
    return _alpn(message[4 : 4 + length])


def _handshake_bytes(records: bytes) -> bytes | None:
    """The payloads of the handshake records at the start, joined: a long ClientHello takes several."""
    joined, at = b"", 0
    while len(records) >= at + 5 and records[at] == 22:
        length = int.from_bytes(records[at + 3 : at + 5], "big")
        if len(records) < at + 5 + length:
            break
        joined += records[at + 5 : at + 5 + length]
        at += 5 + length
    return joined or None


class _Fields:
    """Reads length-prefixed fields in order; ValueError past the end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise ValueError("a TLS field is longer than its message")
        self.at += count
        return self.data[self.at - count : self.at]

    def block(self, length_bytes: int) -> bytes:
        return self.take(int.from_bytes(self.take(length_bytes), "big"))

    def __bool__(self) -> bool:
        return self.at < len(self.data)


def _alpn(body: bytes) -> list[bytes]:
    fields = _Fields(body)
    fields.take(2 + 32)  # version, random
    for length_bytes in (1, 2, 1):  # session id, cipher suites, compression
        fields.block(length_bytes)
    extensions = _Fields(fields.block(2) if fields else b"")
    while extensions:
        kind, content = extensions.take(2), extensions.block(2)
        if kind == b"\x00\x10":
            names, found = _Fields(_Fields(content).block(2)), []
            while names:
                found.append(names.block(1))
            return found
    return []


def same_user(connection: socket.socket) -> bool:
    """Whether the process at the other end of a unix socket belongs to our own user."""
    size = struct.calcsize("3i")
    _pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(uid == os.geteuid())


class Acceptor:
    """The listening socket and its thread (``cellferry-acceptor``)."""

    def __init__(
        self, listener: socket.socket, *, tls: bool, to_kernel: Take, to_packages: Take, secret: bytes | None = None
    ) -> None:
        """``to_kernel`` and ``to_packages`` own the connections that they are given. ``secret``: what each plain connection
        has to prove that it holds, before anything else is heard. Starts nothing yet."""
        self._proofs = Proofs(secret)
        self._listener, self._tls, self._to_kernel, self._to_packages = listener, tls, to_kernel, to_packages
        self._to_server: Take | None = None
        self._early: list[socket.socket] = []
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._pending: dict[socket.socket, float] = {}
        self._partial: list[socket.socket] = []
        self._closed = threading.Event()
        self._woken, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, name="cellferry-acceptor", daemon=True)

    def start(self) -> None:
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread.start()

    def serve_http(self, take: Take) -> None:
        """The HTTP server is up: ``take`` gets the connections that waited for it, and all later ones."""
        with self._lock:
            self._to_server = take
            early, self._early = self._early, []
        for connection in early:
            take(connection)

    def want_http(self) -> None:
        """Somebody will ask."""
        self._wanted.set()

    def wait_for_http(self) -> None:
        """Return when somebody wants the HTTP server, which is not up yet."""
        self._wanted.wait()

    def no_http(self) -> None:
        """The HTTP server could not be started: who waits for it is turned away, and who comes next waits for another try."""
        with self._lock:
            self._to_server = None
            self._wanted.clear()
            early, self._early = self._early, []
        for connection in early:
            connection.close()

    def close(self) -> None:
        """Take no more connections. Those that were handed over are not touched."""
        self._closed.set()
        self._waker.send(b"c")

    def _run(self) -> None:
        """Everybody comes in through this thread: no client may end it, whatever it does."""
        while not self._closed.is_set():
            try:
                self._serve()
            except Exception:
                traceback.print_exc()
                self._closed.wait(NO_FILES_S)
        self._listener.close()
        for connection in [*self._pending, *self._early]:
            connection.close()

    def _serve(self) -> None:
        for key, _ in self._selector.select(PARTIAL_S if self._partial else FIRST_BYTES_S):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.fileobj, socket.socket) and key.fileobj is not self._woken:
                self._look(key.fileobj)
        partial, self._partial = self._partial, []
        for connection in partial:
            self._selector.register(connection, selectors.EVENT_READ)
            self._look(connection)
        self._turn_away_silent()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except ConnectionError:
            return  # the client is gone again
        except OSError:
            self._closed.wait(NO_FILES_S)  # this process has no file left: the client stays in the backlog for now
            return
        connection.setblocking(True)
        try:
            welcome = len(self._pending) < MOST_PENDING and (self._tls or same_user(connection))
        except OSError:
            welcome = False  # it is gone already
        if not welcome:
            connection.close()
            return
        self._pending[connection] = time.monotonic() + FIRST_BYTES_S
        self._selector.register(connection, selectors.EVENT_READ)

    def _look(self, connection: socket.socket) -> None:
        try:
            head = connection.recv(PEEK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            head = b""
        verdict = self._judge(connection, head)
        if verdict == "taken":
            return  # what comes behind it wakes the selector
        self._selector.unregister(connection)
        if verdict == "more":
            # The rest would not wake the selector's level trigger alone: what is there already keeps it awake.
            self._partial.append(connection)
            return
        del self._pending[connection]
        self._proofs.forget(connection)
        try:
            if verdict == "kernel":
                self._to_kernel(connection)
            elif verdict == "packages":
                self._to_packages(connection)
            elif verdict == "server":
                self._give_to_server(connection)
            else:
                connection.close()
        except Exception:  # no thread for it, for one: who is not served must not be left waiting
            connection.close()
            raise

    def _judge(self, connection: socket.socket, head: bytes) -> Verdict:
        if not head:
            return "refuse"
        try:
            step = self._proofs.step(connection, head)
        except OSError:
            return "refuse"
        if step != "proven":
            return step
        return judge_tls(head) if self._tls else judge_plain(head)

    def _give_to_server(self, connection: socket.socket) -> None:
        with self._lock:
            if self._to_server is None:
                self._early.append(connection)
                self._wanted.set()
                return
        self._to_server(connection)

    def _turn_away_silent(self) -> None:
        now = time.monotonic()
        for connection in [each for each, deadline in self._pending.items() if deadline < now]:
            del self._pending[connection]
            self._proofs.forget(connection)
            if connection in self._partial:
                self._partial.remove(connection)
            else:
                self._selector.unregister(connection)
            connection.close()

"""Mutual TLS 1.3 with pinned certificates, as a blocking stream that is fast for bulk.

``ssl.SSLSocket`` handles one 16 KiB record a system call; here OpenSSL works on memory (``ssl.MemoryBIO``) and the
socket moves about a megabyte at a time, which is what makes the difference on loopback and fast networks.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from socket import IPPROTO_TCP, MSG_DONTWAIT, MSG_WAITALL, SHUT_RDWR, TCP_NODELAY, socket

from cellferry.parcels.wire import ALPN, PACKAGES_ALPN, Buffer, PlainStream, Stream, WireClosed, notice_dead_peers

_READ_BYTES = 1 << 18
_WRITE_BYTES = 1 << 20


class HandshakeCut(ssl.SSLError):
    """The connection ended before either end knew the other: the network, as far as can be told from here."""


def _context(protocol: int, cert_path: Path, key_path: Path, other_cert_pem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    # The one certificate that is trusted is the other end's own: nobody else's passes, whatever name it carries.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=other_cert_pem)
    context.load_cert_chain(cert_path, key_path)
    return context


def server_context(cert_path: Path, key_path: Path, client_cert_pem: str) -> ssl.SSLContext:
    """For the worker's side: shows ``cert_path``, accepts exactly the client certificate given (PEM)."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, cert_path, key_path, client_cert_pem)
    context.set_alpn_protocols([ALPN, PACKAGES_ALPN, "http/1.1"])
    context.num_tickets = 0
    return context


def client_context(worker_cert_pem: str, cert_path: Path, key_path: Path, alpn: str = ALPN) -> ssl.SSLContext:
    """For the client's side: shows ``cert_path``, accepts exactly the worker certificate given (PEM)."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, cert_path, key_path, worker_cert_pem)
    context.set_alpn_protocols([alpn])
    return context


def taken(sock: socket, preamble: bytes, folder: Path, pinned_pem: str | None) -> Stream:
    """The worker's end of a connection that the acceptor handed over: plain, behind ``preamble``, or TLS with the pair in
    ``folder`` if a client's certificate is pinned. Raises WireClosed, ssl.SSLError, OSError."""
    if pinned_pem is None:
        sock.setblocking(True)
        if sock.recv(len(preamble), MSG_WAITALL) != preamble:
            raise WireClosed("not a client of ours")
        return PlainStream(sock)
    context = server_context(folder / "worker.crt", folder / "worker.key", pinned_pem)
    return TlsStream(sock, context, server_side=True, pinned_pem=pinned_pem)


def check_pinned(peer_der: bytes | None, pinned_pem: str) -> None:
    """Raise ssl.SSLError unless the peer's certificate is, byte for byte, the pinned one."""
    if peer_der is None or peer_der != ssl.PEM_cert_to_DER_cert(pinned_pem):
        raise ssl.SSLError("the other end shows a certificate that is not the pinned one")


class TlsStream:
    """TLS over a connected TCP socket. Reading and writing may happen in two threads at once."""

    def __init__(
        self, sock: socket, context: ssl.SSLContext, *, server_side: bool, pinned_pem: str, wait_s: float | None = None
    ) -> None:
        """Does the handshake, each step within ``wait_s``; raises ssl.SSLError or OSError, with the socket closed."""
        self._sock = sock
        sock.settimeout(wait_s)
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        notice_dead_peers(sock)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=server_side)
        self._lock = threading.Lock()  # OpenSSL's object is not safe for two threads
        self._wire_lock = threading.Lock()  # records leave in the order in which they were made
        self._raw = bytearray(_READ_BYTES)
        try:
            self._handshake()
            check_pinned(self._tls.getpeercert(binary_form=True), pinned_pem)
            sock.settimeout(None)
        except BaseException:
            sock.close()
            raise

    def sendv(self, parts: Sequence[Buffer]) -> None:
        """Send the parts in order; small ones share records."""
        pending = bytearray()
        for part in parts:
            view = memoryview(part).cast("B") if len(part) else memoryview(b"")
            if len(view) < 16384:
                pending += view
                continue
            if pending:
                self._write(memoryview(pending))
                pending = bytearray()
            for start in range(0, len(view), _WRITE_BYTES):
                self._write(view[start : start + _WRITE_BYTES])
        if pending:
            self._write(memoryview(pending))

    def sendv_now(self, parts: Sequence[Buffer]) -> list[memoryview]:
        """As ``Stream`` says; the rest is records."""
        joined = b"".join(parts)
        with self._wire_lock:
            with self._lock:
                for start in range(0, len(joined), _WRITE_BYTES):
                    self._tls.write(joined[start : start + _WRITE_BYTES])
                records = self._out.read()
            try:
                sent = self._sock.send(records, MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
        return [memoryview(records)[sent:]] if sent < len(records) else []

    def send_rest(self, rest: Sequence[Buffer]) -> None:
        """Records that ``sendv_now`` could not send."""
        with self._wire_lock:
            for records in rest:
                self._sock.sendall(records)

    def set_timeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def recv_into(self, target: memoryview) -> int:
        """As much as is there, at least one byte; 0 at the end."""
        done = 0
        while True:
            try:
                with self._lock:
                    while done < len(target):
                        got = self._tls.read(len(target) - done, target[done:])
                        if not got:
                            return done
                        done += int(got)
                return done
            except ssl.SSLWantReadError:
                if done:
                    return done
                if not self._feed():
                    return 0
            except ssl.SSLZeroReturnError:
                return done

    def abandon(self) -> None:
        self._sock.close()

    def close(self) -> None:
        try:
            self._sock.shutdown(SHUT_RDWR)
        except OSError:
            pass
        self._sock.close()

    def _write(self, view: memoryview) -> None:
        with self._wire_lock:
            with self._lock:
                self._tls.write(view)
                records = self._out.read()
            self._sock.sendall(records)

    def _feed(self) -> bool:
        got = self._sock.recv_into(self._raw)
        if not got:
            return False
        with self._lock:
            self._in.write(memoryview(self._raw)[:got])
        return True

    def _flush(self) -> None:
        records = self._out.read()
        if records:
            self._sock.sendall(records)

    def _handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
                if not self._feed():
                    raise HandshakeCut("the other end closed the connection during the handshake") from None
            except ssl.SSLError:
                self._flush()  # the alert tells the other end why
                raise

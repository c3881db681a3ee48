"""Frames between client and kernel: a small JSON head and any number of raw buffers.

One frame on the wire (network byte order)::

    u32 meta_bytes | u32 n_buffers | u64 size * n_buffers | meta (JSON) | buffer 0 | buffer 1 ...

Large buffers are received straight into the memory that ``allocate`` returns, never through a copy.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from cellferry.parcels.leaves import bytes_of

PROTOCOL = 3
"""What the two ends of a link say to each other, in its newest version (``model.PROTOCOL`` is the same number)."""

OLDEST_PROTOCOL = 3
"""The oldest version that this end still speaks on a link; the worker's HTTP routes are older than both."""

HASHED_TEXT = "cellferry"
"""Both ends hash it, and see whether their texts have the same hashes."""

PREAMBLE = b"CFRY"
"""First bytes of a plain connection that wants the kernel, not the HTTP server (see ``worker.acceptor``)."""

ALPN = "cellferry/1"
"""TLS application protocol with the same meaning."""

PACKAGES_PREAMBLE = b"CFEN"
PACKAGES_ALPN = "cellferry-env/1"
"""The same two for a connection about the kernel's packages, which the worker's server takes itself."""

Buffer = bytes | bytearray | memoryview
Meta = dict[str, Any]
Allocate = Callable[[Meta, int, int], Any]
"""(meta, index of the buffer, its size in bytes) -> a writable buffer of exactly that size."""

_HEAD = struct.Struct("!II")
_SMALL_BYTES = 1 << 16
_MAX_META_BYTES = 1 << 28
_IOV_MAX = 512
_IDLE_S, _PROBE_S, _PROBES, _UNHEARD_S = 5, 2, 3, 10


class WireClosed(ConnectionError):
    """The other end is gone."""


class Stream(Protocol):
    """Blocking bytes in order, both ways.

    ``sendv_now`` sends what goes without waiting and returns the rest, which ``send_rest`` must send before anything else.
    """

    def sendv(self, parts: Sequence[Buffer]) -> None: ...
    def sendv_now(self, parts: Sequence[Buffer]) -> list[memoryview]: ...
    def send_rest(self, rest: Sequence[Buffer]) -> None: ...
    def set_timeout(self, seconds: float | None) -> None: ...
    def recv_into(self, target: memoryview) -> int: ...
    def close(self) -> None: ...
    def abandon(self) -> None:
        """Let go of it in this process alone: another one goes on with it."""


def notice_dead_peers(sock: socket.socket) -> None:
    """Have Linux end a TCP connection whose other end has not been heard for about ten seconds: a cut wire sends no goodbye.

    The other end's operating system answers, so a busy process is not taken for a dead one.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", _IDLE_S), ("TCP_KEEPINTVL", _PROBE_S), ("TCP_KEEPCNT", _PROBES),
                        ("TCP_USER_TIMEOUT", _UNHEARD_S * 1000)):  # fmt: skip
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class PlainStream:
    """A connected stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            notice_dead_peers(sock)
        self.sock = sock

    def sendv(self, parts: Sequence[Buffer]) -> None:
        views = _views(parts)
        while views:
            _advance(views, self.sock.sendmsg(views[:_IOV_MAX]))

    def sendv_now(self, parts: Sequence[Buffer]) -> list[memoryview]:
        views = _views(parts)
        try:
            while views:
                _advance(views, self.sock.sendmsg(views[:_IOV_MAX], (), socket.MSG_DONTWAIT))
        except BlockingIOError:
            pass
        return views

    def send_rest(self, rest: Sequence[Buffer]) -> None:
        self.sendv(rest)

    def set_timeout(self, seconds: float | None) -> None:
        self.sock.settimeout(seconds)

    def recv_into(self, target: memoryview) -> int:
        return self.sock.recv_into(target)

    def abandon(self) -> None:
        self.sock.close()

    def close(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


def _views(parts: Sequence[Buffer]) -> list[memoryview]:
    return [memoryview(part).cast("B") for part in parts if len(part)]


def _advance(views: list[memoryview], sent: int) -> None:
    while views and sent >= len(views[0]):
        sent -= len(views.pop(0))
    if sent:
        views[0] = views[0][sent:]


def size_of(parts: Sequence[Buffer]) -> int:
    """Bytes of a frame, or of several."""
    return sum(memoryview(part).nbytes for part in parts)


def _allocate(_meta: Meta, _index: int, size: int) -> bytearray:
    return bytearray(size)


def encoded(meta: Meta, buffers: Sequence[Buffer] = ()) -> list[Buffer]:
    """One frame as it goes over the wire, or into a file: its head, then the buffers as they are."""
    head = json.dumps(meta, separators=(",", ":"), default=str).encode()
    sizes = [memoryview(b).nbytes for b in buffers]
    return [_HEAD.pack(len(head), len(sizes)) + struct.pack(f"!{len(sizes)}Q", *sizes) + head, *buffers]


def whole_frame(data: Buffer) -> tuple[Meta, list[memoryview], int] | None:
    """The frame at the start of ``data`` and the bytes that it takes; None while it is not all there."""
    view = memoryview(data)
    if len(view) < _HEAD.size:
        return None
    meta_bytes, count = _HEAD.unpack(view[: _HEAD.size])
    at = _HEAD.size + 8 * count
    if len(view) < at + meta_bytes:
        return None
    sizes = struct.unpack(f"!{count}Q", view[_HEAD.size : at])
    end = at + meta_bytes + sum(sizes)
    if len(view) < end:
        return None
    meta: Meta = json.loads(bytes(view[at : at + meta_bytes]))
    at += meta_bytes
    buffers = []
    for size in sizes:
        buffers.append(view[at : at + size])
        at += size
    return meta, buffers, end


class Channel:
    """Frames over a stream. ``send`` is safe from any thread; ``recv`` belongs to one thread."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._lock = threading.Lock()
        self._small = bytearray(_SMALL_BYTES)
        self._start = self._end = 0
        self.sent_bytes = 0
        self.received_bytes = 0
        self.heard_s = time.monotonic()
        """When something came last, be it a piece of a frame."""

    def send(self, meta: Meta, buffers: Sequence[Buffer] = ()) -> None:
        """Send one frame; raises WireClosed when the other end is gone. Buffers are bytes-like, one-dimensional."""
        parts = encoded(meta, buffers)
        size = size_of(parts)
        try:
            with self._lock:
                self.stream.sendv(parts)
                self.sent_bytes += size
        except (OSError, ValueError) as exc:
            raise WireClosed(f"the connection ended while sending ({exc})") from exc

    def recv(self, allocate: Allocate = _allocate) -> tuple[Meta, list[Any]]:
        """Wait for one frame; raises WireClosed at the end of the stream."""
        meta_bytes, count = _HEAD.unpack(self._exact(_HEAD.size))
        if meta_bytes > _MAX_META_BYTES:
            raise WireClosed("the other end does not speak this protocol")
        sizes = struct.unpack(f"!{count}Q", self._exact(8 * count)) if count else ()
        meta: Meta = json.loads(self._exact(meta_bytes))
        buffers = []
        for index, size in enumerate(sizes):
            target = allocate(meta, index, size)
            if size:
                self._fill(bytes_of(target))
            buffers.append(target)
        self.received_bytes += _HEAD.size + 8 * count + meta_bytes + sum(sizes)
        return meta, buffers

    def close(self) -> None:
        self.stream.close()

    def _exact(self, size: int) -> bytes:
        if self._end - self._start >= size:
            self._start += size
            return bytes(memoryview(self._small)[self._start - size : self._start])
        out = bytearray(size)
        self._fill(memoryview(out))
        return bytes(out)

    def _fill(self, target: memoryview) -> None:
        """Fill ``target``: first from what was read ahead, then large rests directly, small ones through the buffer."""
        done = 0
        while done < len(target):
            ahead = self._end - self._start
            if ahead:
                take = min(ahead, len(target) - done)
                target[done : done + take] = memoryview(self._small)[self._start : self._start + take]
                self._start += take
                done += take
            elif len(target) - done >= _SMALL_BYTES:
                done += self._read(target[done:])
            else:
                self._start, self._end = 0, 0
                self._end = self._read(memoryview(self._small))

    def _read(self, target: memoryview) -> int:
        try:
            got = self.stream.recv_into(target)
        except (OSError, ValueError) as exc:
            raise WireClosed(f"the connection ended ({exc})") from exc
        if got == 0:
            raise WireClosed("the other end closed the connection")
        self.heard_s = time.monotonic()
        return got

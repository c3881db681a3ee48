"""Connections of clients: taken over from the worker's acceptor by one thread, which must live as long as the kernel."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

from cellferry.guest.meeting import agreed, forsaken, join, known, turn_away
from cellferry.guest.room import beyond_the_limit
from cellferry.parcels import tls
from cellferry.parcels.wire import PREAMBLE, Channel, PlainStream, WireClosed

if TYPE_CHECKING:
    from cellferry.guest.door import Door, Link

NO_THREAD = "its kernel cannot start a thread for another connection: its memory, or what it may use of it, is full"


class Reception:
    """One for each kernel. ``control`` is the socket to the worker; ``pinned_pem``: the client's certificate, None behind a unix
    socket."""

    def __init__(self, door: Door, control: socket.socket, pinned_pem: str | None) -> None:
        self._door, self._control, self._pinned_pem = door, control, pinned_pem
        self._meeting = threading.Lock()

    def open(self) -> None:
        """Begin to take connections."""
        threading.Thread(target=self._take, name="cellferry-door", daemon=True).start()

    def _take(self) -> None:
        """The end of the control socket is the end of the worker. Nothing else ends this thread: everybody waits for it."""
        while True:
            try:
                data, fds, _flags, _address = socket.recv_fds(self._control, 4096, 4)
            except MemoryError:
                continue
            except OSError:
                data, fds = b"", []
            if not data:
                os.killpg(os.getpgid(0), signal.SIGKILL)
            try:
                with beyond_the_limit():
                    self._serve(data, fds)
            except Exception:
                traceback.print_exc(file=sys.__stderr__)

    def _serve(self, data: bytes, fds: list[int]) -> None:
        if not fds:
            self._door.hear(data)
        for fd in fds:
            self._door.tell({"op": "taken"})  # from here on it ends with this kernel, and not before
            sock = socket.socket(fileno=fd)
            try:
                threading.Thread(target=self._connect, args=(sock,), name="cellferry-link", daemon=True).start()
            except (RuntimeError, MemoryError):
                self._send_away(sock)

    def _send_away(self, sock: socket.socket) -> None:
        """No thread for this client: it is told why, where that needs no conversation, and is not left waiting."""
        try:
            if self._pinned_pem is None:
                Channel(PlainStream(sock)).send({"op": "refused", "error": "MemoryError", "stage": "connection", "what": NO_THREAD})
        except (OSError, WireClosed):
            pass
        finally:
            sock.close()

    def _connect(self, sock: socket.socket) -> None:
        """A client that is new here, or one that comes back to its link."""
        link = None
        try:
            channel = Channel(tls.taken(sock, PREAMBLE, self._door.folder, self._pinned_pem))
            hello = channel.recv()[0]
            if agreed(hello) is None:
                turn_away(channel)
                return
            with self._meeting, beyond_the_limit():
                link = self._meet(channel, hello)
        except (OSError, WireClosed, ValueError, TypeError):
            sock.close()
            return
        except BaseException:  # whatever it is: the client must not wait for a thread that is gone
            sock.close()
            raise
        if link is not None:
            self._door.tell_state()
            link.serve()

    def _meet(self, channel: Channel, hello: dict[str, Any]) -> Link | None:
        """The new link for this client; None if it came back to one that it has."""
        door = self._door
        link, attempt = known(door.links, hello), int(hello.get("attempt", 0))
        if link is not None:
            if attempt <= link.attempt:
                channel.close()  # an older attempt than the one that it goes on with
                return None
            link.attempt = attempt
            if not join(link, channel, hello, resumed=True):
                channel.close()
                link.channel.close()  # they do not agree about what was sent: next time the client is a new one
            return None
        for other in forsaken(door.links, hello):
            other.channel.close()
        link = door.new_link(hello)
        join(link, channel, {**hello, "got": 0}, resumed=False)
        door.links.append(link)
        return link

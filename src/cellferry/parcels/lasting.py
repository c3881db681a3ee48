"""A channel that outlives its connection: each frame arrives exactly once and in order, over as many connections as it takes.

Both ends count frames; the numbers themselves never travel, since a connection keeps the order. What the other end has not
acknowledged is kept, by reference, and sent again over the next connection. Frames of this layer alone carry no number::

    {"op": "ack", "got": N}      everything up to frame N is here; also the sign of life of an idle link
    {"op": "skip", "count": K}   the next K frames are not there any more

Outputs (``event``) are special: whoever makes them must not wait for a network. They are sent as far as that goes at once, the
rest by a thread, and few of them are kept (``parcels.outbox``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from cellferry.parcels.outbox import Again, Outbox
from cellferry.parcels.wire import Allocate, Buffer, Channel, Meta, WireClosed, encoded, size_of
from cellferry.parcels.wire import _allocate as any_memory

ACK_BYTES = 1 << 20
ACK_FRAMES = 64
"""After so much that came, an acknowledgement is sent by itself;"""
CARRY_BYTES = 1 << 12
CARRY_FRAMES = 16
"""after so much, with the next frame."""
TEND_S = 1.0
"""How long an acknowledgement waits for a frame that could carry it."""


class Lasting:
    """The interface of ``wire.Channel``, over one connection after the other. ``recv`` belongs to one thread.

    ``on_break`` is called by ``recv`` whenever the connection is gone, and returns when there is another one (``attach``), or
    raises WireClosed. By default it waits for one.
    """

    def __init__(
        self,
        on_break: Callable[[], None] | None = None,
        *,
        beat_s: float = 0.0,
        silent_s: float = 0.0,
        on_silence: Callable[[], bool] = lambda: False,
    ) -> None:
        """``beat_s``: give a sign of life that often; 0 where the end of a connection is always seen. ``silent_s``: when nothing
        came for so long, ``on_silence`` says whether the connection is good nevertheless; otherwise it is given up."""
        self._on_break = on_break or self.wait_attached
        self._beat_s, self._silent_s, self._on_silence = beat_s, silent_s, on_silence
        # Kept apart: an interrupt may hit the way out of a condition, which is Python, but not that out of a lock.
        self._lock = threading.RLock()
        self._state = threading.Condition(self._lock)
        self._work = threading.Condition(self._lock)
        """For the thread that nobody waits for alone: it must not wake with every frame."""
        self._writing = False
        """Somebody writes to the connection; whoever does takes everything along that others have left."""
        self._channel: Channel | None = None
        self._closed = self._woken = self._reading = False
        self._outbox = Outbox()
        self._rest: list[memoryview] = []
        self._got = self._told = self._untold_bytes = 0
        self._spoke_s = 0.0
        self._thread: threading.Thread | None = None
        self.broken_s: float | None = None
        """When the connection was lost (time.monotonic()); None while there is one."""
        self.sent_bytes = 0
        self.received_bytes = 0

    # -- frames -----------------------------------------------------------------------------------------------------

    def send(self, meta: Meta, buffers: Sequence[Buffer] = (), *, event: bool = False, again: Again | None = None) -> None:
        """Send one frame, now or over the next connection; returns when it is on its way or there is no connection.

        The buffers are kept until the other end has them: they must not change. ``event``: an output, for which nobody
        waits; ``again`` reads it back, and makes it one. Raises WireClosed after ``close``.
        """
        parts = encoded(meta, buffers)
        size, event = size_of(parts), event or again is not None
        with self._lock:
            if event:
                self._make_room(size)
            if self._closed:
                raise WireClosed("the link is closed")
            number = self._outbox.add(parts, size, again, event=event)
            self.sent_bytes += size
        self._pump(number, wait=not event)

    def recv(self, allocate: Allocate = any_memory) -> tuple[Meta, list[Any]]:
        """Wait for the next frame, over whatever connection it comes; raises WireClosed after ``close``."""
        while True:
            channel = self._channel
            if self._closed:
                raise WireClosed("the link is closed")
            if channel is None:
                self._on_break()
                continue
            before = channel.received_bytes
            try:
                channel.heard_s = time.monotonic()
                self._reading = True
                meta, buffers = channel.recv(allocate)
            except WireClosed:
                self._lose(channel)
                continue
            finally:
                self._reading = False
            if meta.get("op") == "ack":
                self._acknowledged(meta["got"])
            elif self._count(channel, meta, channel.received_bytes - before):
                return meta, buffers

    def close(self) -> None:
        """Give up for good: nothing is kept any more. Repeatable, from any thread."""
        with self._lock:
            self._closed = True
            channel, self._channel = self._channel, None
            self._outbox.clear()
            self._state.notify_all()
            self._wake()
        if channel is not None:
            channel.close()

    def abandon(self) -> None:
        """In a process that was forked off: this link is the other one's. Nothing is said, and no lock is waited for."""
        self._lock = threading.RLock()
        self._state, self._work = threading.Condition(self._lock), threading.Condition(self._lock)
        self._closed, self._writing = True, False
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.stream.abandon()

    # -- connections ------------------------------------------------------------------------------------------------

    @property
    def attached(self) -> bool:
        return self._channel is not None

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def waiting_bytes(self) -> int:
        """What could not be sent yet."""
        with self._lock:
            return sum(kept.size for kept in self._outbox.unsent if kept.parts is not None)

    @property
    def waiting(self) -> bool:
        """Whether something has not reached the other end, as far as is known here."""
        return bool(self._outbox.unsent or self._outbox.sent)

    @property
    def number(self) -> int:
        """Of the last frame that was given to ``send``."""
        return self._outbox.number

    def has_arrived(self, number: int) -> bool:
        """Whether the other end has said that this frame is there."""
        with self._lock:
            return self._outbox.has_arrived(number)

    def acknowledge(self) -> None:
        """Tell the other end now what has come: it waits for that."""
        with self._lock:
            self._wake()

    def detach(self) -> int:
        """Give up the connection, if there is one; returns the number of the last frame that came, for the other end."""
        channel = self._channel
        if channel is not None:
            self._lose(channel)
        with self._lock:
            return self._got

    def attach(self, channel: Channel, got: int) -> bool:
        """Go on over ``channel``, after frame ``got``, the last that the other end has. Both ends know each other there.

        False, and nothing happens, if the two ends do not agree about what was sent: then the link is lost.
        """
        with self._lock:
            if self._closed or self._channel is not None or not self._outbox.can_go_on_after(got):
                return False
            self._outbox.go_on_after(got)
            self._channel, self.broken_s = channel, None
            self._told, self._untold_bytes, self._rest = self._got, 0, []
            self._wake()
            self._state.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._tend, name="cellferry-tend", daemon=True)
                self._thread.start()
        return True

    def wait_attached(self, timeout_s: float | None = None) -> bool:
        """Until there is a connection; False after the time. Raises WireClosed when the link is closed."""
        with self._lock:
            self._state.wait_for(lambda: self._channel is not None or self._closed, timeout_s)
            if self._closed:
                raise WireClosed("the link is closed")
            return self._channel is not None

    def _lose(self, channel: Channel) -> None:
        with self._lock:
            if channel is self._channel:
                self._channel, self.broken_s = None, time.monotonic()
                self._outbox.return_all()
                self._rest = []
                self._state.notify_all()
        channel.close()

    # -- what has come ----------------------------------------------------------------------------------------------

    def _count(self, channel: Channel, meta: Meta, size: int) -> bool:
        """Whether this frame is to be handed out."""
        with self._lock:
            if channel is not self._channel:
                return False  # the other end has been told that it is not here: it comes again
            if meta.get("op") == "skip":
                self._got += int(meta["count"])
                return False
            self._got += 1
            self.received_bytes += size
            self._untold_bytes += size
            if self._untold_bytes >= ACK_BYTES or self._got - self._told >= ACK_FRAMES:
                self._wake()
        return True

    def _acknowledged(self, got: int) -> None:
        with self._lock:
            self._outbox.acknowledged(got)
            self._state.notify_all()

    # -- what goes --------------------------------------------------------------------------------------------------

    def _make_room(self, size: int) -> None:
        """Keep no more than so much of outputs: read them back later, or drop them, or wait while somebody takes them."""
        while not self._closed and self._outbox.crowded(size):
            if not self._outbox.ease(connected=self._channel is not None):
                self._wake()
                self._state.wait(TEND_S)

    def _pump(self, number: int, *, wait: bool) -> None:
        """Have everything up to this frame written, by whoever is at it; ``wait``: until it is, or the connection breaks."""
        while True:
            mine = False
            try:
                with self._lock:
                    if self._writing and wait:
                        self._state.wait(TEND_S)
                    if not self._writing:
                        self._writing = mine = True  # nothing can come between the two
                if mine:
                    self._drain(number, wait)
            finally:
                if mine:
                    self._writing = False
            with self._lock:
                if mine:
                    self._state.notify_all()
                if self._channel is None or not self._outbox.unsent or (not mine and not wait):
                    return
                if wait and self._outbox.unsent[0].number > number:
                    self._wake()  # what others have left to us in the last moment
                    return
                if mine and not wait and self._rest:
                    return

    def _drain(self, number: int, wait: bool) -> None:
        """Write what there is, up to this frame. Only for whoever has set ``_writing``."""
        channel = self._channel
        if channel is None:
            return
        try:
            while True:
                with self._lock:
                    if channel is not self._channel or not (self._outbox.unsent or self._rest):
                        return
                    if self._rest and not wait:
                        self._wake()
                        return
                    rest, kept = self._rest, None
                    if not rest:
                        if wait and self._outbox.unsent[0].number > number:
                            return
                        kept = self._outbox.take()
                    ack = [] if rest else self._ack()
                if kept is None:
                    channel.stream.send_rest(rest)
                    self._wrote(channel, [])
                elif wait:
                    channel.stream.sendv([*ack, *kept.content()])
                    self._wrote(channel, [])
                else:
                    self._wrote(channel, channel.stream.sendv_now([*ack, *kept.content()]))
        except (OSError, ValueError):
            self._lose(channel)
        except BaseException:  # an interrupt may have come in the middle of a frame
            self._lose(channel)
            raise

    def _wrote(self, channel: Channel, rest: list[memoryview]) -> None:
        with self._lock:
            if channel is self._channel:
                self._rest, self._spoke_s = rest, time.monotonic()
                if rest:
                    self._wake()

    def _ack(self, always: bool = False) -> list[Buffer]:
        """What goes along with a frame: nothing while it is not worth its bytes."""
        if not always and self._untold_bytes < CARRY_BYTES and self._got - self._told < CARRY_FRAMES:
            return []
        self._told, self._untold_bytes = self._got, 0
        return encoded({"op": "ack", "got": self._got})

    # -- the thread that nobody waits for ----------------------------------------------------------------------------

    def _wake(self) -> None:
        self._woken = True
        self._work.notify()

    def _tend(self) -> None:
        """Whoever waits for an acknowledgement, or for outputs, waits for this thread: it lives as long as the link."""
        while not self._closed:
            try:
                self._tend_on()
            except Exception:  # no memory, or an output that cannot be read back: over a new connection it is tried again
                channel = self._channel
                if channel is not None:
                    self._lose(channel)
                time.sleep(TEND_S)

    def _tend_on(self) -> None:
        while True:
            with self._lock:
                if not self._woken:
                    self._work.wait(TEND_S)
                self._woken = False
                if self._closed:
                    return
                channel, busy = self._channel, bool(self._outbox.unsent or self._rest)
            if channel is None:
                continue
            if busy:
                self._pump(self._outbox.number, wait=True)
            self._speak(channel)
            if self._silent_s and self._reading and time.monotonic() - channel.heard_s > self._silent_s:
                if self._on_silence():
                    channel.heard_s = time.monotonic()
                else:
                    self._lose(channel)

    def _speak(self, channel: Channel) -> None:
        """An acknowledgement that no frame has carried, or the sign of life."""
        beat = bool(self._beat_s) and time.monotonic() - self._spoke_s >= self._beat_s
        if self._got == self._told and not beat:
            return
        with self._lock:
            if self._writing or self._rest or channel is not self._channel:
                return  # what is being written is a sign of life, and the next frame carries the rest
            self._writing = True
            ack = self._ack(always=True)
        try:
            channel.stream.sendv(ack)
            self._wrote(channel, [])
        except (OSError, ValueError):
            self._lose(channel)
        finally:
            with self._lock:
                self._writing = False
                self._state.notify_all()
        self._pump(self._outbox.number, wait=True)

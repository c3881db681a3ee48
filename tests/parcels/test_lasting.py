"""Frames outlive their connections: each arrives exactly once and in order, wherever the wire is cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from cellferry import model
from cellferry.parcels import lasting, wire
from cellferry.parcels.lasting import Lasting
from cellferry.parcels.outbox import EVENT_BYTES
from cellferry.parcels.wire import Buffer, Channel, PlainStream, WireClosed, size_of

PATIENCE_S = 30


class Cut(PlainStream):
    """A stream that breaks after so many bytes in its direction, in the middle of whatever is sent."""

    def __init__(self, sock: socket.socket, left: int) -> None:
        super().__init__(sock)
        self.left = left

    def sendv(self, parts: Sequence[Buffer]) -> None:
        self._spend(parts, super().sendv)

    def sendv_now(self, parts: Sequence[Buffer]) -> list[memoryview]:
        return self._spend(parts, super().sendv_now)

    def _spend(self, parts: Sequence[Buffer], send: Callable[..., Any]) -> Any:
        size = size_of(parts)
        if size > self.left:
            whole = b"".join(parts)
            self.sock.sendall(whole[: self.left])
            self.left = 0
            self.sock.shutdown(socket.SHUT_RDWR)
            raise BrokenPipeError("cut")
        self.left -= size
        return send(parts)


class Ends:
    """Two ends that are connected again as often as it takes. ``cuts``: bytes each way that a connection lives for."""

    def __init__(self, cuts: Sequence[tuple[int, int]] = ()) -> None:
        self.cuts = list(cuts)
        self.up = threading.Event()
        self.up.set()
        self.connections = 0
        self.here = Lasting(self.connect)
        self.there = Lasting()

    def connect(self) -> None:
        while not self.up.wait(0.05):
            if self.here.closed:
                raise WireClosed("closed")
        ours, theirs = socket.socketpair()
        out, back = self.cuts.pop(0) if self.cuts else (1 << 40, 1 << 40)
        got_here, got_there = self.here.detach(), self.there.detach()
        self.connections += 1
        if self.here.closed or self.there.closed:
            ours.close()
            theirs.close()
            raise WireClosed("closed")
        assert self.there.attach(Channel(Cut(theirs, back)), got_here)
        assert self.here.attach(Channel(Cut(ours, out)), got_there)

    def cut(self, *, stay_down: bool = False) -> None:
        if stay_down:
            self.up.clear()
        wait_for(lambda: self.here.attached and self.there.attached)
        channel = self.here._channel
        if channel is not None:
            channel.close()
        self.there.detach()

    def close(self) -> None:
        self.up.set()
        self.here.close()
        self.there.close()


@pytest.fixture
def ends() -> Iterator[Callable[..., Ends]]:
    made: list[Ends] = []

    def make(*args: Any) -> Ends:
        made.append(Ends(*args))
        return made[-1]

    yield make
    for each in made:
        each.close()


def collect(end: Lasting, count: int) -> tuple[threading.Thread, list[Any]]:
    got: list[Any] = []

    def read() -> None:
        try:
            while len(got) < count:
                meta, buffers = end.recv()
                got.append((meta["n"], [bytes(b) for b in buffers]))
            while True:
                got.append(end.recv())
        except WireClosed:
            pass

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread, got


def wait_for(condition: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(PATIENCE_S * 100):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it has not come to that")


frames = st.lists(st.tuples(st.lists(st.integers(0, 3000), max_size=3), st.booleans()), max_size=25)
cuts = st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 6000)), max_size=8)


@given(frames, frames, cuts)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_frame_arrives_once_and_in_order_wherever_it_is_cut(
    out: list[tuple[list[int], bool]], back: list[tuple[list[int], bool]], where: list[tuple[int, int]]
) -> None:
    ends = Ends(where)
    plans = [[(n, [bytes([n % 251]) * size for size in sizes], event) for n, (sizes, event) in enumerate(plan)] for plan in (out, back)]
    try:
        readers = [collect(ends.here, len(back)), collect(ends.there, len(out))]

        def say(end: Lasting, plan: list[tuple[int, list[bytes], bool]]) -> None:
            for n, buffers, event in plan:
                end.send({"op": "x", "n": n}, buffers, event=event)

        speakers = [
            threading.Thread(target=say, args=pair, daemon=True)
            for pair in zip((ends.here, ends.there), plans, strict=True)
        ]
        for thread in speakers:
            thread.start()
        for thread in speakers:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        wait_for(lambda: len(readers[0][1]) >= len(back) and len(readers[1][1]) >= len(out))
    finally:
        ends.close()
    for (thread, got), plan in zip(readers, reversed(plans), strict=True):
        thread.join(PATIENCE_S)
        assert got == [(n, buffers) for n, buffers, _event in plan]


def test_what_was_acknowledged_is_not_kept(ends: Callable[..., Ends], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "TEND_S", 0.05)
    pair = ends()
    _, got = collect(pair.there, 100)
    collect(pair.here, 1)
    for n in range(100):
        pair.here.send({"op": "x", "n": n}, [b"a" * 1000])
    wait_for(lambda: len(got) == 100 and not pair.here.waiting)


def test_memory_is_kept_by_reference(ends: Callable[..., Ends]) -> None:
    pair = ends()
    collect(pair.here, 1)
    pair.cut(stay_down=True)
    wait_for(lambda: not pair.here.attached)
    large = bytearray(1 << 20)
    pair.here.send({"op": "x", "n": 0}, [large])
    assert any(part is large for part in pair.here._outbox.unsent[0].parts or ())
    _, got = collect(pair.there, 1)
    pair.up.set()
    wait_for(lambda: len(got) == 1)


def test_outputs_never_wait_and_the_oldest_are_dropped_with_a_word(ends: Callable[..., Ends]) -> None:
    pair = ends()
    collect(pair.here, 1)
    pair.cut(stay_down=True)
    size, count = 1 << 16, 4000  # 250 MiB, more than may be kept
    for n in range(count):
        pair.there.send({"op": "event", "n": n}, [bytes(size)], event=True)
        if n == 10:
            pair.there.send({"op": "home", "n": "home"})
    kept = sum(each.size for each in pair.there._outbox.unsent if each.parts)
    assert kept <= EVENT_BYTES + (1 << 10)
    assert len(pair.there._outbox.unsent) < count // 4
    got: list[Any] = []

    def read() -> None:
        while not got or got[-1].get("n") != count - 1:
            got.append(pair.here.recv()[0])

    pair.here.close()  # its reader waits for a connection in vain: another end goes on
    other = Lasting()
    ours, theirs = socket.socketpair()
    assert pair.there.attach(Channel(PlainStream(theirs)), 0)
    assert other.attach(Channel(PlainStream(ours)), 0)
    pair.here = other
    read()
    said = [meta["text"] for meta in got if meta["op"] == "say"]
    assert [meta["n"] for meta in got if meta["op"] == "home"] == ["home"]
    numbers = [meta["n"] for meta in got if meta["op"] == "event"]
    assert numbers == list(range(numbers[0], count)) and len(numbers) >= 100
    assert said[0].startswith("11 outputs") and str(numbers[0] - 11) in said[1]
    assert other._got == pair.there._outbox.number


def test_outputs_that_can_be_read_back_are(ends: Callable[..., Ends]) -> None:
    pair = ends()
    collect(pair.here, 1)
    pair.cut(stay_down=True)
    count, size = 300, 1 << 16
    read_back: list[int] = []

    def again(n: int) -> Callable[[], Any]:
        def read() -> Any:
            read_back.append(n)
            return {"op": "event", "n": n}, [bytes([n % 251]) * size]

        return read

    for n in range(count):
        pair.there.send({"op": "event", "n": n}, [bytes([n % 251]) * size], again=again(n))
    assert pair.there._outbox.event_bytes <= EVENT_BYTES
    pair.here.close()
    pair.here = other = Lasting()
    ours, theirs = socket.socketpair()
    assert pair.there.attach(Channel(PlainStream(theirs)), 0) and other.attach(Channel(PlainStream(ours)), 0)
    for n in range(count):
        meta, buffers = other.recv()
        assert meta["n"] == n and bytes(buffers[0]) == bytes([n % 251]) * size
    assert 0 < len(read_back) < count


def test_an_output_does_not_wait_for_a_client_that_reads_nothing() -> None:
    ours, theirs = socket.socketpair()
    end = Lasting()
    assert end.attach(Channel(PlainStream(theirs)), 0)
    done = threading.Event()

    def speak() -> None:
        for n in range(60):  # 6 MB: far more than a socket takes, less than may be kept
            end.send({"op": "event", "n": n}, [bytes(100_000)], event=True)
        done.set()

    threading.Thread(target=speak, daemon=True).start()
    assert done.wait(PATIENCE_S)
    channel = Channel(PlainStream(ours))
    assert [channel.recv()[0]["n"] for _ in range(60)] == list(range(60))
    end.close()
    channel.close()


def test_a_silent_connection_is_given_up_unless_it_is_known_to_be_good() -> None:
    ours, theirs = socket.socketpair()
    asked: list[bool] = [True, False]
    end = Lasting(lambda: (_ for _ in ()).throw(WireClosed("over")), silent_s=0.1, on_silence=lambda: asked.pop(0))
    assert end.attach(Channel(PlainStream(theirs)), 0)
    with pytest.raises(WireClosed):
        end.recv()
    assert not asked
    end.close()
    ours.close()


def test_signs_of_life_keep_a_silent_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "TEND_S", 0.05)
    asked: list[int] = []
    here, there = Lasting(silent_s=0.5, on_silence=lambda: bool(asked.append(1))), Lasting(beat_s=0.1)
    ours, theirs = socket.socketpair()
    assert here.attach(Channel(PlainStream(ours)), 0) and there.attach(Channel(PlainStream(theirs)), 0)
    threading.Timer(1.5, lambda: there.send({"op": "x"})).start()
    assert here.recv()[0] == {"op": "x"} and not asked
    here.close()
    there.close()


def test_ends_that_do_not_agree_are_not_joined() -> None:
    ours, theirs = socket.socketpair()
    end, channel = Lasting(), Channel(PlainStream(theirs))
    assert not end.attach(channel, 5)
    assert end.attach(channel, 0)
    assert not end.attach(channel, 0)
    end.close()
    ours.close()


def test_an_interrupt_in_the_middle_of_a_frame_costs_the_connection_and_nothing_else(ends: Callable[..., Ends]) -> None:
    pair = ends()
    _, got = collect(pair.there, 3)
    collect(pair.here, 1)
    wait_for(lambda: pair.here.attached)
    stream: Any = pair.here._channel.stream  # type: ignore[union-attr]

    def half(parts: Sequence[Buffer]) -> None:
        whole = b"".join(parts)
        stream.sock.sendall(whole[: len(whole) // 2])
        raise KeyboardInterrupt

    pair.here.send({"op": "x", "n": 0})
    stream.sendv = half
    with pytest.raises(KeyboardInterrupt):
        pair.here.send({"op": "x", "n": 1}, [b"b" * 100])
    pair.here.send({"op": "x", "n": 2})
    wait_for(lambda: len(got) == 3)
    assert got == [(0, []), (1, [b"b" * 100]), (2, [])] and pair.connections == 2


def test_the_versions_are_told_in_two_places_alike() -> None:
    assert model.PROTOCOL == wire.PROTOCOL

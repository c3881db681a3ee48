"""Frames over a plain socket and over TLS: whole, in order, into the memory that was asked for."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from cellferry.parcels import tls
from cellferry.parcels.identity import KeyPair, make_key_pair
from cellferry.parcels.wire import Channel, PlainStream, Stream, WireClosed

MEGABYTE = 1 << 20
Pair = tuple[Channel, Channel]


def plain_pair() -> Pair:
    ours, theirs = socket.socketpair()
    return Channel(PlainStream(ours)), Channel(PlainStream(theirs))


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        return client, server.accept()[0]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[KeyPair, KeyPair]:
    folder = tmp_path_factory.mktemp("keys")
    return make_key_pair(folder, "worker"), make_key_pair(folder, "client")


def tls_streams(
    server: KeyPair, client: KeyPair, *, trusted_client: KeyPair | None = None, trusted_server: KeyPair | None = None
) -> tuple[Stream, Stream]:
    """(client's, server's); raises what the client's handshake raises."""
    trusted_client, trusted_server = trusted_client or client, trusted_server or server
    near, far = tcp_pair()
    server_context = tls.server_context(server.cert_path, server.key_path, trusted_client.cert_pem)
    client_context = tls.client_context(trusted_server.cert_pem, client.cert_path, client.key_path)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(tls.TlsStream, far, server_context, server_side=True, pinned_pem=trusted_client.cert_pem)
        try:
            stream = tls.TlsStream(near, client_context, server_side=False, pinned_pem=trusted_server.cert_pem)
        except BaseException:
            other.exception(10)
            raise
        try:
            return stream, other.result(10)
        except BaseException:
            stream.close()
            raise


@pytest.fixture(params=["plain", "tls"])
def pair(request: pytest.FixtureRequest, keys: tuple[KeyPair, KeyPair]) -> Iterator[Pair]:
    if request.param == "plain":
        made = plain_pair()
    else:
        near, far = tls_streams(*keys)
        made = Channel(near), Channel(far)
    yield made
    for channel in made:
        channel.close()


def send_all(channel: Channel, frames: list[tuple[dict[str, Any], list[bytes]]]) -> threading.Thread:
    def work() -> None:
        for meta, buffers in frames:
            channel.send(meta, buffers)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


sizes = st.one_of(st.integers(0, 40), st.sampled_from([65_535, 65_536, 65_537, 300_000]))
frames_of = st.lists(
    st.tuples(st.dictionaries(st.text(max_size=5), st.integers()), st.lists(sizes, max_size=5)), min_size=1, max_size=8
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(frames_of)
def test_frames_arrive_whole_and_in_order(pair: Pair, shapes: list[tuple[dict[str, int], list[int]]]) -> None:
    near, far = pair
    frames = [(meta, [os.urandom(size) for size in sizes]) for meta, sizes in shapes]
    sender = send_all(near, frames)
    for meta, buffers in frames:
        got_meta, got = far.recv()
        assert got_meta == meta and [bytes(b) for b in got] == buffers
    sender.join()
    assert far.received_bytes == near.sent_bytes


def test_both_directions_at_once(pair: Pair) -> None:
    near, far = pair
    load = [({"n": n}, [bytes([n]) * (3 * MEGABYTE)]) for n in range(8)]
    threads = [send_all(near, load), send_all(far, load)]
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(lambda c: [c.recv() for _ in load], channel) for channel in (near, far)]
        for result in results:
            for n, (meta, buffers) in enumerate(result.result(60)):
                assert meta == {"n": n} and buffers[0] == load[n][1][0]
    for thread in threads:
        thread.join()


def test_several_threads_send_whole_frames(pair: Pair) -> None:
    near, far = pair
    threads = [send_all(near, [({"n": n}, [bytes([n]) * 100_000])] * 20) for n in range(4)]
    for _ in range(80):
        meta, buffers = far.recv()
        assert buffers[0] == bytes([meta["n"]]) * 100_000
    for thread in threads:
        thread.join()


def test_a_buffer_goes_into_the_memory_that_was_asked_for(pair: Pair) -> None:
    near, far = pair
    memory = bytearray(2 * MEGABYTE)
    asked: list[tuple[dict[str, Any], int, int]] = []

    def allocate(meta: dict[str, Any], index: int, size: int) -> Any:
        asked.append((meta, index, size))
        return memoryview(memory)[:size] if index == 1 else bytearray(size)

    sender = send_all(near, [({"op": "x"}, [b"head", b"y" * (2 * MEGABYTE), b""])])
    far.recv(allocate)
    sender.join()
    assert memory == b"y" * (2 * MEGABYTE)
    assert asked == [({"op": "x"}, 0, 4), ({"op": "x"}, 1, 2 * MEGABYTE), ({"op": "x"}, 2, 0)]


def test_the_end_of_the_connection_is_an_error_of_its_own(pair: Pair) -> None:
    near, far = pair
    near.send({"last": 1})
    near.close()
    assert far.recv()[0] == {"last": 1}
    with pytest.raises(WireClosed):
        far.recv()
    with pytest.raises(WireClosed):
        for _ in range(100):
            far.send({}, [b"x" * MEGABYTE])


@pytest.mark.parametrize(
    "bytes_sent", [b"GET / HTTP/1.1\r\n\r\n", struct.pack("!II", 10, 0) + b"{", struct.pack("!II", 1 << 30, 0)]
)
def test_what_is_no_frame_ends_the_conversation(bytes_sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(PlainStream(ours))
    theirs.sendall(bytes_sent)
    theirs.close()
    with pytest.raises(WireClosed):
        channel.recv()
    channel.close()


def test_tls_is_version_1_3_with_our_protocol(keys: tuple[KeyPair, KeyPair]) -> None:
    near, far = tls_streams(*keys)
    for stream in (near, far):
        assert stream._tls.version() == "TLSv1.3"  # type: ignore[attr-defined]
        assert stream._tls.selected_alpn_protocol() == "cellferry/1"  # type: ignore[attr-defined]
        stream.close()


@pytest.mark.parametrize("wrong", ["trusted_client", "trusted_server"])
def test_any_other_certificate_is_refused(keys: tuple[KeyPair, KeyPair], tmp_path: Path, wrong: str) -> None:
    stranger = make_key_pair(tmp_path, "stranger")
    with pytest.raises((ssl.SSLError, OSError)):
        near, far = tls_streams(*keys, **{wrong: stranger})
        try:
            # in TLS 1.3 the client learns only with its first read that its certificate was refused
            near.recv_into(memoryview(bytearray(1)))
        finally:
            near.close()
            far.close()


def test_a_client_without_a_certificate_is_refused(keys: tuple[KeyPair, KeyPair]) -> None:
    server, client = keys
    near, far = tcp_pair()
    context = tls.server_context(server.cert_path, server.key_path, client.cert_pem)
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.verify_mode = ssl.CERT_NONE

    def connect() -> None:
        with bare.wrap_socket(near) as secure:
            secure.recv(1)

    with ThreadPoolExecutor(1) as pool:
        tried = pool.submit(connect)
        with pytest.raises(ssl.SSLError):
            tls.TlsStream(far, context, server_side=True, pinned_pem=client.cert_pem)
        assert isinstance(tried.exception(10), OSError)


def test_older_versions_of_tls_are_refused(keys: tuple[KeyPair, KeyPair]) -> None:
    server, client = keys
    near, far = tcp_pair()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.load_cert_chain(client.cert_path, client.key_path)
    context = tls.server_context(server.cert_path, server.key_path, client.cert_pem)
    with ThreadPoolExecutor(1) as pool:
        tried = pool.submit(old.wrap_socket, near)
        with pytest.raises(ssl.SSLError):
            tls.TlsStream(far, context, server_side=True, pinned_pem=client.cert_pem)
        assert isinstance(tried.exception(10), OSError)
    near.close()

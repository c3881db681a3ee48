"""The first moments of a connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from cellferry.errors import LinkError
from cellferry.link import dial
from cellferry.model import Endpoint


@pytest.fixture
def door() -> Iterator[Endpoint]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Endpoint("tls", host="127.0.0.1", port=listener.getsockname()[1])


@pytest.mark.parametrize(("resets", "answered"), [(0, True), (2, True), (3, False)])
def test_a_connection_that_is_reset_before_a_word_is_made_again(
    door: Endpoint, monkeypatch: pytest.MonkeyPatch, resets: int, answered: bool
) -> None:
    """A kernel that ends with the connection in its queue resets it, and the next kernel takes the next one."""
    tries: list[socket.socket] = []

    def handshake(sock: socket.socket, *_: Any, **__: Any) -> Any:
        tries.append(sock)
        sock.close()
        if len(tries) <= resets:
            raise ConnectionResetError(104, "Connection reset by peer")
        return SimpleNamespace()

    monkeypatch.setattr(dial, "client_context", lambda *_: None)
    monkeypatch.setattr(dial.tls, "TlsStream", handshake)
    monkeypatch.setattr(dial, "Channel", lambda stream: stream)
    if answered:
        assert dial.dial(door)
    else:
        with pytest.raises(LinkError, match="does not answer"):
            dial.dial(door)
    assert len(tries) == min(resets + 1, 3)

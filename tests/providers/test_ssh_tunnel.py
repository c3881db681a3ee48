"""What the ways through an ssh connection decide on this side of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cellferry.providers.ssh_tunnel import Names


async def _ask(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    look_up = loop.getaddrinfo

    async def counted(host: str, *words: Any, **more: Any) -> Any:
        asked.append(host)
        return await look_up(host, *words, **more)

    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    names, port = Names(), server.sockets[0].getsockname()[1]
    monkeypatch.setattr(loop, "getaddrinfo", counted)
    for _, writer in await asyncio.gather(*[names.connect("localhost", port) for _ in range(50)]):
        writer.close()
    server.close()
    for _ in range(2):
        with pytest.raises(OSError):
            await names.connect("no such host", port)


def test_many_connections_ask_once_for_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    asyncio.run(_ask(asked, monkeypatch))
    assert asked.count("localhost") == 1
    assert asked.count("no such host") == 2, "what is not known now may be known later"

"""A file's way from the worker straight into the artifact store, with nothing but what the client allows for it.

Three kinds of order, see ``store``. The user's environment may have no library for a store, so pre-signed URLs are
served by the standard library alone.
"""

from __future__ import annotations

import http.client
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

_BLOCK_BYTES = 1 << 20
_PATIENCE_S = 60.0
_AT_ONCE = 4


def store(inside: Callable[[str], Path], order: dict[str, Any]) -> dict[str, Any]:
    """Carry out one order for the file ``order["path"]``; returns ``{}``-like outcomes, ``error`` among them.

    ``parts``: ``[pre-signed URL, offset, bytes]`` each, PUT four at a time; ``tags`` has their ETags.
    ``target``: a path on a file system that this machine shares; written beside it, then renamed.
    ``url``: any other fsspec URL; served if fsspec and the protocol's package are installed here.
    """
    try:
        source = inside(order["path"])
        if "parts" in order:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                return {"tags": list(pool.map(lambda part: _put(source, *part), order["parts"]))}
        if "target" in order:
            _copy(source, Path(order["target"]))
        else:
            _by_fsspec(source, order["url"])
        return {}
    except Exception as exc:
        return {"error": f"{type(exc).__name__}: {exc}"[:500]}


def leave(source: Path, order: dict[str, Any], wanted: Callable[[], bool]) -> None:
    """Bring one file of ours to where an order of ``link.checkpoints`` says: ``put`` (a pre-signed URL), ``target`` or ``url``
    as above. Gives up, with nothing written, when it is not ``wanted`` any more. Raises OSError and what fsspec raises."""
    if "put" in order:
        _put(source, order["put"], 0, source.stat().st_size, wanted)
    elif "target" in order:
        _copy(source, Path(order["target"]))
    else:
        _by_fsspec(source, order["url"])


def fetch(order: dict[str, Any], target: Path) -> bool:
    """The way back: ``get`` (a pre-signed URL), ``target`` or ``url``; False if nothing is there. Raises as ``leave``."""
    if "get" in order:
        return _get(order["get"], target)
    try:
        if "target" in order:
            shutil.copyfile(order["target"], target)
        else:
            import fsspec

            with fsspec.open(order["url"], "rb") as file, target.open("wb") as out:
                shutil.copyfileobj(file, out, _BLOCK_BYTES)
    except FileNotFoundError:
        return False
    return True


def _get(url: str, target: Path) -> bool:
    parts = urlsplit(url)
    connection = _connection(parts)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        response = connection.getresponse()
        if response.status == 404:
            return False
        if response.status >= 300:
            raise OSError(f"the store answered {response.status} {response.reason}")
        with target.open("wb") as out:
            shutil.copyfileobj(response, out, _BLOCK_BYTES)
    finally:
        connection.close()
    return True


def _connection(parts: SplitResult) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.netloc, timeout=_PATIENCE_S, blocksize=_BLOCK_BYTES)


def _put(source: Path, url: str, at: int, size: int, wanted: Callable[[], bool] = lambda: True) -> str:
    """PUT one range of a file, read block by block; returns its ETag. Raises OSError with the server's words."""
    parts = urlsplit(url)
    connection = _connection(parts)
    try:
        with source.open("rb") as file:
            file.seek(at)
            # a type of its own: some servers take a missing one for a form
            headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
            target = f"{parts.path}?{parts.query}"
            connection.request("PUT", target, body=_blocks(file, size, wanted), headers=headers)
            response = connection.getresponse()
            text = response.read(2000).decode("utf-8", "replace")
        if response.status >= 300:
            raise OSError(f"the store answered {response.status} {response.reason}: {' '.join(text.split())[:300]}")
        return response.headers.get("ETag", "")
    finally:
        connection.close()


def _blocks(file: Any, size: int, wanted: Callable[[], bool]) -> Iterator[bytes]:
    while size:
        if not wanted():
            raise OSError("it is not wanted any more")
        block = file.read(min(size, _BLOCK_BYTES))
        if not block:
            raise OSError("the file became shorter while it was stored")
        size -= len(block)
        yield block


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.cellferry-part")
    try:
        shutil.copyfile(source, beside)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _by_fsspec(source: Path, url: str) -> None:
    import fsspec

    with source.open("rb") as file, fsspec.open(url, "wb") as out:
        shutil.copyfileobj(file, out, _BLOCK_BYTES)

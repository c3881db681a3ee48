"""The seal of what a run leaves in the artifact store: which key made it, for which run and under which name. See decision 021."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection, Mapping
from pathlib import Path

_BLOCK_BYTES = 1 << 20


def run_key(master: bytes, run: str) -> bytes:
    """The key of one run: a worker that has it can seal nothing for another run."""
    return hmac.new(master, b"cellferry results " + run.encode(), hashlib.sha256).digest()


def mac_of(key: bytes, run: str, name: str, file: Path) -> str:
    """What seals this content under this name of this run, in hex. Read block by block; raises OSError."""
    mac = hmac.new(key, json.dumps([run, name]).encode() + b"\0", hashlib.sha256)
    with file.open("rb") as content:
        while block := content.read(_BLOCK_BYTES):
            mac.update(block)
    return mac.hexdigest()


def is_sealed(key: bytes, run: str, seal: bytes, files: Mapping[str, Path], names: Collection[str]) -> bool:
    """Whether ``seal`` (as it was found) is of this key, for exactly ``names``, and for the content of ``files``, some of them.

    Raises OSError for a file that cannot be read.
    """
    try:
        macs = json.loads(seal)
    except (ValueError, RecursionError):
        return False
    if not isinstance(macs, dict) or set(macs) != set(names) or not set(files) <= set(names):
        return False
    return all(
        isinstance(macs[name], str) and hmac.compare_digest(macs[name].encode(), mac_of(key, run, name, file).encode())
        for name, file in files.items()
    )

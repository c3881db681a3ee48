"""The key by which this machine knows again what its runs have left in the artifact store. It never leaves this machine."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from cellferry.errors import IdentityError

NAME = "artifact-key"
_BYTES = 32


def master_key(folder: Path) -> bytes:
    """The key in the state folder ``folder``, made when there is none. Raises IdentityError, OSError."""
    place = folder / NAME
    if not place.exists():
        _make(place)
    key = place.read_bytes()
    if len(key) != _BYTES:
        raise IdentityError(
            f"{place} is no key of {_BYTES} bytes",
            f"copy it from where it is whole, or remove it: what is in the store under the old key stays closed: rm {place}",
        )
    return key


def _make(place: Path) -> None:
    """Whole or not at all, and never in place of another that somebody made meanwhile."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
        with suppress(FileExistsError):
            os.link(part, place)
    finally:
        part.unlink(missing_ok=True)

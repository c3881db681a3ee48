"""What is owed to the ledger: notes that could not be made when they were due, kept until they can be.

Noting what something came to must never decide what becomes of a cell or a worker. A note that fails lies in the state folder, one
file each, so that the end of this process does not lose it, and any process of this user makes it as soon as the ledger can be
used again. Every note may be made twice: a receipt counts once, and so does an end.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cellferry.ledger import Receipt

FOLDER = "owed"
SUFFIX = ".json"


@dataclass(frozen=True)
class End:
    """The machine of this order is gone since then (seconds since 1970). ``spent_microusd``: None for price times time."""

    token: str
    at_unix_s: float
    spent_microusd: int | None = None


Note = Receipt | End
_KINDS: Mapping[str, type[Any]] = {"receipt": Receipt, "end": End}


def to_text(note: Note) -> str:
    """JSON, the same for the same note."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(note, cls))
    return json.dumps({"kind": kind, **{f"note.{name}": value for name, value in asdict(note).items()}}, sort_keys=True)


def from_text(text: str) -> Note | None:
    """The note again; None for what another version has written, or half of it."""
    try:
        told = json.loads(text)
        cls = _KINDS[told["kind"]]
        note: Note = cls(**{each.name: told[f"note.{each.name}"] for each in fields(cls)})
    except (ValueError, KeyError, TypeError):
        return None
    return note


class Owed:
    """The notes of one user. May be used from every thread; never raises because of the disk."""

    def __init__(self, state: Callable[[], Path]) -> None:
        """``state``: the private folder for what must survive this process; may raise OSError."""
        self._state, self._lock = state, threading.Lock()
        self._kept: dict[str, Note] = {}
        """Those that could not be written down: a full disk."""

    def add(self, note: Note) -> None:
        """Keep it; the same note once."""
        text = to_text(note)
        name = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        try:
            folder = self._folder()
            folder.mkdir(mode=0o700, exist_ok=True)
            _write(folder / f"{name}{SUFFIX}", text)
        except OSError:
            with self._lock:
                self._kept[name] = note

    def all(self) -> dict[str, Note]:
        """Every note that can be read, by its name."""
        with self._lock:
            found = dict(self._kept)
        with contextlib.suppress(OSError):
            for path in self._folder().glob(f"*{SUFFIX}"):
                with contextlib.suppress(OSError, UnicodeDecodeError):
                    note = from_text(path.read_text("utf-8"))
                    if note is not None:
                        found[path.stem] = note
        return found

    def made(self, name: str) -> None:
        """It is in the ledger."""
        with self._lock:
            self._kept.pop(name, None)
        with contextlib.suppress(OSError):
            (self._folder() / f"{name}{SUFFIX}").unlink(missing_ok=True)

    def _folder(self) -> Path:
        return self._state() / FOLDER


def _write(path: Path, text: str) -> None:
    """In one step, for this user alone, and on the disk when this returns."""
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)

"""What cells asked for while they ran: remembered here, so that the next environment has it from the start."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

_MOST_STEPS = 50


def remember(cache: Path, before: Iterable[str], asked: Iterable[str]) -> None:
    """A kernel that had ``before`` (distributions) asked for ``asked`` as well; a memory only, so a full disk is no error."""
    place = _place(cache, before)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(sorted(asked)), "utf-8")
    except OSError:
        pass


def recall(cache: Path, names: Iterable[str]) -> set[str]:
    """``names`` and what kernels with exactly these asked for, one after the other."""
    found = set(names)
    for _step in range(_MOST_STEPS):
        try:
            more = set(json.loads(_place(cache, found).read_text("utf-8"))) - found
        except (OSError, ValueError):
            break
        if not more:
            break
        found |= more
    return found


def _place(cache: Path, names: Iterable[str]) -> Path:
    return cache / "asked" / hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:24]

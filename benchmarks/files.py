"""Files for the rows about them: no two chunks equal, never the same content twice, and cheap to check."""

from __future__ import annotations

import random
from pathlib import Path

_BLOCK_BYTES = 1 << 20
_SMALL_BYTES = 4096


def make_file(path: Path, size: int, turn: int) -> None:
    """A file of ``size`` bytes that depends on ``turn`` alone."""
    source = random.Random(turn)
    with path.open("wb") as file:
        for _at in range(0, size, _BLOCK_BYTES):
            file.write(source.randbytes(min(_BLOCK_BYTES, size)))


def check_file(path: Path, size: int, turn: int) -> None:
    """Raise unless ``path`` is what ``make_file`` made: its size and its first block."""
    with path.open("rb") as file:
        first = file.read(_BLOCK_BYTES)
    if path.stat().st_size != size or first != random.Random(turn).randbytes(min(_BLOCK_BYTES, size)):
        raise AssertionError(f"{path.name} did not arrive as it was")


def make_small(folder: Path, count: int, turn: int) -> None:
    """``count`` files of 4 KiB."""
    folder.mkdir()
    source = random.Random(turn)
    for number in range(count):
        (folder / f"{number}.bin").write_bytes(source.randbytes(_SMALL_BYTES))


def check_small(folder: Path, count: int, turn: int) -> None:
    """Raise unless the folder holds what ``make_small`` made."""
    source = random.Random(turn)
    right = [(folder / f"{number}.bin").read_bytes() == source.randbytes(_SMALL_BYTES) for number in range(count)]
    if not all(right):
        raise AssertionError(f"{right.count(False)} of {count} small files did not arrive as they were")

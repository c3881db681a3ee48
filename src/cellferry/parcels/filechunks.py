"""Files in chunks of 1 MiB, on both ends of a link: their digests, their names, and where one lies while it arrives.

XXH3-128 notices which chunks differ, BLAKE3 names those that need not travel. A file is read in pieces: whatever its
size, a few MiB of memory are in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import xxhash

from cellferry.parcels.leaves import CHUNK_BYTES, DIGEST_BYTES

STEP_BYTES = 4 << 20
"""Most bytes of one piece, and about the size of a frame of many small files."""

NAME_BYTES = 32
"""Bytes of a BLAKE3 name."""

_PART_SUFFIX = ".cellferry-part"

Range = tuple[int, int]
"""(offset, bytes)."""


def part_of(path: Path) -> Path:
    """Where a file lies, beside its place, until it is whole."""
    return path.with_name(f".{path.name}{_PART_SUFFIX}")


def is_part(name: str) -> bool:
    return name.endswith(_PART_SUFFIX)


def file_digests(path: Path) -> bytes:
    """XXH3-128 of every chunk, 16 bytes each. Raises OSError."""
    digest, found = xxhash.xxh3_128_digest, []
    with path.open("rb", buffering=0) as file:
        view = memoryview(bytearray(CHUNK_BYTES))
        while size := read_full(file, view):
            found.append(digest(view[:size]))
    return b"".join(found)


def read_full(file: object, view: memoryview) -> int:
    """Fill ``view`` from an unbuffered file as far as it goes; returns the bytes."""
    done = 0
    while done < len(view):
        got = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not got:
            break
        done += got
    return done


def chunk_names(path: Path, chunks: Sequence[int]) -> bytes:
    """BLAKE3 of these chunks, 32 bytes each, one after the other. Raises OSError."""
    from blake3 import blake3

    view, found = memoryview(bytearray(CHUNK_BYTES)), []
    with path.open("rb", buffering=0) as file:
        for chunk in chunks:
            file.seek(chunk * CHUNK_BYTES)
            found.append(blake3(view[: read_full(file, view)]).digest())
    return b"".join(found)


def wrong_names(path: Path, chunks: Sequence[int], names: bytes) -> list[int]:
    """Those of the chunks whose content has another name than the one given; all of them if the file cannot be read."""
    try:
        mine = chunk_names(path, chunks)
    except OSError:
        return list(chunks)
    return [
        chunk
        for at, chunk in enumerate(chunks)
        if mine[at * NAME_BYTES : (at + 1) * NAME_BYTES] != names[at * NAME_BYTES : (at + 1) * NAME_BYTES]
    ]


def same_chunks(mine: bytes, theirs: bytes) -> list[int]:
    """Indices of the chunks that have the same digest at the same place on both ends. Pure."""
    count = min(len(mine), len(theirs)) // DIGEST_BYTES
    return [
        at
        for at in range(count)
        if mine[at * DIGEST_BYTES :][:DIGEST_BYTES] == theirs[at * DIGEST_BYTES :][:DIGEST_BYTES]
    ]


def missing_ranges(size: int, present: Iterable[int]) -> list[Range]:
    """What of a file of ``size`` bytes must travel when these chunks are there, in pieces of at most 4 MiB. Pure.

    An empty file travels as one empty range, for it must be made.
    """
    held, found = set(present), list[Range]()
    for chunk in range(-(-size // CHUNK_BYTES)):
        at = chunk * CHUNK_BYTES
        length = min(CHUNK_BYTES, size - at)
        if chunk in held:
            continue
        if found and found[-1][0] + found[-1][1] == at and found[-1][1] + length <= STEP_BYTES:
            found[-1] = (found[-1][0], found[-1][1] + length)
        else:
            found.append((at, length))
    return found if size else [(0, 0)]

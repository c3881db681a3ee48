"""Which files that a worker offers come home, and what becomes of a file that has the name here. Pure.

A worker may offer anything. What it offers is taken as if somebody else had sent it: nothing hidden, nothing that would be
run, not too many; and a file that the two ends have never exchanged is the user's, not the worker's.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from cellferry.link.beneath import Stamp, stays_inside
from cellferry.parcels.placeholder import human_bytes

MOST_FILES = 10_000
"""So many files come home with one cell, or one ``%remote get``: as many as a worker looks through."""
EARLIER = ".cellferry-earlier"
"""Beside the notebook: files that others have replaced."""
_MOST_LINES = 20
_DATA = frozenset({
    ".csv", ".tsv", ".txt", ".log", ".json", ".jsonl", ".ndjson", ".geojson", ".yaml", ".yml", ".parquet", ".feather", ".arrow",
    ".orc", ".avro", ".npy", ".npz", ".h5", ".hdf5", ".nc", ".mat", ".fits", ".safetensors", ".png", ".jpg", ".jpeg", ".gif",
    ".webp", ".bmp", ".tif", ".tiff", ".wav", ".flac", ".mp3", ".ogg", ".mp4", ".webm",
})  # fmt: skip
"""Kinds of files that nothing runs when they are opened, or lie there."""
_PACKED = frozenset({".gz", ".bz2", ".xz", ".zst"})
_ACTED_ON = frozenset({
    "package.json", "package-lock.json", "composer.json", "tsconfig.json", "jsconfig.json", "deno.json", "vercel.json",
    "requirements.txt", "constraints.txt", "cmakelists.txt", "environment.yml", "environment.yaml", "docker-compose.yml",
    "docker-compose.yaml", "compose.yml", "compose.yaml", "action.yml", "action.yaml", "robots.txt",
})  # fmt: skip
"""Names of such kinds that some program takes for its orders."""


class Stays(Enum):
    """Why a file stays on its worker."""

    OUTSIDE = "outside"
    HIDDEN = "hidden"
    KIND = "kind"
    LARGE = "large"
    LINK = "link"


class How(Enum):
    """What becomes of the file that has the name here."""

    NEW = "new"
    REPLACED = "replaced"
    KEPT_EARLIER = "kept earlier"
    """Replaced, and kept where an undo finds it (``EARLIER``)."""
    BESIDE = "beside"


@dataclass(frozen=True)
class Here:
    """What lies at a file's place here. ``stamp``: of a plain file, None for nothing. ``odd``: something else, a link or a
    folder. ``came``: the file is as it came from a worker."""

    stamp: Stamp | None = None
    odd: bool = False
    came: bool = False


@dataclass(frozen=True)
class Words:
    """What the user has said: ``named``: paths in the cell and in what it uses; ``asked``: those of ``files=``; ``get``: the
    pattern of ``%remote get``. ``started_ns``: when; what has changed here since is newer than what the worker had."""

    started_ns: int
    named: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    get: str = ""

    def exactly(self, name: str) -> bool:
        """Whether ``%remote get`` was given this very name."""
        return self.get == name

    def wants(self, name: str) -> bool:
        """Whether ``%remote get`` means this file: a part with a dot in front is meant by one with a dot alone."""
        if self.get == name:
            return True
        parts = PurePosixPath(self.get).parts
        dotted = [part for part in PurePosixPath(name).parts if part.startswith(".")]
        meant = (any(p.startswith(".") and fnmatch.fnmatchcase(part, p) for p in parts) for part in dotted)
        return fnmatch.fnmatchcase(name, self.get) and all(meant)


def why_it_stays(name: str, words: Words, *, data_only: bool) -> Stays | None:
    """Why a file of this name does not come home; None if it may."""
    if not stays_inside(name):
        return Stays.OUTSIDE
    if words.exactly(name):
        return None
    hidden = any(part.startswith(".") for part in PurePosixPath(name).parts)
    if hidden and name not in words.asked and not (words.get and words.wants(name)):
        return Stays.HIDDEN
    if data_only and not is_data(name):
        return Stays.KIND
    return None


def is_data(name: str) -> bool:
    """Whether a file's name is that of data, which nothing runs."""
    path = PurePosixPath(name.lower())
    if path.suffix in _PACKED:
        path = PurePosixPath(path.stem)
    return path.suffix in _DATA and path.name not in _ACTED_ON


def how(name: str, here: Here, agreed: Stamp | None, words: Words, *, data_only: bool) -> How:
    """What becomes of what is here. ``agreed``: how the file looked here when this worker and the notebook had the same."""
    if here.odd:
        return How.BESIDE
    if here.stamp is None:
        return How.NEW
    if here.stamp == agreed or (agreed is None and here.came and here.stamp[0] < words.started_ns):
        return How.REPLACED
    if words.get and (words.exactly(name) or not data_only):
        return How.KEPT_EARLIER
    if agreed is None and name in words.named and here.stamp[0] < words.started_ns and not data_only:
        return How.KEPT_EARLIER
    return How.BESIDE


def stayed_line(name: str, why: Stays, size_bytes: int = 0) -> str:
    """The line about a file that stays."""
    shown = name if name.isprintable() else repr(name)
    bring = f"bring it: %remote get {shown}"
    return {
        Stays.OUTSIDE: f"{name!r} was not taken: it would lie outside of the notebook's folder",
        Stays.HIDDEN: f"{shown} stayed on the worker: hidden files come home only when they are asked for; {bring}",
        Stays.KIND: f"{shown} stayed on the worker: trust is set to data, and this is no kind of file that nothing runs; {bring}",
        Stays.LARGE: f"{shown} ({human_bytes(size_bytes)}) stayed on the worker: over file_limit; {bring}",
        Stays.LINK: f"{shown} stayed on the worker: a folder on its way is a link here, which is not followed; {bring}",
    }[why]


def here_line(name: str, how: How, here: Here, agreed: Stamp | None, other: str) -> str:
    """The line about a file that was here; "" where there is nothing to say. ``other``: where the second one is."""
    if how is How.KEPT_EARLIER:
        return f"{name} was here before; it is replaced, and the earlier one is kept: {other}"
    if how is not How.BESIDE:
        return ""
    if here.odd:
        return f"{name} is a link or a folder here: it is as it was, the worker's is {other}"
    if agreed is None:
        return f"{name} was here before, and no worker has had it: yours is kept, the worker's is {other}"
    return f"{name} changed here meanwhile: yours is kept, the worker's is {other}"


def some(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], *([f"... and {more} more files of which the same is to be said"] if more > 0 else [])]

"""What is in the notebook's folder, for a worker elsewhere whose cell lists it. Reads the disk, sends nothing."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from cellferry.link.ignored import Ignored
from cellferry.link.never_sent import is_litter, why_secret
from cellferry.link.wanted import head_of, secret

MOST_ENTRIES = 10_000

Row = tuple[str, int, int, bool]
"""Path relative to the folder, bytes, mtime in ns, executable."""


@dataclass
class Inventory:
    """Files and folders below the notebook's, the upper ones first; ``complete``: none was left out for their number."""

    files: list[Row] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    complete: bool = True


def inventory(folder: Path, exchanged: Container[str]) -> Inventory:
    """All that a cell there may have: no secrets, caches or what ``.gitignore`` names, unless both sides have it
    (``exchanged``). Links are followed; at most ``MOST_ENTRIES``."""
    found, ignored = Inventory(), Ignored(folder)
    seen: set[tuple[int, int]] = set()
    level = [""]
    while level:
        below: list[str] = []
        for name in level:
            if len(found.files) + len(found.folders) >= MOST_ENTRIES:
                found.complete = False
                return found
            below += _one_folder(found, folder, name, ignored, exchanged, seen)
        level = below
    return found


def _one_folder(
    found: Inventory, top: Path, name: str, ignored: Ignored, exchanged: Container[str], seen: set[tuple[int, int]]
) -> list[str]:  # fmt: skip
    """Add what lies in one folder; returns the folders in it."""
    below: list[str] = []
    try:
        status = (top / name).stat()
        if (status.st_dev, status.st_ino) in seen:
            return []  # a link that leads up
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(top / name) as entries:
            for entry in sorted(itertools.islice(entries, MOST_ENTRIES + 1), key=lambda each: each.name):
                if len(found.files) + len(found.folders) + len(below) >= MOST_ENTRIES:
                    found.complete = False
                    break
                path = f"{name}/{entry.name}" if name else entry.name
                if is_litter(entry.name) or why_secret(path):
                    continue
                if entry.is_dir():
                    if not ignored.leaves_out(path, folder=True):
                        below.append(path)
                elif entry.is_file() and (path in exchanged or not ignored.leaves_out(path, folder=False)):
                    status = entry.stat()
                    if why_secret(path, head_of(top / path)) or (entry.is_symlink() and secret(top, path)):
                        continue
                    found.files.append((path, status.st_size, status.st_mtime_ns, bool(status.st_mode & stat.S_IXUSR)))
    except OSError:
        return below  # it may not be read, or is just being removed
    found.folders += below
    return below

"""A worker on this machine works in the notebook's own folder: nothing is sent, and what its cells write is simply there.

See docs/decisions/016.
"""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cellferry.link.files import FileSync
from cellferry.link.never_sent import is_litter
from cellferry.link.session import KernelLink
from cellferry.link.wanted import files_matching

_MOST_LISTED = 10_000


class SameFolder(FileSync):
    """The files of one worker that needs none sent. What a run in an isolated folder has left there still comes home."""

    def send(self, link: KernelLink, folder: Path, strings: Sequence[str], patterns: Sequence[str]) -> int:
        """0; raises BadValue for a pattern of ``files=`` that matches nothing, as for a worker elsewhere."""
        for pattern in patterns:
            files_matching(folder, pattern)
        return 0

    def get(self, link: KernelLink, folder: Path, pattern: str) -> list[str]:
        """Names of the files here that match: whatever the worker has written is among them."""
        return [name for name in self.listing(link) if fnmatch.fnmatchcase(name, pattern)]

    def listing(self, link: KernelLink) -> dict[str, int]:
        """Files below the notebook's folder, with their bytes; caches and the like left out, and what is beyond 10,000."""
        found: dict[str, int] = {}
        for place, folders, files in os.walk("."):
            folders[:] = sorted(each for each in folders if not is_litter(each))
            for file in sorted(files):
                path = os.path.normpath(os.path.join(place, file))  # noqa: PTH118 - os.walk gives texts
                if is_litter(file) or not os.path.isfile(path):  # noqa: PTH113
                    continue
                found[path] = os.path.getsize(path)  # noqa: PTH202
                if len(found) >= _MOST_LISTED:
                    return found
        return found


def where_this_runs(*, same_environment: bool) -> dict[str, Any]:
    """What a worker in the notebook's folder is told with each cell: the folder, and where modules are imported from unless it
    has an environment of its own. Raises nothing: where the folder has been removed, the cell runs in the worker's own."""
    try:
        folder = os.getcwd()  # noqa: PTH109
    except OSError:
        return {}
    return {"cwd": folder, "path": list(sys.path) if same_environment else None}


def follow(cwd: str | None, before: str | None) -> None:
    """Go to the folder in which a cell has ended, if that is not where it began: as after ``%cd`` in a local cell."""
    if cwd and before and cwd != before:
        os.chdir(cwd)

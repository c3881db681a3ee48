"""Folders of this room: what can be made again lies in the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "CELLFERRY_CACHE_DIR"


def cache_folder() -> Path:
    """``CELLFERRY_CACHE_DIR``, or ``cellferry`` in the user's cache folder (XDG). Not made yet."""
    told = os.environ.get(CACHE_VARIABLE)
    if told:
        return Path(told).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "cellferry"

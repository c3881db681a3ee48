"""Folders of this room: what can be made again lies in the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "CELLFERRY_CACHE_DIR"
_chosen = ""


def choose_cache(folder: str) -> None:
    """Use ``folder`` in this process, "" for none in particular; called with the setting ``c.Cellferry.cache_dir``."""
    global _chosen
    _chosen = folder


def cache_folder() -> Path:
    """The folder chosen, else ``CELLFERRY_CACHE_DIR``, else ``cellferry`` in the user's cache folder (XDG). Not made yet."""
    told = _chosen or os.environ.get(CACHE_VARIABLE)
    if told:
        return Path(told).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "cellferry"

"""What the worker itself asks and says of its runs. Apart from ``runs``, which is slower to import."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

LOST = "lost"
"""A file in the folder of a run whose kernel died; its time is when."""


def note_lost(runs: Path, pid: int) -> None:
    """The kernel that was process ``pid`` is dead: say so in each of its runs that has not ended, for their time is paid for."""
    for path in runs.glob("*/run.json"):
        with suppress(OSError, ValueError):
            if not (path.parent / "end.json").exists() and json.loads(path.read_text("utf-8")).get("pid") == pid:
                (path.parent / LOST).touch(mode=0o600)


def any_kept(runs: Path) -> bool:
    """Is there a run that nobody waits for and whose results nobody has? Asked every second.

    ``runs``: the folder of ``guest.journal``. Such a run is a reason for a worker to live on.
    """
    return any(not (path.parent / "claimed").exists() for path in runs.glob("*/orphan"))

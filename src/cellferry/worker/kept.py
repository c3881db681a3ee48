"""Is there a run that nobody waits for and whose results nobody has? Apart from ``runs``: each worker asks every second."""

from __future__ import annotations

from pathlib import Path


def any_kept(runs: Path) -> bool:
    """``runs``: the folder of ``guest.journal``. Such a run is a reason for a worker to live on."""
    return any(not (path.parent / "claimed").exists() for path in runs.glob("*/orphan"))

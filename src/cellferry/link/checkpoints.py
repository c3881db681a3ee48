"""Where checkpoints, and results that nobody has taken, lie in the artifact store; what the worker may do there: orders, never
keys.

A run with checkpoints has two places that are written in turn, and a word on which of them is the newest that is whole.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from cellferry.errors import IdentityError, LinkError
from cellferry.link.artifacts import Store
from cellferry.link.store_key import NAME
from cellferry.parcels.seal import is_sealed, run_key

FOLDER = "checkpoints"
SLOTS = ("a.zip", "b.zip")
LATEST = "latest.json"
RENEW_S = 3600.0
"""How often the worker gets new orders while its client is connected; an order is good for ``store_s3.LEFT_S``."""

RESULTS = "results"
UNTOLD = {
    "notebook": "", "cell_id": "", "number": 0, "status": "ok", "asked_unix_s": 0.0, "began_unix_s": None, "ended_unix_s": None,
    "detached": True, "claimed": False, "unclaimed": True, "bytes": 0, "lost": "",
}  # fmt: skip
"""The row of a run whose worker, of an earlier release, has put nothing but its results there."""
ROW = "row"
SEAL = "seal"
KEPT = ("outputs", "result", ROW, SEAL)
_SMALL_BYTES = 1 << 20
"""More than any row and any seal."""


def result_order(store: Store, run: str, token: str, master: bytes) -> dict[str, Any]:
    """Where the worker may put what a run has made, ("outputs") what it has shown and ("row") whose it is, if nobody is there to
    take it, and ("seal", last) what proves it. ``token``: of the worker, "" for a free one; it goes along, for the bill. Raises
    LinkError."""
    more = {name: store.left(f"{RESULTS}/{run}/{name}") for name in ("outputs", ROW, SEAL)}
    key = run_key(master, run).hex()
    return {**store.left(f"{RESULTS}/{run}/result"), **more, "run": run, "key": key, "token": token}


def stored_results(store: Store) -> dict[str, dict[str, int]]:
    """The runs of which something is in the store: which of ``KEPT`` and of what size. Nothing of it is proven. Raises LinkError."""
    found: dict[str, dict[str, int]] = {}
    for name, size in store.listing().items():
        folder, _, rest = name.partition("/")
        run, _, last = rest.partition("/")
        if folder == RESULTS and last in KEPT:
            found.setdefault(run, {})[last] = size
    return found


def stored_rows(store: Store, master: bytes) -> list[dict[str, Any]]:
    """The rows (``guest.replay.row_of``) of the runs whose results are in the store and whose row is sealed by our key. Raises
    LinkError, OSError."""
    rows = []
    for run, sizes in stored_results(store).items():
        if not {"result", ROW, SEAL} <= set(sizes):
            continue
        with tempfile.TemporaryDirectory(prefix="cellferry-rows-") as place:
            try:
                fetch_results(store, run, sizes, Path(place), master, only=(ROW,))
                told = json.loads((Path(place) / ROW).read_text("utf-8"))
            except (ValueError, FileNotFoundError, LinkError):  # somebody else's, or it was brought home meanwhile
                continue
        if isinstance(told, dict):
            rows.append({**UNTOLD, **told, "run": run})
    return rows


def fetch_results(
    store: Store, run: str, sizes: Mapping[str, int], target: Path, master: bytes, only: Collection[str] = KEPT
) -> None:  # fmt: skip
    """Bring what is kept of a run (``sizes``: see ``stored_results``), ``only`` these of it, into the private folder ``target``.

    Raises IdentityError for what our key has not sealed, and leaves nothing of it; LinkError, OSError.
    """
    names = [name for name in sizes if name != SEAL]
    wanted = [name for name in names if name in only]
    if SEAL not in sizes or any(sizes[name] > _SMALL_BYTES for name in (SEAL, ROW) if name in sizes):
        raise _not_ours(store, run)
    for name in (SEAL, *wanted):
        store.fetch(f"{RESULTS}/{run}/{name}", target / name, lambda _bytes: None)
    files = {name: target / name for name in wanted}
    if not is_sealed(run_key(master, run), run, (target / SEAL).read_bytes(), files, names):
        for file in files.values():
            file.unlink()
        raise _not_ours(store, run)


def _not_ours(store: Store, run: str) -> IdentityError:
    return IdentityError(
        f"what is in {store.url}/{RESULTS}/{run}/ is not sealed by this machine's key: another machine, an earlier version or somebody "
        "else put it there, or it is not whole yet; nothing of it was opened",
        f"attach where the cell was started, or copy {NAME} from that machine's state folder (c.Cellferry.state_dir) to this one's; "
        "if it was stored just now, try once more",
    )


def forget_results(store: Store, run: str) -> None:
    """They are home. Raises LinkError."""
    store.remove(f"{RESULTS}/{run}")


class Kept:
    """The checkpoints of the run ``run`` in ``store``."""

    def __init__(self, store: Store, run: str) -> None:
        self.store, self.run = store, run

    @property
    def place(self) -> str:
        """As a URL, for people."""
        return f"{self.store.url}/{FOLDER}/{self.run}"

    def orders(self, *, resumes: bool = False) -> dict[str, Any]:
        """``slots`` and ``latest``: where the worker may write; ``resumes``: also ``restore``, from where it reads.

        Raises LinkError when the store does not take part.
        """
        told: dict[str, Any] = {
            "run": self.run,
            "place": self.place,
            "slots": [self.store.left(self._name(slot)) for slot in SLOTS],
            "latest": self.store.left(self._name(LATEST)),
        }
        if resumes:
            told["restore"] = {
                "slots": [self.store.lent(self._name(slot)) for slot in SLOTS],
                "latest": self.store.lent(self._name(LATEST)),
            }
        return told

    def renewed(self) -> dict[str, Any]:
        """The frame with newer orders, while the cell runs. Raises LinkError."""
        return {"op": "checkpoint", **self.orders()}

    def remove(self) -> None:
        """Take everything of the run out of the store. Raises LinkError."""
        self.store.remove(f"{FOLDER}/{self.run}")

    def _name(self, last: str) -> str:
        return f"{FOLDER}/{self.run}/{last}"

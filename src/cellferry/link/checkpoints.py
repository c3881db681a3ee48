"""Where checkpoints, and results that nobody has taken, lie in the artifact store; what the worker may do there: orders, never
keys.

A run with checkpoints has two places that are written in turn, and a word on which of them is the newest that is whole.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cellferry.errors import LinkError
from cellferry.link.artifacts import Store

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
KEPT = ("outputs", "result", ROW)


def result_order(store: Store, run: str, token: str) -> dict[str, Any]:
    """Where the worker may put what a run has made, ("outputs") what it has shown and ("row") whose it is, if nobody is there to
    take it. ``token``: of the worker, "" for a free one; it goes along, for the bill. Raises LinkError."""
    more = {name: store.left(f"{RESULTS}/{run}/{name}") for name in ("outputs", ROW)}
    return {**store.left(f"{RESULTS}/{run}/result"), **more, "token": token}


def stored_results(store: Store) -> dict[str, list[str]]:
    """The runs of which something is in the store, and which of ``KEPT``. Raises LinkError."""
    found: dict[str, list[str]] = {}
    for name in store.listing():
        folder, _, rest = name.partition("/")
        run, _, last = rest.partition("/")
        if folder == RESULTS and last in KEPT:
            found.setdefault(run, []).append(last)
    return found


def stored_rows(store: Store) -> list[dict[str, Any]]:
    """The rows (``guest.replay.row_of``) of the runs whose results are in the store; of one that a worker of an earlier release
    has put there, its id alone. Raises LinkError, OSError."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="cellferry-rows-") as place:
        for run, names in stored_results(store).items():
            if "result" not in names:
                continue
            told: dict[str, Any] = {}
            if ROW in names:
                with suppress(ValueError, FileNotFoundError, LinkError):  # it was brought home meanwhile
                    fetch_results(store, run, [ROW], Path(place))
                    told = json.loads((Path(place) / ROW).read_text("utf-8"))
                (Path(place) / ROW).unlink(missing_ok=True)
            rows.append({**UNTOLD, **told, "run": run})
    return rows


def fetch_results(store: Store, run: str, names: Iterable[str], target: Path) -> None:
    """Bring these of a run into the folder ``target``. Raises LinkError, OSError."""
    for name in names:
        store.fetch(f"{RESULTS}/{run}/{name}", target / name, lambda _bytes: None)


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

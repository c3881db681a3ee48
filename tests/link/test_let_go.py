"""A cell that is let go while the wire breaks: it is there with its values, or it is not there at all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cellferry.link.http import WorkerHttp

from .real import PATIENCE_S, Notebook, eventually, own, wire_of  # noqa: F401

MEGABYTE = 1 << 20

pytestmark = pytest.mark.slow


def runs(notebook: Notebook) -> dict[str, Any]:
    """The worker's list, by run; asked past the wire."""
    told = WorkerHttp(notebook.worker.endpoint, timeout_s=PATIENCE_S).get("runs")["runs"]
    return {row["run"]: row for row in told}


def test_it_is_let_go_when_its_values_are_there(own: Callable[..., Notebook]) -> None:
    notebook = own()
    wire, let_go = wire_of(notebook), threading.Event()
    notebook.values["a"] = np.random.default_rng(0).random(2 * MEGABYTE)
    wire.cut_after(8 * MEGABYTE)
    wire.refused = True  # no other connection
    sent: list[str] = []

    def leave() -> None:
        sent.append(notebook.send("total = float(a.sum())", detach=True))
        notebook.link.taken(whole=True)
        let_go.set()

    leaving = threading.Thread(target=leave)
    leaving.start()
    eventually(lambda: [bar for bar in notebook.paper.bars if "lost" in bar], "the line under the cell")
    assert not let_go.is_set() and [row["status"] for row in runs(notebook).values()] == ["queued"]
    wire.refused = False
    leaving.join(PATIENCE_S)
    assert let_go.is_set()
    notebook.link.close()
    eventually(lambda: runs(notebook)[sent[0]]["status"] == "ok", "its end")


@pytest.mark.parametrize("soon", [{"idle_s": 3.0}, {"grace_s": 3.0}], ids=["idle", "grace"])
@pytest.mark.parametrize("detach", [False, True])
def test_what_will_never_have_its_values_is_not_waited_for(own: Callable[..., Notebook], detach: bool, soon: dict[str, float]) -> None:
    """Its client is gone for good while they were on their way: the worker may end when it is unused, or without its notebook."""
    notebook = own(**soon)
    assert not runs(notebook)  # starts the worker's server, which takes longer than the worker waits
    wire = wire_of(notebook)
    notebook.values["a"] = np.random.default_rng(0).random(4 * MEGABYTE)
    wire.cut_after(8 * MEGABYTE)
    wire.refused = True
    sending = threading.Thread(target=lambda: notebook.send("total = float(a.sum())", detach=detach), daemon=True)
    sending.start()
    eventually(lambda: wire.cuts, "the cut")
    (row,) = runs(notebook).values()
    assert row["status"] == "queued"
    eventually(lambda: not notebook.fleet.alive(notebook.worker), "the end of the unused worker")
    assert not notebook.folder.exists()
    sending.join(PATIENCE_S)

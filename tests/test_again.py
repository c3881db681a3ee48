"""When a cell is run again, on which worker, and with what money: with stand-ins for the fleet and the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from cellferry import again, errors
from cellferry.again import Again
from cellferry.config import Cellferry
from cellferry.model import CellReport, CellRequest, Endpoint, Hardware, Offer, Worker, WorkerId
from cellferry.screen import Cell

CELL = Cell("x = 1", 0, 3, "c-1")
OFFER = Offer("demo", "here", "big", microusd_per_hour=3_600_000_000)


@dataclass
class Stage:
    """A fleet whose workers cost a thousand dollars an hour, or nothing. ``spends``: what each try comes to."""

    spends: int = 0
    alive_: bool = True
    ended: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    asked: list[CellRequest] = field(default_factory=list)
    errors_: list[BaseException | None] = field(default_factory=list)
    started: int = 0

    def __post_init__(self) -> None:
        purse = SimpleNamespace(note_cell=lambda *a: self.spends, spent=lambda token: SimpleNamespace(spent_microusd=self.spends))
        fleet: Any = SimpleNamespace(purse=purse, alive=lambda worker: self.alive_)
        screen: Any = SimpleNamespace(note=self.notes.append)
        self.again = Again(Cellferry(), fleet, screen, self.down)
        self.new_worker()

    def down(self, name: str) -> None:
        self.ended.append(self.worker.id)
        self.new_worker()

    def new_worker(self) -> None:
        self.started += 1
        token = f"t{self.started}" if self.spends else ""
        self.worker = Worker(
            WorkerId(f"w{self.started}"), "train", "demo", Endpoint("unix"), Hardware(), token=token,
            offer=OFFER if self.spends else None,
        )  # fmt: skip

    def once(self, request: CellRequest, cell: Cell) -> CellReport:
        self.asked.append(request)
        self.again.found(self.worker)
        error = self.errors_.pop(0) if self.errors_ else None
        if error is not None:
            raise error
        return CellReport("train", "ok")

    def run(self, request: CellRequest, *failures: BaseException) -> CellReport:
        self.errors_ = list(failures)
        return self.again.run(request, CELL, self.once)


def died() -> errors.KernelDied:
    return errors.KernelDied("the kernel was killed")


def test_a_kernel_that_died_is_followed_on_its_worker_once() -> None:
    stage = Stage()
    assert stage.run(CellRequest(retry=3), died(), died(), died()).status == "ok"
    assert stage.ended == ["w1"], "the second death ends the worker; the third is the first of the next"
    assert [request.retry for request in stage.asked] == [3, 2, 1, 0]
    assert "try 2 of 4, on the new kernel" in stage.notes[0] and "try 3 of 4, on a new worker" in stage.notes[1]


@pytest.mark.parametrize("error", [errors.WorkerLost("gone"), errors.SpotTaken("taken"), errors.DiskFull("full")])
def test_any_other_end_ends_the_worker_for_good(error: errors.WorkerError) -> None:
    stage = Stage()
    stage.run(CellRequest(retry=1), error)
    assert stage.ended == ["w1"] and len(stage.asked) == 2


@pytest.mark.parametrize(
    "error",
    [died().not_again(), errors.WorkerStartError("no"), errors.BudgetSpent("money"), KeyboardInterrupt(), errors.CannotTravel("x")],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_run_again(error: BaseException) -> None:
    stage = Stage()
    with pytest.raises(type(error)):
        stage.run(CellRequest(retry=5), error)
    assert len(stage.asked) == 1 and not stage.ended


def test_the_last_error_is_the_one_that_is_told() -> None:
    stage = Stage()
    with pytest.raises(errors.WorkerLost, match="second"):
        stage.run(CellRequest(retry=1), errors.WorkerLost("first"), errors.WorkerLost("second"))
    assert stage.ended == ["w1"], "after the last try nothing is ended: the next cell sees to it"


def test_what_the_tries_cost_together_stays_within_the_cells_budget() -> None:
    stage = Stage(spends=400)
    with pytest.raises(errors.WorkerLost):
        stage.run(CellRequest(retry=5, budget_microusd=1000), *(errors.WorkerLost("gone") for _ in range(9)))
    assert [request.budget_microusd for request in stage.asked] == [1000, 600, 200]
    assert "budget is spent" in stage.notes[-1]


def test_a_worker_that_others_are_on_is_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "others_use", lambda worker, ours: True)
    stage = Stage()
    stage.run(CellRequest(retry=2, name="train"), errors.WorkerLost("the connection broke"), died())
    assert not stage.ended and "others use" in stage.notes[0]
    stage.run(CellRequest(retry=1, name="train"), errors.SpotTaken("taken"))
    assert stage.ended == ["w1"], "its machine goes anyway"


def test_the_same_cell_run_by_hand_goes_on_with_what_was_saved() -> None:
    stage = Stage()
    request = CellRequest(checkpoint_s=1.0)
    there: Any = SimpleNamespace(worker=stage.worker)
    with pytest.raises(errors.KernelDied):
        stage.run(request, died())
    first = stage.again.words(there, request, "r")["checkpoint"]
    stage.run(replace(request, estimate=True))
    stage.run(request)
    second = stage.again.words(there, request, "r")["checkpoint"]
    assert second["run"] == first["run"] and second["resumes"]
    stage.run(request)
    third = stage.again.words(there, request, "r")["checkpoint"]
    assert third["run"] != first["run"] and not third["resumes"], "it has come home: the next begins anew"

"""Machines within a budget: the hunt, the purse, adoption and reaping, on the simulated cloud with real worker processes."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cellferry.config import Cellferry
from cellferry.errors import BudgetExceeded, LinkError, NoBudget, NothingToBeHad, RequestError
from cellferry.fleet.fleet import Fleet
from cellferry.fleet.reap import payer
from cellferry.fleet.states import candidates
from cellferry.ledger import Ask, cost_microusd
from cellferry.ledger.metering import reservation_for
from cellferry.model import CellRequest, Hardware, Machine, Offer, Worker
from cellferry.providers.local import LocalProvider
from cellferry.testing import SimulatedCloud, Weather
from cellferry.testing.contract import eventually
from ledger.conftest import _running, server  # noqa: F401
from ledger.postgres import Server

pytestmark = pytest.mark.slow
CALM = Weather(stock_out=0, no_quota=0, spot_life_s=None, boot_s=(0, 0))
A100 = CellRequest(Hardware(gpu="a100", gpu_count=1), providers=("demo",))
quiet: Callable[[str], None] = lambda line: None  # noqa: E731


@pytest.fixture(autouse=True)
def standin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "worker"))
    monkeypatch.setenv("CELLFERRY_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(LocalProvider, "kernel_module", "standin_guest")


Make = Callable[..., Fleet]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Fleet] = []

    def one(notebook: str = "work/a.ipynb", weather: Weather = CALM, **settings: Any) -> Fleet:
        fleet = Fleet(Cellferry(start_timeout_s=60, state_dir=os.environ["CELLFERRY_STATE_DIR"], **settings), notebook)
        cloud(fleet).weather = weather
        made.append(fleet)
        return fleet

    yield one
    for fleet in made:
        fleet.down(everyone=True)
        assert fleet.purse.open() == [], "every reservation is settled"
        assert list(cloud(fleet).machines()) == []
        fleet.close()


def cloud(fleet: Fleet) -> SimulatedCloud:
    found = fleet.provider("demo")
    assert isinstance(found, SimulatedCloud)
    return found


def with_budget(dollars: float, **more: Any) -> CellRequest:
    return dataclasses.replace(A100, budget_microusd=round(dollars * 1e6), **more)


def test_the_cheapest_machine_within_the_budget(make: Make) -> None:
    fleet = make()
    worker, fresh = fleet.acquire(with_budget(5), quiet)
    assert fresh and worker.offer is not None and worker.offer.gpu == "a100" and worker.offer.simulated
    fitting = [o for o in cloud(fleet).offers(A100) if o.gpu == "a100" and o.microusd_per_hour]
    assert worker.microusd_per_hour == min(o.microusd_per_hour or 0 for o in fitting)
    (row,) = fleet.purse.open()
    assert row.state == "running" and row.reserved_microusd == 5_000_000 and row.token == worker.token
    assert worker.lease.ends_unix_s is not None
    lasts_s = worker.lease.ends_unix_s - row.started_unix_s
    assert cost_microusd(worker.microusd_per_hour, lasts_s) <= 5_000_000, "it ends before it has spent more"
    assert fleet.acquire(A100, quiet) == (worker, False), "the next cell shares it"


def test_down_tells_the_total_and_gives_the_rest_back(make: Make) -> None:
    fleet = make(budget=5)
    worker, _ = fleet.acquire(A100, quiet)
    (ended,) = fleet.down()
    assert ended.name == "default" and 0 < ended.spent_microusd < ended.reserved_microusd == 5_000_000
    row = fleet.purse.ledger.get(worker.token)
    assert row is not None and row.state == "ended" and row.spent_microusd == ended.spent_microusd
    storage = [r for r in fleet.purse.ledger.receipts() if r.kind == "storage"]
    assert storage and all(receipt.estimated for receipt in storage)


def test_many_end_at_once_and_one_that_cannot_holds_up_no_other(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = make()
    names = [f"w{number}" for number in range(4)]
    workers = [fleet.acquire(with_budget(1, name=name), quiet)[0] for name in names]
    stop, all_are_leaving = cloud(fleet).stop, threading.Barrier(len(names))

    def stop_together(worker: Worker) -> None:
        all_are_leaving.wait(60)  # broken unless every one is being ended at the same time
        stop(worker)
        if worker.name == "w1":
            raise LinkError("its provider does not answer")

    monkeypatch.setattr(cloud(fleet), "stop", stop_together)
    with pytest.raises(LinkError, match="does not answer"):
        fleet.down()
    monkeypatch.undo()
    assert not any(fleet.alive(worker) for worker in workers)
    assert [row.worker for row in fleet.purse.open()] == ["w1"], "what could be ended is settled"


def test_failover_goes_to_the_next_place_and_remembers(make: Make) -> None:
    fleet = make(weather=dataclasses.replace(CALM, stock_out=0.7), demo_seed=7)
    lines: list[str] = []
    worker, _ = fleet.acquire(with_budget(5), lines.append)
    refused = fleet.purse.ledger.refusals(0.0)
    assert refused and {refusal.kind for refusal in refused} == {"no_capacity"}
    assert worker.offer is not None and (worker.offer.region, worker.offer.instance) not in {(r.region, r.instance) for r in refused}
    assert any("no p4d.24xlarge left" in line for line in lines) and set(refused) == set(fleet.hunt.refused)
    assert [row.state for row in fleet.purse.open()] == ["running"], "a failed try holds no money"


def test_the_error_carries_the_whole_history(make: Make) -> None:
    fleet = make(weather=dataclasses.replace(CALM, stock_out=1.0))
    with pytest.raises(NothingToBeHad) as caught:
        fleet.acquire(with_budget(5), quiet)
    assert len(caught.value.history) > 2 and caught.value.advice
    for refusal in caught.value.history:
        assert refusal.region in caught.value.what and refusal.kind == "no_capacity"
    assert fleet.purse.open() == [] and fleet.status() == []


def test_no_quota_is_told_by_name_and_code_before_anything_is_tried(make: Make) -> None:
    fleet = make(weather=dataclasses.replace(CALM, no_quota=1.0))
    with pytest.raises(NothingToBeHad, match="L-417A185B") as caught:
        fleet.acquire(with_budget(5), quiet)
    assert caught.value.history == () and "Running On-Demand P instances" in caught.value.what


def test_two_notebooks_and_the_last_dollar(make: Make) -> None:
    ours, theirs = make("a.ipynb", budget_day=5), make("b.ipynb", budget_day=5)
    ours.acquire(A100, quiet)
    with pytest.raises(BudgetExceeded, match=r"a\.ipynb") as caught:
        theirs.acquire(A100, quiet)
    assert "$5.00" in str(caught.value) and "default" in str(caught.value), "who holds it, and for what"
    assert [row.notebook for row in theirs.purse.open()] == ["a.ipynb"]


def test_whoever_holds_the_rest_is_told(make: Make) -> None:
    ours, theirs = make("a.ipynb", budget_day=5), make("b.ipynb", budget_day=5)
    ours.acquire(with_budget(4.5), quiet)
    offer = next(o for o in cloud(theirs).offers(A100) if o.instance == "p4d.24xlarge")
    theirs.purse.most = lambda request, simulated: 2_000_000  # type: ignore[method-assign]  # as it was a moment ago
    with pytest.raises(BudgetExceeded, match=r"a\.ipynb"):
        theirs.purse.reserve(A100, "default", offer, False, 600)


@pytest.fixture
def team(server: Server) -> Iterator[str]:
    """The URL of a team's database."""
    name = server.new_database()
    yield server.url(name)
    server.drop_database(name)


def test_two_notebooks_on_one_postgresql(team: str, make: Make) -> None:
    """What a team has: the same limits, holders and reports by a database server."""
    ours, theirs = make("a.ipynb", ledger=team, budget_day=5), make("b.ipynb", ledger=team, budget_day=5)
    ours.acquire(A100, quiet)
    with pytest.raises(BudgetExceeded, match=r"a\.ipynb"):
        theirs.acquire(A100, quiet)
    assert [row.notebook for row in theirs.purse.open()] == ["a.ipynb"]
    assert [ended.name for ended in theirs.down(everyone=True)] == ["default"]
    (row,) = theirs.purse.costs("worker")
    assert row.machine_microusd > 0 and ours.purse.open() == []


def test_real_money_needs_a_limit(make: Make) -> None:
    fleet = make()
    offer = Offer("aws", "us-east-1", "g4dn.xlarge", gpu="t4", gpu_count=1, microusd_per_hour=526_000)
    with pytest.raises(NoBudget, match="budget=5"):
        fleet.purse.reserve(A100, "default", offer, False, 600)
    fleet.purse.set_limit("day", 1_000_000)
    order = fleet.purse.reserve(A100, "default", offer, False, 600)
    assert order.token and fleet.purse.open()[0].reserved_microusd == 1_000_000
    fleet.purse.ended(order.token, never_started=True)


def test_simulated_dollars_do_not_count_against_real_limits(make: Make) -> None:
    fleet = make(budget_day=5)
    fleet.acquire(A100, quiet)
    simulated, real = fleet.purse.balances(True)[0], fleet.purse.balances(False)[0]
    assert simulated.left_microusd == 0 and real.left_microusd == 5_000_000


def test_a_worker_that_ended_by_itself_holds_no_money(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellferry.fleet.purse.METER_S", 0.1)
    fleet = make()
    worker, _ = fleet.acquire(with_budget(5), quiet)
    fleet.provider("demo").stop(worker)
    eventually(lambda: fleet.purse.open() == [], "the meter saw it")
    row = fleet.purse.ledger.get(worker.token)
    assert row is not None and 0 < row.spent_microusd < 1_000_000


def test_the_meter_runs(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellferry.fleet.purse.METER_S", 0.1)
    fleet = make()
    worker, _ = fleet.acquire(with_budget(5), quiet)

    def spent() -> int:
        row = fleet.purse.ledger.get(worker.token)
        return row.spent_microusd if row else 0

    first = eventually(spent, "the meter counts")
    eventually(lambda: spent() > first, "the meter goes on")


def test_the_money_ends_the_worker_without_anybody(make: Make) -> None:
    fleet = make()
    worker, _ = fleet.acquire(with_budget(0.13), quiet)  # about 21 s at $21.96 an hour
    assert worker.lease.ends_unix_s is not None
    fleet.close()
    eventually(lambda: not fleet.provider("demo").alive(worker), "it ended itself")
    assert time.time() < worker.lease.ends_unix_s + 5.0
    again = make()
    again.reap()
    row = again.purse.ledger.get(worker.token)
    assert row is not None and row.state == "ended" and row.spent_microusd <= row.reserved_microusd == 130_000


def test_more_money_is_more_time(make: Make) -> None:
    fleet = make(budget=10)
    worker, _ = fleet.acquire(with_budget(1), quiet)
    longer = fleet.extend("default", 1_000_000)
    assert worker.lease.ends_unix_s is not None and longer.lease.ends_unix_s is not None
    seconds = longer.lease.ends_unix_s - worker.lease.ends_unix_s
    assert seconds == pytest.approx(3600 * 1_000_000 / worker.microusd_per_hour, abs=0.1)
    from cellferry.link.http import WorkerHttp

    assert WorkerHttp(worker.endpoint).get("status")["lease"]["ends_unix_s"] == longer.lease.ends_unix_s
    with pytest.raises(BudgetExceeded):
        fleet.extend("default", 50_000_000)


START = """
import os, sys
from cellferry.config import Cellferry
from cellferry.fleet.fleet import Fleet
from cellferry.fleet.reap import payer
from cellferry.model import CellRequest, Hardware
from cellferry.providers.local import LocalProvider
from cellferry.testing import Weather
LocalProvider.kernel_module = "standin_guest"
config = Cellferry(start_timeout_s=60, state_dir=os.environ["CELLFERRY_STATE_DIR"])
fleet = Fleet(config, sys.argv[1])
fleet.provider("demo").weather = Weather(stock_out=0, no_quota=0, spot_life_s=None, boot_s=(0, 0))
request = CellRequest(Hardware(gpu="a100", gpu_count=1), providers=("demo",), budget_microusd=5_000_000)
print(fleet.acquire(request, lambda line: None)[0].id, flush=True)
os.kill(os.getpid(), 9)
"""


def started_by_one_that_was_killed(notebook: str) -> str:
    done = subprocess.run([sys.executable, "-c", START, notebook], stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def test_the_next_kernel_of_a_notebook_finds_its_worker(make: Make) -> None:
    theirs = started_by_one_that_was_killed("work/a.ipynb")
    other = make("work/other.ipynb")
    assert other.acquire(with_budget(5), quiet)[0].id != theirs, "another notebook has its own"
    fleet = make("work/a.ipynb")
    assert fleet.acquire(with_budget(5), quiet)[0].id == theirs
    assert {row.id for row in other.status(everyone=True)} >= {theirs}


def test_what_a_dead_worker_held_is_free_at_once(make: Make) -> None:
    started_by_one_that_was_killed("work/a.ipynb")  # it holds five dollars
    fleet = make("work/b.ipynb", budget_day=5)
    (theirs,) = fleet.provider("demo").find()
    fleet.provider("demo").stop(theirs)
    worker, _ = fleet.acquire(A100, quiet)
    assert fleet.provider("demo").alive(worker) and [row.token for row in fleet.purse.open()] == [worker.token]


def test_status_and_down_see_what_an_earlier_kernel_of_the_notebook_left(make: Make) -> None:
    theirs = started_by_one_that_was_killed("work/a.ipynb")
    other = make("work/other.ipynb")
    assert other.status() == [] and other.down() == [], "it is another notebook's"
    fleet = make("work/a.ipynb")
    (row,) = fleet.status()
    assert (row.id, row.ours, row.reserved_microusd) == (theirs, False, 5_000_000) and row.spent_microusd > 0
    (ended,) = fleet.down()
    assert ended.reserved_microusd == 5_000_000 and fleet.status() == [] and fleet.purse.open() == []


def test_down_leaves_what_another_living_kernel_of_the_notebook_uses(make: Make) -> None:
    one, two = make("work/a.ipynb"), make("work/a.ipynb")
    worker, _ = one.acquire(with_budget(5), quiet)
    assert [row.id for row in two.status()] == [worker.id] and two.down() == []
    with pytest.raises(RequestError, match="may be in use") as caught:
        two.down("default")
    assert caught.value.advice.endswith("cellferry down default") and one.alive(worker)


def test_down_everyone_ends_what_others_left(make: Make) -> None:
    started_by_one_that_was_killed("work/a.ipynb")
    fleet = make("work/b.ipynb")
    assert [ended.reserved_microusd for ended in fleet.down(everyone=True)] == [5_000_000]
    assert fleet.purse.open() == []


CRASH = START.replace("print(", "fleet.purse.started = lambda *args: os.kill(os.getpid(), 9)\nprint(")


def test_a_crash_between_the_machine_and_its_note_leaks_nothing(make: Make) -> None:
    """The row is there before the provider is called, so the machine that nobody noted is found by its token."""
    subprocess.run([sys.executable, "-c", CRASH, "work/a.ipynb"], stdout=subprocess.PIPE)
    fleet = make()
    (row,) = fleet.purse.open()
    assert row.state == "reserved" and row.token in {machine.token for machine in cloud(fleet).machines()}
    done = fleet.reap()
    assert {each.what for each in done} == {"machine", "reservation"}
    assert fleet.purse.open() == [] and list(cloud(fleet).machines()) == []
    assert fleet.reap() == [], "repeatable"


def test_a_leak_is_reaped_and_its_cost_estimated(make: Make) -> None:
    fleet = make(weather=dataclasses.replace(CALM, boot_failure=1.0, leak=1.0))
    with pytest.raises(NothingToBeHad):
        fleet.acquire(dataclasses.replace(with_budget(5), region="us-east-1"), quiet)
    leaked = list(cloud(fleet).machines())
    assert leaked
    reaped = fleet.reap()
    assert sorted(each.name for each in reaped) == sorted(machine.name for machine in leaked)
    assert all(each.microusd > 0 for each in reaped), "what they came to is told"
    assert list(cloud(fleet).machines()) == []
    assert any(receipt.estimated and receipt.microusd for receipt in fleet.purse.ledger.receipts())


def test_machines_of_another_ledger_are_seen_and_left_alone(make: Make, tmp_path: Path) -> None:
    """The same person on the same account, with another home or state folder: each ledger knows only its own machines."""
    ours = make("a.ipynb")
    worker, _ = ours.acquire(with_budget(5), quiet)
    other = Fleet(Cellferry(state_dir=str(tmp_path / "another")), "b.ipynb")
    try:
        for _ in range(2):
            (seen,) = other.reap()
            assert seen.what == "another" and ours.purse.ledger.id[:8] in seen.why and "c.Cellferry.state_dir" in seen.why
        assert ours.alive(worker)
        (machine,) = cloud(other).machines()
        assert machine.ledger == ours.purse.ledger.id != other.purse.ledger.id
    finally:
        other.close()
    assert ours.reap() == []


def test_a_machine_that_this_ledger_lost_is_reaped(make: Make, tmp_path: Path) -> None:
    """Somebody made the ledger anew: it goes on under its name, which the machine carries."""
    started_by_one_that_was_killed("work/a.ipynb")
    for path in (tmp_path / "state").glob("ledger.sqlite*"):
        if not path.name.endswith("-id"):
            path.unlink()
    fleet = make()
    assert [each.what for each in fleet.reap()] == ["machine"] and list(cloud(fleet).machines()) == []


@pytest.mark.parametrize(
    ("state", "mark", "ledger", "expected"),
    [
        ("running", "", "mine", "paid"), ("reserved", "other", "mine", "paid"), ("ended", "", "mine", "nobody"),
        ("", "mine", "mine", "nobody"), ("", "other", "mine", "another"), ("", "", "mine", "another"), ("", "", "", "another"),
    ],
)  # fmt: skip
def test_who_pays(state: Any, mark: str, ledger: str, expected: str) -> None:
    ask = Ask("t", "ana", "", "", "w", "demo", "", "", "", False, 0, 0, 0.0, "")
    row = dataclasses.replace(reservation_for(ask), state=state) if state else None
    assert payer(Machine("demo", "m", "", "t", ledger=mark), row, ledger) == expected


def test_what_one_of_us_uses_is_not_reaped(make: Make) -> None:
    ours, theirs = make("a.ipynb"), make("b.ipynb")
    worker, _ = ours.acquire(with_budget(5), quiet)
    assert theirs.reap() == [] and ours.provider("demo").alive(worker)


def test_a_cell_may_run_here_while_the_machine_is_hunted(make: Make) -> None:
    fleet = make(weather=dataclasses.replace(CALM, boot_s=(1.0, 1.0)))
    asked = dataclasses.replace(with_budget(5), meanwhile=True)
    first, _ = fleet.acquire(asked, quiet)
    assert first.provider == "local" and first.name == "default-meanwhile"

    def there() -> Worker | None:
        worker, _ = fleet.acquire(asked, quiet)
        return worker if worker.provider == "demo" else None

    assert eventually(there, "the machine that was asked for").name == "default"
    fleet.down()


def test_a_hunt_apart_that_fails_is_told_to_the_next_cell(make: Make) -> None:
    fleet = make(weather=dataclasses.replace(CALM, no_quota=1.0))
    asked = dataclasses.replace(with_budget(5), meanwhile=True)
    fleet.acquire(asked, quiet)

    def told() -> bool:
        try:
            fleet.acquire(asked, quiet)
        except NothingToBeHad:
            return True
        return False

    eventually(told, "the failure")
    fleet.down()


@pytest.mark.parametrize(
    ("request_", "settings", "expected"),
    [
        (CellRequest(), {}, ("local",)),
        (CellRequest(), {"hosts": ["box"], "aws_regions": ["eu-west-1"]}, ("local",)),
        (CellRequest(Hardware(gpu="a100", gpu_count=1)), {"hosts": ["box"]}, ("ssh",)),
        (CellRequest(Hardware(gpu="a100", gpu_count=1)), {"hosts": ["box"], "aws_regions": ["x"]}, ("ssh", "aws")),
        (CellRequest(Hardware(gpu="a100", gpu_count=1)), {"providers": ["local", "demo"]}, ("demo",)),
        (CellRequest(host="me@box"), {}, ("ssh",)),
        (CellRequest(spot=True), {"aws_regions": ["x"]}, ("aws",)),
        (CellRequest(providers=("aws", "demo")), {}, ("aws", "demo")),
    ],
)
def test_who_may_serve(request_: CellRequest, settings: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert candidates(request_, Cellferry(**settings)) == expected


def test_nobody_is_set_up() -> None:
    with pytest.raises(RequestError, match="provider=demo"):
        candidates(CellRequest(Hardware(gpu="a100", gpu_count=1)), Cellferry())

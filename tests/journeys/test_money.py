"""Cells on machines that cost (simulated) money, in a real kernel with a real worker: shown, limited, stopped, paid for."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from cellferry.accounts import top_up
from cellferry.config import Cellferry
from cellferry.errors import LedgerError
from cellferry.fleet.fleet import Fleet
from cellferry.link.http import WorkerHttp
from cellferry.model import LAST_S, CellRequest, Worker
from cellferry.testing.contract import eventually

from .conftest import NewUser, User

pytestmark = pytest.mark.slow

CALM = "{'stock_out': 0.0, 'no_quota': 0.0, 'spot_life_s': None, 'boot_s': (0, 0)}"
A100 = "%%remote gpu=a100 provider=demo"
SLOW_LOOP = "import time\nsteps = 0\nwhile True:\n    steps += 1\n    time.sleep(0.05)"
STUBBORN = "import itertools\nprint('begun', flush=True)\nsum(itertools.repeat(1, 10**15))"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """What a terminal beside the notebook sees; ends whatever a test has left."""
    fleet = Fleet(Cellferry(state_dir=str(tmp_path / "state")))
    yield fleet
    fleet.down(everyone=True)
    assert fleet.purse.open() == []
    fleet.close()


@pytest.fixture
def payer(new_user: NewUser, fleet: Fleet, tmp_path: Path) -> Callable[..., User]:
    """Somebody with a notebook and a simulated cloud in which everything is to be had."""

    def one(**settings: str) -> User:
        state = {"CELLFERRY_STATE_DIR": str(tmp_path / "state"), "CELLFERRY_DEMO_WEATHER": CALM}
        return new_user(**state | settings)

    return one


def only_worker(fleet: Fleet) -> Worker:
    (worker,) = fleet.provider("demo").find()
    return worker


def test_a_cell_that_costs_money(payer: Callable[..., User], fleet: Fleet) -> None:
    user = payer()
    user.sees("x = 20")
    shown = user.sees(f"{A100} budget=1\ny = x + 1\nprint('there', y)")
    assert "there 21\n" in shown and "p4d.24xlarge, simulated" in shown and "$0." in shown.splitlines()[-1]
    assert user.has("y") == 21
    status = user.sees("%remote status")
    assert "demo (simulated)" in status and "$21.96/h" in status and "$1.00" in status
    assert user.sees(f"{A100}\nprint(y)").startswith("21\n"), "the next cell uses the same worker"
    cost = user.sees("%remote cost --by cell")
    assert cost.count("\n") == 3 and "estimated" in cost
    ended = user.sees("%remote down")
    assert "came to" in ended and "default" in ended and "$0." in ended
    assert user.sees("bill = %remote cost --by worker\nbill[0].runs, bill[0].machine_microusd > 0") == "(2, True)\n"


def bill(user: User) -> Any:
    """Cells that have a receipt on the one worker, and seconds for which they ran."""
    user.sees("by_worker = %remote cost --by worker\nby_cell = %remote cost --by cell")
    return user.has("(by_worker[0].runs if by_worker else 0, [(row.machine_microusd > 0, row.seconds > 0) for row in by_cell])")


def test_a_cell_that_was_let_go_is_in_the_bill_once(payer: Callable[..., User], fleet: Fleet) -> None:
    user, other = payer(), payer()
    user.sees(f"{A100} budget=1\nfirst = 1")
    shown = user.sees("%%remote gpu=a100 provider=demo detach\nimport time\ntime.sleep(0.3)\nsecond = 2\n1 / 0")
    run = re.search(r"%remote attach ([0-9a-f]{12})", shown)
    assert run is not None
    outputs = user.types(f"%remote attach {run[1]}").outputs
    said = "".join(str(output.get("data", {}).get("text/plain", "")) for output in outputs)
    assert "worker default (demo, p4d.24xlarge" in said and "$0." in said and "so far" in said, said
    assert user.has("second") == 2
    once = bill(user)
    assert once[0] == 2 and once[1] == [(True, True)] * len(once[1]), "the worker's cells are all in its bill"
    user.types(f"%remote attach {run[1]}")
    other.types(f"%remote attach {run[1]}")
    other.sees("%remote runs --all")
    assert bill(user) == once


def test_the_display_under_it_notes_that_it_has_ended(payer: Callable[..., User], fleet: Fleet) -> None:
    """Nobody has to bring it home."""
    payer().sees(f"{A100} budget=1 detach\nfirst = 1")
    eventually(fleet.purse.ledger.receipts, "it is noted", 30)
    assert [row.kind for row in fleet.purse.ledger.receipts()] == ["cell"]


def test_the_list_of_runs_notes_what_has_ended(payer: Callable[..., User], fleet: Fleet, tmp_path: Path) -> None:
    """Also for another notebook, whose kernel is gone."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    user, other = payer(), payer()
    user.sees(f"{A100} budget=1 detach\nwith open({str(gate)!r}) as door: door.read()")
    os.kill(user.has("__import__('os').getpid()"), signal.SIGKILL)
    assert "running" in other.sees("%remote runs") and not fleet.purse.ledger.receipts()
    gate.write_text("go")
    eventually(lambda: "done, nobody waits" in other.sees("%remote runs"), "its end", 30)
    (found,) = fleet.purse.ledger.receipts()
    assert found.run and found.microusd > 0


@pytest.mark.parametrize("detach", ["", " detach"], ids=["waited for", "let go"])
def test_a_cell_whose_kernel_died_is_in_the_bill_once(payer: Callable[..., User], fleet: Fleet, detach: str) -> None:
    user, other = payer(), payer()
    user.sees(f"{A100} budget=1\nfirst = 1")
    (before,) = [row for row in fleet.purse.ledger.receipts() if row.kind == "cell"]
    user.types(f"{A100}{detach}\nimport os, signal, time\ntime.sleep(0.2)\nos.kill(os.getpid(), signal.SIGKILL)")
    eventually(lambda: "lost" in other.sees("%remote runs --all"), "its end", 30)
    other.sees("%remote runs --all")
    lost = [row for row in fleet.purse.ledger.receipts() if row.kind == "cell" and row.run != before.run]
    assert len(lost) == 1 and lost[0].run and 0.2 < lost[0].ended_unix_s - lost[0].started_unix_s < 30 and lost[0].microusd > 0


def test_it_is_in_the_bill_also_when_its_worker_is_gone(payer: Callable[..., User], fleet: Fleet, tmp_path: Path) -> None:
    """Only what was kept in the store still tells of it."""
    store = tmp_path / "store"
    user, other = payer(CELLFERRY_ARTIFACT_STORE=store.as_uri()), payer(CELLFERRY_ARTIFACT_STORE=store.as_uri())
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    shown = user.sees(f"{A100} budget=1 detach\nwith open({str(gate)!r}) as door: said = door.read()\nprint('it said', said)\n1 / 0")
    run = re.search(r"%remote attach ([0-9a-f]{12})", shown)
    assert run is not None
    os.kill(user.has("__import__('os').getpid()"), signal.SIGKILL)
    gate.write_text("go")
    eventually((store / "results" / run[1] / "seal").exists, "its results are stored", 60)
    (worker,) = fleet.found()
    fleet.provider("demo").stop(worker)  # `down` would ask it for its runs first
    fleet.purse.ended(worker.token)
    assert {row.kind for row in fleet.purse.ledger.receipts()} <= {"machine", "storage"}, "the machine's alone"
    outputs = other.types(f"%remote attach {run[1]}").outputs
    assert [output["ename"] for output in outputs if output["output_type"] == "error"] == ["ZeroDivisionError"]
    assert "it said go" in str(outputs) and "worker default (demo, p4d" in str(outputs) and other.has("said") == "go"
    (found,) = [row for row in fleet.purse.ledger.receipts() if row.kind == "cell"]
    assert found.run == run[1] and found.microusd > 0


def test_what_was_left_is_offered_also_when_its_worker_is_gone(payer: Callable[..., User], fleet: Fleet, tmp_path: Path) -> None:
    """Its kernel was killed, so nobody knows its name; the worker has ended, and what it left lies in the store."""
    store, gate = tmp_path / "store", tmp_path / "gate"
    os.mkfifo(gate)
    user, other = payer(CELLFERRY_ARTIFACT_STORE=store.as_uri()), payer(CELLFERRY_ARTIFACT_STORE=store.as_uri())
    user.sees(f"{A100} budget=1\nfirst = 1")
    kernel = user.has("__import__('os').getpid()")
    user.kernel.client.kc.execute(f"{A100}\nwith open({str(gate)!r}) as door: left = door.read()\nprint('it said', left)")
    with gate.open("w") as door:  # the cell has opened it at the other end
        os.kill(kernel, signal.SIGKILL)
        user.restarts()
        door.write("so")
    eventually(lambda: list(store.glob("results/*/seal")), "its results are stored", 60)
    fleet.down(everyone=True)
    user.sees("%load_ext cellferry")
    eventually(lambda: "was left on a worker" in user.sees("again = 1"), "the offer", 30)
    assert "done, nobody waits" in user.sees("%remote runs") and "that has ended" in other.sees("%remote runs")
    assert "it said so" in user.sees("%remote attach") and user.has("left") == "so"
    assert "no cell runs" in user.sees("%remote runs")


def test_a_cell_is_stopped_when_its_money_is_gone(payer: Callable[..., User], fleet: Fleet) -> None:
    user = payer()
    seen = user.types(f"{A100} budget=0.15\n{SLOW_LOOP}")  # about 24 s at $21.96 an hour
    texts = [str(output.get("data", {}).get("text/plain", "")) for output in seen.outputs]
    assert any(text.startswith("80% of this worker's money is spent ($0.1") for text in texts), texts
    assert seen.outputs[-1]["ename"] == "BudgetSpent" and "%remote budget" in seen.outputs[-1]["evalue"]
    assert user.has("steps") > 50, "what it had made is here"
    eventually(lambda: not list(fleet.provider("demo").find()), "the machine has ended", LAST_S + 5)
    row = fleet.purse.costs("worker")[0]
    assert 100_000 < row.machine_microusd <= 150_000
    assert "steps" in user.sees(f"{A100} budget=1\nprint('steps', steps)"), "a new worker, with the values"


@pytest.mark.parametrize(
    "code",
    [pytest.param(SLOW_LOOP, id="listens", marks=pytest.mark.nightly), pytest.param(STUBBORN, id="holds the interpreter")],
)
def test_the_machine_ends_with_the_laptop_off(payer: Callable[..., User], fleet: Fleet, code: str) -> None:
    user = payer()
    pid = user.has("__import__('os').getpid()")
    user.sees(f"{A100} budget=0.15\nready = True")
    worker = only_worker(fleet)
    ends = WorkerHttp(worker.endpoint, timeout_s=60).get("status")["lease"]["ends_unix_s"]
    user.kernel.quietly(f"import threading, os\nthreading.Timer(2.0, os.kill, (os.getpid(), {int(signal.SIGKILL)})).start()")
    user.kernel.client.kc.execute(f"{A100}\n{code}")
    eventually(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid), "the notebook's kernel is dead")
    assert fleet.provider("demo").alive(worker), "the cell goes on"
    eventually(lambda: not fleet.provider("demo").alive(worker), "the machine has ended", 60)
    assert time.time() < ends + LAST_S + 2
    fleet.reap()
    (row,) = fleet.purse.costs("worker")
    assert row.machine_microusd <= 150_000


def _is_zombie(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def test_a_machine_that_is_taken_back(payer: Callable[..., User], fleet: Fleet, meeting) -> None:
    user = payer(CELLFERRY_DEMO_WEATHER=CALM)
    user.sees(f"{A100} spot budget=1\nkept = 1")
    folder = only_worker(fleet).folder
    assert folder is not None
    told = json.dumps({"what": "(simulated) spot interruption", "at_unix_s": time.time() + 12})
    write = f"open({str(folder / 'notice.part')!r}, 'w').write({told!r})"
    user.sees(f"import os\n{write}\nos.replace({str(folder / 'notice.part')!r}, {str(folder / 'notice')!r})")
    seen = user.types(f"{A100} spot\n{SLOW_LOOP}")
    assert seen.outputs[-1]["ename"] == "SpotTaken" and "another machine" in seen.outputs[-1]["evalue"]
    assert any("the machine is gone in" in str(o.get("data", {}).get("text/plain")) for o in seen.outputs)
    assert user.has("steps") > 10 and user.has("kept") == 1
    eventually(lambda: not list(fleet.provider("demo").find()), "the machine has ended")


def test_whoever_comes_back_too_late_is_told_what_became_of_the_worker(payer: Callable[..., User], fleet: Fleet) -> None:
    user = payer()
    user.sees(f"{A100} budget=1 detach\nimport threading\nthreading.Event().wait()")
    worker = only_worker(fleet)
    assert worker.pid is not None
    psutil.Process(worker.pid).children()[0].kill()
    eventually(lambda: not fleet.alive(worker), "its end")
    name, text = user.is_told("%remote attach")
    assert name == "RunGone" and "worker 'default' of this notebook has ended, with what it ran" in text
    user.sees("%remote down")


def test_whoever_brings_a_cell_home_is_told_why_it_was_interrupted(payer: Callable[..., User], fleet: Fleet) -> None:
    user = payer()
    shown = user.sees(f"{A100} budget=0.15 detach\n{SLOW_LOOP}")
    run = re.search(r"%remote attach ([0-9a-f]{12})", shown)
    assert run is not None
    name, text = user.is_told(f"%remote attach {run[1]}")
    assert name == "BudgetSpent" and "%remote budget" in text and user.has("steps") > 50
    assert "the worker so far $0.0" in user.sees(f"{A100} budget=0.2\nprint(steps)"), "a new worker: the other one is ending"


def test_a_cell_that_begins_when_the_machine_is_nearly_gone(payer: Callable[..., User], fleet: Fleet) -> None:
    """It is interrupted at its first step, by a signal that may be quicker than the word of why."""
    user = payer(CELLFERRY_DEMO_WEATHER=CALM)
    user.sees(f"{A100} spot budget=1\nkept = 1")
    folder, at = only_worker(fleet).folder, time.time() + 12
    assert folder is not None
    (folder / "notice.part").write_text(json.dumps({"what": "(simulated) spot interruption", "at_unix_s": at}))
    (folder / "notice.part").rename(folder / "notice")
    eventually(lambda: time.time() > at - 5, "more than half of what was left is over")
    seen = user.types(f"{A100} spot\n{SLOW_LOOP}")
    assert seen.outputs[-1]["ename"] == "SpotTaken", seen.outputs
    assert user.has("kept") == 1


@pytest.mark.parametrize("alive", [True, False])
def test_money_for_a_worker_that_has_just_ended(alive: bool) -> None:
    """The meter has noticed, the cell has not: it notices next, and finds another."""

    def extend(_name: str, _amount: int) -> None:
        raise LedgerError("it has ended, so nothing can be reserved for it")

    purse: Any = SimpleNamespace(spent=lambda _token: SimpleNamespace(held_microusd=0))
    fleet: Any = SimpleNamespace(purse=purse, extend=extend, alive=lambda _worker: alive)
    worker: Any = SimpleNamespace(name="default", token="t", microusd_per_hour=1_000_000)
    with pytest.raises(LedgerError) if alive else nullcontext():
        top_up(fleet, worker, CellRequest(budget_microusd=1_000_000))


def test_a_cells_own_limit_leaves_the_worker(payer: Callable[..., User], fleet: Fleet) -> None:
    user = payer(CELLFERRY_BUDGET="5")
    user.sees(f"{A100}\nkept = [1]")
    before = only_worker(fleet).id
    name, text = user.is_told(f"{A100} budget=0.02\n{SLOW_LOOP}")  # about 3 s
    assert name == "BudgetSpent" and "what it may" in text
    assert user.has("steps") > 10 and only_worker(fleet).id == before
    assert user.sees(f"{A100}\nprint(kept)").startswith("[1]\n")


def test_an_estimate_asks_for_no_machine(payer: Callable[..., User], fleet: Fleet) -> None:
    user = payer()
    user.sees("x = 1")
    shown = user.sees(f"{A100} estimate\nx")
    assert "p4d.24xlarge" in shown and "no machine was asked for" in shown and "$21.96/h" in shown
    assert list(fleet.provider("demo").find()) == [] and fleet.purse.open() == []


def test_the_next_kernel_goes_on_with_the_worker(payer: Callable[..., User], fleet: Fleet) -> None:
    user = payer()
    user.sees(f"{A100} budget=1\nimport os\npid = os.getpid()")
    before = user.has("pid")
    user.restarts()
    user.sees("%load_ext cellferry")
    assert user.sees(f"{A100}\nprint(os.getpid() if 'os' in globals() else __import__('os').getpid())").startswith(f"{before}\n")


def test_what_is_not_to_be_had_is_told_as_a_table(payer: Callable[..., User], fleet: Fleet) -> None:
    user = payer(CELLFERRY_DEMO_WEATHER="{'stock_out': 1.0, 'no_quota': 0.0}")
    name, text = user.is_told(f"{A100} budget=5\n1")
    assert name == "NothingToBeHad" and text.count("no capacity") > 3 and "us-east-1" in text and "->" in text
    name, text = user.is_told("%%remote gpu=a1000 provider=demo budget=5\n1")
    assert name == "BadValue" and "a100" in text
    name, text = user.is_told("%%remote gpu=a100\n1")
    assert name == "RequestError" and "provider=demo" in text


def test_limits_are_set_and_shown(payer: Callable[..., User], fleet: Fleet) -> None:
    user = payer()
    shown = user.sees("%remote budget 2 --per day")
    assert "day" in shown and "$2.00" in shown
    user.sees(f"{A100}\n1")
    assert "$2.00" in user.sees("%remote status"), "what a worker may cost is what is left of the limit"
    name, text = user.is_told(f"{A100} name=second\n1")
    assert name == "BudgetExceeded" and "default" in text and "$2.00" in text


def test_unused_it_ends_and_pays_back(payer: Callable[..., User], fleet: Fleet) -> None:
    user = payer()
    user.sees(f"{A100} budget=1 idle=1s\n1")
    user.types("%unload_ext cellferry")
    eventually(lambda: not list(fleet.provider("demo").find()), "nobody uses it", 120)
    fleet.reap()
    assert fleet.purse.open() == []


def test_a_later_cell_adds_what_it_may_spend(payer: Callable[..., User], fleet: Fleet) -> None:
    user = payer(CELLFERRY_BUDGET="3")
    user.sees(f"{A100} budget=1\nx = 1")
    worker = only_worker(fleet)
    user.sees(f"{A100} budget=2\nx += 1")
    row = fleet.purse.ledger.get(worker.token)
    assert row is not None and 2_000_000 <= row.reserved_microusd < 2_200_000, "what is left of it is two dollars again"
    ends = WorkerHttp(worker.endpoint, timeout_s=60).get("status")["lease"]["ends_unix_s"]
    assert worker.lease.ends_unix_s is not None and ends > worker.lease.ends_unix_s + 100
    user.sees(f"{A100} budget=50\nx += 1")
    row = fleet.purse.ledger.get(worker.token)
    assert row is not None and row.reserved_microusd < 3_000_001, "never more than the notebook's limit"
    assert user.has("x") == 3

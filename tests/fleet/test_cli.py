"""The command ``cellferry``: text for people, JSON for programs, errors with advice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cellferry import __version__
from cellferry.cli import main
from cellferry.config import Cellferry
from cellferry.fleet.fleet import Fleet
from cellferry.model import CellRequest, Worker
from cellferry.providers.local import LocalProvider


@pytest.fixture(autouse=True)
def standin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "worker"))
    monkeypatch.setenv("CELLFERRY_START_TIMEOUT_S", "60")
    monkeypatch.setattr(LocalProvider, "kernel_module", "standin_guest")
    monkeypatch.setattr("cellferry.fleet.rows.STATUS_S", 60.0)


@pytest.fixture
def worker() -> Iterator[Worker]:
    """One that another notebook started."""
    fleet = Fleet(Cellferry(start_timeout_s=60))
    yield fleet.acquire(CellRequest(name="theirs"), lambda line: None)[0]
    fleet.close()


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    said = capsys.readouterr()
    return code, said.out, said.err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(run(capsys, *words, "--json")[1])


def test_no_worker(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "status") == (0, "no worker is running\n", "")
    assert as_json(capsys, "status") == []
    assert run(capsys, "down", "--all") == (0, "no worker is running\n", "")
    assert as_json(capsys, "down", "--all") == []


def test_a_worker_is_shown_and_ended(capsys: pytest.CaptureFixture[str], worker: Worker) -> None:
    code, out, _ = run(capsys, "status")
    assert code == 0 and "theirs" in out and str(worker.pid) in out and "CLIENTS" in out
    (row,) = as_json(capsys, "status")
    assert row["id"] == worker.id and row["busy"] is False and row["ours"] is False
    code, _, err = run(capsys, "down", "mine")
    assert code == 1 and "no worker 'mine'; running: theirs" in err and "->" in err
    assert as_json(capsys, "down", "mine")["error"] == "RequestError"
    assert run(capsys, "down", "theirs") == (0, "ended: theirs\n", "")
    assert run(capsys, "status")[1] == "no worker is running\n"


@pytest.mark.parametrize("words", [["down"], ["down", "x", "--all"]])
def test_down_wants_to_know_which(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    code, _, err = run(capsys, *words)
    assert code == 1 and "cellferry down NAME" in err


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "doctor")
    assert {"worker", "kernel", "disk", "memory"} <= {line.split()[1].rstrip(":") for line in out.splitlines()}
    assert code == (1 if "BAD" in out else 0)
    checks = as_json(capsys, "doctor")
    assert {"name", "ok", "found", "advice"} == set(checks[0])


def test_doctor_tells_what_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellferry.fleet.doctor.PACKAGES", ("a_package_that_is_missing",))
    monkeypatch.setattr("cellferry.providers.local.sys.executable", "/bin/false")
    code, out, _ = run(capsys, "doctor")
    assert code == 1
    assert "BAD  a_package_that_is_missing: not installed\n       -> pip install a_package_that_is_missing" in out
    assert "BAD  worker: the local worker ended while it started" in out


CALM = "{'stock_out': 0.0, 'no_quota': 0.0, 'spot_life_s': None, 'boot_s': (0, 0)}"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger of the test's own, and a simulated cloud in which everything is to be had."""
    monkeypatch.setenv("CELLFERRY_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CELLFERRY_DEMO_WEATHER", CALM)
    return tmp_path / "state"


def test_offers(capsys: pytest.CaptureFixture[str], state: Path) -> None:
    code, out, _ = run(capsys, "offers", "gpu=a100", "provider=demo")
    assert code == 0 and "p4d.24xlarge" in out and "simulated" in out and "$21.96" in out
    rows = as_json(capsys, "offers", "gpu=a100", "provider=demo")
    assert rows[0]["gpu"] == "a100" and rows[0]["simulated"] and rows[0]["microusd_per_hour"] > 0
    assert {row["provider"] for row in as_json(capsys, "offers")} == {"local", "demo"}, "nothing is set up: what can be tried"
    code, _, err = run(capsys, "offers", "gpu=a1000", "provider=demo")
    assert code == 1 and "a100" in err


def test_a_machine_from_up_to_the_bill(capsys: pytest.CaptureFixture[str], state: Path) -> None:
    code, out, _ = run(capsys, "up", "gpu=a100", "provider=demo", "budget=1", "name=train")
    assert code == 0 and "train: demo (simulated)" in out and "at most $1.00" in out and "cellferry down train" in out
    (row,) = as_json(capsys, "status")
    assert row["name"] == "train" and row["reserved_microusd"] == 1_000_000 and row["simulated"] and row["ours"] is False
    assert "p4d.24xlarge" in run(capsys, "status")[1]
    assert as_json(capsys, "reap") == []
    code, out, _ = run(capsys, "down", "train")
    assert code == 0 and out.startswith("ended: train (demo (simulated)), $0.")
    (bill,) = as_json(capsys, "cost", "--by", "worker")
    assert bill["key"] == "train (simulated)" and 0 < bill["machine_microusd"] < 1_000_000
    lines = run(capsys, "cost", "--by", "worker", "--csv")[1].splitlines()
    assert lines[0] == "worker,machine_microusd,estimated_microusd,seconds,cells" and lines[1].startswith("train (simulated),")
    assert "ESTIMATED" in run(capsys, "cost")[1]


def test_up_on_this_machine_would_end_with_the_command(capsys: pytest.CaptureFixture[str], state: Path) -> None:
    code, _, err = run(capsys, "up")
    assert code == 1 and "provider=demo" in err


def test_budgets(capsys: pytest.CaptureFixture[str], state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no limit is set" in run(capsys, "budget")[1] and run(capsys, "cost")[1] == "nothing was spent\n"
    assert not (state / "ledger.sqlite").exists(), "looking makes no ledger"
    code, out, _ = run(capsys, "budget", "20", "--per", "day")
    assert code == 0 and "$20.00" in out
    assert {(row["simulated"], row["limit"]["microusd"]) for row in as_json(capsys, "budget")} == {
        (False, 20_000_000), (True, 20_000_000)
    }  # fmt: skip
    assert run(capsys, "budget", "much")[0] == 1
    assert "--person ana" in run(capsys, "budget", "5", "--per", "person")[2]
    assert run(capsys, "budget", "7", "--per", "person", "--person", "somebody else")[0] == 0
    monkeypatch.setenv("CELLFERRY_PERSON", "somebody else")
    assert {(row["limit"]["period"], row["limit"]["microusd"]) for row in as_json(capsys, "budget")} == {("person", 7_000_000)}
    monkeypatch.delenv("CELLFERRY_PERSON")
    assert "--notebook" in run(capsys, "budget", "20", "--per", "notebook")[2]


def test_quotas(capsys: pytest.CaptureFixture[str], state: Path) -> None:
    code, out, _ = run(capsys, "quota", "provider=demo", "gpu=a100")
    assert code == 0 and "L-417A185B" in out and "Running On-Demand P instances" in out
    assert "cellferry quota request" in run(capsys, "quota", "request")[2]


@pytest.mark.slow
def test_the_tour(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELLFERRY_DEMO_WEATHER")
    command = Path(sys.executable).with_name("cellferry")
    done = subprocess.run([command, "demo"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    for told in ("p4d.24xlarge", "no capacity", "40 steps", "BudgetSpent", "steps were done", "came to", "forgotten (simulated)"):
        assert told in done.stdout, told


def test_the_installed_command() -> None:
    command = Path(sys.executable).with_name("cellferry")
    assert subprocess.check_output([command, "--version"], text=True).strip() == __version__
    helped = subprocess.check_output([command, "--help"], text=True)
    assert "%%remote" in helped and "%%%%" not in helped
    wrong = subprocess.run([command, "nonsense"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "status" in wrong.stderr

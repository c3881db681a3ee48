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
from cellferry.cli import LATER, main
from cellferry.config import Cellferry
from cellferry.fleet.fleet import Fleet
from cellferry.model import CellRequest, Worker
from cellferry.providers.local import LocalProvider


@pytest.fixture(autouse=True)
def standin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "worker"))
    monkeypatch.setenv("CELLFERRY_START_TIMEOUT_S", "60")
    monkeypatch.setattr(LocalProvider, "kernel_module", "standin_guest")
    monkeypatch.setattr("cellferry.fleet.fleet.STATUS_S", 60.0)


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


@pytest.mark.parametrize("command", sorted(LATER))
def test_later_commands_say_so(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, err = run(capsys, command, "gpu=a100", "provider=demo")
    assert (code, out) == (1, "") and "not there yet" in err and "->" in err


def test_the_installed_command() -> None:
    command = Path(sys.executable).with_name("cellferry")
    assert subprocess.check_output([command, "--version"], text=True).strip() == __version__
    helped = subprocess.check_output([command, "--help"], text=True)
    assert "%%remote" in helped and "%%%%" not in helped
    wrong = subprocess.run([command, "nonsense"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "status" in wrong.stderr

"""A ledger that cannot be used for a while, and a kernel that is restarted: paid cells, in a real kernel with real workers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cellferry.fleet.fleet import Fleet
from cellferry.testing.contract import eventually
from testbeds.clock import Clock

from .conftest import NewUser, User
from .test_money import A100, fleet, only_worker, payer  # noqa: F401

pytestmark = pytest.mark.slow
LOCK = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE');"
    "print('locked', flush=True); sys.stdin.read()"
)


@contextmanager
def locked(state: Path) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", LOCK, str(state / "ledger.sqlite")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            other.kill()


def test_a_locked_ledger_decides_nothing_about_a_cell(payer: Callable[..., User], fleet: Fleet, tmp_path: Path) -> None:
    """At its end, at the beginning of the next, in the commands between, and when the worker is ended."""
    user = payer(CELLFERRY_FETCH_LIMIT="1000")
    user.sees(f"{A100} budget=20\nimport os\npid = os.getpid()")
    with locked(tmp_path / "state"):
        shown = user.sees(f"{A100}\nbig, small = bytes(5000), [1]\nprint('there')")
        assert "there\n" in shown and "not in the ledger yet" in shown and "database is locked" in shown, shown
        assert user.has("small") == [1] and "Placeholder" in str(user.has("type(big).__name__")), "it lives there, and here it is known"
        shown = user.sees(f"{A100} budget=40\nprint(len(big), os.getpid() == pid)")
        assert "5000 True\n" in shown and "gets no more money at the moment" in shown, "the link is there, and its own limit holds"
        assert user.sees("len(big)") == "5000\n"
        assert "demo (simulated)" in user.sees("%remote status") and "no cell runs" in user.sees("%remote runs")
        user.types(f"{A100}\n1 / 0")
        assert user.sees(f"{A100}\nprint('still', len(big))").startswith("still 5000\n")
    kinds = lambda: [row.run for row in fleet.purse.ledger.receipts() if row.kind == "cell"]  # noqa: E731
    eventually(lambda: len(kinds()) == 5, "every cell has its receipt", 30)
    assert len(set(kinds())) == 5
    with locked(tmp_path / "state"):
        assert "came to" in user.sees("%remote down")
    eventually(lambda: fleet.purse.open() == [], "its end is noted as well", 30)


def test_after_a_restart_the_commands_ask_the_ledger(payer: Callable[..., User], fleet: Fleet, tmp_path: Path) -> None:
    user = payer()
    shown = user.sees(f"{A100} budget=20 detach\nimport threading\nthreading.Event().wait()")
    run = re.search(r"%remote attach ([0-9a-f]{12})", shown)
    assert run is not None
    worker = only_worker(fleet)
    user.restarts()
    user.sees("%load_ext cellferry")
    status = user.sees("%remote status")
    assert "default" in status and "demo (simulated)" in status and "$20.00" in status and "runs a cell" in status
    assert run[1] in user.sees("%remote runs")
    ended = user.sees("%remote down --all")
    assert "default" in ended and "$0." in ended and f"dropped with it: run {run[1]} (In [2], running)" in ended
    assert not fleet.alive(worker) and fleet.purse.open() == []
    assert run[1] not in user.sees("%remote runs")
    everything = user.sees("%remote runs --all")
    assert run[1] in everything and "dropped" in everything
    name, text = user.is_told(f"%remote attach {run[1]}")
    assert name == "RunGone" and "was ended by hand" in text
    (found,) = [row for row in fleet.purse.ledger.receipts() if row.kind == "cell"]
    assert found.run == run[1] and found.microusd > 0, "what it came to is in the bill"
    assert "no worker is running" in user.sees("%remote status")


def test_a_wall_clock_that_is_set_costs_nothing(payer: Callable[..., User], fleet: Fleet, tmp_path: Path) -> None:
    """By 40 days ahead, then by two hours back: neither a cell nor a machine lasts longer for it, and what is reserved stays there."""
    clock = Clock(tmp_path)
    user = payer(**clock.environment)
    user.sees(f"{A100} budget=20\nx = 1")
    token = only_worker(fleet).token
    for ahead_s in (40 * 86400, -7200, 0):
        clock.set_ahead(ahead_s)
        shown = user.sees(f"{A100}\nx += 1")
        assert re.search(r"simulated\): \d+\.\d s, \$0\.\d+; the worker so far \$0\.\d+", shown), shown
        assert "$20.00" in user.sees("%remote status")
    row = fleet.purse.spent(token)
    assert row is not None and 0 < row.spent_microusd < 10_000_000 and row.state == "running" and user.has("x") == 4
    assert "$0." in user.sees("%remote down")


def test_a_silent_worker_holds_up_no_other(new_user: NewUser, tmp_path: Path) -> None:
    """One that is stopped (SIGSTOP) does not answer; the others are shown, and a run leads to its own worker."""
    user = new_user()
    user.sees("%%remote name=silent\nimport os\nsilent = os.getppid()")
    shown = user.sees("%%remote detach\nprint('it says')\nmade = 1")
    run = re.search(r"%remote attach ([0-9a-f]{12})", shown)
    assert run is not None
    eventually(lambda: "done" in user.sees("%remote runs"), "it has ended", 60)
    pid = user.has("silent")
    os.kill(pid, signal.SIGSTOP)
    try:
        user.sees(f"%remote attach {run[1]}")
        assert user.has("made") == 1
        shown = user.sees("%remote runs --all")
        assert run[1] in shown and "worker 'silent' does not answer" in shown
        name, text = user.is_told("%remote attach")
        assert name == "LinkError" and "'silent'" in text
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: "does not answer" not in user.sees("%remote runs"), "it answers again", 60)

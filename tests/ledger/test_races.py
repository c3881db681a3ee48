"""Real processes that want the same money at the same time, and some that are killed over it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from cellferry.ledger import Ledger, Limit, open_ledger
from cellferry.ledger.counting import Who, balance

from .asks import DOLLAR, NOW
from .conftest import Database

PATIENCE_S = 60.0
RACER = str(Path(__file__).with_name("racer.py"))
LIMIT = Limit("day", "", DOLLAR)


@contextmanager
def racer(database: Database, what: str, who: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has ended afterwards, whatever happened."""
    config = database.config
    process = subprocess.Popen(
        [sys.executable, RACER, config.ledger, config.state_dir, what, who],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_the_last_dollar_goes_to_one(database: Database) -> None:
    """The processes also open, and so make, the same new ledger at the same time."""
    names = [f"w{n}" for n in range(5)]
    with ExitStack() as stack:
        processes = {name: stack.enter_context(racer(database, "race", name)) for name in names}
        assert {process.stdout.readline() for process in processes.values() if process.stdout} == {"ready\n"}
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        told = {name: process.communicate(timeout=PATIENCE_S)[0].strip() for name, process in processes.items()}
    (winner,) = [name for name, words in told.items() if words == "won"]
    assert {words for name, words in told.items() if name != winner} == {f"lost to {winner}"}
    with_winner = open_ledger(database.config)
    assert [row.token for row in with_winner.open()] == [winner]
    with_winner.close()


@pytest.mark.nightly
def test_fifty_workers_that_start_at_once(database: Database) -> None:
    """Nobody is overtaken for so long that it gives up; the processes also make the ledger together."""
    words = [sys.executable, str(Path(RACER).with_name("crowd.py")), database.config.ledger, database.config.state_dir, "50"]
    run = subprocess.run(words, capture_output=True, text=True, timeout=10 * PATIENCE_S)
    told = run.stdout.splitlines()
    assert len(told) == 50 and all(line.startswith("ok ") for line in told), (told, run.stderr)
    ledger = open_ledger(database.config)
    assert ledger.open() == [] and len(ledger.receipts()) == 50
    ledger.close()


def check(ledger: Ledger) -> None:
    """Whoever died: the rows agree with each other, and the limit holds."""
    with ledger._reading() as connection:
        found = balance(connection, LIMIT, Who("ana", "a.ipynb"), NOW)
        sums = "sum(spent_microusd), sum(CASE WHEN state <> 'ended' THEN reserved_microusd - spent_microusd END)"
        spent, held = connection.execute(text(f"SELECT {sums} FROM reservations")).one()
        by_day = connection.scalar(text("SELECT sum(microusd) FROM spend"))
    assert (found.spent_microusd, found.reserved_microusd) == (spent or 0, held or 0)
    assert found.spent_microusd + found.reserved_microusd <= DOLLAR and (by_day or 0) == (spent or 0)


@pytest.mark.slow
def test_those_who_are_killed_over_it_leave_the_rows_in_order(database: Database, ledger: Ledger) -> None:
    """Three processes, killed one after the other while they write; a reader never sees half of a change."""
    with ExitStack() as stack:
        storms = [stack.enter_context(racer(database, "storm", f"s{n}")) for n in range(3)]
        for process in storms:
            assert process.stdout is not None and process.stdout.readline()
        for process in storms:
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                check(ledger)
            process.kill()
            process.wait(PATIENCE_S)
            check(ledger)
    left = ledger.open()
    assert len(left) <= 3
    for row in left:
        ledger.end(row.token, NOW + 1)
    (found,) = ledger.balances([LIMIT], "ana", "a.ipynb", NOW)
    assert found.reserved_microusd == 0 and ledger.open() == []

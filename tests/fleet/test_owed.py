"""What the ledger cannot be told when it is due: nobody waits long for it, nothing fails of it, and it is noted later."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellferry.config import Cellferry
from cellferry.errors import LedgerUnavailable
from cellferry.fleet import owed
from cellferry.fleet.owed import End, Owed, from_text, to_text
from cellferry.fleet.purse import Purse
from cellferry.ledger import Receipt
from cellferry.model import CellRequest, Endpoint, Hardware, Offer, Order, Worker, WorkerId
from cellferry.testing.contract import eventually
from ledger.conftest import _running, server  # noqa: F401
from ledger.postgres import Server

OFFER = Offer(
    provider="demo", region="nowhere", zone="nowhere-1", instance="big", microusd_per_hour=3_600_000_000, price_source="a test",
    simulated=True, memory_bytes=1 << 30, cpus=4,
)  # fmt: skip
"""A thousand micro-dollars a millisecond: every reading shows."""
numbers = st.integers(0, 10**12)
times = st.floats(0, 4e9)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cellferry:
    monkeypatch.setattr("cellferry.fleet.purse.METER_S", 0.1)
    monkeypatch.setattr("cellferry.fleet.noting.AGAIN_S", 0.1)
    monkeypatch.setattr("cellferry.fleet.noting.NOTE_S", 0.1)
    return Cellferry(state_dir=str(tmp_path / "state"))


Make = Callable[[], Purse]


@pytest.fixture
def new_purse(config: Cellferry) -> Iterator[Make]:
    made: list[Purse] = []

    def one() -> Purse:
        made.append(Purse(config, "work/a.ipynb", lambda _worker: True))
        return made[-1]

    yield one
    for purse in made:
        purse.close()


@contextmanager
def locked(config: Cellferry) -> Iterator[None]:
    """By another process, as by somebody who looks into it with an editor for databases."""
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE');"
        "print('locked', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code, f"{config.state_dir}/ledger.sqlite"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "locked\n"
        try:
            yield
        finally:
            other.kill()


def running(purse: Purse) -> tuple[Order, Worker]:
    """A machine that exists as far as the ledger knows."""
    order = purse.reserve(CellRequest(budget_microusd=10**12), "train", OFFER, False, 600.0)
    worker = Worker(
        WorkerId("w1"), "train", "demo", Endpoint("unix", path="/nowhere"), Hardware(), lease=order.lease, token=order.token,
        offer=OFFER, started_unix_s=time.time(),
    )  # fmt: skip
    purse.started(order, worker)
    return order, worker


def kept_notes(config: Cellferry) -> list[Path]:
    return list((Path(config.state_dir) / owed.FOLDER).glob("*"))


def test_a_locked_ledger_delays_what_is_noted_and_nothing_else(config: Cellferry, new_purse: Make) -> None:
    purse = new_purse()
    order, worker = running(purse)
    with locked(config):
        now = time.time()
        assert purse.note_cell(worker, "In [1]", now - 1.0, now, "r1") == 1_000_000
        assert purse.note_cell(worker, "In [1]", now - 1.0, now, "r1") == 1_000_000, "said twice"
        assert "database is locked" in purse.behind and len(kept_notes(config)) == 1
        row = purse.spent(order.token)
        assert row is not None and row.spent_microusd > 0, "readers do not wait"
        came_to = purse.ended(order.token)
        assert came_to >= row.spent_microusd and len(kept_notes(config)) == 2
        with pytest.raises(LedgerUnavailable):  # money is held, or nothing starts
            purse.ledger.hurried(0.1).reserve(_ask_like(purse), [], now)
    eventually(lambda: not kept_notes(config), "what was owed is noted")
    eventually(lambda: not purse.behind, "nothing is owed any more")
    assert [(r.kind, r.run, r.microusd) for r in purse.ledger.receipts() if r.kind == "cell"] == [("cell", "r1", 1_000_000)]
    row = purse.ledger.get(order.token)
    assert row is not None and row.state == "ended" and row.spent_microusd == pytest.approx(came_to, abs=1000)


@pytest.mark.slow
def test_a_server_that_is_restarted_delays_what_is_noted(server: Server, new_purse: Make, config: Cellferry) -> None:
    mine = Server(server.bin_folder)
    config.ledger = mine.url(mine.new_database())
    purse = new_purse()
    try:
        order, worker = running(purse)
        mine.stop()
        assert purse.note_cell(worker, "In [1]", 10.0, 11.0, "r1") == 1_000_000 and purse.behind
        assert purse.spent(order.token) is not None, "reckoned from what was last known"
        assert purse.ended(order.token) > 0 and len(kept_notes(config)) == 2
        mine.start()
        _has_all(purse, config, order)
    finally:
        purse.close()
        mine.end()


def _has_all(purse: Purse, config: Cellferry, order: Order) -> None:
    eventually(lambda: not kept_notes(config), "what was owed is noted")
    row = purse.ledger.get(order.token)
    assert row is not None and row.state == "ended"
    assert [r.run for r in purse.ledger.receipts() if r.kind == "cell"] == ["r1"]


def _ask_like(purse: Purse):  # type: ignore[no-untyped-def]
    from cellferry.ledger import Ask

    return Ask("another", purse.person(True), "", "", "w", "demo", "", "", "", False, 0, 1, time.time(), "somebody")


def test_what_a_process_owes_is_noted_by_the_next_one(config: Cellferry, new_purse: Make) -> None:
    first = new_purse()
    order, worker = running(first)
    with locked(config):
        first.close()  # its meter has ended
        first.note_cell(worker, "In [1]", 10.0, 11.0, "r1")
        first.ended(order.token, at_unix_s=time.time())
    assert len(kept_notes(config)) == 2
    second = new_purse()
    assert [r.run for r in second.ledger.receipts() if r.kind == "cell"] == ["r1"] and not kept_notes(config)
    row = second.ledger.get(order.token)
    assert row is not None and row.state == "ended"


def test_notes_for_another_ledger_of_this_user_wait_for_it(config: Cellferry, new_purse: Make, tmp_path: Path) -> None:
    Owed(lambda: Path(config.state_dir)).add(End("a token of another ledger", 5.0))
    Path(config.state_dir).mkdir(exist_ok=True)
    Owed(lambda: Path(config.state_dir)).add(End("a token of another ledger", 5.0))
    purse = new_purse()
    running(purse)
    assert len(kept_notes(config)) == 1 and not purse.behind


def test_a_full_disk_keeps_them_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    notes = Owed(lambda: tmp_path / "file")
    notes.add(End("t", 5.0))
    assert list(notes.all().values()) == [End("t", 5.0)]
    notes.made(next(iter(notes.all())))
    assert notes.all() == {}


def test_a_note_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    notes = Owed(lambda: tmp_path)
    notes.add(End("t", 5.0, 7))
    for name, text in {"half": '{"kind": "re', "later": '{"kind": "of a later version"}', "wrong": "[]"}.items():
        (tmp_path / owed.FOLDER / f"{name}.json").write_text(text)
    assert list(notes.all().values()) == [End("t", 5.0, 7)]


@given(st.builds(End, st.text(), times, st.none() | numbers) | st.builds(
    Receipt, st.text(), st.sampled_from(["cell", "egress"]), st.text(), st.text(), st.text(), st.text(), times, times, numbers,
    st.booleans(), st.text(),
))  # fmt: skip
def test_notes_come_back_as_they_were(note: owed.Note) -> None:
    assert from_text(to_text(note)) == note


def test_a_ledger_that_is_made_anew_is_used_from_then_on(config: Cellferry, new_purse: Make) -> None:
    """Somebody followed the advice while this process had it open: what it writes must not go into a file that nobody sees."""
    purse = new_purse()
    running(purse)
    for path in Path(config.state_dir).glob("ledger.sqlite*"):
        if not path.name.endswith("-id"):
            path.unlink()
    assert purse.open() == []
    again, _ = running(purse)
    with sqlite3.connect(f"{config.state_dir}/ledger.sqlite") as other:
        assert other.execute("SELECT token FROM reservations").fetchall() == [(again.token,)]
    other.close()


def test_a_ledger_that_was_emptied_holds_up_no_note(config: Cellferry, new_purse: Make) -> None:
    purse = new_purse()
    order, worker = running(purse)
    (Path(config.state_dir) / "ledger.sqlite").unlink()
    (Path(config.state_dir) / "ledger.sqlite").write_bytes(b"")  # emptied, and another file
    assert purse.note_cell(worker, "In [1]", 10.0, 11.0, "r1") == 1_000_000 and "is empty" in purse.behind
    assert purse.spent(order.token) is not None, "reckoned from what was last known"

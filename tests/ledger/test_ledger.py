"""What the ledger promises, on both databases."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest

from cellferry.errors import BudgetExceeded, LedgerError
from cellferry.ledger import Balance, CostRow, Ledger, Limit, Receipt, open_ledger
from cellferry.model import Refusal

from .asks import DAY, DOLLAR, HOURLY, NOW, ask, rows
from .conftest import Database

DAILY = Limit("day", "", 3 * DOLLAR)


def test_the_life_of_a_reservation(ledger: Ledger) -> None:
    row = ledger.reserve(ask("t"), [DAILY], NOW)
    assert (row.state, row.reserved_microusd, row.spent_microusd, row.held_microusd) == ("reserved", DOLLAR, 0, DOLLAR)
    assert ledger.get("t") == row and ledger.open() == [row] and ledger.meter("t", NOW + 9) == row
    row = ledger.started("t", '{"id": 1}', NOW + 10)
    assert (row.state, row.started_unix_s, row.record) == ("running", NOW + 10, '{"id": 1}')
    row = ledger.meter("t", NOW + 110)
    assert (row.spent_microusd, row.held_microusd, row.metered_unix_s) == (10_000, DOLLAR - 10_000, NOW + 110)
    ended = ledger.end("t", NOW + 210)
    assert ended is not None and ended == ledger.get("t")
    assert (ended.state, ended.spent_microusd, ended.held_microusd, ended.released_microusd) == (
        "ended", 20_000, 0, DOLLAR - 20_000
    )  # fmt: skip
    assert ledger.open() == [] and ledger.end("t", NOW + 999) == ended == ledger.meter("t", NOW + 999)


def test_the_same_token_again_is_the_same_row(ledger: Ledger) -> None:
    first = ledger.reserve(ask("t", 3 * DOLLAR), [DAILY], NOW)
    assert ledger.reserve(ask("t", 2 * DOLLAR), [DAILY], NOW + 5) == first
    ended = ledger.end("t", NOW + 6)
    assert ledger.reserve(ask("t"), [], NOW + 7) == ended and ended is not None and ended.spent_microusd == 0


def test_the_meter_may_be_read_in_any_order(ledger: Ledger) -> None:
    ledger.reserve(ask("t"), [], NOW)
    ledger.started("t", "", NOW)
    spent = [ledger.meter("t", NOW + at).spent_microusd for at in (50, 10, 50, 0.001, 60, -5)]
    assert spent == [5000, 5000, 5000, 5000, 6000, 6000]
    assert ledger.meter("t", NOW + 10**6).spent_microusd == DOLLAR, "never more than is reserved"
    ended = ledger.end("t", NOW + 5)
    assert ended is not None and ended.spent_microusd == DOLLAR
    assert rows(ledger, "SELECT sum(microusd) FROM spend")[0][0] == DOLLAR


def test_a_price_is_rounded_up(ledger: Ledger) -> None:
    ledger.reserve(ask("t", microusd_per_hour=1), [], NOW)
    ledger.started("t", "", NOW)
    assert ledger.meter("t", NOW + 0.5).spent_microusd == 1 == ledger.meter("t", NOW + 3600).spent_microusd
    assert ledger.meter("t", NOW + 3601).spent_microusd == 2


@pytest.mark.parametrize(("told", "spent"), [(0, 0), (2_000, 2_000), (70_000, 70_000), (5 * DOLLAR, DOLLAR), (-1, 0)])
def test_somebody_knows_better_what_it_came_to(ledger: Ledger, told: int, spent: int) -> None:
    ledger.reserve(ask("t"), [], NOW)
    ledger.started("t", "", NOW)
    ledger.meter("t", NOW + 100)
    ended = ledger.end("t", NOW + 2 * DAY, spent_microusd=told)
    assert ended is not None and ended.spent_microusd == spent
    assert rows(ledger, "SELECT sum(microusd), min(microusd) >= 0 FROM spend")[0][:] == (spent, True)


def test_what_never_started_may_still_have_cost_something(ledger: Ledger) -> None:
    ledger.reserve(ask("t"), [], NOW)
    ended = ledger.end("t", NOW + 60, spent_microusd=1200)
    assert ended is not None and ended.spent_microusd == 1200
    assert [(row.key, row.machine_microusd) for row in ledger.costs("day")] == [("2025-11-24", 1200)]


def test_a_start_tells_its_record_twice_and_counts_once(ledger: Ledger) -> None:
    ledger.reserve(ask("t"), [], NOW)
    ledger.started("t", "one", NOW + 1)
    row = ledger.started("t", "two", NOW + 50)
    assert (row.started_unix_s, row.record) == (NOW + 1, "two") and ledger.get("t") == row


def test_a_machine_whose_money_was_given_back_may_not_run(ledger: Ledger) -> None:
    ledger.reserve(ask("t"), [], NOW)
    ledger.end("t", NOW + 1)
    with pytest.raises(LedgerError, match="given back before its machine"):
        ledger.started("t", "", NOW + 2)
    with pytest.raises(LedgerError, match="has ended"):
        ledger.extend("t", DOLLAR, [], NOW + 2)


def test_unknown_tokens(ledger: Ledger) -> None:
    assert ledger.get("?") is None and ledger.end("?", NOW) is None
    for act in (
        lambda: ledger.meter("?", NOW),
        lambda: ledger.started("?", "", NOW),
        lambda: ledger.extend("?", 1, [], 0),
    ):
        with pytest.raises(LedgerError, match="no reservation '\\?'"):
            act()


def test_amounts_are_never_negative(ledger: Ledger) -> None:
    for act in (
        lambda: ledger.reserve(ask("t", -1), [], NOW),
        lambda: ledger.reserve(ask("t", microusd_per_hour=-1), [], NOW),
        lambda: ledger.extend("t", -1, [], NOW),
        lambda: ledger.set_limit(Limit("day", "", -1), "ana"),
    ):
        with pytest.raises(ValueError, match="never negative"):
            act()
    assert ledger.open() == []


# ---- limits -----------------------------------------------------------------------------------------------------------


def test_who_holds_the_rest_is_told(ledger: Ledger) -> None:
    ledger.reserve(ask("one", 2 * DOLLAR), [DAILY], NOW)
    ledger.reserve(
        ask("two", 500_000, NOW + 60, worker="look", notebook="b.ipynb", client="ana@mac pid 9"), [DAILY], NOW
    )
    with pytest.raises(BudgetExceeded) as caught:
        ledger.reserve(ask("three"), [Limit("notebook", "", 9 * DOLLAR), DAILY], NOW + 61)
    told = str(caught.value)
    assert (
        "$1.00 for worker train (aws p4d.24xlarge) does not fit under the limit of ana for the day 2025-11-24" in told
    )
    assert "of $3.00, $0.00 is spent and $2.50 held, so $0.50 is left. It is held by:" in told
    assert "\n  $2.00: worker train (reserved) of a.ipynb, ana, ana@box pid 7, since 2025-11-24 12:00 UTC" in told
    assert "\n  $0.50: worker look (reserved) of b.ipynb, ana, ana@mac pid 9, since 2025-11-24 12:01 UTC" in told
    assert (
        caught.value.advice
        == "raise it (`%remote budget 4 --per day`), or end a worker that holds money (`%remote down train`)"
    )
    assert ledger.get("three") is None


def test_only_the_largest_holders_are_named(ledger: Ledger) -> None:
    for n in range(8):
        ledger.reserve(ask(f"t{n}", 100_000 + n), [], NOW)
    with pytest.raises(BudgetExceeded, match=r"\$0\.30: 3 more"):
        ledger.reserve(ask("more"), [Limit("month", "", DOLLAR)], NOW)


def test_the_limit_with_the_least_left_is_named(ledger: Ledger) -> None:
    limits = [Limit("day", "", 900_000), Limit("cell", "", 50_000), Limit("person", "", 800_000)]
    with pytest.raises(BudgetExceeded, match=r"the limit of this cell: of \$0\.05, \$0\.00 is spent") as caught:
        ledger.reserve(ask("t"), limits, NOW)
    assert "held by" not in caught.value.what and caught.value.advice == "give the cell more (`budget=1`)"
    with pytest.raises(BudgetExceeded, match="set on ana for the month 2025-11") as caught:
        ledger.reserve(ask("t"), limits[2:], NOW)
    assert "ask whoever set it" in caught.value.advice


def test_each_limit_counts_its_own(ledger: Ledger) -> None:
    ledger.reserve(ask("1"), [], NOW)
    ledger.reserve(ask("2", cell="c2"), [], NOW)
    ledger.reserve(ask("3", notebook="b.ipynb"), [], NOW)
    ledger.reserve(ask("4", person="bo"), [], NOW)
    limits = [
        Limit("cell", "", 9), Limit("cell", "c2", 9), Limit("notebook", "", 9), Limit("notebook", "b.ipynb", 9),
        Limit("day", "", 9), Limit("month", "", 9), Limit("person", "", 9), Limit("person", "bo", 9),
    ]  # fmt: skip
    found = ledger.balances(limits, "ana", "a.ipynb", NOW, "c1")
    assert [row.reserved_microusd // DOLLAR for row in found] == [1, 1, 2, 1, 3, 3, 3, 1]
    assert [row.limit for row in found] == limits and {row.left_microusd for row in found} == {0}


def test_what_can_be_had(ledger: Ledger) -> None:
    assert ledger.most_available([], "ana", "a.ipynb", NOW) is None
    limits = [DAILY, Limit("notebook", "", 2 * DOLLAR)]
    assert ledger.most_available(limits, "ana", "a.ipynb", NOW) == 2 * DOLLAR
    ledger.reserve(ask("t", 1_500_000), limits, NOW)
    most = ledger.most_available(limits, "ana", "a.ipynb", NOW)
    assert most == 500_000
    with pytest.raises(BudgetExceeded):
        ledger.reserve(ask("more", most + 1), limits, NOW)
    ledger.reserve(ask("most", most), limits, NOW)
    assert ledger.most_available(limits, "ana", "a.ipynb", NOW) == 0
    assert ledger.most_available([Limit("cell", "", 7)], "ana", "a.ipynb", NOW) == 7
    ledger.reserve(ask("free", 0, microusd_per_hour=0), limits, NOW)


def test_a_machine_that_runs_over_midnight(ledger: Ledger) -> None:
    """12:00 to 12:00, at 100 a second: half of it on each day, and a month's end in between."""
    start = NOW + 6 * DAY  # 30 November
    ledger.reserve(ask("t", 20 * DOLLAR), [], start)
    ledger.started("t", "", start)
    for at in (start + 40_000, start + DAY):
        ledger.meter("t", at)
    limits = [Limit("day", "", 20 * DOLLAR), Limit("month", "", 20 * DOLLAR), Limit("notebook", "", 20 * DOLLAR)]
    held = 20 * DOLLAR - 8_640_000
    for now, spent in ((start, [4_320_000, 4_320_000, 8_640_000]), (start + DAY, [4_320_000, 4_320_000, 8_640_000]),
                       (start + 2 * DAY, [0, 4_320_000, 8_640_000])):  # fmt: skip
        found = ledger.balances(limits, "ana", "a.ipynb", now)
        assert found == [
            Balance(limit, cost, held, 20 * DOLLAR - held - cost) for limit, cost in zip(limits, spent, strict=True)
        ]
    assert ledger.costs("day") == [
        CostRow("2025-11-30", 4_320_000, 0, 43_200.0, 0), CostRow("2025-12-01", 4_320_000, 0, 43_200.0, 0)
    ]  # fmt: skip


def test_more_for_a_machine_that_runs_longer(ledger: Ledger) -> None:
    ledger.reserve(ask("t"), [DAILY], NOW)
    ledger.started("t", "", NOW)
    row = ledger.extend("t", 2 * DOLLAR, [DAILY], NOW + 100)
    assert (row.reserved_microusd, row.spent_microusd, row.state) == (3 * DOLLAR, 10_000, "running")
    with pytest.raises(BudgetExceeded, match=r"\$0\.01 is spent and \$2\.99 held, so \$0\.00 is left"):
        ledger.extend("t", 1, [DAILY], NOW + 100)
    assert ledger.get("t") == row


def test_money_of_a_new_day_is_not_charged_to_one_that_is_over(ledger: Ledger) -> None:
    """All reserved money is gone before midnight, and two days later there is more: that counts when it is spent."""
    ledger.reserve(ask("t", DOLLAR), [], NOW)
    ledger.started("t", "", NOW)
    ledger.extend("t", DOLLAR, [DAILY], NOW + 2 * DAY)
    ledger.meter("t", NOW + 2 * DAY + 1)
    assert [(row.key, row.machine_microusd) for row in ledger.costs("day") if row.machine_microusd] == [
        ("2025-11-24", DOLLAR), ("2025-11-26", DOLLAR)
    ]  # fmt: skip


def test_limits_are_remembered(ledger: Ledger) -> None:
    for limit in (DAILY, Limit("notebook", "", 1), Limit("notebook", "a.ipynb", 2), Limit("notebook", "b.ipynb", 3),
                  Limit("cell", "", 4), Limit("cell", "c9", 5), Limit("day", "", 6)):  # fmt: skip
        ledger.set_limit(limit, "ana")
    ledger.set_limit(Limit("person", "bo", 9), "bo")
    assert set(ledger.limits("ana", "a.ipynb")) == {
        Limit("day", "", 6), Limit("notebook", "a.ipynb", 2), Limit("cell", "", 4), Limit("cell", "c9", 5)
    }  # fmt: skip
    assert ledger.limits("bo", "x") == [Limit("person", "bo", 9)] and ledger.limits("cy", "x") == []
    ledger.remove_limit(Limit("notebook", "a.ipynb", 0), "ana")
    ledger.remove_limit(Limit("notebook", "a.ipynb", 0), "ana")
    assert Limit("notebook", "", 1) in ledger.limits("ana", "a.ipynb")


# ---- finding, reports, refusals -----------------------------------------------------------------------------------------


def test_another_finds_what_is_open(ledger: Ledger, database: Database) -> None:
    ledger.reserve(ask("2", at=NOW + 1), [], NOW)
    ledger.reserve(ask("1", notebook="b.ipynb"), [], NOW)
    ledger.reserve(ask("3", at=NOW + 2, person="bo", worker="look"), [], NOW)
    ledger.reserve(ask("4"), [], NOW)
    ledger.end("4", NOW)
    other = open_ledger(database.config)
    assert [row.token for row in other.open()] == ["1", "2", "3"]
    assert [row.token for row in other.open(person="bo")] == ["3"]
    assert [row.token for row in other.by_worker("train")] == ["1", "2"]
    assert [row.token for row in other.by_worker("train", notebook="b.ipynb")] == ["1"]
    assert other.by_worker("train", person="bo") == []
    other.close()


def receipt(kind: str = "cell", microusd: int = 500, **other: object) -> Receipt:
    told = {"token": "t", "person": "ana", "notebook": "a.ipynb", "cell": "c1", "worker": "train", "estimated": False}
    times = {"started_unix_s": NOW, "ended_unix_s": NOW + 5}
    return Receipt(**told | times | {"kind": kind, "microusd": microusd} | other)  # type: ignore[arg-type]


def test_costs_by_everything(ledger: Ledger) -> None:
    for token, seconds, other in (("t", 100, {}), ("u", 50, {"notebook": "b.ipynb", "worker": "look"}),
                                  ("v", 10, {"person": "bo"})):  # fmt: skip
        ledger.reserve(ask(token, **other), [], NOW)
        ledger.started(token, "", NOW + DAY * (token == "v"))
        ledger.end(token, NOW + DAY * (token == "v") + seconds)
    ledger.note_cell(receipt())
    ledger.note_cell(receipt())
    ledger.note_cell(receipt(microusd=700, started_unix_s=NOW + 6, ended_unix_s=NOW + 8, cell="c2"))
    ledger.note_estimate(receipt("storage", 33))
    ledger.note_estimate(receipt("egress", 44, person="bo", ended_unix_s=NOW + DAY))
    assert ledger.costs("notebook") == [
        CostRow("a.ipynb", 11_000, 77, 110.0, 2), CostRow("b.ipynb", 5_000, 0, 50.0, 0)
    ]  # fmt: skip
    assert ledger.costs("worker") == [CostRow("train", 11_000, 77, 110.0, 2), CostRow("look", 5_000, 0, 50.0, 0)]
    assert ledger.costs("person") == [CostRow("ana", 15_000, 33, 150.0, 2), CostRow("bo", 1_000, 44, 10.0, 0)]
    assert ledger.costs("day") == [
        CostRow("2025-11-24", 15_000, 33, 150.0, 2), CostRow("2025-11-25", 1_000, 44, 10.0, 0)
    ]  # fmt: skip
    assert ledger.costs("cell") == [CostRow("c2", 700, 0, 2.0, 1), CostRow("c1", 500, 77, 5.0, 1)]
    assert ledger.costs("notebook", person="bo") == [CostRow("a.ipynb", 1_000, 44, 10.0, 0)]
    assert ledger.costs(since=NOW + DAY) == [CostRow("a.ipynb", 1_000, 44, 10.0, 0)]
    assert [(found.kind, found.microusd, found.estimated) for found in ledger.receipts(person="ana")] == [
        ("cell", 500, False), ("storage", 33, True), ("cell", 700, False)
    ]  # fmt: skip
    assert [found.kind for found in ledger.receipts(since=NOW + 100)] == ["egress"]


def test_a_run_is_noted_once_whoever_counts_it(ledger: Ledger) -> None:
    """Two notebooks may have seen it begin and end at other moments, and one of them may be called otherwise."""
    ledger.note_cell(receipt(run="a1"))
    ledger.note_cell(receipt(run="a1", microusd=499, ended_unix_s=NOW + 4, notebook="b.ipynb"))
    ledger.note_cell(receipt(run="a2"))
    ledger.note_estimate(receipt("egress", 44, run="a1"))
    assert ledger.costs("cell") == [CostRow("c1", 1000, 44, 10.0, 2)]
    assert [found.run for found in ledger.receipts()] == ["a1", "a2", "a1"]


def test_estimates_count_against_no_limit(ledger: Ledger) -> None:
    ledger.note_estimate(receipt("storage", 5 * DOLLAR))
    assert ledger.most_available([DAILY], "ana", "a.ipynb", NOW) == DAILY.microusd
    assert ledger.costs("person") == [CostRow("ana", 0, 5 * DOLLAR, 0.0, 0)]


def test_a_free_machine_is_in_the_report_too(ledger: Ledger) -> None:
    ledger.reserve(ask("t", 0, microusd_per_hour=0), [Limit("day", "", 0)], NOW)
    ledger.started("t", "", NOW)
    ledger.end("t", NOW + 30)
    assert ledger.costs("worker") == [CostRow("train", 0, 0, 30.0, 0)]


def test_refusals_are_remembered_for_a_while(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Refusal("aws", "us-east-1", "us-east-1a", "p4d.24xlarge", True, "no_capacity", "none left", NOW)
    ledger.note_refusal(one)
    ledger.note_refusal(replace(one, provider="demo", at_unix_s=NOW + 1, what="x" * 9000))
    assert ledger.refusals(NOW, "aws") == [one] and ledger.refusals(NOW + 2) == []
    assert [(found.provider, len(found.what)) for found in ledger.refusals(NOW)] == [("demo", 2000), ("aws", 9)]
    monkeypatch.setattr("cellferry.ledger.reports.REFUSALS_KEPT", 3)
    for n in range(5):
        ledger.note_refusal(replace(one, at_unix_s=NOW + 10 + n))
    assert [found.at_unix_s - NOW for found in ledger.refusals(0)] == [14, 13, 12]
    ledger.note_refusal(replace(one, at_unix_s=NOW + 31 * DAY))
    assert len(ledger.refusals(0)) == 1


# ---- odd circumstances ----------------------------------------------------------------------------------------------------


def test_names_that_no_database_likes(ledger: Ledger) -> None:
    odd = "nul\0 \udcff 'quoted\" %s :x \N{SNOWMAN}.ipynb"
    ledger.reserve(ask("t", notebook=odd, worker=odd), [], NOW)
    (row,) = ledger.by_worker(odd, notebook=odd)
    assert row.token == "t" and "\N{SNOWMAN}" in row.notebook
    assert ledger.balances([Limit("notebook", "", 5)], "ana", odd, NOW)[0].reserved_microusd == DOLLAR
    assert ledger.costs("notebook") == []


def test_every_thread_may_use_it(ledger: Ledger) -> None:
    limit = Limit("day", "", 10 * DOLLAR)
    outcomes: list[str] = []

    def use(n: int) -> None:
        try:
            for k in range(5):
                ledger.reserve(ask(f"{n}-{k}"), [limit], NOW)
                outcomes.append("won")
        except BudgetExceeded:
            outcomes.append("lost")

    threads = [threading.Thread(target=use, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("won") == 10 and ledger.balances([limit], "ana", "", NOW)[0].left_microusd == 0


def test_a_forked_child_has_connections_of_its_own(ledger: Ledger) -> None:
    ledger.reserve(ask("t"), [], NOW)
    pid = os.fork()
    if pid == 0:
        try:
            ledger.started("t", "child", NOW)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert ledger.meter("t", NOW + 10).spent_microusd == 1000
    row = ledger.get("t")
    assert row is not None and row.record == "child" and row.microusd_per_hour == HOURLY


def test_an_interrupted_transaction_leaves_nothing(ledger: Ledger) -> None:
    with pytest.raises(KeyboardInterrupt), ledger._writing() as connection:
        connection.exec_driver_sql("DELETE FROM limits")
        connection.exec_driver_sql("INSERT INTO limits (person, period, key, microusd) VALUES ('ana', 'day', '', 5)")
        raise KeyboardInterrupt
    assert ledger.limits("ana", "") == []
    ledger.set_limit(DAILY, "ana")


def test_closing_may_be_repeated(ledger: Ledger, database: Database) -> None:
    ledger.close()
    ledger.close()
    assert "owner@" in repr(ledger) if database.kind == "postgres" else "ledger.sqlite" in repr(ledger)

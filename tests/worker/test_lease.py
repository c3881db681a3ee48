"""The rule of the lease by properties, and its thread with a clock that only the test moves."""

from __future__ import annotations

import json
import os
import threading
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellferry.model import Lease
from cellferry.worker.decisions import FILE, MOST_BYTES, Decisions
from cellferry.worker.lease import (
    ABANDONED_S,
    CLOCKS_AGREE_S,
    END_S,
    FIRST_LINK_S,
    KILL_S,
    LOOK_S,
    STUCK_S,
    TERM_S,
    Facts,
    LeaseWatch,
    agreed_end,
    boottime,
    decide,
)

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
TIMES = st.floats(0, 1e6)
LEASES = st.builds(Lease, idle_s=st.floats(0.1, 1e5), grace_s=st.none() | st.floats(0.1, 1e5))
FACTS = st.builds(
    Facts,
    links=st.integers(0, 5),
    busy=st.booleans(),
    unlinked_since_s=TIMES,
    free_since_s=TIMES,
    folder_there=st.booleans(),
    kept=st.booleans(),
    asked=st.sampled_from(["", "stop", "signal", "keeper"]),
)


@given(TIMES, FACTS, LEASES)
def test_a_linked_worker_lives_unless_it_is_asked_or_homeless(now: float, facts: Facts, lease: Lease) -> None:
    decision = decide(now, facts, lease)
    if facts.asked:
        assert decision.end == facts.asked
    elif not facts.folder_there:
        assert decision.end == "folder"
    elif facts.links:
        assert decision.end == ""


@given(TIMES, FACTS, LEASES)
def test_it_ends_exactly_when_a_term_is_over(now: float, facts: Facts, lease: Lease) -> None:
    decision = decide(now, facts, lease)
    if facts.asked or not facts.folder_there or facts.links:
        return
    grace_s = ABANDONED_S if facts.kept else lease.grace_s  # what nobody has yet is waited for
    grace_over = lease.grace_s is not None and grace_s is not None and facts.unlinked_since_s + grace_s - now <= 0
    idle_over = not facts.busy and facts.free_since_s + lease.idle_s - now <= 0
    assert bool(decision.end) == (grace_over or idle_over)


@given(TIMES, FACTS, LEASES)
def test_it_looks_again_in_time(now: float, facts: Facts, lease: Lease) -> None:
    """If nothing changes until then, nothing was due any earlier; and the folder is looked at every second."""
    decision = decide(now, facts, lease)
    if not decision.end:
        assert 0 < decision.look_again_s <= LOOK_S
        assert decide(now + decision.look_again_s * 0.99, facts, lease).end == "" or now > 1e5  # floats get coarse


@given(TIMES, FACTS, LEASES, st.floats(0, 1e6))
def test_time_alone_never_brings_it_back(now: float, facts: Facts, lease: Lease, later: float) -> None:
    if decide(now, facts, lease).end:
        assert decide(now + later, facts, lease).end


def test_a_busy_detached_worker_lives_for_ever() -> None:
    facts = Facts(links=0, busy=True, unlinked_since_s=0, free_since_s=0)
    assert decide(1e9, facts, Lease(idle_s=1, grace_s=None)).end == ""
    assert decide(1e9, facts, Lease(idle_s=1, grace_s=5)).end == "unlinked"


@given(st.floats(0, 100), st.integers(0, 2), st.none() | st.floats(0, 100), st.none() | st.floats(0, 100))
def test_what_runs_too_long_is_ended_step_by_step(over: float, links: int, ends: float | None, since: float | None) -> None:
    """Interrupt, terminate, kill, end: each later than the one before, none of them undone by time alone."""
    facts = Facts(links=links, busy=True, unlinked_since_s=0, free_since_s=0, cell_ends_s=0.0)
    decision = decide(over, facts, Lease(idle_s=1e9))
    assert decision.end == ("stuck" if over >= STUCK_S else "")
    if not decision.end:
        assert decision.interrupt == "cell"
        assert (decision.terminate, decision.kill) == (over >= TERM_S, over >= KILL_S)
        steps = [step for step in (TERM_S, KILL_S, STUCK_S) if step > over]
        assert 0 < decision.look_again_s <= min(LOOK_S, steps[0] - over)
    money = Facts(links=links, busy=True, unlinked_since_s=0, free_since_s=0, ends_s=ends)
    if ends is not None:
        assert bool(decide(over, money, Lease(idle_s=1e9)).end) == (over - ends >= END_S), "money allows no longer way"


def test_the_whole_way_with_a_clock_that_only_the_test_moves(tmp_path: Path) -> None:
    done: list[str] = []
    decisions = Decisions(tmp_path, clock := Clock(), wall=lambda: 0.0)
    watch = LeaseWatch(
        tmp_path, Lease(idle_s=600), lambda why: done.append(f"end {why}"), interrupt=lambda why: done.append("interrupt"),
        terminate=lambda why: done.append("terminate"), kill=lambda why: done.append("kill"), note=decisions.note, clock=clock,
    )  # fmt: skip
    watch.update(1, True, 100.0)
    for _ in range(1300):  # by hand what the thread does, a tenth of a second each
        decision = decide(clock(), watch.facts(), watch.lease)
        if decision.end:
            watch._note("end", decision.end)
            break
        watch._act(decision)
        clock.now_s += 0.1
    assert [word for word, _ in groupby(done)] == ["interrupt", "terminate", "kill"] and done.count("interrupt") == 5
    told = decisions.last()
    assert [line["decision"] for line in told] == ["interrupt"] * 5 + ["terminate", "kill", "end"]
    assert told[-1]["reason"] == "stuck" and 1100 + STUCK_S <= told[-1]["clock_s"] < 1100 + STUCK_S + 0.2
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert lines == told


def test_the_next_cell_is_judged_anew(tmp_path: Path) -> None:
    done: list[str] = []
    clock = Clock()
    watch = LeaseWatch(tmp_path, Lease(), lambda why: None, kill=lambda why: done.append("kill"), clock=clock)
    for _cell in range(2):
        watch.update(1, True, 1.0)
        clock.now_s += 1 + KILL_S
        for _ in range(3):
            watch._act(decide(clock(), watch.facts(), watch.lease))
        watch.kernel_ended()
    assert done == ["kill", "kill"]


def test_the_file_of_decisions_does_not_grow_for_ever(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path)
    for number in range(3000):
        decisions.note("interrupt", f"{number} {'x' * 50}")
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert (tmp_path / FILE).stat().st_size <= MOST_BYTES and lines[-1]["reason"].startswith("2999 ")
    assert not list(tmp_path.glob("*.part")) and len(decisions.last(10)) == 10


def test_a_decision_that_cannot_be_written_is_made_all_the_same(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path / "not there")
    decisions.note("kill", "cell")
    assert decisions.last()[0]["decision"] == "kill"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Watched:
    """A watch whose end is only noted."""

    def __init__(self, folder: Path, lease: Lease, line: int = -1) -> None:
        self.clock, self.over, self.reason = Clock(), threading.Event(), ""
        self.watch = LeaseWatch(folder, lease, self._end, keeper_line=line, clock=self.clock)

    def _end(self, reason: str) -> None:
        self.reason = reason
        self.over.set()

    def wait(self) -> str:
        assert self.over.wait(20)
        return self.reason

    def ask(self) -> str:
        return decide(self.clock(), self.watch.facts(), self.watch._lease).end


def test_the_lease_counts_from_the_first_chance_to_link(tmp_path: Path) -> None:
    watched = Watched(tmp_path, Lease(idle_s=600, grace_s=5))
    watched.clock.now_s += FIRST_LINK_S + 4.9
    assert watched.ask() == "" and watched.watch.remaining_s() == pytest.approx(0.1)
    watched.clock.now_s += 0.2
    assert watched.ask() == "unlinked"


def test_the_lease_counts_from_the_last_link_and_the_last_cell(tmp_path: Path) -> None:
    watched = Watched(tmp_path, Lease(idle_s=10, grace_s=None))
    watched.watch.update(1, False)
    watched.clock.now_s += 1000
    assert watched.ask() == "" and watched.watch.remaining_s() is None
    watched.watch.update(0, True)
    watched.clock.now_s += 1000
    assert watched.ask() == ""
    watched.watch.update(0, False)
    watched.clock.now_s += 9.9
    watched.watch.update(0, False)  # a report that brings nothing new does not count as a sign of life
    assert watched.ask() == ""
    watched.clock.now_s += 0.2
    assert watched.ask() == "idle"


def test_a_dead_kernel_gives_the_client_time_to_come_back(tmp_path: Path) -> None:
    watched = Watched(tmp_path, Lease(idle_s=600, grace_s=5))
    watched.watch.update(1, True)
    watched.clock.now_s += 1000
    watched.watch.kernel_ended()
    assert watched.watch.facts().busy is False
    watched.clock.now_s += FIRST_LINK_S
    assert watched.ask() == ""
    watched.clock.now_s += 6
    assert watched.ask() == "unlinked"


@pytest.mark.parametrize("reason", ["stop", "signal"])
def test_the_thread_ends_it_when_asked(tmp_path: Path, reason: str) -> None:
    watched = Watched(tmp_path, Lease())
    watched.watch.start()
    watched.watch.ask_end(reason)
    watched.watch.ask_end("another")
    assert watched.wait() == reason


def test_the_thread_notices_its_folder_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "worker"
    folder.mkdir()
    watched = Watched(folder, Lease())
    watched.watch.start()
    folder.rename(tmp_path / "old")
    folder.mkdir()
    assert watched.wait() == "folder"


@pytest.mark.parametrize(("sent", "reason"), [(b"T", "signal"), (b"", "keeper")])
def test_the_thread_hears_the_keeper_ask_and_die(tmp_path: Path, sent: bytes, reason: str) -> None:
    listens, tells = os.pipe()
    watched = Watched(tmp_path, Lease(), listens)
    watched.watch.start()
    if sent:
        os.write(tells, sent)
    else:
        os.close(tells)
    assert watched.wait() == reason
    os.close(listens)
    if sent:
        os.close(tells)


def test_the_thread_acts_when_the_time_has_come(tmp_path: Path) -> None:
    watched = Watched(tmp_path, Lease(idle_s=600, grace_s=5))
    watched.watch.start()
    watched.watch.update(1, False)
    watched.clock.now_s += 100
    watched.watch.update(0, False)
    watched.clock.now_s += 5
    watched.watch.update(0, False)  # wakes the thread, as a kernel's report does
    assert watched.wait() == "unlinked"


def test_the_clock_goes_on_while_the_machine_sleeps() -> None:
    assert boottime() > 0


@given(st.floats(0, 1e6), st.floats(-1e8, 1e8))
def test_a_longer_lease_is_as_long_as_it_is_meant_whatever_the_clocks_say(left_s: float, ahead_s: float) -> None:
    """``ahead_s``: by how much the worker's clock is ahead of the notebook's."""
    now = 1.8e9
    ends = agreed_end(now + left_s, left_s, now + ahead_s)
    assert abs(ends - (now + ahead_s) - left_s) <= CLOCKS_AGREE_S + 1e-3
    assert agreed_end(5.0, None, now) == 5.0, "a notebook of an earlier release says only when"

"""The short version of ``make chaos``: a few seeds that have every kind of fault between them; and the suite's own judgement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chaos.check import outputs_wrong
from chaos.drive import Truth
from chaos.run import expected, play, schedule_for, warm
from chaos.schedule import BESIDE, KINDS
from testbeds.far import Far, far  # noqa: F401
from testbeds.needs import need_hosts

DEMO_SEEDS = (504, 534)
SSH_SEEDS = (685, 1171)
"""Chosen so that all kinds of faults happen in little time."""
EXPECTED = [f"tick 1.{n}" for n in range(4)]


def test_a_seed_is_a_schedule() -> None:
    schedules = [schedule_for(seed) for seed in range(200)]
    assert schedules == [schedule_for(seed) for seed in range(200)]
    assert all(schedule.faults for schedule in schedules)
    for provider, kinds in KINDS.items():
        assert {fault.kind for each in schedules if each.provider == provider for fault in each.faults} - set(BESIDE) == set(kinds)


def test_the_short_version_has_every_fault() -> None:
    assert {fault.kind for seed in (*DEMO_SEEDS, *SSH_SEEDS) for fault in schedule_for(seed).faults} == {
        *BESIDE, *(kind for kinds in KINDS.values() for kind in kinds)
    }


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("tick 1.0\ntick 1.1\ntick 1.2\ntick 1.3\n", True),
        ("tick 1.0\ntick 1.1\n", False),
        ("tick 1.0\n-- try 2 of 3, on a new worker: why\ntick 1.0\ntick 1.1\ntick 1.2\ntick 1.3\n", True),
        ("", False),
    ],
)
def test_outputs_that_are_right(text: str, whole: bool) -> None:
    assert outputs_wrong(text, EXPECTED, whole=whole) == []


@pytest.mark.parametrize(
    ("text", "whole", "what"),
    [
        ("tick 1.0\ntick 1.1\ntick 1.1\ntick 1.2\ntick 1.3\n", True, "'tick 1.1' where 'tick 1.2'"),
        ("tick 1.0\ntick 1.2\ntick 1.3\n", True, "'tick 1.2' where 'tick 1.1'"),
        ("tick 1.0\ntick 1.1\n", True, "what follows 'tick 1.1' is missing"),
        ("tick 1.1\n", False, "'tick 1.1' where 'tick 1.0'"),
        ("tick 1.0\ntick 1.1\ntick 1.0\n-- try 2 of 3\ntick 1.0\ntick 1.1\ntick 1.2\ntick 1.3\n", True, "'tick 1.0' where 'tick 1.2'"),
        ("tick 1.0\ntick 1.1\ntick 1.2\ntick 1.3\ntick 1.0\n", True, "where 'nothing' should be"),
    ],
)
def test_outputs_that_are_wrong(text: str, whole: bool, what: str) -> None:
    assert what in "".join(outputs_wrong(text, EXPECTED, whole=whole))


def _turns(seeds: tuple[int, int]) -> list[Any]:
    """The first is part of every run, the other nightly."""
    return [seeds[0], pytest.param(seeds[1], marks=pytest.mark.nightly)]


@pytest.fixture(scope="module")
def truth() -> tuple[Truth, ...]:
    return expected()


@pytest.fixture(scope="module")
def warm_far(far: Far, truth: tuple[Truth, ...]) -> Iterator[Far]:
    """The machine, after a run in which nothing happened to it."""
    told = warm(far, truth)
    assert not told.wrong, f"{told.verdict}\n" + "\n".join(told.log)
    yield far


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", _turns(DEMO_SEEDS))
def test_faults_on_the_simulated_cloud(seed: int, truth: tuple[Truth, ...]) -> None:
    need_hosts()
    told = play(schedule_for(seed), None, truth)
    assert not told.wrong, f"{told.verdict}\n" + "\n".join(told.log)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", _turns(SSH_SEEDS))
def test_faults_on_a_machine_with_sshd(seed: int, warm_far: Far, truth: tuple[Truth, ...]) -> None:
    told = play(schedule_for(seed), warm_far, truth)
    assert not told.wrong, f"{told.verdict}\n" + "\n".join(told.log)

"""What an interrupt comes to, wherever its run is on its way."""

from __future__ import annotations

import pytest

from cellferry.guest.stops import Stops


def test_one_that_waits_is_dropped_and_never_begins() -> None:
    stops = Stops()
    assert stops.stop("a", waits=True) == "dropped"
    assert not stops.begin("a")
    stops.over("a")
    assert stops.begin("a")


def test_one_that_is_unpacked_is_interrupted_before_its_first_line() -> None:
    stops = Stops()
    assert stops.begin("a")
    assert stops.stop("a", waits=True) == "later"
    assert stops.asked("a")
    with pytest.raises(KeyboardInterrupt):
        stops.execute("a")
    stops.executed()
    stops.over("a")
    assert not stops.asked("a")


def test_one_that_runs_gets_the_signal_and_no_other_does() -> None:
    stops = Stops()
    assert stops.begin("a")
    stops.execute("a")
    assert stops.stop("a", waits=True) == "signal"
    assert stops.stop("b", waits=True) == "dropped"
    stops.executed()
    assert stops.stop("a", waits=False) == "over"

"""What an interrupt comes to, wherever its run is on its way."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cellferry.guest.stops import Stops, Turn


class Bench:
    """The runs of one kernel, and who is signalled."""

    def __init__(self, folder: Path) -> None:
        self.signals = 0
        self.turn = Turn(folder / "turn")
        self.stops = Stops(self.turn, self.interrupt)

    def interrupt(self) -> None:
        self.signals += 1


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_one_that_waits_is_dropped_and_never_begins(bench: Bench) -> None:
    stops = bench.stops
    assert stops.stop("a", waits=True) == "dropped"
    assert not stops.begin("a")
    stops.over("a")
    assert stops.begin("a")


def test_one_that_is_unpacked_is_interrupted_before_its_first_line(bench: Bench) -> None:
    stops = bench.stops
    assert stops.begin("a")
    assert stops.stop("a", waits=True) == "later"
    assert stops.asked("a")
    with pytest.raises(KeyboardInterrupt):
        stops.execute("a")
    stops.executed()
    stops.over("a")
    assert not stops.asked("a")


def test_one_that_runs_gets_the_signal_and_no_other_does(bench: Bench) -> None:
    stops = bench.stops
    assert stops.begin("a")
    stops.execute("a")
    assert stops.stop("a", waits=True) == "signal" and bench.signals == 1
    assert stops.stop("b", waits=True) == "dropped"
    stops.executed()
    assert stops.stop("a", waits=False) == "over" and bench.signals == 1


def test_the_worker_signals_only_the_run_that_executes(bench: Bench, tmp_path: Path) -> None:
    stops, turn = bench.stops, Turn(tmp_path / "turn")  # of another process, there
    assert not turn.signal("a", bench.interrupt)
    stops.execute("a")
    assert not turn.signal("b", bench.interrupt) and not turn.signal("", bench.interrupt) and bench.signals == 0
    assert turn.signal("a", bench.interrupt) and bench.signals == 1
    stops.executed()
    assert not turn.signal("a", bench.interrupt) and bench.signals == 1


def test_no_run_ends_while_it_is_signalled(bench: Bench) -> None:
    """Whoever comes next would get the signal."""
    ended = threading.Event()

    def end() -> None:
        bench.stops.executed()
        ended.set()

    ending = threading.Thread(target=end)

    def signal() -> None:
        ending.start()
        assert not ended.wait(0.05)

    bench.stops.execute("a")
    assert bench.turn.signal("a", signal)
    ending.join(10)
    assert ended.is_set()


def test_a_kernel_that_follows_another_executes_nothing_yet(bench: Bench, tmp_path: Path) -> None:
    bench.stops.execute("a")
    again = Bench(tmp_path)
    assert not again.turn.signal("a", again.interrupt)


def test_without_the_file_cells_run_all_the_same(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "turn").unlink()
    bench.stops.execute("a")
    assert not bench.turn.signal("a", bench.interrupt)
    assert bench.stops.stop("a", waits=True) == "signal" and bench.signals == 1
    bench.stops.executed()

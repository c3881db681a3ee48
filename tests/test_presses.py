"""The user's interrupts: real signals to this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from cellferry.presses import Presses, unbroken


@pytest.fixture(autouse=True)
def raises_by_default() -> Iterator[None]:
    """As in a notebook; pytest's own process may have been started with SIGINT ignored."""
    before: Any = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_press_raises_as_ever() -> None:
    with pytest.raises(KeyboardInterrupt), Presses():
        press()


def test_held_presses_are_counted_and_taken_one_by_one() -> None:
    woken: list[int] = []
    with Presses() as presses, presses.held(lambda: woken.append(1)):
        for _ in range(3):
            press()
        assert len(woken) == 3
        assert [presses.take() for _ in range(4)] == [True, True, True, False]


def test_one_that_nobody_took_is_raised_at_the_end() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), Presses() as presses:
        with presses.held():
            press()
        done.append(True)
    assert done


def test_the_second_does_not_disturb_the_tidying_up_after_the_first() -> None:
    tidied = []
    with pytest.raises(KeyboardInterrupt), Presses():
        try:
            press()
        except BaseException:
            press()
            tidied.append(True)
            raise
    assert tidied


def test_the_third_does() -> None:
    tidied = []
    with pytest.raises(KeyboardInterrupt), Presses():
        try:
            press()
        finally:
            press()
            press()
            tidied.append(True)
    assert not tidied


def test_inside_of_held_a_question_may_be_interrupted_and_counts() -> None:
    with Presses() as presses, presses.held():
        with pytest.raises(KeyboardInterrupt), presses.raising():
            press()
        assert not presses.take()
        presses.put_back()
        assert presses.take()


def test_one_from_before_is_raised_where_it_may() -> None:
    with Presses() as presses, presses.held():
        press()
        with pytest.raises(KeyboardInterrupt), presses.raising():
            raise AssertionError("not reached")


def test_patience_ends() -> None:
    with pytest.raises(KeyboardInterrupt), Presses() as presses, presses.held(patience=3):
        press()
        press()
        press()


def test_where_it_is_ignored_it_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Presses():
        press()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_what_is_unbroken_ends_before_a_press_is_dealt_with() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), unbroken():
        for number in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            done.append(number)
    assert done == [0, 1, 2]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with unbroken():
        pass


def test_a_press_in_an_unbroken_moment_is_counted_by_those_who_count() -> None:
    with Presses() as presses, presses.held():
        with unbroken():
            os.kill(os.getpid(), signal.SIGINT)
        assert presses.count == 1 and presses.take()

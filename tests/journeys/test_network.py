"""A notebook whose network fails, and whose machine sleeps, in the middle of a cell: what it shows is what it would have shown."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from testbeds.far import Far, far  # noqa: F401

from .conftest import NewUser, User

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SLEEP_S = 13.0
"""Longer than Linux keeps a connection whose other end takes nothing."""


def later(seconds: float, act: Callable[[], object]) -> None:
    threading.Timer(seconds, act).start()


def test_a_notebook_that_is_stopped_for_long_goes_on(new_user: NewUser, meeting) -> None:
    """As by closing the lid; meanwhile the cell shows more than any buffer on the way takes."""
    user = new_user(CELLFERRY_LOCAL_TRANSPORT="tls", CELLFERRY_GRACE_S="120")
    notebook = user.has("__import__('os').getpid()")

    def stop(_pid: int) -> None:
        os.kill(notebook, signal.SIGSTOP)
        later(SLEEP_S, lambda: os.kill(notebook, signal.SIGCONT))

    at = meeting(stop)
    cell = f"%%remote\nbefore = 1\n{at.cell}for i in range(40):\n    print(i, '.' * 300_000, flush=True)\nafter = before + 1"
    shown = user.sees(cell)
    numbers = [int(line.split()[0]) for line in shown.splitlines() if line[:1].isdigit()]
    missing = [line for line in shown.splitlines() if "while nobody was connected" in line]
    assert numbers == list(range(numbers[0], 40)), shown[:200]
    assert (numbers[0] == 0) == (not missing)
    assert user.has("after") == 2


@pytest.fixture
def far_user(new_user: NewUser, far: Far, tmp_path: Path) -> User:
    settings, known = far.configuration(tmp_path)
    return new_user(
        CELLFERRY_SSH_CONFIG=str(settings), CELLFERRY_SSH_KNOWN_HOSTS=str(known), CELLFERRY_STATE_DIR=str(tmp_path / "state"),
        CELLFERRY_START_TIMEOUT_S="60",
    )  # fmt: skip


def test_a_cut_wire_to_a_machine_with_sshd(far_user: User, far: Far) -> None:
    """The ssh connection does not survive it: another one is made, and the cell's outputs come over that."""
    user = far_user
    try:
        user.sees("%%remote host=box\nimport time")
        later(2.0, far.host.partition)
        later(2.0 + SLEEP_S, lambda: far.host.partition(False))
        shown = user.sees(
            "%%remote host=box\nfor i in range(100):\n    print('line', i, flush=True)\n    time.sleep(0.1)\nkept = i"
        )
        assert [line for line in shown.splitlines() if line.startswith("line")] == [f"line {i}" for i in range(100)]
        assert user.has("kept") == 99
        far.host.drop(20)
        user.sees("%%remote host=box\nlossy = sum(range(1000))")
        assert user.has("lossy") == 499500
    finally:
        far.host.drop(0)
        far.host.partition(False)
        user.sees("%remote down")

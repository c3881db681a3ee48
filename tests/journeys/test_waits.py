"""Whoever waits is answered: when memory is full, and when a cell forks."""

from __future__ import annotations

import pytest

from .conftest import NewUser, User

FILLS = """%%remote memory=200M
hold = []
try:
    while True: hold.append(bytearray(1000))
except MemoryError:
    del hold
    print("full")
"""


def test_a_worker_whose_memory_was_full_answers_every_cell(new_user: NewUser) -> None:
    """What was freed is in pieces, too small for a library and for a thread's stack: the next connection needs one."""
    user = new_user()
    user.types("import numpy as np\na = np.ones(10)")
    assert user.sees(FILLS) == "full\n"
    for _ in range(3):
        seen = user.types("%%remote memory=200M\nprint(a.sum())")
        assert seen.outputs, "neither a result nor an error"
    assert user.sees("%%remote memory=200M\nprint('alive')") == "alive\n"


@pytest.mark.parametrize(
    ("ending", "status"), [("raise ValueError('of the child')", 1), ("pass", 0), ("import sys; sys.exit(3)", 3), ("1/0", 1)]
)
def test_a_forked_child_ends_as_a_script_does(user: User, ending: str, status: int) -> None:
    """It runs out of the cell's code: its parent's answer is not its to give."""
    cell = f"""%%remote
import os
pid = os.fork()
if pid == 0:
    print("child", flush=True)
    {ending}
else:
    print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    made = pid
"""
    shown = user.sees(cell)
    assert "child\n" in shown and f"status {status}\n" in shown
    assert ("of the child" in shown) == ("of the child" in ending)
    assert user.sees("%%remote\nprint(made == pid)") == "True\n"
    assert user.has("made == pid") is True


def test_pools_of_forked_processes_still_work(user: User) -> None:
    cell = """%%remote
import math, multiprocessing
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
    print(list(pool.map(math.sqrt, [4, 9])))
"""
    assert user.sees(cell) == "[2.0, 3.0]\n"

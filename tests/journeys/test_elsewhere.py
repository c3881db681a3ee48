"""Cells of a real kernel on a machine elsewhere, through a real sshd. Nothing of ours is there before."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from cellferry.testing.contract import eventually
from testbeds.far import Far, far  # noqa: F401

from .conftest import NewUser, User

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WORK = """import numpy as np, platform, os
def scaled(values):
    return np.asarray(values) * factor
print("on", platform.node(), os.getpid() > 0)
factor = 3
total = float(scaled(data).sum())
frame["z"] = frame.x + frame.y
with open("made.txt", "w") as file:
    file.write("made there")
"""


def uses_it(user: User, words: str, home: Path) -> None:
    """A piece of work whose packages, values, functions and files have to travel, and come home."""
    user.sees("import pandas as pd, numpy as np\ndata = np.arange(5.0)\nframe = pd.DataFrame({'x': [1, 2], 'y': [3, 4]})\nalias = frame")
    shown = user.sees(f"%%remote {words}\n{WORK}")
    assert f"on {os.uname().nodename} " not in shown and "True\n" in shown, shown
    assert user.has("(total, alias.z.tolist())") == (30.0, [4, 6])
    assert (home / "made.txt").read_text() == "made there"
    assert "ZeroDivisionError" in user.is_told(f"%%remote {words}\n1 / 0")[0]
    user.sees(f"%%remote {words}\nbig = np.ones((4000, 4000))")
    assert user.sees("print(big.shape, float(big[0, 0]))") == "(4000, 4000) 1.0\n", "comes home when it is named"


def test_on_a_machine_with_sshd(new_user: NewUser, far: Far, tmp_path: Path) -> None:
    settings, known = far.configuration(tmp_path)
    user = new_user(
        CELLFERRY_SSH_CONFIG=str(settings), CELLFERRY_SSH_KNOWN_HOSTS=str(known), CELLFERRY_STATE_DIR=str(tmp_path / "state"),
        CELLFERRY_START_TIMEOUT_S="60",
    )  # fmt: skip
    uses_it(user, "host=box", user.folder)
    status = user.sees("%remote status")
    assert "ssh" in status and "free" in status
    assert user.sees("ended = %remote down\nended[0].name") == "'default'\n"
    eventually(lambda: not [p for p in map(str, far.host.processes()) if "cellferry" in p], "nothing is left there")


def test_a_cell_is_brought_home_by_another_machine(new_user: NewUser, far: Far, tmp_path: Path) -> None:
    """Its owner has the ledger in common and the ssh key there too: another kernel, other folders, other files."""
    settings, known = far.configuration(tmp_path)
    common = {
        "CELLFERRY_SSH_CONFIG": str(settings), "CELLFERRY_SSH_KNOWN_HOSTS": str(known),
        "CELLFERRY_LEDGER": f"sqlite:///{tmp_path / 'team.sqlite'}", "CELLFERRY_START_TIMEOUT_S": "60",
    }  # fmt: skip
    one = new_user(**common, CELLFERRY_STATE_DIR=str(tmp_path / "one"))
    one.sees("numbers = [1, 2]")
    one.sees("%%remote host=box detach\nimport platform\nprint('on', platform.node())\nnumbers.append(3)\ntotal = sum(numbers)")
    os.kill(one.has("__import__('os').getpid()"), signal.SIGKILL)
    two = new_user(**common, CELLFERRY_STATE_DIR=str(tmp_path / "two"))
    assert "nobody waits" in two.sees("%remote runs")
    shown = two.sees("%remote attach")
    assert "on " in shown and f"on {os.uname().nodename}\n" not in shown
    assert two.has("(numbers, total)") == ([1, 2, 3], 6)


def test_a_large_array_is_the_first_that_needs_its_package(new_user: NewUser, far: Far, tmp_path: Path) -> None:
    """Its memory there is numpy's, which is only just being installed."""
    settings, known = far.configuration(tmp_path)
    user = new_user(
        CELLFERRY_SSH_CONFIG=str(settings), CELLFERRY_SSH_KNOWN_HOSTS=str(known), CELLFERRY_STATE_DIR=str(tmp_path / "state"),
        CELLFERRY_START_TIMEOUT_S="60",
    )  # fmt: skip
    user.sees("import numpy as np\nbase = np.arange(1 << 20, dtype=float)")
    user.sees("%%remote host=box\nfirst = 1")
    user.sees("%%remote host=box\ntotal = float(base.sum())")
    assert user.has("total") == float(sum(range(1 << 20)))
    user.sees("%remote down")

"""Cells of a real kernel on machines elsewhere: through a real sshd, and on a cloud in a box. Nothing of ours is there before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cellferry.testing.contract import eventually
from testbeds.cloud import CloudInABox
from testbeds.far import Far, far  # noqa: F401
from testbeds.fixtures import cloud, network  # noqa: F401

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


def test_on_a_cloud(new_user: NewUser, cloud: CloudInABox, tmp_path: Path) -> None:
    user = new_user(
        **cloud.environ(), CELLFERRY_AWS_REGIONS="us-east-1", CELLFERRY_STATE_DIR=str(tmp_path / "state"),
        CELLFERRY_START_TIMEOUT_S="60", CELLFERRY_AWS_CLIENT_NETWORK=f"{cloud.client_address}/32",
    )  # fmt: skip
    name, text = user.is_told("%%remote provider=aws cpus=2\n1")
    assert name == "NoBudget" and "budget=5" in text and cloud.instances() == [], "nobody agreed to a bill"
    user.sees("data = [1, 2]\nalias = data\ndef doubled(values):\n    return [2 * value for value in values]")
    words = "%%remote provider=aws cpus=2 budget=2"  # its machines reach no index here: a cell of the standard library
    shown = user.sees(f"{words}\nimport platform\ndata.extend(doubled(data))\nopen('made.txt', 'w').write('x')\nprint(platform.node())")
    assert os.uname().nodename not in shown and "$0.0" in shown
    assert user.has("(data, alias is data)") == ([1, 2, 2, 4], True) and (user.folder / "made.txt").read_text() == "x"
    assert "ZeroDivisionError" in user.is_told("%%remote provider=aws cpus=2\n1 / 0")[0]
    assert len(cloud.instances("running")) == 1
    status = user.sees("%remote status")
    assert "aws" in status and "us-east-1" in status and "simulated" not in status
    assert "came to" in user.sees("%remote down")
    eventually(lambda: not cloud.instances("running", "pending"), "nothing runs")
    assert "$0.0" in user.sees("%remote cost --by worker")



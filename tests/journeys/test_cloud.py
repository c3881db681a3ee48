"""Cells of a real kernel on EC2 as far as it can be had here: a cloud in a box, whose machines boot and run their user data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cellferry.testing.contract import eventually
from testbeds.cloud import CloudInABox
from testbeds.fixtures import cloud, network  # noqa: F401

from .conftest import NewUser

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


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



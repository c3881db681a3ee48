"""Provider aws against a cloud in a box: each machine really boots, executes its user data and is connected to."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws_parts import eventually, run_cell
from testbeds.cloud import CloudInABox
from testbeds.fixtures import cloud, network  # noqa: F401 - fixtures

from cellferry.config import Cellferry
from cellferry.errors import CellferryError, NoCapacity, NoQuota, NotPermitted, PriceTooHigh, Refused, StartTimeout
from cellferry.link.identity import make_identity
from cellferry.model import CellRequest, Lease, Offer, Order, Worker
from cellferry.providers import aws_finding, aws_start
from cellferry.providers.aws import AwsProvider

pytestmark = pytest.mark.slow
REGION = "us-east-1"
CPU = Offer(
    "aws", REGION, "t3.medium", cpus=2, quota="L-1216C47A", quota_units=2, microusd_per_hour=41_600,
    spot_microusd_per_hour=2_000_000,
)  # fmt: skip
Make = Callable[..., AwsProvider]


@pytest.fixture
def provider(cloud: CloudInABox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:  # noqa: F811
    """A provider of this cloud; at the end, nothing that it made is left there."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in cloud.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(aws_start, "LOOK_S", 0.2)
    monkeypatch.setattr(aws_finding, "LOOK_S", 0.1)
    monkeypatch.setenv("CELLFERRY_CACHE_DIR", str(tmp_path / "cache"))
    made: list[AwsProvider] = []

    def make(**more: Any) -> AwsProvider:
        settings = {
            "state_dir": str(tmp_path / "state"), "aws_regions": [REGION], "person": "ann",
            "aws_client_network": f"{cloud.client_address}/32",
        } | more  # fmt: skip
        made.append(AwsProvider(Cellferry(**settings), lambda folder: make_identity(folder).cert_pem))
        return made[-1]

    yield make
    eventually(lambda: not cloud.leftovers() or cloud.leftovers(), "")
    deadline = time.monotonic() + 20
    while cloud.leftovers() and time.monotonic() < deadline:
        threading.Event().wait(0.1)
    assert cloud.leftovers() == []
    for each in made:
        each.close()


def order(token: str = "t-1", offer: Offer = CPU, **more: Any) -> Order:
    lease = Lease(600.0, None, time.time() + 3600)
    return replace(Order(CellRequest(), "train", lease, offer, token=token, owner="ann", notebook="a/b.ipynb", wait_s=180.0), **more)


def describe(cloud: CloudInABox, machine: str) -> dict[str, Any]:  # noqa: F811
    found = cloud.client("ec2").describe_instances(InstanceIds=[machine])
    return dict(found["Reservations"][0]["Instances"][0])


def test_from_an_order_to_a_cell_and_back_to_nothing(provider: Make, cloud: CloudInABox) -> None:  # noqa: F811
    aws, said = provider(), []
    began = time.monotonic()
    worker = aws.start(order(), said.append)
    print("start:", round(time.monotonic() - began, 2), said)
    assert worker.machine in cloud.instances("running") and worker.endpoint.host.startswith("198.18.")
    assert run_cell(worker.endpoint, "y = [v + 1 for v in x]", x=[1, 2])["y"] == [2, 3]
    assert aws.alive(worker) and [each.id for each in aws.find()] == [worker.id]
    (machine,) = aws.machines()
    assert (machine.id, machine.token, machine.owner, machine.name) == (worker.machine, "t-1", "ann", "train")
    told = describe(cloud, worker.machine)
    marks = {tag["Key"]: tag["Value"] for tag in told["Tags"]}
    assert marks["cellferry"] == "1" and marks["cellferry:notebook"] == "a/b.ipynb"
    assert told["MetadataOptions"]["HttpTokens"] == "required" and "KeyName" not in told and "IamInstanceProfile" not in told
    host = cloud.host(worker.machine)
    assert host.processes()
    aws.stop(worker)
    assert not aws.alive(worker) and cloud.instances("running") == [] and aws.find() == [] and host.processes() == []
    assert aws.describe_end(worker) == "somebody ended the machine at AWS"
    aws.stop(worker)
    assert not (Path(aws.config.state_dir) / "workers" / "t-1").exists()

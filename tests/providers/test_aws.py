"""Provider aws against a cloud in a box: each machine really boots, executes its user data and is connected to."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aws_parts import CPU, REGION, Enough, aws_provider, eventually, run_cell, until_line
from aws_parts import aws_order as order
from cellferry.errors import LinkError, NoCapacity, NoQuota, NotPermitted, PriceTooHigh, Refused, StartTimeout
from cellferry.link.http import WorkerHttp
from cellferry.model import Lease, Machine
from cellferry.providers import aws_boot, aws_finding, aws_launch, aws_session, aws_start
from cellferry.providers.aws import AwsProvider
from cellferry.providers.aws_session import Sessions
from cellferry.providers.aws_start import Start
from testbeds.cloud import CloudInABox
from testbeds.fixtures import cloud, network  # noqa: F401 - fixtures

pytestmark = pytest.mark.slow
Make = Callable[..., AwsProvider]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages that are sent are packed once for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def provider(cloud: CloudInABox, tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A provider of this cloud; at the end, nothing that it made is left there."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in cloud.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(aws_start, "LOOK_S", 0.2)
    monkeypatch.setattr(aws_finding, "LOOK_S", 0.1)
    monkeypatch.setenv("CELLFERRY_CACHE_DIR", str(wheels))
    made: list[AwsProvider] = []

    def make(**more: Any) -> AwsProvider:
        made.append(aws_provider(cloud, tmp_path / "state", **more))
        return made[-1]

    yield make
    try:
        eventually(lambda: not cloud.leftovers(), "nothing is left", 20)
    except AssertionError:
        assert cloud.leftovers() == []
    finally:
        for each in made:
            each.close()


def describe(cloud: CloudInABox, machine: str) -> dict[str, Any]:
    found = cloud.client("ec2").describe_instances(InstanceIds=[machine])
    return dict(found["Reservations"][0]["Instances"][0])


def test_from_an_order_to_a_cell_and_back_to_nothing(provider: Make, cloud: CloudInABox) -> None:
    aws, said = provider(), []
    worker = aws.start(order(), said.append)
    assert worker.machine in cloud.instances("running") and worker.endpoint.host.startswith("198.18.")
    assert run_cell(worker.endpoint, "y = [v + 1 for v in x]", x=[1, 2])["y"] == [2, 3]
    assert aws.alive(worker) and [each.id for each in aws.find()] == [worker.id]
    (machine,) = aws.machines()
    assert (machine.id, machine.token, machine.owner, machine.name) == (worker.machine, "t-1", "ann", "train")
    assert machine.ledger == "l-1"
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


# -- nothing is left --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["asks for", "is given", "boots (", "gets Python", "installs", "sent from here"])
@pytest.mark.parametrize("spot", [False, True])
def test_an_interrupted_start_leaves_nothing(provider: Make, cloud: CloudInABox, word: str, spot: bool) -> None:
    aws = provider()
    with pytest.raises(KeyboardInterrupt):
        aws.start(order(spot=spot), until_line(word, KeyboardInterrupt))
    assert cloud.instances("running", "pending") == [] and aws.machines() == []
    assert not list((Path(aws.config.state_dir) / "workers").glob("*"))


def test_an_interrupt_while_aws_is_asked_loses_no_machine(
    provider: Make, cloud: CloudInABox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer that names the machine comes after the user has interrupted."""
    aws, main = provider(), threading.get_ident()
    once = Sessions.once

    def slow(self: Sessions, region: str, operation: str, **request: Any) -> Any:
        answer = once(self, region, operation, **request)
        signal.pthread_kill(main, signal.SIGINT)
        return answer

    monkeypatch.setattr(Sessions, "once", slow)
    with pytest.raises(KeyboardInterrupt):
        aws.start(order(), lambda line: None)
    assert [call.action for call in cloud.calls].count("RunInstances") == 1
    assert cloud.instances("running", "pending") == []


def test_a_start_that_takes_too_long_is_ended(provider: Make, cloud: CloudInABox) -> None:
    aws = provider()
    with pytest.raises(StartTimeout, match="after 0 s; it was ended"):
        aws.start(order(wait_s=0.1), lambda line: None)
    assert cloud.instances("running", "pending") == []


def test_a_machine_whose_money_is_gone_ends_whoever_is_there(
    provider: Make, cloud: CloudInABox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Armed by the first lines of the user data: nothing of ours has to work for it."""
    monkeypatch.setattr(aws_boot, "MARGIN_S", 0)
    monkeypatch.setattr(aws_boot, "program", lambda: "while True: pass")
    aws = provider()
    with pytest.raises(Refused, match="ended while it started"):
        aws.start(order(lease=Lease(600.0, None, time.time() - 2)), lambda line: None)
    machine = cloud.instances("terminated")[0]
    assert describe(cloud, machine)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_a_lease_that_was_made_longer_is_heeded_by_the_last_resort(
    provider: Make, cloud: CloudInABox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws_boot, "MARGIN_S", 0)
    aws = provider()
    ends = time.time() + 25
    worker = aws.start(order(lease=Lease(600.0, None, ends, time.time())), lambda line: None)
    WorkerHttp(worker.endpoint, timeout_s=60).post("lease", {"ends_unix_s": ends + 3600})
    host = cloud.host(worker.machine)
    # the first sleep is over, and the next one is as long as the new lease
    sleeps = ["sh", "-c", "ps -eo args | sed -n 's/^sleep //p'"]
    eventually(lambda: any(int(word) > 3000 for word in host.run(sleeps).stdout.split() if word.isdigit()), "it sleeps on")
    assert time.time() > ends and aws.alive(worker)
    aws.stop(worker)


def test_what_a_dead_client_left_is_found_and_ended(
    provider: Make, cloud: CloudInABox, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = provider()
    monkeypatch.setattr(Start, "undo", lambda self: None)
    monkeypatch.setattr(aws_finding.Tidying, "groups", lambda self, region, token: None)
    with pytest.raises(Enough):
        aws.start(order(), until_line("is given"))
    monkeypatch.undo()
    for name, value in cloud.environ().items():
        monkeypatch.setenv(name, value)
    (machine,) = aws.machines()
    assert (machine.token, machine.owner) == ("t-1", "ann") and machine.started_unix_s > time.time() - 60
    assert provider(person="bob").machines() == [] and aws.find() == []
    aws.end_machine(machine)
    aws.end_machine(machine)
    assert aws.machines() == []


def test_an_old_group_without_a_machine_is_listed(
    provider: Make, cloud: CloudInABox, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws, ec2 = provider(), cloud.client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    ec2.create_security_group(**aws_launch.group_request(order("old"), vpc, 0.0, time.time() - 1000))
    ec2.create_security_group(**aws_launch.group_request(order("new"), vpc, 0.0, time.time()))
    (machine,) = aws.machines()
    assert machine.token == "old" and machine.id.startswith("sg-")
    aws.end_machine(machine)
    assert aws.machines() == []
    aws.end_machine(Machine("aws", "sg-0", REGION, "new"))


# -- one order, one machine -------------------------------------------------------------------------------------------


def test_a_token_gives_one_machine(provider: Make, cloud: CloudInABox) -> None:
    aws = provider()
    first = aws.start(one := order(), lambda line: None)
    again = provider().start(one, lambda line: None)
    assert again.machine == first.machine and len(cloud.instances("running")) == 1
    aws.stop(first)


def test_the_next_zone_is_asked(provider: Make, cloud: CloudInABox) -> None:
    aws, said = provider(), []
    fault = cloud.fail("ec2", "RunInstances", "InsufficientInstanceCapacity", times=None, match={"AZ": "us-east-1a"})
    with pytest.raises(Enough):
        aws.start(order(), lambda line: said.append(line) or until_line("is given")(line))
    assert fault.hits == 1, "botocore does not ask again by itself"
    assert said[:2] == ["AWS: asks for t3.medium in us-east-1a", "AWS: asks for t3.medium in us-east-1b"]


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("InsufficientInstanceCapacity", NoCapacity, "no capacity for t3.medium in us-east-1"),
        ("Unsupported", NoCapacity, "no capacity"),
        ("VcpuLimitExceeded", NoQuota, "L-1216C47A"),
        ("UnauthorizedOperation", NotPermitted, "ec2:RunInstances"),
        ("InvalidParameterValue", Refused, "was not to be had"),
    ],
)
def test_why_there_is_no_machine(
    provider: Make, cloud: CloudInABox, code: str, error: type[Refused], words: str
) -> None:
    aws = provider()
    cloud.fail("ec2", "RunInstances", code, times=None)
    with pytest.raises(error, match=words) as caught:
        aws.start(order(), lambda line: None)
    assert code in caught.value.what
    if error is NoQuota:
        assert caught.value.advice == "ask for more: cellferry quota request L-1216C47A --region us-east-1"


def test_a_busy_aws_is_asked_again(provider: Make, cloud: CloudInABox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_session, "PAUSE_S", 0.01)
    fault = cloud.fail("ec2", "RunInstances", "RequestLimitExceeded", times=2)
    with pytest.raises(Enough):
        provider().start(order(), until_line("is given"))
    assert fault.hits == 2


def test_no_default_network(provider: Make, cloud: CloudInABox) -> None:
    with pytest.raises(NoCapacity, match="no zone of us-east-1z"):
        provider().start(order(offer=replace(CPU, zone="us-east-1z")), lambda line: None)


# -- spot -------------------------------------------------------------------------------------------------------------


def test_a_spot_machine_its_notice_and_its_end(provider: Make, cloud: CloudInABox) -> None:
    aws = provider()
    worker = aws.start(order(spot=True), lambda line: None)
    assert worker.spot and describe(cloud, worker.machine)["InstanceLifecycle"] == "spot"
    assert describe(cloud, worker.machine)["MetadataOptions"]["HttpTokens"] == "required"
    assert run_cell(worker.endpoint, "y = 2")["y"] == 2
    call = next(call for call in cloud.calls if call.action == "CreateFleet")
    assert "2.000000" in str(call), "never more than what was reserved"
    cloud.interrupt(worker.machine, in_s=20)
    host = cloud.host(worker.machine)
    notice = "/opt/cellferry/worker/notice"
    told = eventually(lambda: host.run(["cat", notice], check=False).stdout, "a notice")
    assert "takes this spot machine back" in json.loads(told)["what"] and json.loads(told)["at_unix_s"] > time.time() - 5
    eventually(lambda: not aws.alive(worker), "it is taken back")
    assert aws.describe_end(worker) == "AWS took the spot machine back"
    aws.stop(worker)


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("InsufficientInstanceCapacity", NoCapacity, "no spot capacity"),
        ("MaxSpotInstanceCountExceeded", NoQuota, "L-34B43A08"),
        ("SpotMaxPriceTooLow", PriceTooHigh, "offers --refresh"),
        ("UnauthorizedOperation", NotPermitted, "ec2:CreateFleet"),
        ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", NotPermitted, "create-service-linked-role"),
    ],
)
def test_why_there_is_no_spot_machine(
    provider: Make, cloud: CloudInABox, code: str, error: type[Refused], words: str
) -> None:
    aws = provider()
    cloud.fail("ec2", "CreateFleet", code, times=None)
    with pytest.raises(error) as caught:
        aws.start(order(spot=True), lambda line: None)
    assert words in f"{caught.value.what} {caught.value.advice}"


# -- the worker's own end ---------------------------------------------------------------------------------------------


def test_a_machine_ends_with_its_worker_and_says_why(provider: Make, cloud: CloudInABox) -> None:
    aws = provider()
    worker = aws.start(order(), lambda line: None)
    host = cloud.host(worker.machine)
    keeper = json.loads(host.read("/opt/cellferry/worker/ready.json"))["pid"]
    host.run(["kill", "-TERM", str(keeper)])
    eventually(lambda: describe(cloud, worker.machine)["State"]["Name"] == "terminated", "it is terminated")
    eventually(lambda: not aws.alive(worker), "that is noticed")
    assert aws.describe_end(worker) == "it was told to stop"
    aws.stop(worker)


def test_a_client_that_moved_lets_itself_in(provider: Make, cloud: CloudInABox) -> None:
    aws = provider()
    worker = aws.start(order(), lambda line: None)
    ec2 = cloud.client("ec2")
    group = ec2.describe_security_groups(Filters=aws_finding.by_tag(token="t-1"))["SecurityGroups"][0]["GroupId"]
    permissions = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=permissions)
    ec2.authorize_security_group_ingress(**aws_launch.ingress(group, "203.0.113.7/32"))
    (found,) = provider().find()
    assert found.endpoint == worker.endpoint and found.lease == worker.lease and found.offer == worker.offer
    aws.reach(found)
    rules = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    assert [each["CidrIp"] for rule in rules for each in rule["IpRanges"]] == [f"{cloud.client_address}/32"]
    assert run_cell(found.endpoint, "y = 3")["y"] == 3
    cloud.fail("ec2", "DescribeSecurityGroups", "UnauthorizedOperation", times=None)
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=rules)
    with pytest.raises(LinkError, match="ec2:DescribeSecurityGroups"):
        provider().reach(found)
    cloud.mend()
    aws.stop(worker)

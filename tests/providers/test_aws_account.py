"""What provider aws asks of an account beside machines: permissions, quotas, prices, and what doctor says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aws_parts import CPU, Enough, aws_order, aws_provider
from cellferry.errors import CellferryError, NotPermitted
from cellferry.model import CellRequest, Check, Machine
from cellferry.providers import aws_boot, aws_start
from cellferry.providers.aws import AwsProvider
from cellferry.providers.aws_doctor import GPU_CODES
from cellferry.providers.aws_policy import actions, least_policy
from cellferry.providers.aws_start import Start
from testbeds.cloud import CloudInABox
from testbeds.fixtures import cloud, network  # noqa: F401 - fixtures

pytestmark = pytest.mark.slow
REGION = "us-east-1"
POLICY = least_policy([REGION], "ana")
NOT_ENFORCED = {"ec2:CreateTags", "iam:CreateServiceLinkedRole"}
"""What the cloud in a box does not ask IAM for: it makes tags with the thing that carries them, and has no such roles."""


@pytest.fixture
def account(cloud: CloudInABox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., AwsProvider]]:
    """Makes a provider for a user of this cloud."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr(aws_start, "LOOK_S", 0.2)
    monkeypatch.setenv("CELLFERRY_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(aws_boot, "fingerprint_in", enough)
    made: list[AwsProvider] = []

    def make(environ: dict[str, str] | None = None, **more: Any) -> AwsProvider:
        for name, value in (environ or cloud.environ()).items():
            monkeypatch.setenv(name, value)
        made.append(aws_provider(cloud, tmp_path / "state", **more))
        return made[-1]

    yield make
    for each in made:
        each.close()
    for machine in cloud.instances():
        cloud.client("ec2").terminate_instances(InstanceIds=[machine])


def allowing(*allowed: str) -> dict[str, Any]:
    """A policy with these actions on everything: the cloud in a box looks at actions alone."""
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(allowed), "Resource": "*"}]}


def enough(console: str, token: str) -> str:
    """In place of the first look for the certificate on the console of a machine that has its address."""
    raise Enough(console)


def everything(aws: AwsProvider) -> None:
    """All that needs a permission; the last of them is to read the machine's console."""
    aws.refresh(lambda line: None)
    aws.request_quota("L-417A185B", REGION, 9600)
    for spot in (False, True):
        order = aws_order(f"t-{spot}", spot=spot)
        with pytest.raises(Enough):
            aws.start(order, lambda line: None)
    vpc = aws._sessions.call("ec2", REGION, "describe_subnets")["Subnets"][0]["VpcId"]
    start = Start(aws._sessions, aws._places, aws_order("door"), Path(aws.config.state_dir), lambda line: None)
    group = start._group(vpc, "203.0.113.0/24", 0.0, time.time())
    from cellferry.providers.aws_finding import admit_only, remove_groups

    admit_only(aws._sessions, REGION, group, "203.0.113.1/32")
    remove_groups(aws._sessions, REGION, "door")
    start.close()
    for machine in [*aws.machines(), Machine("aws", "", REGION, "t-True")]:
        aws.end_machine(machine)
    assert not [check for check in aws.examine() if "permission" in check.name and not check.ok]
    if not aws.quotas([CPU]):
        raise NotPermitted("servicequotas:GetServiceQuota: no quota is told")


def test_the_policy_is_enough(account: Callable[..., AwsProvider], cloud: CloudInABox) -> None:
    with cloud.enforce(allowing(*actions(POLICY))) as environ:
        everything(account(environ))
    assert cloud.instances("running") == []


@pytest.mark.parametrize("action", [action for action in actions(POLICY) if action not in NOT_ENFORCED])
def test_nothing_in_the_policy_is_too_much(account: Callable[..., AwsProvider], cloud: CloudInABox, action: str) -> None:
    less = allowing(*(each for each in actions(POLICY) if each != action))
    with cloud.enforce(less) as environ, pytest.raises(CellferryError, match=action) as caught:
        everything(account(environ))
    assert isinstance(caught.value, NotPermitted)


def test_a_policy_of_this_size_can_be_attached() -> None:
    import json

    text = json.dumps(least_policy(["us-east-1", "us-west-2", "eu-west-1"], "ana"), separators=(",", ":"))
    assert len(text) < 6144, "what IAM takes for a managed policy"
    assert "aws-cn" in json.dumps(least_policy(["cn-north-1"], "ana")) and "us-gov:" in json.dumps(least_policy(["us-gov-west-1"], "ana"))


# -- the market -------------------------------------------------------------------------------------------------------


def test_offers_are_those_of_the_regions(account: Callable[..., AwsProvider]) -> None:
    aws = account(aws_regions=["us-east-1", "eu-west-1"])
    offers = aws.offers(CellRequest())
    assert {offer.region for offer in offers} == {"us-east-1", "eu-west-1"}
    assert any(offer.gpu == "a100" for offer in offers) and all(offer.provider == "aws" for offer in offers)
    assert account(aws_regions=[]).offers(CellRequest()) == []


def test_refreshed_prices_stay(account: Callable[..., AwsProvider], cloud: CloudInABox) -> None:
    cloud.figures.prices["g5.xlarge", REGION] = 1.2345
    cloud.figures.spot_prices["g5.xlarge", "us-east-1b"] = 0.4321
    aws, said = account(), []
    assert aws.refresh(said.append) > 10 and REGION in said[0]
    for provider in (aws, account()):
        kinds = [offer for offer in provider.offers(CellRequest()) if offer.instance == "g5.xlarge"]
        fixed = [offer for offer in kinds if offer.microusd_per_hour is not None]
        assert [offer.microusd_per_hour for offer in fixed] == [1_234_500] and fixed[0].price_source == "AWS price list"
        zone = next(offer for offer in kinds if offer.zone == "us-east-1b")
        assert zone.spot_microusd_per_hour == 432_100 and zone.gpu == "a10g" and time.time() - zone.priced_unix_s < 60


def test_quotas_and_what_is_in_use(account: Callable[..., AwsProvider], cloud: CloudInABox) -> None:
    aws = account()
    cloud.set_quota("L-1216C47A", 10)
    image = aws._places.image(REGION, CPU).id
    cloud.client("ec2").run_instances(ImageId=image, InstanceType="t3.medium", MinCount=2, MaxCount=2)
    found = {quota.code: quota for quota in aws.quotas([CPU, replace(CPU, quota="L-417A185B")])}
    assert (found["L-1216C47A"].limit, found["L-1216C47A"].used) == (10, 4)
    assert found["L-417A185B"].used == 0 and "P instances" in found["L-417A185B"].name
    cloud.fail("ec2", "DescribeInstances", "UnauthorizedOperation", times=None)
    assert aws.quotas([CPU]) == [], "what cannot be told is left out"


def test_a_quota_is_asked_for(account: Callable[..., AwsProvider]) -> None:
    aws = account()
    assert "9600 asked for, pending" in aws.request_quota("L-417A185B", REGION, 9600)
    assert "open already" in aws.request_quota("L-417A185B", REGION, 9601)
    with pytest.raises(CellferryError, match="greater than the current"):
        aws.request_quota("L-DB2E81BA", REGION, 0)


# -- doctor -----------------------------------------------------------------------------------------------------------


def failed(checks: Iterator[Check]) -> dict[str, str]:
    return {check.name: f"{check.found} -> {check.advice}" for check in checks if not check.ok}


def test_doctor_finds_nothing_wrong(account: Callable[..., AwsProvider], cloud: CloudInABox) -> None:
    for code in GPU_CODES:
        cloud.set_quota(code, 96 if code == "L-417A185B" else 0)
    assert failed(account().examine()) == {}
    names = [check.name for check in account().examine()]
    assert names[:4] == ["aws: boto3", "aws: credentials", "aws: clock", "aws: network"]


def test_doctor_says_what_is_wrong(account: Callable[..., AwsProvider], cloud: CloudInABox) -> None:
    cloud.clock_ahead_s = 200
    for code in GPU_CODES:
        cloud.set_quota(code, 0)
    cloud.fail("ec2", "RunInstances", "UnauthorizedOperation", times=None)
    found = failed(account(aws_client_network="what?").examine())
    assert "s behind AWS" in found["aws: clock"] and "timedatectl" in found["aws: clock"]
    assert "'what?'" in found["aws: network"]
    assert "ec2:RunInstances" in found["aws: us-east-1, permission"] and "aws-policy" in found["aws: us-east-1, permission"]
    assert "quota request L-417A185B --region us-east-1" in found["aws: us-east-1, L-417A185B"]
    cloud.mend()
    cloud.fail("sts", "GetCallerIdentity", "ExpiredToken", times=None)
    assert "aws sso login" in failed(account().examine())["aws: credentials"]
    assert "aws_regions" in failed(account(aws_regions=[]).examine())["aws: credentials"]

"""The cloud in a box: what it adds to moto, and that its instances are real hosts."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from testbeds.cloud import CloudInABox

pytestmark = pytest.mark.slow

PATIENCE_S = 30.0
IMAGE = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
LISTEN = (
    "exec /usr/bin/python3 -c \"import socket; s = socket.create_server(('0.0.0.0', 7000));"
    "print('listening', flush=True); [s.accept()[0].sendall(b'x') for _ in iter(int, 1)]\""
)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it does not come"


def image(cloud: CloudInABox) -> str:
    return str(cloud.client("ssm").get_parameter(Name=IMAGE)["Parameter"]["Value"])


def launch(cloud: CloudInABox, script: str = "", **more: Any) -> dict[str, Any]:
    """One instance; what EC2 tells of it."""
    asked = {"ImageId": image(cloud), "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    if script:
        asked["UserData"] = f"#!/bin/sh\n{script}\n"
    answer = cloud.client("ec2").run_instances(**asked | {"InstanceInitiatedShutdownBehavior": "terminate"} | more)
    return dict(answer["Instances"][0])


def group(cloud: CloudInABox, port: int = 7000, source: str = "") -> str:
    ec2 = cloud.client("ec2")
    name = ec2.create_security_group(GroupName=f"group-{len(cloud.calls)}", Description="for a test")["GroupId"]
    if port:
        ranges = [{"CidrIp": source or f"{cloud.client_address}/32"}]
        rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": ranges}
        ec2.authorize_security_group_ingress(GroupId=name, IpPermissions=[rule])
    return str(name)


def describe(cloud: CloudInABox, instance: str) -> dict[str, Any]:
    found = cloud.client("ec2").describe_instances(InstanceIds=[instance])
    return dict(found["Reservations"][0]["Instances"][0])


def console(cloud: CloudInABox, instance: str) -> str:
    return str(cloud.client("ec2").get_console_output(InstanceId=instance, Latest=True).get("Output", ""))


def reached(address: str, timeout: float) -> bool:
    try:
        with socket.create_connection((address, 7000), timeout) as line:
            line.settimeout(timeout)
            return line.recv(1) == b"x"
    except OSError:
        return False


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


# -- instances --------------------------------------------------------------------------------------------------------


def test_user_data_runs_and_is_reached_through_its_security_group_alone(cloud: CloudInABox) -> None:
    name = group(cloud)
    instance = launch(cloud, LISTEN, SecurityGroupIds=[name])
    closed = launch(cloud, LISTEN, SecurityGroupIds=[group(cloud, 0)])
    assert instance["State"]["Name"] == "pending"
    address = describe(cloud, instance["InstanceId"])["PublicIpAddress"]
    assert address.startswith("198.18.")
    until(lambda: reached(address, 1))
    until(lambda: "listening" in console(cloud, closed["InstanceId"]))
    assert not reached(closed["PublicIpAddress"], 0.5)
    assert not reached(cloud.host(instance["InstanceId"]).ip, 0.5), "a source that no rule admits"
    ec2 = cloud.client("ec2")
    permissions = ec2.describe_security_groups(GroupIds=[name])["SecurityGroups"][0]["IpPermissions"]
    ec2.revoke_security_group_ingress(GroupId=name, IpPermissions=permissions)
    assert not reached(address, 0.5)


def test_user_data_is_run_as_cloud_init_does(cloud: CloudInABox) -> None:
    script = "#!/bin/sh\necho \"I am $(id -un), home '$HOME'\"\necho to the console >/dev/console\nexit 3\n"
    packed = launch(cloud, UserData=gzip.compress(script.encode()))["InstanceId"]
    until(lambda: "ended with 3" in console(cloud, packed))
    assert "I am root, home ''\r\n" in console(cloud, packed) and "to the console\r\n" in console(cloud, packed)
    text = cloud.client("ec2").get_console_output(InstanceId=packed)
    assert not text.get("Output"), "without Latest=True, EC2 has nothing yet"
    other = launch(cloud, UserData="Content-Type: text/plain")["InstanceId"]
    until(lambda: "no script" in console(cloud, other))


def test_user_data_has_a_limit(cloud: CloudInABox) -> None:
    with pytest.raises(ClientError) as caught:
        launch(cloud, "#" * 17000)
    assert code_of(caught) == "InvalidParameterValue" and cloud.instances() == []


def test_metadata_needs_a_token(cloud: CloudInABox) -> None:
    ask = (
        "base=http://169.254.169.254/latest\n"
        "curl -s -o /dev/null -w 'bare %{http_code}\\n' $base/meta-data/instance-id\n"
        "curl -s -o /dev/null -w 'no ttl %{http_code}\\n' -X PUT $base/api/token\n"
        "token=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $base/api/token)\n"
        'get() { curl -s -w " %{http_code}\\n" -H "X-aws-ec2-metadata-token: $token" $base/$1; }\n'
        "for what in instance-id placement/availability-zone placement/region public-ipv4 local-ipv4 spot/instance-action\n"
        "do echo $what $(get meta-data/$what); done\n"
        "echo names $(get meta-data/placement/)\n"
        "echo document $(get dynamic/instance-identity/document)\n"
    )
    instance = launch(cloud, ask, MetadataOptions={"HttpTokens": "required"})
    until(lambda: "document" in console(cloud, instance["InstanceId"]))
    told = console(cloud, instance["InstanceId"])
    known = describe(cloud, instance["InstanceId"])
    for line in (
        "bare 401",
        "no ttl 400",
        f"instance-id {instance['InstanceId']} 200",
        f"placement/availability-zone {known['Placement']['AvailabilityZone']} 200",
        "placement/region us-east-1 200",
        f"public-ipv4 {known['PublicIpAddress']} 200",
        f"local-ipv4 {known['PrivateIpAddress']} 200",
        "spot/instance-action <html><body><h1>404</h1></body></html> 404",
        "names availability-zone region 200",
    ):
        assert f"{line}\r\n" in told
    assert f'"instanceId": "{instance["InstanceId"]}"' in told


@pytest.mark.parametrize(("behaviour", "state"), [("terminate", "terminated"), ("stop", "stopped")])
def test_a_shutdown_from_inside(cloud: CloudInABox, behaviour: str, state: str) -> None:
    instance = launch(cloud, "echo bye; shutdown -h now", InstanceInitiatedShutdownBehavior=behaviour)["InstanceId"]
    until(lambda: describe(cloud, instance)["State"]["Name"] == state)
    assert describe(cloud, instance)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert "bye" in console(cloud, instance) and cloud.host(instance).processes() == []
    cloud.client("ec2").terminate_instances(InstanceIds=[instance])
    until(lambda: describe(cloud, instance)["State"]["Name"] == "terminated")
    assert cloud.leftovers() == []


def test_terminate_kills_everything_and_frees_the_group(cloud: CloudInABox) -> None:
    name = group(cloud)
    instance = launch(cloud, LISTEN, SecurityGroupIds=[name])["InstanceId"]
    until(lambda: "listening" in console(cloud, instance))
    host, ec2 = cloud.host(instance), cloud.client("ec2")
    assert host.processes()
    with pytest.raises(ClientError) as caught:
        ec2.delete_security_group(GroupId=name)
    assert code_of(caught) == "DependencyViolation"
    ec2.terminate_instances(InstanceIds=[instance])
    until(lambda: describe(cloud, instance)["State"]["Name"] == "terminated")
    assert host.processes() == [] and not host.running and cloud.instances() == []
    assert cloud.leftovers() == [f"security group {name} in us-east-1"]
    ec2.delete_security_group(GroupId=name)
    ec2.terminate_instances(InstanceIds=[instance])
    assert cloud.leftovers() == []


def test_terminated_before_it_has_booted(cloud: CloudInABox) -> None:
    instances = [launch(cloud, "sleep 1000")["InstanceId"] for _ in range(3)]
    cloud.client("ec2").terminate_instances(InstanceIds=instances)
    until(lambda: cloud.instances() == [])


def test_a_broken_machine(cloud: CloudInABox) -> None:
    instance = launch(cloud, LISTEN)["InstanceId"]
    until(lambda: "listening" in console(cloud, instance))
    cloud.kill(instance)
    until(lambda: describe(cloud, instance)["State"]["Name"] == "terminated")
    assert describe(cloud, instance)["StateReason"]["Code"] == "Server.InternalError"


def test_a_spot_instance_is_told_and_taken_back(cloud: CloudInABox) -> None:
    watch = (
        "base=http://169.254.169.254/latest; token=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $base/api/token)\n"
        'until curl -sf -H "X-aws-ec2-metadata-token: $token" $base/meta-data/spot/instance-action; do sleep 0.1; done'
    )
    instance = launch(cloud, watch, InstanceMarketOptions={"MarketType": "spot"})
    assert instance["InstanceLifecycle"] == "spot"
    until(lambda: describe(cloud, instance["InstanceId"])["State"]["Name"] == "running")
    cloud.interrupt(instance["InstanceId"], 2)
    until(lambda: '"action": "terminate"' in console(cloud, instance["InstanceId"]))
    assert cloud.instances("running") == [instance["InstanceId"]]
    until(lambda: describe(cloud, instance["InstanceId"])["State"]["Name"] == "terminated")
    assert describe(cloud, instance["InstanceId"])["StateReason"]["Code"] == "Server.SpotInstanceTermination"


def test_packages_come_from_a_folder_of_ours(cloud: CloudInABox, tmp_path: Path) -> None:
    (tmp_path / "it.whl").write_text("a wheel")
    url = cloud.serve_index(tmp_path)
    instance = launch(cloud, f"curl -s {url}it.whl; curl -s -m 2 http://192.0.2.1/ || echo , no internet")["InstanceId"]
    until(lambda: "a wheel, no internet\r\n" in console(cloud, instance))


# -- the API ----------------------------------------------------------------------------------------------------------


def test_a_token_makes_one_instance(cloud: CloudInABox) -> None:
    first, again = launch(cloud, ClientToken="one"), launch(cloud, ClientToken="one")
    assert first["InstanceId"] == again["InstanceId"] and len(cloud.instances()) == 1
    with pytest.raises(ClientError) as caught:
        launch(cloud, ClientToken="one", InstanceType="t3.medium")
    assert code_of(caught) == "IdempotentParameterMismatch"


def test_no_capacity_in_one_zone(cloud: CloudInABox) -> None:
    fault = cloud.fail("ec2", "RunInstances", "InsufficientInstanceCapacity", times=None, match={"AZ": "us-east-1a"})
    with pytest.raises(ClientError, match="sufficient capacity") as caught:
        launch(cloud, Placement={"AvailabilityZone": "us-east-1a"})
    assert code_of(caught) == "InsufficientInstanceCapacity"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert launch(cloud, Placement={"AvailabilityZone": "us-east-1b"})["Placement"]["AvailabilityZone"] == "us-east-1b"
    assert fault.hits == 1
    cloud.mend()
    launch(cloud, Placement={"AvailabilityZone": "us-east-1a"})


@pytest.mark.parametrize("service", ["ec2", "sts", "ssm", "servicequotas", "pricing"])
def test_errors_of_every_protocol(cloud: CloudInABox, service: str) -> None:
    cloud.fail(service, "*", "ExpiredToken", message="The <token> has expired", match=lambda facts: True)
    name, action, asked = {
        "ec2": ("ec2", "describe_instances", {}),
        "sts": ("sts", "get_caller_identity", {}),
        "ssm": ("ssm", "get_parameter", {"Name": IMAGE}),
        "servicequotas": ("service-quotas", "list_service_quotas", {"ServiceCode": "ec2"}),
        "pricing": ("pricing", "get_products", {"ServiceCode": "AmazonEC2"}),
    }[service]
    call = getattr(cloud.client(name), action)
    with pytest.raises(ClientError, match="The <token> has expired") as caught:
        call(**asked)
    assert code_of(caught) == "ExpiredToken"
    call(**asked)
    assert [one.service for one in cloud.calls] == [service, service]


def test_quotas_are_counted_and_raised(cloud: CloudInABox) -> None:
    quotas = cloud.client("service-quotas")
    cloud.set_quota("L-1216C47A", 3)
    asked = {"ServiceCode": "ec2", "QuotaCode": "L-1216C47A"}
    assert quotas.get_service_quota(**asked)["Quota"]["Value"] == 3
    launch(cloud)
    with pytest.raises(ClientError) as caught:
        launch(cloud)
    assert code_of(caught) == "VcpuLimitExceeded"
    launch(cloud, InstanceMarketOptions={"MarketType": "spot"})
    assert {one["QuotaCode"] for one in quotas.list_service_quotas(ServiceCode="ec2")["Quotas"]} >= {"L-417A185B"}
    assert quotas.request_service_quota_increase(DesiredValue=8, **asked)["RequestedQuota"]["Status"] == "PENDING"
    with pytest.raises(quotas.exceptions.ResourceAlreadyExistsException):
        quotas.request_service_quota_increase(DesiredValue=9, **asked)
    with pytest.raises(quotas.exceptions.NoSuchResourceException):
        quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-NONE")


def test_prices(cloud: CloudInABox) -> None:
    cloud.figures.prices["g5.xlarge", "eu-west-1"] = 1.123
    cloud.figures.spot_prices["g5.xlarge", "us-east-1a"] = 0.3
    filters = [
        {"Type": "TERM_MATCH", "Field": f, "Value": v}
        for f, v in (("instanceType", "g5.xlarge"), ("regionCode", "eu-west-1"))
    ]
    (product,) = cloud.client("pricing").get_products(ServiceCode="AmazonEC2", Filters=filters)["PriceList"]
    (term,) = json.loads(product)["terms"]["OnDemand"].values()
    (price,) = term["priceDimensions"].values()
    assert float(price["pricePerUnit"]["USD"]) == 1.123
    asked = {"InstanceTypes": ["g5.xlarge"], "ProductDescriptions": ["Linux/UNIX"]}
    history = cloud.client("ec2").describe_spot_price_history(**asked)["SpotPriceHistory"]
    spot = {one["AvailabilityZone"]: float(one["SpotPrice"]) for one in history}
    assert spot["us-east-1a"] == 0.3 and len(spot) > 3 and all(0.3 <= value < 0.6 for value in spot.values())


def test_images_by_their_public_parameters(cloud: CloudInABox) -> None:
    ssm, ec2 = cloud.client("ssm"), cloud.client("ec2")
    names = [
        IMAGE,
        IMAGE.replace("x86_64", "arm64"),
        "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id",
    ]
    found = [one["Value"] for one in ssm.get_parameters(Names=names)["Parameters"]]
    assert len(set(found)) == 3 and ssm.get_parameter(Name=IMAGE)["Parameter"]["Value"] == found[0]
    images = {one["ImageId"]: one["Architecture"] for one in ec2.describe_images(ImageIds=found)["Images"]}
    assert [images[name] for name in found] == ["x86_64", "arm64", "x86_64"]
    with pytest.raises(ClientError) as caught:
        launch(cloud, ImageId="ami-00000000")
    assert code_of(caught).startswith("InvalidAMIID")


def test_dry_run_and_clock(cloud: CloudInABox) -> None:
    with pytest.raises(ClientError) as caught:
        launch(cloud, DryRun=True)
    assert code_of(caught) == "DryRunOperation" and cloud.instances() == []
    cloud.clock_ahead_s = 7200
    answer = cloud.client("sts").get_caller_identity()["ResponseMetadata"]["HTTPHeaders"]["date"]
    ahead = time.mktime(time.strptime(answer, "%a, %d %b %Y %H:%M:%S GMT")) - time.mktime(time.gmtime())
    assert 7190 < ahead < 7210


def test_only_what_a_policy_allows(cloud: CloudInABox) -> None:
    import boto3

    actions = ["ec2:DescribeInstances", "servicequotas:ListServiceQuotas"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
    with cloud.enforce(policy) as environ:
        session = boto3.session.Session(
            environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1"
        )
        clients = {name: session.client(name, endpoint_url=cloud.endpoint) for name in ("ec2", "service-quotas")}
        clients["ec2"].describe_instances()
        clients["service-quotas"].list_service_quotas(ServiceCode="ec2")
        with pytest.raises(ClientError, match="ec2:DescribeRegions"):
            clients["ec2"].describe_regions()
        with pytest.raises(ClientError, match="servicequotas:GetServiceQuota"):
            clients["service-quotas"].get_service_quota(ServiceCode="ec2", QuotaCode="L-417A185B")
    cloud.client("ec2").describe_regions()


# -- fleets -----------------------------------------------------------------------------------------------------------


def template(cloud: CloudInABox, **more: Any) -> dict[str, str]:
    data = {
        "ImageId": image(cloud),
        "InstanceType": "t3.micro",
        "UserData": base64.b64encode(f"#!/bin/sh\n{LISTEN}\n".encode()).decode(),
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required"},
        "BlockDeviceMappings": [
            {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 30, "Encrypted": True, "VolumeType": "gp3"}}
        ],
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "of", "Value": "template"}]}],
    }
    name = f"template-{len(cloud.calls)}"
    made = cloud.client("ec2").create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data | more)
    return {"LaunchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"], "Version": "$Latest"}


def fleet(cloud: CloudInABox, template: dict[str, str], overrides: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return dict(
        cloud.client("ec2").create_fleet(
            Type="instant",
            LaunchTemplateConfigs=[{"LaunchTemplateSpecification": template, "Overrides": overrides}],
            TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
            SpotOptions={"AllocationStrategy": "price-capacity-optimized"},
            **more,
        )
    )


def test_a_fleet_keeps_what_its_template_says(cloud: CloudInABox) -> None:
    name = group(cloud)
    made = template(cloud, SecurityGroupIds=[name])
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "more", "Value": "fleet"}]}]
    answer = fleet(cloud, made, [{"InstanceType": "t3.medium"}], TagSpecifications=tags, ClientToken="once")
    again = fleet(cloud, made, [{"InstanceType": "t3.medium"}], TagSpecifications=tags, ClientToken="once")
    assert again["FleetId"] == answer["FleetId"] and again["Instances"] == answer["Instances"]
    (launched,) = answer["Instances"]
    assert launched["Lifecycle"] == "spot" and launched["InstanceType"] == "t3.medium" and not answer["Errors"]
    (instance,) = launched["InstanceIds"]
    known = describe(cloud, instance)
    assert known["InstanceType"] == "t3.medium" and known["InstanceLifecycle"] == "spot"
    assert [one["GroupId"] for one in known["SecurityGroups"]] == [name]
    assert known["MetadataOptions"]["HttpTokens"] == "required"
    assert {one["Key"]: one["Value"] for one in known["Tags"]}.items() >= {"of": "template", "more": "fleet"}.items()
    behaviour = cloud.client("ec2").describe_instance_attribute(
        InstanceId=instance, Attribute="instanceInitiatedShutdownBehavior"
    )
    assert behaviour["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
    until(lambda: reached(known["PublicIpAddress"], 1))
    cloud.client("ec2").delete_fleets(FleetIds=[answer["FleetId"]], TerminateInstances=True)
    until(lambda: cloud.instances() == [])


def test_a_fleet_takes_another_choice_and_tells_why(cloud: CloudInABox) -> None:
    cloud.fail("ec2", "CreateFleet", "InsufficientInstanceCapacity", times=None, match={"InstanceType": "p4d.24xlarge"})
    cloud.figures.spot_prices["p4d.24xlarge", "us-east-1a"] = 0.001
    overrides = [{"InstanceType": kind, "AvailabilityZone": "us-east-1a"} for kind in ("g5.xlarge", "p4d.24xlarge")]
    answer = fleet(cloud, template(cloud), overrides)
    assert [
        (one["ErrorCode"], one["LaunchTemplateAndOverrides"]["Overrides"]["InstanceType"]) for one in answer["Errors"]
    ] == [("InsufficientInstanceCapacity", "p4d.24xlarge")]
    assert [one["InstanceType"] for one in answer["Instances"]] == ["g5.xlarge"]


def test_a_fleet_that_gets_nothing(cloud: CloudInABox) -> None:
    made = template(cloud)
    cloud.set_quota("L-3819A6DF", 0)
    answer = fleet(cloud, made, [{"InstanceType": "g5.xlarge"}, {"InstanceType": "t3.micro", "MaxPrice": "0.0011"}])
    assert {one["ErrorCode"] for one in answer["Errors"]} == {"MaxSpotInstanceCountExceeded", "SpotMaxPriceTooLow"}
    assert answer["Instances"] == [] and cloud.instances() == []
    cloud.fail("ec2", "CreateFleet", "UnauthorizedOperation")
    with pytest.raises(ClientError) as caught:
        fleet(cloud, made, [{}])
    assert code_of(caught) == "UnauthorizedOperation"

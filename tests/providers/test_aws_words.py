"""Provider aws without a cloud: what is asked, what travels, what errors become. Pure, or with boto3 alone."""

from __future__ import annotations

import base64
import builtins
import gzip
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aws_parts import CPU, REGION, TOKEN, aws_order
from cellferry.config import Cellferry
from cellferry.errors import CellferryError, NoCapacity, NoQuota, NotPermitted, PriceTooHigh, Refused, RequestError
from cellferry.link.identity import make_identity
from cellferry.model import CellRequest, Endpoint, Hardware, Offer, Worker, WorkerId
from cellferry.placement.snapshot import snapshot_offers
from cellferry.providers import aws_boot, aws_launch, aws_place, aws_prices, aws_quotas
from cellferry.providers.aws import AwsProvider
from cellferry.providers.aws_errors import (
    CLOCK,
    CREDENTIALS,
    EXPIRED,
    NO_CAPACITY,
    NO_QUOTA,
    NOT_PERMITTED,
    PRICE,
    explained,
    refused,
)
from cellferry.providers.aws_launch import Image, Launch, Subnet
from cellferry.providers.aws_session import Sessions, in_parallel
from cellferry.providers.registry import load_provider

LAUNCH = Launch(aws_order(TOKEN), "t3.medium", Image("ami-1", "/dev/sda1", 8), "sg-1", b"data", 2000.0, 1000.0)
SUBNET = Subnet("subnet-1", "us-east-1a", "vpc-1")


def provider(tmp_path: Path, **more: Any) -> AwsProvider:
    config = Cellferry(**{"state_dir": str(tmp_path), "aws_regions": [REGION]} | more)
    return AwsProvider(config, lambda folder: make_identity(folder).cert_pem)


# -- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [aws_launch.run_request(LAUNCH, SUBNET), aws_launch.template_request(LAUNCH)["LaunchTemplateData"]])
def test_what_every_machine_is(request_: dict[str, Any]) -> None:
    assert request_["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"}
    assert request_["InstanceInitiatedShutdownBehavior"] == "terminate"
    (disk,) = request_["BlockDeviceMappings"]
    assert disk["Ebs"] == {"Encrypted": True, "VolumeType": "gp3", "VolumeSize": 100, "DeleteOnTermination": True}
    assert not {"KeyName", "IamInstanceProfile"} & set(request_)
    for each in request_["TagSpecifications"]:
        marks = {tag["Key"]: tag["Value"] for tag in each["Tags"]}
        assert marks == {
            "Name": "cellferry train", "cellferry": "1", "cellferry:owner": "ann", "cellferry:ledger": "l-1",
            "cellferry:notebook": "a/b.ipynb",
            "cellferry:token": TOKEN, "cellferry:name": "train", "cellferry:deadline": "2000", "cellferry:made": "1000",
        }  # fmt: skip
    assert {each["ResourceType"] for each in request_["TagSpecifications"]} == {"instance", "volume"}


def test_the_requests_are_of_botocores_shape() -> None:
    """Every name that is asked for exists; botocore checks each value's type."""
    import botocore.session
    from botocore.validate import validate_parameters

    model = botocore.session.get_session().get_service_model("ec2")
    for operation, request in (
        ("RunInstances", {**aws_launch.run_request(LAUNCH, SUBNET), "UserData": "encoded"}),
        ("CreateLaunchTemplate", aws_launch.template_request(LAUNCH)),
        ("CreateFleet", aws_launch.fleet_request(LAUNCH, [SUBNET], 1_234_567)),
        ("CreateSecurityGroup", aws_launch.group_request(LAUNCH.order, "vpc-1", 0.0, 0.0)),
        ("AuthorizeSecurityGroupIngress", aws_launch.ingress("sg-1", "203.0.113.7/32")),
        ("AuthorizeSecurityGroupIngress", aws_launch.ingress("sg-1", "2001:db8::/64")),
    ):
        shape = model.operation_model(operation).input_shape
        validate_parameters(request, shape)
        unknown = set(request) - set(shape.members)
        assert not unknown


@given(st.integers(0, 10**12))
def test_a_spot_machine_never_costs_more_than_was_reserved(microusd: int) -> None:
    request = aws_launch.fleet_request(LAUNCH, [SUBNET], microusd)
    (override,) = request["LaunchTemplateConfigs"][0]["Overrides"]
    assert aws_prices.micro(override["MaxPrice"]) == microusd


def test_the_disk_is_what_is_asked_and_never_less_than_the_image() -> None:
    def disk(asked: int | None, image: int) -> int:
        order = replace(LAUNCH.order, request=CellRequest(Hardware(disk_bytes=asked)))
        return replace(LAUNCH, order=order, image=Image("ami-1", "/dev/sda1", image)).disk_gib

    assert disk(None, 8) == 100 and disk(None, 120) == 120
    assert disk(500 << 30, 8) == 500 and disk((500 << 30) + 1, 8) == 501 and disk(1, 8) == 8


@given(st.text(max_size=400))
def test_tags_are_what_ec2_takes(text: str) -> None:
    value = aws_launch.tag_value(text)
    assert len(value) <= 256 and aws_launch.tag_value(value) == value
    assert all(each.isalnum() or each in " _+-=.:/@" or each.isspace() or each == "_" for each in value if each.isascii())


@given(st.text("abcdef-", min_size=1, max_size=80), st.text("abcdef-", min_size=1, max_size=12))
def test_client_tokens_fit(token: str, part: str) -> None:
    assert len(aws_launch.client_token(token, part)) <= 64
    assert aws_launch.client_token(token, part) == aws_launch.client_token(token, part)
    assert aws_launch.client_token(token, part) != aws_launch.client_token(token, part + "x")


# -- user data --------------------------------------------------------------------------------------------------------


@pytest.fixture
def user_data(tmp_path: Path) -> bytes:
    pem = make_identity(tmp_path / "client").cert_pem
    return aws_boot.user_data(token=TOKEN, client_cert_pem=pem, port=7443, ends_unix_s=2e9, unclaimed_s=720.0)


def test_user_data_fits_and_holds_no_secret(user_data: bytes, tmp_path: Path) -> None:
    assert len(user_data) < aws_boot.MOST_BYTES // 2, "room for what is still to come"
    script = gzip.decompress(user_data).decode()
    key = (tmp_path / "client" / "client.key").read_text()
    assert "PRIVATE" not in script and not any(line in script for line in key.splitlines()[1:-1])
    assert script.startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_the_end_is_armed_before_anything_that_can_fail(user_data: bytes) -> None:
    script = gzip.decompress(user_data).decode()
    assert script.index('sleep "$left"') < script.index('setsid "$d/last"') < script.index("boot.json") < script.index("python3 -I")
    assert f"left=$(({2_000_000_000 + aws_boot.MARGIN_S} - $(date +%s)))" in script


def test_the_same_order_gives_the_same_bytes(user_data: bytes, tmp_path: Path) -> None:
    pem = make_identity(tmp_path / "client").cert_pem
    assert user_data == aws_boot.user_data(token=TOKEN, client_cert_pem=pem, port=7443, ends_unix_s=2e9, unclaimed_s=720.0)


@given(st.text(), st.text(), st.text("0123456789abcdef", min_size=64, max_size=64))
def test_the_fingerprint_is_found_among_what_a_machine_writes(before: str, after: str, fingerprint: str) -> None:
    text = f"{before}\r\ncellferry {TOKEN} certificate {fingerprint} .\r\n{after}"
    assert aws_boot.fingerprint_in(text, TOKEN) == fingerprint
    assert aws_boot.fingerprint_in(text, "another") == ""
    assert aws_boot.fingerprint_in(text.replace(f"{fingerprint} .", f"{fingerprint[:-1]}[ 3.1] eth0 up"), TOKEN) == ""


def test_the_last_word_of_a_machine_counts() -> None:
    text = f"\ncellferry {TOKEN} ended 0 signal .\n\ncellferry {TOKEN} ended 100 idle .\ncellferry other failed .\n"
    assert aws_boot.end_in(text, TOKEN) == "ended 100 idle" and aws_boot.end_in("", TOKEN) == ""


# -- errors -----------------------------------------------------------------------------------------------------------


def kinds() -> Iterator[tuple[str, type[CellferryError]]]:
    for codes, error in (
        (NO_CAPACITY, NoCapacity), (NO_QUOTA, NoQuota), (PRICE, PriceTooHigh), (NOT_PERMITTED, NotPermitted),
        (EXPIRED | CLOCK | CREDENTIALS, CellferryError), ({"InvalidAMIID.NotFound", "NeverHeardOf"}, Refused),
    ):  # fmt: skip
        yield from ((code, error) for code in sorted(codes))


@pytest.mark.parametrize(("code", "error"), list(kinds()))
@pytest.mark.parametrize("spot", [False, True])
def test_every_code_becomes_one_kind(code: str, error: type[CellferryError], spot: bool) -> None:
    found = refused(code, "Some words.", region=REGION, offer=CPU, spot=spot, action="ec2:RunInstances")
    assert type(found) is error and (found.advice or error is NoCapacity)
    assert code in found.what or "have expired" in found.what


@pytest.mark.parametrize("offer", [CPU, replace(CPU, instance="p4d.24xlarge"), replace(CPU, instance="new1.large"), None])
@given(st.text(), st.text(), st.booleans())
def test_no_message_breaks_the_mapping(offer: Offer | None, code: str, message: str, spot: bool) -> None:
    assert isinstance(refused(code, message, region=REGION, offer=offer, spot=spot), CellferryError)


def test_a_missing_permission_is_named_from_the_message() -> None:
    message = (
        "You are not authorized to perform this operation. User: arn:aws:iam::1:user/ann is not authorized to perform: "
        "ec2:CreateTags on resource: arn:aws:ec2:us-east-1:1:instance/* because no identity-based policy allows it. "
        "Encoded authorization failure message: sEcReTlOoKiNgBlOb"
    )
    found = refused("UnauthorizedOperation", message, region=REGION, offer=CPU, action="ec2:RunInstances")
    assert "do not allow ec2:CreateTags" in found.what and "sEcReT" not in str(found)


def test_a_quota_is_named_with_the_command() -> None:
    offer = replace(CPU, instance="p5.48xlarge", quota_units=192)
    found = refused("MaxSpotInstanceCountExceeded", "", region=REGION, offer=offer, spot=True)
    assert "'All P5 Spot Instance Requests' (L-C4BD4855)" in found.what and "192 vCPUs" in found.what
    assert found.advice == "ask for more: cellferry quota request L-C4BD4855 --region us-east-1"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment without any credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")


@pytest.mark.usefixtures("bare")
def test_without_credentials(tmp_path: Path) -> None:
    with pytest.raises(CellferryError, match="no credentials for AWS") as caught:
        provider(tmp_path).machines()
    assert "aws configure" in caught.value.advice
    with pytest.raises(CellferryError, match="no credentials"):
        provider(tmp_path, aws_client_network="203.0.113.7").start(aws_order(), lambda line: None)
    with pytest.raises(CellferryError, match="nobody"):
        provider(tmp_path, aws_profile="nobody").machines()


@pytest.mark.usefixtures("bare")
def test_without_a_region_an_answer_or_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CellferryError, match="in which regions") as caught:
        provider(tmp_path, aws_regions=[]).machines()
    assert "aws_regions" in caught.value.advice
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTKEY000000001")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    sessions = Sessions(Cellferry(aws_regions=[REGION]))
    with pytest.raises(CellferryError, match="does not answer"):
        _once(sessions)
    with pytest.raises(CellferryError, match="no region"):
        sessions.client("ec2", "not a region")
    with pytest.raises(RequestError, match="which machine"):
        provider(tmp_path).start(replace(aws_order(), offer=None), lambda line: None)


def _once(sessions: Sessions) -> None:
    try:
        sessions.once(REGION, "describe_instances")
    except Exception as exc:
        raise explained(exc, region=REGION) from exc


def test_without_boto3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] in ("boto3", "botocore"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CellferryError) as caught:
        provider(tmp_path).machines()
    assert caught.value.advice == "pip install 'cellferry[aws]'"
    assert [check.advice for check in provider(tmp_path).examine()] == ["pip install 'cellferry[aws]'"]


def test_one_region_that_fails_does_not_hide_behind_the_others() -> None:
    def ask(region: str) -> str:
        if region == "b":
            raise CellferryError("no")
        return region

    found = in_parallel(ask, ["a", "b", "c"])
    assert found[0] == "a" and isinstance(found[1], CellferryError) and found[2] == "c"
    assert in_parallel(ask, []) == []


# -- places -----------------------------------------------------------------------------------------------------------


def test_images_for_every_kind_of_machine() -> None:
    names = {offer.instance.partition(".")[0]: aws_place.image_name(offer) for offer in snapshot_offers("aws")}
    assert names["g5"].endswith("/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id")
    assert "proprietary" in names["p3"] and "/amd64/" in names["m7i"]
    assert "arm64/base-oss" in aws_place.image_name(replace(CPU, gpu="t4g", arch="arm64"))
    assert "/arm64/hvm" in aws_place.image_name(replace(CPU, arch="arm64"))


class Answering(BaseHTTPRequestHandler):
    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def says() -> Iterator[Callable[[bytes], str]]:
    server = HTTPServer(("127.0.0.1", 0), type("Own", (Answering,), {}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()

    def say(body: bytes) -> str:
        server.RequestHandlerClass.body = body  # type: ignore[attr-defined]
        return f"http://127.0.0.1:{server.server_port}"

    yield say
    server.shutdown()
    server.server_close()
    thread.join(20)


def test_our_own_address(says: Callable[[bytes], str]) -> None:
    assert aws_place.own_address(says(b"203.0.113.7\n")) == "203.0.113.7"
    for nonsense in (b"<html>", b"", b"\xff"):
        with pytest.raises(CellferryError, match="cannot be found out") as caught:
            aws_place.own_address(says(nonsense))
        assert "aws_client_network" in caught.value.advice


def test_networks() -> None:
    assert aws_place.checked_network("203.0.113.7") == "203.0.113.7/32"
    assert aws_place.checked_network(" 203.0.113.9/24 ") == "203.0.113.0/24"
    for wrong in ("0.0.0.0/0", "::/0", "here", "128.0.0.0/1"):
        with pytest.raises(CellferryError, match=r"world|not an address"):
            aws_place.checked_network(wrong)


# -- prices and quotas ------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**12))
def test_micro_dollars_are_exact(microusd: int) -> None:
    assert aws_prices.micro(f"{microusd // 10**6}.{microusd % 10**6:06d}") == microusd
    assert aws_prices.micro(f"{microusd // 10**6}.{microusd % 10**6:06d}0001") == microusd + 1, "rounded up"


def test_prices_of_the_price_list() -> None:
    def product(instance: str, unit: str, dollars: str) -> dict[str, Any]:
        dimension = {"unit": unit, "pricePerUnit": {"USD": dollars}}
        return {"product": {"attributes": {"instanceType": instance}}, "terms": {"OnDemand": {"t": {"priceDimensions": {"d": dimension}}}}}

    products = [product("t3.medium", "Hrs", "0.0416"), product("t3.medium", "Quantity", "5"), product("other", "Hrs", "1")]
    (offer,) = aws_prices.on_demand(products, {"t3.medium": CPU}, 5.0)
    assert (offer.microusd_per_hour, offer.spot_microusd_per_hour, offer.priced_unix_s) == (41_600, None, 5.0)


def test_the_newest_spot_price_of_each_zone() -> None:
    rows = [
        {"InstanceType": "t3.medium", "AvailabilityZone": zone, "SpotPrice": price, "Timestamp": at}
        for zone, price, at in (("a", "0.01", 1), ("a", "0.02", 3), ("a", "0.03", 2), ("b", "0.04", 1))
    ]
    found = aws_prices.spot([*rows, {**rows[0], "InstanceType": "other"}], {"t3.medium": CPU}, 5.0)
    assert {offer.zone: offer.spot_microusd_per_hour for offer in found} == {"a": 20_000, "b": 40_000}
    assert all(offer.microusd_per_hour is None for offer in found)


def test_vcpus_in_use() -> None:
    machines = [
        {"InstanceType": "p4d.24xlarge", "CpuOptions": {"CoreCount": 48, "ThreadsPerCore": 2}},
        {"InstanceType": "p4d.24xlarge", "InstanceLifecycle": "spot", "CpuOptions": {"CoreCount": 48, "ThreadsPerCore": 2}},
        {"InstanceType": "g5.xlarge"}, {"InstanceType": "mac1.metal"},
    ]  # fmt: skip
    assert aws_quotas.used_vcpus(machines) == {"L-417A185B": 96, "L-7212CCBC": 96, "L-DB2E81BA": 4}


# -- the provider, before it is asked for anything --------------------------------------------------------------------


def test_it_is_registered_and_made_without_the_network(tmp_path: Path) -> None:
    config = Cellferry(state_dir=str(tmp_path), aws_regions=[REGION])
    began = time.monotonic()
    aws = load_provider("aws", config, lambda folder: make_identity(folder).cert_pem)
    assert time.monotonic() - began < 5 and aws.name == "aws" and aws.find() == []


@pytest.mark.usefixtures("bare")
def test_alive_never_raises_and_where_nobody_knows_it_lives(tmp_path: Path) -> None:
    endpoint = Endpoint("tls", host="127.0.0.1", port=9)
    worker = Worker(WorkerId("w"), "train", "aws", endpoint, Hardware(), offer=CPU, machine="i-1", token="t-1")
    aws = provider(tmp_path)
    assert aws.alive(worker)
    assert "cannot be found out" in aws.describe_end(worker)


def test_what_is_kept_of_workers_is_read_with_care(tmp_path: Path) -> None:
    aws = provider(tmp_path)
    for name, text in (("a", "{"), ("b", "[]"), ("c", json.dumps({"provider": "ssh"})), ("d", json.dumps({"provider": "aws"}))):
        (tmp_path / "workers" / name).mkdir(parents=True)
        (tmp_path / "workers" / name / "worker.json").write_text(text)
    assert aws.find() == []


def test_template_user_data_is_encoded_once() -> None:
    data = aws_launch.template_request(LAUNCH)["LaunchTemplateData"]["UserData"]
    assert base64.b64decode(data) == b"data" and aws_launch.run_request(LAUNCH, SUBNET)["UserData"] == b"data"

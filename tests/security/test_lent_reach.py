"""What this notebook's reach may be used for by those to whom it is lent: a machine that gets packages, a colleague's keys."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from cellferry.environment.sources import Sources
from cellferry.model import CellRequest, Lease, Order
from cellferry.providers.aws_launch import tags
from cellferry.providers.aws_policy import least_policy
from cellferry.providers.ssh_install import own_indexes
from cellferry.providers.ssh_tunnel import Supply

# -- the proxy for package indexes ------------------------------------------------------------------------------------


def asked(supply: Supply, target: str) -> tuple[str, int]:
    password = urlsplit(supply.url).password
    secret = base64.b64encode(f"cellferry:{password}".encode()).decode()
    return supply._asked(f"CONNECT {target} HTTP/1.1\r\nProxy-Authorization: Basic {secret}\r\n\r\n".encode())


SUPPLY = Supply(own_indexes(Sources("https://wheels.example.com:8443/simple", more=("http://plain.example.com/simple",))))


@pytest.mark.parametrize("target", ["pypi.org:443", "files.pythonhosted.org:443", "wheels.example.com:8443", "plain.example.com:80"])
def test_an_index_is_reached_at_its_port(target: str) -> None:
    host, _, port = target.rpartition(":")
    assert asked(SUPPLY, target) == (host, int(port))


@pytest.mark.parametrize(
    "target", ["pypi.org:22", "github.com:22", "wheels.example.com:443", "wheels.example.com:22", "localhost:8443", "pypi.org:-443"]
)
def test_no_other_port_of_an_index_is_reached(target: str) -> None:
    with pytest.raises(PermissionError, match="403"):
        asked(SUPPLY, target)


# -- the policy for an account that several people share -----------------------------------------------------------------


def allows(policy: dict[str, Any], action: str, kind: str, *, on: dict[str, str] | None = None, asks: dict[str, str] | None = None) -> bool:
    """Whether IAM would allow it on one resource: ``on``, its tags; ``asks``, those of the request. Equality is all it is asked."""
    given = {f"aws:ResourceTag/{key}": value for key, value in (on or {}).items()}
    given |= {f"aws:RequestTag/{key}": value for key, value in (asks or {}).items()}
    for statement in policy["Statement"]:
        wanted = statement.get("Condition", {}).get("StringEquals", {})
        if (
            action in statement["Action"]
            and any(f":{kind}/" in resource for resource in statement["Resource"])
            and all(given.get(key) == value for key, value in wanted.items())
        ):
            return True
    return False


def marks(person: str) -> dict[str, str]:
    """The tags on what ``person`` starts."""
    order = Order(CellRequest(), "default", Lease(), None, token="t", owner=person)
    return {each["Key"]: each["Value"] for each in tags(order, 0.0, 0.0)}


ENDING = [
    ("ec2:TerminateInstances", "instance"), ("ec2:DeleteSecurityGroup", "security-group"), ("ec2:DeleteLaunchTemplate", "launch-template"),
    ("ec2:AuthorizeSecurityGroupIngress", "security-group"), ("ec2:RevokeSecurityGroupIngress", "security-group"),
    ("ec2:GetConsoleOutput", "instance"),
]  # fmt: skip
MAKING = [
    ("ec2:RunInstances", "instance"), ("ec2:RunInstances", "volume"), ("ec2:CreateFleet", "fleet"), ("ec2:CreateFleet", "instance"),
    ("ec2:CreateSecurityGroup", "security-group"), ("ec2:CreateLaunchTemplate", "launch-template"),
]  # fmt: skip


@pytest.mark.parametrize(("action", "kind"), ENDING)
def test_nobody_ends_or_opens_the_machine_of_a_colleague(action: str, kind: str) -> None:
    policy = least_policy(["us-east-1"], "ana")
    assert allows(policy, action, kind, on=marks("ana"))
    for others in (marks("bob"), marks(""), {"cellferry": "1"}, {}):
        assert not allows(policy, action, kind, on=others)


@pytest.mark.parametrize(("action", "kind"), MAKING)
def test_nobody_starts_a_machine_in_the_name_of_a_colleague(action: str, kind: str) -> None:
    policy = least_policy(["us-east-1"], "ana")
    assert allows(policy, action, kind, asks=marks("ana"))
    for others in (marks("bob"), {"cellferry": "1"}, {}):
        assert not allows(policy, action, kind, asks=others)


def test_a_name_stands_in_the_policy_as_it_stands_in_the_tag() -> None:
    odd = 'ana "at" home*?${aws:username}'
    policy = least_policy([], odd)
    assert allows(policy, "ec2:TerminateInstances", "instance", on=marks(odd))
    assert "*?" not in json.dumps(policy["Statement"][-3]) and "${" not in json.dumps(policy)

"""The requests by which a machine comes to be, as plain dicts: pure, so that what is asked of AWS can be read and tested."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cellferry.model import Order

TAG = "cellferry"
"""Key of the tag that everything of ours carries, with the value "1"; the IAM policy is scoped by it."""
PORT = 7443
"""The one port of a machine; nothing else listens there."""
GIB = 1 << 30
DISK_GIB = 100
"""Size of the disk unless the request names one: a GPU's packages alone take 10 GB."""
MOST_TAG = 256
_NOT_IN_TAGS = re.compile(r"[^\w\s+\-=.:/@]")


@dataclass(frozen=True)
class Image:
    """An AMI. ``root_device``: the name of its disk; ``size_gib``: the least that the disk may have."""

    id: str
    root_device: str
    size_gib: int


@dataclass(frozen=True)
class Subnet:
    """A default subnet; there is one for each zone. ``public``: machines in it get a public address without being asked."""

    id: str
    zone: str
    vpc: str
    public: bool = True


@dataclass(frozen=True)
class Launch:
    """All that one start is made of. ``made_unix_s``: when it began, for whoever finds what was left of it."""

    order: Order
    instance: str
    image: Image
    group: str
    user_data: bytes
    ends_unix_s: float
    made_unix_s: float

    @property
    def disk_gib(self) -> int:
        asked = -(-(self.order.request.hardware.disk_bytes or 0) // GIB)
        return max(asked or DISK_GIB, self.image.size_gib)


def name_of(token: str) -> str:
    """Of the security group and the launch template of an order."""
    return f"cellferry-{token}"


def tags(order: Order, ends_unix_s: float, made_unix_s: float) -> list[dict[str, str]]:
    """On everything that is made for an order. Values without what EC2 does not take in a tag."""
    values = {
        "Name": f"cellferry {order.name}",
        TAG: "1",
        f"{TAG}:owner": order.owner,
        f"{TAG}:ledger": order.ledger,
        f"{TAG}:notebook": order.notebook,
        f"{TAG}:token": order.token,
        f"{TAG}:name": order.name,
        f"{TAG}:deadline": str(int(ends_unix_s)),
        f"{TAG}:made": str(int(made_unix_s)),
    }
    return [{"Key": key, "Value": tag_value(value)} for key, value in values.items()]


def tag_value(text: str) -> str:
    """``text`` as EC2 takes it: letters, digits, spaces and + - = . _ : / @, at most 256."""
    return _NOT_IN_TAGS.sub("_", text)[:MOST_TAG]


def group_request(order: Order, vpc: str, ends_unix_s: float, made_unix_s: float) -> dict[str, Any]:
    """CreateSecurityGroup."""
    return {
        "GroupName": name_of(order.token),
        "Description": "One cellferry worker: one port, from one client",
        "VpcId": vpc,
        "TagSpecifications": [_tagged("security-group", tags(order, ends_unix_s, made_unix_s))],
    }


def ingress(group: str, network: str) -> dict[str, Any]:
    """AuthorizeSecurityGroupIngress: our one port, from ``network`` ("203.0.113.7/32")."""
    source = {"CidrIpv6" if ":" in network else "CidrIp": network, "Description": "cellferry client"}
    ranges = "Ipv6Ranges" if ":" in network else "IpRanges"
    return {
        "GroupId": group,
        "IpPermissions": [{"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT, ranges: [source]}],
    }


def _machine(launch: Launch) -> dict[str, Any]:
    """What RunInstances and a launch template have in common."""
    marks = tags(launch.order, launch.ends_unix_s, launch.made_unix_s)
    return {
        "ImageId": launch.image.id,
        "InstanceType": launch.instance,
        # Only with a token, and not from a container that has its own network behind the machine's.
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"},
        "InstanceInitiatedShutdownBehavior": "terminate",
        "BlockDeviceMappings": [
            {
                "DeviceName": launch.image.root_device,
                "Ebs": {
                    "Encrypted": True,
                    "VolumeType": "gp3",
                    "VolumeSize": launch.disk_gib,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "TagSpecifications": [_tagged("instance", marks), _tagged("volume", marks)],
    }


def run_request(launch: Launch, subnet: Subnet) -> dict[str, Any]:
    """RunInstances: one machine on demand. botocore encodes the user data. No instance profile, no key pair."""
    return {
        **_machine(launch),
        "MinCount": 1,
        "MaxCount": 1,
        "UserData": launch.user_data,
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "SubnetId": subnet.id,
                "Groups": [launch.group],
                "AssociatePublicIpAddress": True,
                "DeleteOnTermination": True,
            }
        ],
        "ClientToken": client_token(launch.order.token, subnet.zone),
    }


def template_request(launch: Launch) -> dict[str, Any]:
    """CreateLaunchTemplate: what CreateFleet needs; here the user data must be encoded already."""
    return {
        "LaunchTemplateName": name_of(launch.order.token),
        "LaunchTemplateData": {
            **_machine(launch),
            "UserData": base64.b64encode(launch.user_data).decode(),
            "SecurityGroupIds": [launch.group],  # and the subnet, with it the public address, by the fleet's overrides
        },
        "TagSpecifications": [_tagged("launch-template", tags(launch.order, launch.ends_unix_s, launch.made_unix_s))],
    }


def fleet_request(launch: Launch, subnets: Sequence[Subnet], most_microusd_per_hour: int) -> dict[str, Any]:
    """CreateFleet: one spot machine, at once or not at all, where it is cheap and likely to stay.

    ``most_microusd_per_hour``: never pay more; what the ledger has reserved.
    """
    dollars = f"{most_microusd_per_hour // 1_000_000}.{most_microusd_per_hour % 1_000_000:06d}"
    return {
        "Type": "instant",
        "ClientToken": client_token(launch.order.token, "fleet"),
        "SpotOptions": {"AllocationStrategy": "price-capacity-optimized", "InstanceInterruptionBehavior": "terminate"},
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {
                    "LaunchTemplateName": name_of(launch.order.token), "Version": "$Latest",
                },
                "Overrides": [
                    {"InstanceType": launch.instance, "SubnetId": subnet.id, "MaxPrice": dollars} for subnet in subnets
                ],
            }
        ],
        "TagSpecifications": [
            _tagged(kind, tags(launch.order, launch.ends_unix_s, launch.made_unix_s)) for kind in ("fleet", "instance")
        ],
    }  # fmt: skip


def client_token(token: str, part: str) -> str:
    """EC2's own idempotency token for one try of an order: at most 64 characters, the same for the same try."""
    whole = f"{token}-{part}"
    return whole if len(whole) <= 64 else hashlib.sha256(whole.encode()).hexdigest()


def _tagged(kind: str, marks: list[dict[str, str]]) -> dict[str, Any]:
    return {"ResourceType": kind, "Tags": marks}

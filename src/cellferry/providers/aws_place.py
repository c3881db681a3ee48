"""What a start must know of a region before it asks for a machine: the image, the subnets, and this client's own address."""

from __future__ import annotations

import ipaddress
import threading
import time
import urllib.request
from typing import Any

from cellferry.config import Cellferry
from cellferry.errors import CellferryError, NoCapacity
from cellferry.model import Offer
from cellferry.placement.drivers_aws import OLD_GPUS
from cellferry.providers.aws_errors import code_of, explained
from cellferry.providers.aws_launch import Image, Subnet
from cellferry.providers.aws_session import Sessions

GPU_IMAGE = "/aws/service/deeplearning/ami/{arch}/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
"""The newest "Deep Learning Base OSS Nvidia Driver GPU AMI": https://docs.aws.amazon.com/dlami/latest/devguide/find-dlami-id.html"""
OLD_GPU_IMAGE = "/aws/service/deeplearning/ami/{arch}/base-proprietary-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
"""The open kernel modules of the other one do not know the GPUs before Turing."""
CPU_IMAGE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/{arch}/hvm/ebs-gp3/ami-id"
"""https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/"""
ADDRESS_URL = "https://checkip.amazonaws.com"
"""Amazon's own answer to "from which address do I come?": https://checkip.amazonaws.com"""
LEAST_PREFIX = 8
REMEMBER_S = 3600.0
ANSWER_S = 5.0


class Places:
    """Remembers what AWS said for an hour. Safe to use from every thread."""

    def __init__(self, config: Cellferry, sessions: Sessions) -> None:
        self._config, self._sessions = config, sessions
        self._lock = threading.Lock()
        self._known: dict[tuple[Any, ...], tuple[float, Any]] = {}

    def _remembered(self, key: tuple[Any, ...]) -> Any:
        with self._lock:
            at, value = self._known.get(key, (0.0, None))
        return value if time.monotonic() - at < REMEMBER_S else None

    def _remember(self, key: tuple[Any, ...], value: Any) -> None:
        with self._lock:
            self._known[key] = (time.monotonic(), value)

    def image(self, region: str, offer: Offer) -> Image:
        """The newest image for this kind of machine, or the one of ``c.Cellferry.aws_image``. Raises CellferryError."""
        name = self._config.aws_image or image_name(offer)
        found = self._remembered(("image", region, name))
        if found is None:
            found = self._image(region, name)
            self._remember(("image", region, name), found)
        return found  # type: ignore[no-any-return]

    def _image(self, region: str, name: str) -> Image:
        ami = name
        if name.startswith("/"):
            try:
                ami = self._sessions.client("ssm", region).get_parameter(Name=name)["Parameter"]["Value"]
            except Exception as exc:
                if code_of(exc) == "ParameterNotFound":
                    raise CellferryError(
                        f"there is no image {name} in {region}", 'name another: c.Cellferry.aws_image = "ami-..."'
                    ) from exc
                raise explained(exc, region=region) from exc
        images = self._sessions.call("ec2", region, "describe_images", ImageIds=[ami])["Images"]
        if not images:
            raise CellferryError(f"there is no image {ami} in {region}", 'name another: c.Cellferry.aws_image = "ami-..."')
        root = images[0].get("RootDeviceName") or "/dev/sda1"
        disks = [disk for disk in images[0].get("BlockDeviceMappings", ()) if disk.get("DeviceName") == root]
        return Image(ami, root, int(disks[0].get("Ebs", {}).get("VolumeSize", 8)) if disks else 8)

    def subnets(self, region: str, offer: Offer) -> list[Subnet]:
        """The default subnets in the zones that have this kind of machine; only the offer's zone if it names one.

        Raises CellferryError without a default VPC, NoCapacity where no zone has that machine.
        """
        key = ("subnets", region, offer.zone, offer.instance)
        found: list[Subnet] | None = self._remembered(key)
        if found is None:
            found = self._subnets(region, offer)
            self._remember(key, found)
        return found

    def _subnets(self, region: str, offer: Offer) -> list[Subnet]:
        filters = [{"Name": "default-for-az", "Values": ["true"]}]
        every = self._sessions.pages("ec2", region, "describe_subnets", "Subnets", Filters=filters)
        if not every:
            raise CellferryError(
                f"there is no default network in {region}", f"make one: aws ec2 create-default-vpc --region {region}"
            )
        subnets = [
            Subnet(each["SubnetId"], each["AvailabilityZone"], each["VpcId"], each.get("MapPublicIpOnLaunch", True))
            for each in every
        ]
        if offer.zone:
            having = {offer.zone}
        else:
            sold = self._sessions.pages(
                "ec2", region, "describe_instance_type_offerings", "InstanceTypeOfferings",
                LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": [offer.instance]}],
            )  # fmt: skip
            having = {each["Location"] for each in sold}
        fitting = sorted((each for each in subnets if each.zone in having), key=lambda each: each.zone)
        if not fitting:
            raise NoCapacity(f"no zone of {offer.zone or region} with a default network has machines of type {offer.instance}")
        return fitting

    def client_network(self) -> str:
        """From which addresses this client's connections come ("203.0.113.7/32"). Raises CellferryError."""
        if self._config.aws_client_network:
            return checked_network(self._config.aws_client_network)
        found: str | None = self._remembered(("address",))
        if found is None:
            found = checked_network(own_address())
            self._remember(("address",), found)
        return found

    def forget_address(self) -> None:
        """This client may be on another network by now."""
        with self._lock:
            self._known.pop(("address",), None)


def image_name(offer: Offer) -> str:
    """The public parameter that names the newest image for this kind of machine."""
    if not offer.gpu:
        return CPU_IMAGE.format(arch="arm64" if offer.arch == "arm64" else "amd64")
    old = offer.gpu.startswith(OLD_GPUS)
    return (OLD_GPU_IMAGE if old else GPU_IMAGE).format(arch=offer.arch)


def own_address(url: str = ADDRESS_URL) -> str:
    """Our address as others see it; asked over HTTPS. Raises CellferryError."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
            return str(ipaddress.ip_address(answer.read(100).decode("ascii").strip()))
    except (OSError, ValueError) as exc:
        raise CellferryError(
            f"the address of this machine as AWS sees it cannot be found out: {url} says {exc}",
            'say it: c.Cellferry.aws_client_network = "203.0.113.7/32"',
        ) from exc


def checked_network(text: str) -> str:
    """``text`` as a network in its usual form; raises CellferryError if it is none, or half of the world."""
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError as exc:
        raise CellferryError(
            f"{text!r} is not an address or a network", 'for example: c.Cellferry.aws_client_network = "203.0.113.7/32"'
        ) from exc
    if network.prefixlen < LEAST_PREFIX:
        raise CellferryError(
            f"{network} is too much of the world: a worker's port is opened to it",
            'for example: c.Cellferry.aws_client_network = "203.0.113.7/32"',
        )
    return str(network)

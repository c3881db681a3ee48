"""EC2 as moto has it, with what it lacks: every instance boots, tokens are idempotent, fleets keep their template.

``repairs(cloud)`` is a context manager that puts functions of this module in the place of moto's while it is open.
"""

from __future__ import annotations

import contextlib
import copy
import json
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from unittest import mock

from moto import settings
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import elastic_network_interfaces
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES
from moto.ec2.models.instances import Instance
from moto.ec2.responses import EC2Response
from moto.ec2.utils import random_fleet_id

from testbeds.cloud_faults import AT_LAUNCH, MESSAGE
from testbeds.cloud_figures import quota_code
from testbeds.cloud_machine import BY_USER, MOST_USER_DATA, End, security_groups

if TYPE_CHECKING:
    from testbeds.cloud import CloudInABox

_ENDED = ("terminated", "shutting-down")


@contextlib.contextmanager
def repairs(cloud: CloudInABox) -> Iterator[None]:
    """moto's EC2 behaves as ``cloud`` says until the end of the ``with`` statement."""
    actions = _Actions(cloud)
    begin, terminate, stop = Instance.__init__, Instance.terminate, Instance.stop

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        cloud.adopt(self)

    def end_by(original: Any, state: str) -> Any:
        def ending(self: Any) -> Any:
            before = copy.copy(self._state)
            if before.name not in _ENDED:
                original(self)
                cloud.end(self, End(state, *BY_USER))
            return before

        return ending

    with contextlib.ExitStack() as stack:
        for name in ("run_instances", "create_fleet", "delete_fleets", "get_console_output", "describe_spot_price_history",
                     "delete_security_group"):  # fmt: skip
            # moto looks for functions and overlooks bound methods
            stack.enter_context(mock.patch.object(EC2Response, name, _function(getattr(actions, name))))
        stack.enter_context(mock.patch.object(Instance, "__init__", init))
        stack.enter_context(mock.patch.object(Instance, "terminate", end_by(terminate, "terminated")))
        stack.enter_context(mock.patch.object(Instance, "stop", end_by(stop, "stopped")))
        stack.enter_context(mock.patch.object(elastic_network_interfaces, "random_public_ip", cloud.new_public_ip))
        for name in ("EC2_ENABLE_INSTANCE_TYPE_VALIDATION", "ENABLE_AMI_VALIDATION"):
            stack.enter_context(mock.patch.object(settings, name, True))
        yield


def _function(method: Any) -> Any:
    return lambda response: method(response)


class _Actions:
    """What stands in the place of methods of moto's EC2Response, which is each one's only argument."""

    def __init__(self, cloud: CloudInABox) -> None:
        self.cloud = cloud
        self._run_instances = EC2Response.run_instances
        self._delete_security_group = EC2Response.delete_security_group
        self._known: dict[tuple[str, str, str], tuple[str, Any]] = {}
        self._lock = threading.Lock()

    def run_instances(self, response: Any) -> ActionResult:
        asked = response.params
        return self._once("RunInstances", response, lambda: self._run(response, self._complete(response, asked)))

    def _once(self, action: str, response: Any, act: Any) -> ActionResult:
        """Idempotency by ClientToken: the same request has the same answer, another one is an error."""
        token = response.params.get("ClientToken")
        if not token or response.params.get("DryRun"):
            return ActionResult(act())
        key, asked = (response.region, action, token), json.dumps(response.params, sort_keys=True, default=str)
        with self._lock:
            before = self._known.get(key)
            if before is None:
                before = self._known[key] = asked, act()
        if before[0] != asked:
            raise EC2ClientError(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
            )
        return ActionResult(before[1])

    def _run(self, response: Any, spec: Mapping[str, Any]) -> Any:
        """moto's reservation of new instances. Raises ServiceException with EC2's code when they can't be had."""
        self._examine(response, spec)
        request = copy.copy(response)
        request.params = dict(spec)
        return self._run_instances(request).result

    def _examine(self, response: Any, spec: Mapping[str, Any]) -> None:
        data = str(spec.get("UserData") or "")
        if len(data) * 3 // 4 > MOST_USER_DATA + 2:
            raise EC2ClientError("InvalidParameterValue", f"User data is limited to {MOST_USER_DATA} bytes")
        if spec.get("DryRun"):
            return
        kind, zone = spec.get("InstanceType", "m1.small"), _zone(response.ec2_backend, spec)
        market = spec.get("InstanceMarketOptions") or {}
        spot = market.get("MarketType") == "spot"
        most = (market.get("SpotOptions") or {}).get("MaxPrice")
        price = self.cloud.figures.spot_price(kind, zone)
        if spot and most is not None and float(most) < price:
            raise EC2ClientError(
                "SpotMaxPriceTooLow",
                f"Your Spot request price of {most} is lower than the minimum required Spot request fulfillment price of {price}.",
            )
        code = quota_code(kind, spot)
        wanted = _vcpus(kind) * int(spec.get("MinCount", 1)) + self._vcpus_in_use(response.ec2_backend, code)
        if wanted > self.cloud.figures.quota(response.region, code):
            error = "MaxSpotInstanceCountExceeded" if spot else "VcpuLimitExceeded"
            raise EC2ClientError(error, MESSAGE[error])

    def _vcpus_in_use(self, backend: Any, code: str) -> int:
        running = [one for one in backend.all_instances() if one.state not in (*_ENDED, "stopped")]
        return sum(
            _vcpus(one.instance_type)
            for one in running
            if quota_code(one.instance_type, one.lifecycle == "spot") == code
        )

    def _complete(self, response: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
        """A request for instances with all that its launch template says, and with a subnet."""
        backend, spec = response.ec2_backend, dict(asked)
        if asked.get("LaunchTemplate"):
            template = backend._get_template_from_args(asked["LaunchTemplate"]).data
            kept = {name: value for name, value in template.items() if value is not None}
            tags = [*kept.get("TagSpecifications", []), *asked.get("TagSpecifications", [])]
            spec = {**kept, **spec, "TagSpecifications": _merged(tags)}
            if isinstance(spec.get("UserData"), Base64EncodedString):
                spec["UserData"] = str(spec["UserData"])
        nics = spec.get("NetworkInterfaces") or []
        if "SubnetId" not in spec and not any("SubnetId" in nic for nic in nics):
            subnets = backend.get_default_subnets()
            zone = (spec.get("Placement") or {}).get("AvailabilityZone") or min(subnets)
            if zone not in subnets:
                raise EC2ClientError("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
            if nics:
                spec["NetworkInterfaces"] = [{**nics[0], "SubnetId": subnets[zone].id}, *nics[1:]]
            else:
                spec["SubnetId"] = subnets[zone].id
        return spec

    # -- fleets -------------------------------------------------------------------------------------------------------

    def create_fleet(self, response: Any) -> ActionResult:
        response.error_on_dryrun()
        if response.params.get("Type") != "instant":
            raise EC2ClientError("InvalidParameterValue", "The cloud for tests has fleets of type instant alone.")
        return self._once("CreateFleet", response, lambda: self._fleet(response))

    def _fleet(self, response: Any) -> dict[str, Any]:
        """Take the choices in the order of the strategy until one gives all that is wanted."""
        target = response.params["TargetCapacitySpecification"]
        spot = target.get("DefaultTargetCapacityType", "on-demand") == "spot"
        count = int(target["TotalTargetCapacity"])
        answer: dict[str, Any] = {"FleetId": random_fleet_id(), "Errors": [], "Instances": []}
        for choice in self._choices(response, spot):
            told = {"LaunchTemplateAndOverrides": choice["told"], "Lifecycle": "spot" if spot else "on-demand"}
            try:
                reservation = self._launch(response, choice["spec"], spot, count)
            except ServiceException as exc:
                if exc.code not in AT_LAUNCH:
                    raise
                answer["Errors"].append({"ErrorCode": exc.code, "ErrorMessage": exc.message, **told})
                continue
            ids = [instance.id for instance in reservation.instances]
            kind, zone = choice["spec"]["InstanceType"], _zone(response.ec2_backend, choice["spec"])
            answer["Instances"] = [{"InstanceIds": ids, "InstanceType": kind, "AvailabilityZone": zone, **told}]
            break
        self.cloud.fleets[answer["FleetId"]] = [one for found in answer["Instances"] for one in found["InstanceIds"]]
        return answer

    def _choices(self, response: Any, spot: bool) -> list[dict[str, Any]]:
        options = response.params.get("SpotOptions" if spot else "OnDemandOptions") or {}
        tags = [tag for tag in response.params.get("TagSpecifications", []) if tag.get("ResourceType") == "instance"]
        found = []
        for config in response.params["LaunchTemplateConfigs"]:
            template = config["LaunchTemplateSpecification"]
            for override in config.get("Overrides") or [{}]:
                asked = {name: override[name] for name in ("InstanceType", "SubnetId", "ImageId") if name in override}
                if "AvailabilityZone" in override:
                    asked["Placement"] = {"AvailabilityZone": override["AvailabilityZone"]}
                asked |= {"LaunchTemplate": template, "TagSpecifications": tags}
                spec = self._complete(response, asked)
                market = {"MaxPrice": override["MaxPrice"]} if "MaxPrice" in override else {}
                spec["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": market} if spot else {}
                told = {"LaunchTemplateSpecification": template, "Overrides": override}
                found.append({"spec": spec, "told": told, "priority": float(override.get("Priority", 0))})
        if "prioritized" in options.get("AllocationStrategy", ""):
            return sorted(found, key=lambda choice: choice["priority"])
        return sorted(found, key=lambda choice: self._price(response, choice["spec"], spot))

    def _price(self, response: Any, spec: Mapping[str, Any], spot: bool) -> float:
        figures, kind = self.cloud.figures, spec["InstanceType"]
        return (
            figures.spot_price(kind, _zone(response.ec2_backend, spec))
            if spot
            else figures.price(kind, response.region)
        )

    def _launch(self, response: Any, spec: dict[str, Any], spot: bool, count: int) -> Any:
        facts = {"InstanceType": spec["InstanceType"], "Region": response.region, "Spot": spot}
        facts["AvailabilityZone"] = _zone(response.ec2_backend, spec)
        fault = self.cloud.faults.take("ec2", "CreateFleet", facts, AT_LAUNCH.__contains__)
        if fault is not None:
            raise EC2ClientError(fault.code, fault.message)
        return self._run(response, {**spec, "MinCount": count, "MaxCount": count})

    def delete_fleets(self, response: Any) -> ActionResult:
        done, unknown = [], []
        for name in response.params.get("FleetIds", []):
            instances = self.cloud.fleets.pop(name, None)
            if instances is None:
                unknown.append({"FleetId": name, "Error": {"Code": "fleetIdDoesNotExist", "Message": "no such fleet"}})
                continue
            if response.params.get("TerminateInstances") and instances:
                response.ec2_backend.terminate_instances(instances)
            done.append({"FleetId": name, "CurrentFleetState": "deleted_terminating", "PreviousFleetState": "active"})
        return ActionResult({"SuccessfulFleetDeletions": done, "UnsuccessfulFleetDeletions": unknown})

    # -- the rest -----------------------------------------------------------------------------------------------------

    def get_console_output(self, response: Any) -> ActionResult:
        """Without Latest=True EC2 tells what it has stored, which for long is nothing while an instance runs."""
        instance = response.ec2_backend.get_instance(response.params.get("InstanceId"))
        shown = response.params.get("Latest") in (True, "true") or instance.state in (*_ENDED, "stopped")
        answer = {"InstanceId": instance.id, "Timestamp": utcnow()}
        text = self.cloud.console(instance.id) if shown else ""
        return ActionResult(answer | ({"Output": Base64EncodedString.from_raw_string(text)} if text else {}))

    def describe_spot_price_history(self, response: Any) -> ActionResult:
        asked, figures = response.params, self.cloud.figures
        filters = response._filters_from_querystring()
        types = set(
            asked.get("InstanceTypes")
            or filters.get("instance-type")
            or [name for name in figures.prices if isinstance(name, str)]
        )
        zones = (
            {asked["AvailabilityZone"]} if asked.get("AvailabilityZone") else set(filters.get("availability-zone", []))
        )
        products = set(asked.get("ProductDescriptions") or filters.get("product-description") or ["Linux/UNIX"])
        history = [
            {
                "InstanceType": offer["InstanceType"],
                "AvailabilityZone": offer["Location"],
                "ProductDescription": product,
                "SpotPrice": f"{figures.spot_price(offer['InstanceType'], offer['Location']):.6f}",
                "Timestamp": utcnow(),
            }
            for offer in INSTANCE_TYPE_OFFERINGS["availability-zone"].get(response.region, [])
            if offer["InstanceType"] in types and (not zones or offer["Location"] in zones)
            for product in sorted(products & {"Linux/UNIX", "Linux/UNIX (Amazon VPC)"})
        ]
        start, most = int(asked.get("NextToken") or 0), int(asked.get("MaxResults") or 1000)
        more = str(start + most) if len(history) > start + most else ""
        return ActionResult({"SpotPriceHistory": history[start : start + most], "NextToken": more})

    def delete_security_group(self, response: Any) -> Any:
        """A group of an instance that has not ended can't be deleted."""
        name = response.params.get("GroupId")
        for instance in response.ec2_backend.all_instances():
            if instance.state != "terminated" and name in {group.id for group in security_groups(instance)}:
                raise EC2ClientError("DependencyViolation", f"resource {name} has a dependent object")
        return self._delete_security_group(response)


def _zone(backend: Any, spec: Mapping[str, Any]) -> str:
    nics = spec.get("NetworkInterfaces") or [{}]
    subnet = spec.get("SubnetId") or nics[0].get("SubnetId")
    return str(backend.get_subnet(subnet).availability_zone)


def _vcpus(instance_type: str) -> int:
    known = INSTANCE_TYPES.get(instance_type, {})
    return int(known.get("VCpuInfo", {}).get("DefaultVCpus", 1))


def _merged(specifications: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One tag specification for each kind of resource; of two tags of the same key, the later one counts."""
    kinds: dict[str, dict[str, str]] = {}
    for one in specifications:
        kinds.setdefault(one["ResourceType"], {}).update({tag["Key"]: tag["Value"] for tag in one.get("Tags", [])})
    return [
        {"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        for kind, tags in kinds.items()
    ]

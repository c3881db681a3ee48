"""Errors that a test orders from the cloud, and what the cloud was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

Facts = Mapping[str, Any]
Match = Callable[[Facts], bool] | Mapping[str, str | Collection[str]] | None

STATUS = {
    "InsufficientInstanceCapacity": 500,
    "InternalError": 500,
    "RequestLimitExceeded": 503,
    "Unavailable": 503,
    "UnauthorizedOperation": 403,
    "AccessDenied": 403,
    "AccessDeniedException": 400,
    "ExpiredToken": 403,
    "AuthFailure": 401,
}
"""The HTTP status that goes with a code, where it is not 400; botocore retries 500 and 503 by itself."""
MESSAGE = {
    "InsufficientInstanceCapacity": "We currently do not have sufficient capacity in the Availability Zone you requested. "
    "Our system will be working on provisioning additional capacity.",
    "RequestLimitExceeded": "Request limit exceeded.",
    "VcpuLimitExceeded": "You have requested more vCPU capacity than your current vCPU limit allows for the instance bucket "
    "that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an "
    "adjustment to this limit.",
    "MaxSpotInstanceCountExceeded": "Max spot instance count exceeded",
    "UnauthorizedOperation": "You are not authorized to perform this operation.",
}
AT_LAUNCH = frozenset(
    {
        "InsufficientInstanceCapacity",
        "UnfulfillableCapacity",
        "InsufficientHostCapacity",
        "Unsupported",
        "VcpuLimitExceeded",
        "MaxSpotInstanceCountExceeded",
        "InstanceLimitExceeded",
        "SpotMaxPriceTooLow",
    }
)
"""What CreateFleet tells of one of its choices, in an answer that is itself no error."""


@dataclass
class Fault:
    """An error that is ordered: what it is, for what requests, and how often yet. ``hits`` counts."""

    service: str
    action: str
    code: str
    status: int
    message: str
    times: int | None
    match: Match
    hits: int = 0

    def applies(self, service: str, action: str, facts: Facts) -> bool:
        if self.service not in ("*", service) or self.action not in ("*", action) or self.times == 0:
            return False
        if callable(self.match):
            return self.match(facts)
        return all(_agrees(facts.get(name), wanted) for name, wanted in (self.match or {}).items())


@dataclass(frozen=True)
class Call:
    """One request, as it came: parameters under their flat names (``TagSpecification.1.Tag.1.Key``)."""

    service: str
    action: str
    region: str
    parameters: Mapping[str, Any]


@dataclass
class Faults:
    """The errors that are ordered, in order."""

    ordered: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self, service: str, action: str, code: str, status: int, message: str, times: int | None, match: Match
    ) -> Fault:
        """See ``CloudInABox.fail``."""
        names = {"AZ": "AvailabilityZone", "Zone": "AvailabilityZone"}
        if isinstance(match, Mapping):
            match = {names.get(name, name): wanted for name, wanted in match.items()}
        status = status or STATUS.get(code, 400)
        fault = Fault(service, action, code, status, message or MESSAGE.get(code, f"{code} (ordered)"), times, match)
        with self._lock:
            self.ordered.append(fault)
        return fault

    def take(self, service: str, action: str, facts: Facts, codes: Callable[[str], bool]) -> Fault | None:
        """The first error that applies to this request and has such a code; it is used up by one."""
        with self._lock:
            for fault in self.ordered:
                if codes(fault.code) and fault.applies(service, action, facts):
                    fault.hits += 1
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None


def _agrees(value: Any, wanted: str | Collection[str]) -> bool:
    return value == wanted if isinstance(wanted, str) else value in wanted

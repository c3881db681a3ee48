"""What AWS and boto3 say when something goes wrong, in the words of this package. The one place where that is mapped.

The codes are those of https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html.
"""

from __future__ import annotations

import re

from cellferry.errors import CellferryError, NoCapacity, NoQuota, NotPermitted, PriceTooHigh, Refused
from cellferry.model import Offer
from cellferry.placement.quotas_aws import quota_of

NO_CAPACITY = frozenset({
    "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity", "InsufficientCapacityOnHost",
    "Unsupported", "UnfulfillableCapacity", "UnavailableHostRequirements", "InvalidFleetConfiguration",
    "InsufficientFreeAddressesInSubnet", "Server.InsufficientInstanceCapacity", "Server.SpotInstanceTermination",
    "Server.SpotInstanceShutdown",
})  # fmt: skip
"""``Unsupported`` and ``InvalidFleetConfiguration``: this zone does not have that kind of machine."""
NO_QUOTA = frozenset({"VcpuLimitExceeded", "MaxSpotInstanceCountExceeded", "InstanceLimitExceeded"})
PRICE = frozenset({"SpotMaxPriceTooLow"})
NOT_PERMITTED = frozenset({
    "UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
    "Client.UnauthorizedOperation",
})  # fmt: skip
THROTTLED = frozenset({"RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled", "TooManyRequestsException"})
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException"})
CREDENTIALS = frozenset({
    "AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "SignatureDoesNotMatch",
    "OptInRequired", "IncompleteSignature",
})  # fmt: skip
CLOCK = frozenset({"RequestExpired", "RequestTimeTooSkewed"})
NOT_YET = frozenset({"InvalidGroup.NotFound", "InvalidLaunchTemplateName.NotFoundException"})
"""Of what was made a moment ago (https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html)."""
GONE = NOT_YET | {"InvalidInstanceID.NotFound", "InvalidLaunchTemplateId.NotFound"}

SPOT_ROLE = "for service in spot ec2fleet; do aws iam create-service-linked-role --aws-service-name $service.amazonaws.com; done"
POLICY = "let whoever runs the account allow it: `cellferry aws-policy` prints all that is needed"

_NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"})
_SIGNED_OUT = frozenset({"TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "SSOError"})
_NO_ANSWER = frozenset({
    "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ProxyConnectionError", "ConnectionClosedError",
    "SSLError",
})  # fmt: skip
_ENCODED = re.compile(r"\s*Encoded authorization failure message:.*", re.DOTALL)
_ACTION = re.compile(r"perform:?\s+([a-z0-9-]+:[A-Za-z]+)")


def code_of(error: BaseException) -> str:
    """AWS's own word for an error that it answered with; "" for any other."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def explained(error: BaseException, *, region: str, offer: Offer | None = None, spot: bool = False) -> CellferryError:
    """What ``error`` of boto3 means. Errors of this package, and what cannot happen, are given back as they are.

    With ``offer``, it was a start that failed: then the result is a ``Refused``, unless no other offer can go better.
    """
    if isinstance(error, CellferryError):
        return error
    code = code_of(error)
    if code:
        response = error.response  # type: ignore[attr-defined]
        action = f"{_service(error)}:{getattr(error, 'operation_name', '')}"
        return refused(code, response["Error"].get("Message", ""), region=region, offer=offer, spot=spot, action=action)
    return _of_boto(error, region)


def refused(
    code: str, message: str, *, region: str, offer: Offer | None = None, spot: bool = False, action: str = ""
) -> CellferryError:
    """The error for a code and a message of AWS: of a response, of an entry in CreateFleet's ``Errors``, or of the
    reason for which a machine ended. ``action``: what was asked for, where the message does not name it."""
    message = _ENCODED.sub("", message).strip()
    place = f"{offer.instance} in {offer.zone or region}" if offer else region
    said = f"AWS says {code}: {message}"
    if code in NO_CAPACITY:
        return NoCapacity(f"there is no {'spot ' if spot else ''}capacity for {place} at the moment ({said})")
    if code in NO_QUOTA:
        return _no_quota(said, region, offer, spot)
    if code in PRICE:
        return PriceTooHigh(f"spot machines {place} cost more at the moment than their last known price ({said})",
                            "ask for today's prices: cellferry offers --refresh")  # fmt: skip
    if code in NOT_PERMITTED:
        return _not_permitted(code, message, action, region)
    if code in EXPIRED:
        return CellferryError(f"the credentials for AWS have expired ({code})", "log in again, for example: aws sso login")
    if code in CLOCK:
        return CellferryError(f"AWS does not accept the clock of this machine ({said})", "set it right: timedatectl set-ntp true")
    if code in CREDENTIALS:
        return CellferryError(f"AWS does not accept the credentials ({said})", "see whose they are: aws sts get-caller-identity")
    if offer is None:
        return CellferryError(f"AWS refused {action or 'a request'} in {region}: {said}", "type: cellferry doctor")
    return Refused(f"{place} was not to be had ({said})", "type: cellferry doctor")


def _no_quota(said: str, region: str, offer: Offer | None, spot: bool) -> NoQuota:
    quota = quota_of(offer.instance, spot=spot) if offer else None
    if offer is None or quota is None:
        return NoQuota(f"the account's quota in {region} is used up ({said})", "see it: cellferry offers")
    return NoQuota(
        f"the quota {quota.name!r} ({quota.code}) in {region} leaves less than the {offer.quota_units or offer.cpus} vCPUs "
        f"of one {offer.instance} ({said})",
        f"ask for more: cellferry quota request {quota.code} --region {region}",
    )


def _not_permitted(code: str, message: str, action: str, region: str) -> NotPermitted:
    if "ServiceLinkedRole" in code:
        return NotPermitted(
            f"AWS needs a role for spot machines, and these credentials may not make it (iam:CreateServiceLinkedRole; "
            f"{code}: {message})",
            f"once for each account: {SPOT_ROLE}",
        )
    found = _ACTION.search(message)
    return NotPermitted(f"the credentials do not allow {found[1] if found else action} in {region} ({code}: {message})", POLICY)


def _of_boto(error: BaseException, region: str) -> CellferryError:
    kind = type(error).__name__
    if kind in _NO_CREDENTIALS:
        return CellferryError(
            "there are no credentials for AWS", "log in (`aws configure` or `aws sso login`), or set c.Cellferry.aws_profile"
        )
    if kind in _SIGNED_OUT:
        return CellferryError(f"the login to AWS has ended: {error}", "log in again: aws sso login")
    if kind == "ProfileNotFound":
        return CellferryError(f"{error}", "see which there are: aws configure list-profiles; set c.Cellferry.aws_profile")
    if kind in ("NoRegionError", "InvalidRegionError"):
        return CellferryError(f"there is no region {region!r}", 'for example: c.Cellferry.aws_regions = ["us-east-1"]')
    if kind in _NO_ANSWER:
        return CellferryError(
            f"AWS does not answer in {region}: {error}", "is this machine on the network, and is that a region's name?"
        )
    return CellferryError(f"asking AWS failed: {kind}: {error}", "type: cellferry doctor")


def _service(error: BaseException) -> str:
    """The prefix of IAM's actions; botocore's errors do not name the service, their operations are all but unique."""
    operation = str(getattr(error, "operation_name", ""))
    others = {
        "GetParameter": "ssm", "GetServiceQuota": "servicequotas", "RequestServiceQuotaIncrease": "servicequotas",
        "GetProducts": "pricing", "GetCallerIdentity": "sts",
    }  # fmt: skip
    return others.get(operation, "ec2")

"""The lines of ``cellferry doctor`` for provider aws: software, credentials, clock, network, permissions, quotas."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from cellferry.config import Cellferry, person_of
from cellferry.errors import CellferryError
from cellferry.model import CellRequest, Check, Lease, Offer, Order
from cellferry.placement.quotas_aws import NAMES, ON_DEMAND, SPOT
from cellferry.providers.aws_errors import code_of, explained
from cellferry.providers.aws_launch import Launch, run_request
from cellferry.providers.aws_place import Places
from cellferry.providers.aws_quotas import Quotas
from cellferry.providers.aws_session import Sessions

MOST_SKEW_S = 60.0
"""AWS takes five minutes; a clock that is a minute wrong will soon be that."""
TRIAL = Offer("aws", "", "t3.small", cpus=2)
"""What a machine's permission is asked with; nothing is started (EC2's dry run)."""
GPU_CODES = tuple(quota.code for table in (ON_DEMAND, SPOT) for family, quota in table.items() if family != "standard")


def checks(config: Cellferry, sessions: Sessions, places: Places, quotas: Quotas) -> Iterator[Check]:
    """One finding after the other; what builds on a failed one is left out."""
    try:
        import boto3
    except ImportError:
        yield Check("aws: boto3", False, "not installed", "pip install 'cellferry[aws]'")
        return
    yield Check("aws: boto3", True, boto3.__version__)
    try:
        regions = sessions.regions
        who = sessions.call("sts", regions[0], "get_caller_identity")
    except CellferryError as error:
        yield Check("aws: credentials", False, error.what, error.advice)
        return
    yield Check("aws: credentials", True, str(who["Arn"]))
    yield _clock(who)
    yield _network(places)
    for region in regions:
        yield from _region(sessions, places, quotas, region, person_of(config))


def _clock(answer: dict[str, Any]) -> Check:
    said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        skew = time.time() - parsedate_to_datetime(said).timestamp()
    except (TypeError, ValueError):
        return Check("aws: clock", True, "AWS did not say what time it is")
    found = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} AWS"
    return Check("aws: clock", abs(skew) < MOST_SKEW_S, found, "set it right: timedatectl set-ntp true")


def _network(places: Places) -> Check:
    try:
        return Check("aws: network", True, f"this machine comes from {places.client_network()}")
    except CellferryError as error:
        return Check("aws: network", False, error.what, error.advice)


def _region(sessions: Sessions, places: Places, quotas: Quotas, region: str, owner: str) -> Iterator[Check]:
    try:
        subnets = places.subnets(region, TRIAL)
        yield Check(f"aws: {region}, network", True, f"{len(subnets)} zones with a default subnet")
        image = places.image(region, TRIAL)
        yield Check(f"aws: {region}, image", True, image.id)
        order = Order(CellRequest(), "doctor", Lease(), TRIAL, token="doctor", owner=owner)
        launch = Launch(order, TRIAL.instance, image, "", b"", 0.0, 0.0)
        request = run_request(launch, subnets[0])
        del request["NetworkInterfaces"][0]["Groups"]  # there is none yet: the network's own
        yield _may_start(sessions, region, request)
    except CellferryError as error:
        yield Check(f"aws: {region}", False, error.what, error.advice)
        return
    yield from _quotas(quotas, region)


def _may_start(sessions: Sessions, region: str, request: dict[str, Any]) -> Check:
    name = f"aws: {region}, permission"
    try:
        sessions.once(region, "run_instances", DryRun=True, **request)
    except Exception as exc:
        if code_of(exc) != "DryRunOperation":
            error = explained(exc, region=region)
            return Check(name, False, error.what, error.advice)
    return Check(name, True, "machines may be started (dry run)")


def _quotas(quotas: Quotas, region: str) -> Iterator[Check]:
    asked = [Offer("aws", region, "", quota=code) for code in GPU_CODES]
    found = quotas.of(asked)
    if not found:
        yield Check(f"aws: {region}, quotas", False, "cannot be asked for",
                    "allow servicequotas:GetServiceQuota: `cellferry aws-policy`")  # fmt: skip
    some = any(quota.limit > 0 for quota in found)  # nobody needs all of them
    for quota in found:
        yield Check(
            f"aws: {region}, {quota.code}", some, f"{NAMES[quota.code]}: {quota.used} of {quota.limit} vCPUs in use",
            f"ask for more: cellferry quota request {quota.code} --region {region}",
        )  # fmt: skip

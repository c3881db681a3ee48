"""What the account may have in each region, and what of that is in use; in vCPUs, as EC2 counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any

from cellferry.errors import CellferryError
from cellferry.model import Offer, Quota
from cellferry.placement.quotas_aws import NAMES, quota_of
from cellferry.placement.snapshot import snapshot_offers
from cellferry.providers.aws_errors import code_of, explained
from cellferry.providers.aws_finding import described
from cellferry.providers.aws_session import Sessions

REMEMBER_S = 300.0
"""A limit changes when AWS grants more; what is in use is asked each time that limits are."""
PATIENCE_S = 8.0


class Quotas:
    """Asks and remembers. Safe to use from every thread."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[float, int]] = {}

    def of(self, offers: Iterable[Offer]) -> list[Quota]:
        """The quotas that count for these offers; those that cannot be told within a few seconds are left out."""
        wanted = {(offer.region, code) for offer in offers for code in (offer.quota, offer.spot_quota) if code}
        regions = sorted({region for region, _ in wanted})
        pool = ThreadPoolExecutor(16, thread_name_prefix="cellferry-aws-quota")
        try:
            usage = {region: pool.submit(self._used, region) for region in regions}
            limits = {key: pool.submit(self._limit, *key) for key in sorted(wanted)}
            every: list[Future[Any]] = [*usage.values(), *limits.values()]
            done, _late = wait(every, PATIENCE_S)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        found = []
        for (region, code), future in limits.items():
            limit = future.result() if future in done else None
            used = usage[region].result() if usage[region] in done else None
            if limit is not None and used is not None:
                found.append(Quota("aws", region, code, NAMES.get(code, code), limit, used.get(code, 0)))
        return found

    def _limit(self, region: str, code: str) -> int | None:
        with self._lock:
            at, limit = self._known.get((region, code), (0.0, 0))
        if time.monotonic() - at < REMEMBER_S and at:
            return limit
        try:
            answer = self._sessions.call("service-quotas", region, "get_service_quota", ServiceCode="ec2", QuotaCode=code)
        except CellferryError:
            return None
        limit = int(answer["Quota"]["Value"])
        with self._lock:
            self._known[(region, code)] = (time.monotonic(), limit)
        return limit

    def _used(self, region: str) -> dict[str, int] | None:
        filters = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        try:
            return used_vcpus(described(self._sessions, region, filters))
        except CellferryError:
            return None

    def request(self, code: str, region: str, value: int) -> str:
        """Ask AWS for a higher limit; returns what it answered, in a sentence. Raises CellferryError."""
        name = NAMES.get(code, code)
        client = self._sessions.client("service-quotas", region)
        try:
            answer = client.request_service_quota_increase(ServiceCode="ec2", QuotaCode=code, DesiredValue=float(value))
        except Exception as exc:
            if code_of(exc) == "ResourceAlreadyExistsException":
                return f"{name} ({code}) in {region}: a request is open already; AWS answers it by mail"
            if code_of(exc) == "IllegalArgumentException":
                said = exc.response["Error"].get("Message", "")  # type: ignore[attr-defined]
                raise CellferryError(f"{name} ({code}) in {region}: {said}", "see what there is: cellferry offers") from exc
            raise explained(exc, region=region) from exc
        told = answer["RequestedQuota"]
        with self._lock:
            self._known.pop((region, code), None)
        return f"{name} ({code}) in {region}: {value} asked for, {str(told.get('Status', 'PENDING')).lower()} ({told.get('Id', '')})"


def used_vcpus(instances: Iterable[dict[str, Any]]) -> dict[str, int]:
    """vCPUs in use by quota code, of instances as EC2 describes them."""
    found: dict[str, int] = {}
    for each in instances:
        quota = quota_of(each["InstanceType"], spot=each.get("InstanceLifecycle") == "spot")
        if quota is not None:
            found[quota.code] = found.get(quota.code, 0) + _vcpus(each)
    return found


def _vcpus(instance: dict[str, Any]) -> int:
    cpu = instance.get("CpuOptions", {})
    counted = int(cpu.get("CoreCount", 0)) * int(cpu.get("ThreadsPerCore", 1))
    return counted or _known_vcpus().get(instance["InstanceType"], 0)


@cache
def _known_vcpus() -> dict[str, int]:
    return {offer.instance: offer.cpus for offer in snapshot_offers("aws")}

"""Which of EC2's quotas counts for an instance type, on demand and spot. Its unit is the vCPU, in each region.

Codes and names as AWS Service Quotas has them for service ``ec2``; the same in every account and region
(https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html).
"""

from __future__ import annotations

import re
from typing import NamedTuple


class QuotaName(NamedTuple):
    """``code`` for the interface, ``name`` as the console shows it."""

    code: str
    name: str


ON_DEMAND = {
    "standard": QuotaName("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
    "g": QuotaName("L-DB2E81BA", "Running On-Demand G and VT instances"),
    "p": QuotaName("L-417A185B", "Running On-Demand P instances"),
}
SPOT = {
    "standard": QuotaName("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests"),
    "g": QuotaName("L-3819A6DF", "All G and VT Spot Instance Requests"),
    "p4": QuotaName("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests"),
    "p5": QuotaName("L-C4BD4855", "All P5 Spot Instance Requests"),
}
NAMES = {quota.code: quota.name for quota in (*ON_DEMAND.values(), *SPOT.values())}
"""The name for a code."""

_STANDARD = frozenset({"a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"})
_G = frozenset({"g", "gr", "vt"})
_P_GENERATIONS = {"2": "p4", "3": "p4", "4": "p4", "5": "p5"}
_FAMILY = re.compile(r"([a-z]+)(\d?)")


def quota_of(instance: str, *, spot: bool) -> QuotaName | None:
    """The quota that counts for ``instance`` ("p4d.24xlarge"); None where it is not known, which a start will tell.

    P6 has no spot quota here: no document names the one that counts for it.
    """
    found = _FAMILY.match(instance)
    if found is None:
        return None
    letters, generation = found.groups()
    table = SPOT if spot else ON_DEMAND
    if letters in _STANDARD:
        return table["standard"]
    if letters in _G:
        return table["g"]
    if letters == "p":
        return SPOT.get(_P_GENERATIONS.get(generation, "")) if spot else ON_DEMAND["p"]
    return None

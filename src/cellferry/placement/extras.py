"""What a machine costs beside its time: disk and traffic. Estimates, labelled so wherever they are shown.

AWS publishes $0.08 per GB and month for gp3 volumes (page "Amazon EBS pricing", us-east-1) and $0.09 per GB for traffic out
to the internet, the first 10 TB of a month (page "EC2 On-Demand Pricing", data transfer); other regions cost up to twice
that, and the first 100 GB of a month nothing. Traffic in is free.
"""

from __future__ import annotations

from math import ceil

from cellferry.model import Offer

GB = 10**9
MONTH_S = 730 * 3600
STORAGE_MICROUSD_PER_GB_MONTH = 80_000
EGRESS_MICROUSD_PER_GB = 90_000
PRICED_LIKE_AWS = ("aws", "demo")
DISK_GB = 100
"""What a machine gets when the request does not say."""


def storage_microusd(offer: Offer, disk_bytes: int | None, seconds: float) -> int:
    """What the disk of one machine costs for so long; 0 where nothing is known to be charged."""
    if offer.provider not in PRICED_LIKE_AWS:
        return 0
    gigabytes = DISK_GB if disk_bytes is None else disk_bytes / GB
    return ceil(STORAGE_MICROUSD_PER_GB_MONTH * gigabytes * max(0.0, seconds) / MONTH_S)


def egress_microusd(offer: Offer, size_bytes: int) -> int:
    """What bringing so much home costs; 0 where nothing is known to be charged."""
    return ceil(EGRESS_MICROUSD_PER_GB * size_bytes / GB) if offer.provider in PRICED_LIKE_AWS else 0

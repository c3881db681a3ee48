"""Prices of clouds that cellferry has no provider for, to compare with: from the catalogues that ``gpuhunt`` publishes.

An optional extra. ``cellferry offers --refresh`` asks; what came is kept beside the other prices. None of these offers is
ever tried for a cell.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cellferry.config import Cellferry, state_folder
from cellferry.errors import CellferryError
from cellferry.model import Offer
from cellferry.placement.fit import gpu_named
from cellferry.placement.snapshot import read_prices, write_prices
from cellferry.providers.base import Progress

INSTALL = "pip install 'cellferry[gpuhunt]'"
SOURCE = "gpuhunt"
_OURS = "aws"
"""Which AWS asks itself, per zone."""
_GIB = 1 << 30
_ARCH = {"x86": "x86_64", "arm": "arm64"}


def kept(config: Cellferry) -> Sequence[Offer]:
    """The prices that ``refresh`` brought last; () if it never did."""
    return read_prices(_file(config))


def refresh(config: Cellferry, progress: Progress) -> int:
    """Bring today's prices; how many came. 0, with a word on how to have them, where gpuhunt is not installed.

    Raises CellferryError when the catalogues cannot be had or kept; the prices of before stay.
    """
    if find_spec("gpuhunt") is None:
        progress(f"other clouds: not compared with; for their prices: {INSTALL}")
        return 0
    import gpuhunt

    logging.getLogger("gpuhunt").addHandler(logging.NullHandler())  # it logs tracebacks; the error below says enough
    progress("other clouds: asking gpuhunt for its catalogues")
    try:
        catalog = gpuhunt.Catalog(balance_resources=False, auto_reload=False)
        catalog.load()
        found = offers_of((item for item in catalog.query() if item.provider != _OURS), time.time())
    except (gpuhunt.GPUHuntError, OSError, ValueError) as exc:
        raise CellferryError(
            f"the prices of other clouds cannot be had: {exc}", "is the network there? cellferry offers shows all others"
        ) from exc
    write_prices(_file(config), found)
    return len(found)


def offers_of(items: Iterable[Any], now_unix_s: float) -> list[Offer]:
    """``gpuhunt.CatalogItem`` as offers, on-demand and spot prices of one machine together. Prices are dollars per hour
    there, memory is in GB (of 2**30 bytes, as the vendors' pages have it)."""
    prices: dict[tuple[str, str, str], dict[bool, int]] = {}
    machines: dict[tuple[str, str, str], Any] = {}
    for item in items:
        key = (str(item.provider), str(item.location), str(item.instance_name))
        machines.setdefault(key, item)
        ways = prices.setdefault(key, {})
        cost = round(item.price * 1_000_000)
        ways[item.spot] = min(cost, ways.get(item.spot, cost))
    return [_offer(item, prices[key], now_unix_s) for key, item in machines.items()]


def _offer(item: Any, prices: dict[bool, int], now_unix_s: float) -> Offer:
    return Offer(
        str(item.provider), str(item.location), str(item.instance_name), gpu=gpu_named(item.gpu_name).name if item.gpu_name else "",
        gpu_count=item.gpu_count, gpu_memory_bytes=int((item.gpu_memory or 0) * _GIB), cpus=item.cpu,
        memory_bytes=int(item.memory * _GIB), arch=_ARCH.get(item.cpu_arch.value, item.cpu_arch.value),
        microusd_per_hour=prices.get(False), spot_microusd_per_hour=prices.get(True), priced_unix_s=now_unix_s, price_source=SOURCE,
    )  # fmt: skip


def _file(config: Cellferry) -> Path:
    return state_folder(config) / "prices" / "other-clouds.csv"

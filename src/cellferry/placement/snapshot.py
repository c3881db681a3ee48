"""Prices that ship with the package, and prices that were asked for since then: one CSV for both.

Lines that start with ``#`` say where the figures are from: ``# source:`` and ``# date:`` (UTC, of the prices). The columns
after ``spot_microusd_per_hour`` are only in refreshed files, in which each row has its own time and source.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from io import StringIO
from pathlib import Path

from cellferry.errors import CellferryError
from cellferry.model import Offer
from cellferry.placement.drivers_aws import driver_of
from cellferry.placement.quotas_aws import quota_of

COLUMNS = (
    "instance", "gpu", "gpu_count", "gpu_memory_gib", "cpus", "memory_gib", "arch", "region", "zone",
    "microusd_per_hour", "spot_microusd_per_hour",
)  # fmt: skip
MORE = ("provider", "priced_unix_s", "price_source", "quota", "spot_quota", "quota_units", "simulated")
_GIB = 1 << 30


@lru_cache(maxsize=8)
def snapshot_offers(provider: str = "aws") -> tuple[Offer, ...]:
    """What the package knows of the prices of ``provider``; () for one that it knows nothing of. Read once, quick."""
    path = files("cellferry.placement") / "prices" / f"{provider}.csv"
    if not path.is_file():
        return ()
    return tuple(_offers(path.read_text("utf-8"), provider, "snapshot"))


def snapshot_age(now_unix_s: float, provider: str = "aws") -> float:
    """Seconds since the prices in the package were right, at most; 0 for a provider without any."""
    offers = snapshot_offers(provider)
    return max(0.0, now_unix_s - offers[0].priced_unix_s) if offers else 0.0


def read_prices(path: Path) -> tuple[Offer, ...]:
    """The prices that ``write_prices`` kept; () if there is no such file or it cannot be understood.

    What cannot be read is as good as never asked for: the snapshot stands in, and ``offers --refresh`` writes it anew.
    """
    try:
        return tuple(_offers(path.read_text("utf-8"), "aws", "live"))
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return ()


def write_prices(path: Path, offers: Iterable[Offer]) -> None:
    """Keep ``offers`` in ``path``, whole or not at all: another process may read or write it. Raises CellferryError."""
    try:
        _write(path, offers)
    except OSError as exc:
        raise CellferryError(f"the new prices cannot be kept: {exc}", "is there space? see c.Cellferry.state_dir") from exc


def _write(path: Path, offers: Iterable[Offer]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow((*COLUMNS, *MORE))
            table.writerows(_row(offer) for offer in offers)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def merge_live(offers: Sequence[Offer], live: Sequence[Offer]) -> tuple[Offer, ...]:
    """``offers`` with the newest price of each machine in each place; of two from one moment, the live one.

    Prices of single zones replace an older one that stood for the whole region, each way of buying by itself.
    """
    newest: dict[tuple[str, str, str, str], Offer] = {}
    for offer in (*offers, *live):
        key = (offer.provider, offer.region, offer.zone, offer.instance)
        there = newest.get(key)
        if there is None or offer.priced_unix_s >= there.priced_unix_s:
            newest[key] = offer
    zoned: dict[tuple[str, str, str], list[Offer]] = {}
    for offer in newest.values():
        if offer.zone:
            zoned.setdefault((offer.provider, offer.region, offer.instance), []).append(offer)
    merged = (
        _without(offer, zoned.get((offer.provider, offer.region, offer.instance), ())) for offer in newest.values()
    )
    return tuple(offer for offer in merged if offer is not None)


def _without(offer: Offer, zones: Sequence[Offer]) -> Offer | None:
    """A region's own offer without the ways of buying for which ``zones`` have newer prices; None if none is left."""
    newer = [zone for zone in zones if zone.priced_unix_s > offer.priced_unix_s]
    if offer.zone or not newer:
        return offer
    on_demand = None if any(zone.microusd_per_hour is not None for zone in newer) else offer.microusd_per_hour
    spot = None if any(zone.spot_microusd_per_hour is not None for zone in newer) else offer.spot_microusd_per_hour
    if on_demand is None and spot is None:
        return None
    return replace(offer, microusd_per_hour=on_demand, spot_microusd_per_hour=spot)


def _offers(text: str, provider: str, source: str) -> Iterator[Offer]:
    date = ""
    while text.startswith("#"):
        said, _, text = text.partition("\n")
        date = said.removeprefix("# date: ") if said.startswith("# date: ") else date
    priced = datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp() if date else 0.0
    for row in csv.DictReader(StringIO(text, newline="")):
        yield _offer(row, provider, priced, source)


def _offer(row: Mapping[str, str], provider: str, priced_unix_s: float, source: str) -> Offer:
    instance, cpus = row["instance"], int(row["cpus"])
    provider = row.get("provider") or provider
    on_demand = quota_of(instance, spot=False) if provider == "aws" else None
    spot = quota_of(instance, spot=True) if provider == "aws" else None
    return Offer(
        provider=provider,
        region=row["region"],
        instance=instance,
        zone=row["zone"],
        gpu=row["gpu"],
        gpu_count=int(row["gpu_count"]),
        gpu_memory_bytes=_bytes(row["gpu_memory_gib"]),
        cpus=cpus,
        memory_bytes=_bytes(row["memory_gib"]),
        arch=row["arch"],
        microusd_per_hour=_price(row["microusd_per_hour"]),
        spot_microusd_per_hour=_price(row["spot_microusd_per_hour"]),
        priced_unix_s=float(row.get("priced_unix_s") or priced_unix_s),
        price_source=row.get("price_source") or source,
        quota=row.get("quota", on_demand.code if on_demand else ""),
        spot_quota=row.get("spot_quota", spot.code if spot else ""),
        quota_units=int(row.get("quota_units", cpus if on_demand or spot else 0)),
        simulated=row.get("simulated") == "yes",
        driver=driver_of(row["gpu"]) if provider == "aws" else "",
    )


def _row(offer: Offer) -> tuple[object, ...]:
    return (
        offer.instance, offer.gpu, offer.gpu_count, _gib(offer.gpu_memory_bytes), offer.cpus, _gib(offer.memory_bytes),
        offer.arch, offer.region, offer.zone, offer.microusd_per_hour, offer.spot_microusd_per_hour, offer.provider,
        offer.priced_unix_s, offer.price_source, offer.quota, offer.spot_quota, offer.quota_units,
        "yes" if offer.simulated else "",
    )  # fmt: skip


def _price(text: str) -> int | None:
    return int(text) if text else None


def _bytes(gib: str) -> int:
    return int(float(gib) * _GIB) if gib else 0


def _gib(size_bytes: int) -> str:
    # A float holds every size below 8 PiB exactly, and its text reads back as the same float.
    return f"{size_bytes / _GIB!r}".removesuffix(".0") if size_bytes else ""

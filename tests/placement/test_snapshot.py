"""The prices in the package are whole, agree with what EC2 says of its machines, and newer ones take their place."""

from __future__ import annotations

import gzip
import json
import time
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import moto
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellferry.model import Offer
from cellferry.placement.quotas_aws import NAMES, quota_of
from cellferry.placement.snapshot import merge_live, read_prices, snapshot_age, snapshot_offers, write_prices

SNAPSHOT = snapshot_offers()
SNAPSHOT_UNIX_S = datetime(2026, 1, 22, tzinfo=UTC).timestamp()
REGIONS = {
    "us-east-1", "us-east-2", "us-west-2", "eu-west-1", "eu-central-1", "eu-north-1", "ap-northeast-1",
    "ap-southeast-1", "ap-southeast-2", "ca-central-1",
}  # fmt: skip
FAMILIES = {
    "p3", "p3dn", "p4d", "p4de", "p5", "p5e", "p5en", "p6-b200", "p6-b300", "g4dn", "g5", "g6", "g6e", "m7i", "c7i", "r7i",
    "t3",
}  # fmt: skip


def family(offer: Offer) -> str:
    return offer.instance.partition(".")[0]


def test_it_is_wide() -> None:
    assert {offer.region for offer in SNAPSHOT} >= REGIONS
    assert {family(offer) for offer in SNAPSHOT} == FAMILIES
    assert len(SNAPSHOT) > 500
    assert len({(offer.instance, offer.region, offer.zone) for offer in SNAPSHOT}) == len(SNAPSHOT)
    for region in ("us-east-1", "us-west-2", "eu-central-1"):
        here = {offer.gpu for offer in SNAPSHOT if offer.region == region}
        assert here >= {"", "t4", "a10g", "l4", "l40s", "v100", "a100"}


def test_every_row_can_be_bought_and_knows_its_quota() -> None:
    for offer in SNAPSHOT:
        prices = [price for price in (offer.microusd_per_hour, offer.spot_microusd_per_hour) if price is not None]
        assert prices and all(10_000 < price < 200_000_000 for price in prices), offer
        assert offer.quota in NAMES and offer.quota_units == offer.cpus
        assert offer.spot_quota in NAMES or family(offer).startswith("p6")
        assert (offer.price_source, offer.priced_unix_s) == ("snapshot", SNAPSHOT_UNIX_S)


def test_spot_costs_at_most_what_on_demand_does() -> None:
    # One tenth is the least that EC2 asks; the source rounds spot prices to four decimals.
    for offer in SNAPSHOT:
        if offer.microusd_per_hour is not None and offer.spot_microusd_per_hour is not None:
            assert 0.099 < offer.spot_microusd_per_hour / offer.microusd_per_hour < 1.0001, offer


def test_a_region_is_dearer_by_the_same_part_for_every_size() -> None:
    """EC2 has one factor for each family and region: a figure that was copied wrong stands out."""
    base = {offer.instance: offer.microusd_per_hour for offer in SNAPSHOT if offer.region == "us-east-1"}
    factors = defaultdict(list)
    for offer in SNAPSHOT:
        there = base.get(offer.instance)
        if there and offer.microusd_per_hour:
            factors[family(offer), offer.region].append(offer.microusd_per_hour / there)
    assert len(factors) > 100
    assert {key: values for key, values in factors.items() if max(values) / min(values) > 1.004} == {}


def test_the_sizes_of_a_family_without_gpus_cost_by_the_processor() -> None:
    per_cpu = defaultdict(list)
    for offer in SNAPSHOT:
        if not offer.gpu_count and offer.microusd_per_hour and family(offer) != "t3":
            per_cpu[family(offer), offer.region].append(offer.microusd_per_hour / offer.cpus)
    assert all(max(values) / min(values) < 1.001 for values in per_cpu.values())


def test_it_agrees_with_ec2_about_the_machines() -> None:
    """Against the list of instance types that moto took from EC2."""
    source = Path(moto.__file__).parent / "ec2" / "resources" / "instance_types.json.gz"
    types: dict[str, Any] = json.loads(gzip.decompress(source.read_bytes()))
    wrong = []
    for offer in {offer.instance: offer for offer in SNAPSHOT}.values():
        known = types.get(offer.instance)
        if known is None:
            assert family(offer) == "p3", f"{offer.instance}: only the first P3 are gone from the list"
            continue
        gpus = known.get("GpuInfo", {}).get("Gpus", [])
        gpu = (gpus[0]["Name"].lower(), gpus[0]["Count"], gpus[0]["MemoryInfo"]["SizeInMiB"]) if gpus else ("", 0, 0)
        ours = (offer.gpu, offer.gpu_count, offer.gpu_memory_bytes >> 20, offer.cpus, offer.memory_bytes >> 20)
        if ours != (*gpu, known["VCpuInfo"]["DefaultVCpus"], known["MemoryInfo"]["SizeInMiB"]):
            wrong.append((offer.instance, ours))
        assert offer.arch in known["ProcessorInfo"]["SupportedArchitectures"]
    assert not wrong


def test_reading_it_is_quick_and_happens_once() -> None:
    snapshot_offers.cache_clear()
    start = time.process_time()
    first = snapshot_offers("aws")
    assert time.process_time() - start < 1.0, "about 15 ms; the limit leaves room for a busy machine"
    assert snapshot_offers("aws") is first
    assert snapshot_offers("nobody") == () and snapshot_age(0.0, "nobody") == 0.0


def test_its_age() -> None:
    assert snapshot_age(SNAPSHOT_UNIX_S + 86400.0) == 86400.0
    assert snapshot_age(0.0) == 0.0, "never negative, whatever the clock says"


@pytest.mark.parametrize(
    ("instance", "on_demand", "spot"),
    [
        ("m7i.large", "L-1216C47A", "L-34B43A08"),
        ("im4gn.large", "L-1216C47A", "L-34B43A08"),
        ("g6e.xlarge", "L-DB2E81BA", "L-3819A6DF"),
        ("gr6.4xlarge", "L-DB2E81BA", "L-3819A6DF"),
        ("p3.2xlarge", "L-417A185B", "L-7212CCBC"),
        ("p4de.24xlarge", "L-417A185B", "L-7212CCBC"),
        ("p5en.48xlarge", "L-417A185B", "L-C4BD4855"),
        ("p6-b200.48xlarge", "L-417A185B", ""),
        ("inf2.xlarge", "", ""),
        ("dl1.24xlarge", "", ""),
        ("hpc7a.96xlarge", "", ""),
        ("", "", ""),
    ],
)
def test_quotas(instance: str, on_demand: str, spot: str) -> None:
    found = [quota_of(instance, spot=False), quota_of(instance, spot=True)]
    assert [quota.code if quota else "" for quota in found] == [on_demand, spot]
    assert all(NAMES[quota.code] == quota.name for quota in found if quota)


# ---- refreshed prices -----------------------------------------------------------------------------------------------

names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
price = st.none() | st.integers(0, 10**12)
offers = st.builds(
    Offer, provider=names.filter(bool), region=names, instance=names, zone=names, gpu=names, gpu_count=st.integers(0, 16),
    gpu_memory_bytes=st.integers(0, 1 << 45), cpus=st.integers(0, 1000), memory_bytes=st.integers(0, 1 << 50),
    arch=st.sampled_from(["x86_64", "arm64"]), microusd_per_hour=price, spot_microusd_per_hour=price,
    priced_unix_s=st.floats(1.0, 4e9), price_source=names.filter(bool), quota=names, spot_quota=names,
    quota_units=st.integers(0, 1000), simulated=st.booleans(),
)  # fmt: skip


@given(st.lists(offers, max_size=5))
def test_what_is_kept_reads_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, some: list[Offer]) -> None:
    path = tmp_path_factory.mktemp("prices") / "live.csv"
    write_prices(path, some)
    assert read_prices(path) == tuple(some)


def test_the_snapshot_itself_can_be_kept(tmp_path: Path) -> None:
    write_prices(tmp_path / "new" / "folder" / "aws.csv", SNAPSHOT)
    assert read_prices(tmp_path / "new" / "folder" / "aws.csv") == SNAPSHOT
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["aws.csv"], "nothing half written stays"


@pytest.mark.parametrize("text", ["", "nonsense", "instance,cpus\nx,y\n", "\x00", "# date: never\ninstance\nx\n"])
def test_prices_that_cannot_be_read_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.csv"
    assert read_prices(path) == ()
    path.write_text(text)
    assert read_prices(path) == ()


def offer(zone: str = "", on_demand: int | None = 5, spot: int | None = 2, at: float = 1.0) -> Offer:
    return Offer("aws", "r", "m", zone, microusd_per_hour=on_demand, spot_microusd_per_hour=spot, priced_unix_s=at)


def test_the_newest_price_wins() -> None:
    old, new = offer(), offer(on_demand=6, at=2.0)
    assert merge_live([old], [new]) == (new,)
    assert merge_live([new], [old]) == (new,), "also when the older one comes as live"
    assert merge_live([old], [offer(on_demand=7)]) == (offer(on_demand=7),), "of one moment: the live one"
    assert merge_live([old], [replace(old, region="s")]) == (old, replace(old, region="s"))


def test_prices_of_zones_take_the_place_of_the_regions_own() -> None:
    zones = [offer("a", None, 3, 2.0), offer("b", None, 4, 2.0)]
    assert merge_live([offer()], zones) == (offer(spot=None), *zones), "on demand is still the region's"
    both = [offer("a", 6, 3, 2.0)]
    assert merge_live([offer()], both) == tuple(both)
    older = [offer("a", 6, 3, 0.5)]
    assert merge_live([offer()], older) == (offer(), *older)


@given(st.lists(offers, max_size=6), st.lists(offers, max_size=6))
def test_merging_keeps_one_price_for_each_place(some: list[Offer], live: list[Offer]) -> None:
    merged = merge_live(some, live)
    keys = [(found.provider, found.region, found.zone, found.instance) for found in merged]
    assert len(set(keys)) == len(keys)
    assert merge_live(merged, merged) == merged

"""The table of offers: cheapest first, and every figure says how old it is and where it comes from."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cellferry.capture.request import parse_request
from cellferry.model import CellRequest, Hardware, Offer, Quota, Standing
from cellferry.placement.plan import plan
from cellferry.placement.snapshot import snapshot_offers
from cellferry.placement.table import as_text, rows
from cellferry.placement.text_table import age, columns, money, size

NOW = 1_790_000_000.0
GIB = 1 << 30
P4D = Offer("aws", "us-east-1", "p4d.24xlarge", gpu="a100", gpu_count=8, gpu_memory_bytes=40 * GIB, cpus=96,
            memory_bytes=1152 * GIB, microusd_per_hour=21_957_642, spot_microusd_per_hour=8_120_300,
            priced_unix_s=NOW - 34 * 86400, price_source="snapshot", quota="L-417A185B", quota_units=96)  # fmt: skip
BOX = Offer("ssh", "", "me@box", gpu="a100", gpu_count=1, gpu_memory_bytes=80 * GIB, cpus=16, microusd_per_hour=0)
DEMO = replace(P4D, provider="demo", zone="us-east-1a", simulated=True, priced_unix_s=NOW, quota="")
GPU = CellRequest(hardware=Hardware(gpu="a100", gpu_count=1))
NO_QUOTA = Standing((Quota("aws", "us-east-1", "L-417A185B", "Running On-Demand P instances", 0),))


def test_the_table() -> None:
    found = rows(plan(GPU, [P4D, DEMO, BOX], NO_QUOTA, most_microusd=None, now_unix_s=NOW), NOW)
    assert [(row.provider, row.likelihood, row.note) for row in found] == [
        ("ssh", "likely", ""),
        ("demo", "possible", ""),
        ("aws", "no quota", "quota 0 of 96: L-417A185B"),
    ]
    assert [row.price_age_s for row in found] == [None, 0.0, 34 * 86400]
    shown = as_text(found).splitlines()
    assert shown[0].split("  ")[0] == "provider" and "price is" in shown[0] and "to be had" in shown[0]
    assert [" ".join(line.split()) for line in shown[1:]] == [
        "ssh me@box 1 x a100 80 GiB 16 free likely",
        "demo (simulated) us-east-1a p4d.24xlarge 8 x a100 40 GiB 96 1152 GiB $21.96 $8.120 now, snapshot possible",
        "aws us-east-1 p4d.24xlarge 8 x a100 40 GiB 96 1152 GiB $21.96 $8.120 34 days old, snapshot "
        "no quota quota 0 of 96: L-417A185B",
    ]
    assert len({line.index(word) for line, word in zip(shown, ("to be had", "likely", "possible", "no quota"), strict=True)}) == 1
    assert as_text(()) == "no machine on offer fits"


def test_what_may_be_bought_two_ways_is_one_row_by_the_cheaper_one() -> None:
    dear = replace(P4D, instance="dear", microusd_per_hour=9_000_000, spot_microusd_per_hour=8_500_000)
    on_demand = rows(plan(GPU, [P4D, dear], Standing(), most_microusd=None, now_unix_s=NOW), NOW)
    spot = rows(plan(replace(GPU, spot=True), [P4D, dear], Standing(), most_microusd=None, now_unix_s=NOW), NOW)
    assert [row.instance for row in on_demand] == ["dear", "p4d.24xlarge"]
    assert [row.instance for row in spot] == ["p4d.24xlarge", "dear"]
    assert spot[0].microusd_per_hour == P4D.microusd_per_hour and spot[0].spot_microusd_per_hour == 8_120_300


def test_the_snapshot_as_a_table() -> None:
    found = rows(plan(parse_request("gpu=t4 region=us-east-1"), snapshot_offers(), Standing(), most_microusd=None,
                      now_unix_s=NOW), NOW)  # fmt: skip
    assert found[0].instance == "g4dn.xlarge" and found[0].source == "snapshot"
    prices = [row.microusd_per_hour or 0 for row in found]
    assert prices == sorted(prices) and len(found) == 7
    assert "days old, snapshot" in as_text(found)


@given(st.lists(st.integers(0, 10**8), max_size=8), st.integers(0, 10**8))
def test_each_machine_has_one_row(prices: list[int], most: int) -> None:
    offers = [replace(P4D, instance=f"m{n}", microusd_per_hour=price) for n, price in enumerate(prices)]
    found = rows(plan(replace(GPU, spot=True), offers, Standing(), most_microusd=most, now_unix_s=NOW), NOW)
    assert sorted(row.instance for row in found) == sorted(offer.instance for offer in offers)
    assert len(as_text(found).splitlines()) == len(offers) + 1


def test_figures() -> None:
    assert [money(n) for n in (None, 0, 1_000, 16_500, 526_000, 8_120_300, 21_957_642)] == [
        "", "free", "$0.001000", "$0.017", "$0.526", "$8.120", "$21.96",
    ]  # fmt: skip
    assert [age(n) for n in (0, 59, 60, 7200, 86400, 34 * 86400, 1e30)] == [
        "now", "now", "1 minute", "2 hours", "1 day", "34 days", "ages",
    ]  # fmt: skip
    assert [size(n) for n in (0, 40 * GIB, 22888 << 20, 183359 << 20)] == ["", "40 GiB", "24 GB", "192 GB"]
    assert columns(("a", "b"), [("1", ""), ("22", "x")]) == "a   b\n1\n22  x"

"""The order in which machines are tried: properties for every input, and the cases that a user meets."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellferry.capture.request import parse_request
from cellferry.errors import BadValue, NothingToBeHad, RequestError
from cellferry.model import CellRequest, Hardware, Offer, Quota, Refusal, Standing
from cellferry.placement.chances import LEAST, NO_QUOTA_S, NOT_PERMITTED_S, Chances, word
from cellferry.placement.fit import fits
from cellferry.placement.plan import (
    LEAST_S,
    Attempt,
    Plan,
    RuledOut,
    explain,
    history_table,
    no_offer_error,
    plan,
    waiting_microusd,
)
from cellferry.placement.snapshot import snapshot_offers

NOW = 1_790_000_000.0
PROVIDERS, REGIONS, ZONES, CODES = ["aws", "demo"], ["east", "west"], ["", "a", "b"], ["", "Q1", "Q2"]
INSTANCES = ["small", "large", "me@box"]
KINDS = ["no_quota", "no_capacity", "price_too_high", "not_permitted", "timeout", "failed"]
GIB = 1 << 30

price = st.none() | st.integers(0, 10**9) | st.integers(0, 2**63)
offers = st.builds(
    Offer, provider=st.sampled_from(PROVIDERS), region=st.sampled_from(REGIONS), instance=st.sampled_from(INSTANCES),
    zone=st.sampled_from(ZONES), gpu=st.sampled_from(["", "t4", "a100"]), gpu_count=st.integers(0, 8),
    gpu_memory_bytes=st.sampled_from([0, 16 * GIB, 80 * GIB]), cpus=st.integers(0, 96),
    memory_bytes=st.integers(0, 1 << 40), microusd_per_hour=price, spot_microusd_per_hour=price,
    priced_unix_s=st.floats(0, NOW), quota=st.sampled_from(CODES), spot_quota=st.sampled_from(CODES),
    quota_units=st.integers(0, 200), simulated=st.booleans(),
)  # fmt: skip
refusals = st.builds(
    Refusal, provider=st.sampled_from(PROVIDERS), region=st.sampled_from(REGIONS), zone=st.sampled_from(ZONES),
    instance=st.sampled_from(INSTANCES), spot=st.booleans(), kind=st.sampled_from(KINDS), what=st.text(max_size=9),
    at_unix_s=st.floats(NOW - 1e6, NOW + 1e4) | st.floats(),
)  # fmt: skip
quotas = st.builds(
    Quota, provider=st.sampled_from(PROVIDERS), region=st.sampled_from(REGIONS), code=st.sampled_from(CODES),
    name=st.text(max_size=9), limit=st.integers(0, 400), used=st.integers(0, 500),
)  # fmt: skip
standings = st.builds(
    Standing, quotas=st.lists(quotas, max_size=4).map(tuple), refusals=st.lists(refusals, max_size=6).map(tuple)
)
requests = st.builds(
    CellRequest,
    hardware=st.builds(
        Hardware, gpu=st.sampled_from([None, "a100", "t4", "a100-80g"]), gpu_count=st.integers(0, 4),
        gpu_memory_bytes=st.sampled_from([None, 40 * GIB]), cpus=st.none() | st.integers(1, 64),
        memory_bytes=st.none() | st.integers(1, 1 << 38),
    ),
    providers=st.sampled_from([(), ("aws",), ("aws", "demo")]), region=st.sampled_from([None, "east", "a"]),
    host=st.sampled_from([None, "box", "me@box", "small"]), spot=st.booleans(),
)  # fmt: skip
budgets = st.none() | st.integers(-5, 10**9)
hours = st.sampled_from([1.0, 0.25, 24.0])
some_offers = st.lists(offers, max_size=12)


def made(request: CellRequest, some: list[Offer], standing: Standing, most: int | None = None, hours: float = 1.0) -> Plan:
    return plan(request, some, standing, most_microusd=most, now_unix_s=NOW, hours=hours)


def in_scope(request: CellRequest, offer: Offer) -> bool:
    return (
        (not request.providers or offer.provider in request.providers)
        and request.region in (None, offer.region, offer.zone)
        and (request.host is None or request.host.split("@")[-1] == offer.instance.split("@")[-1])
    )


# ---- for every input ------------------------------------------------------------------------------------------------


@given(requests, some_offers, standings, budgets, hours)
def test_each_way_to_buy_what_fits_is_there_once(
    request: CellRequest, some: list[Offer], standing: Standing, most: int | None, hours: float
) -> None:
    found = made(request, some, standing, most, hours)
    expected = []
    for offer in some:
        if in_scope(request, offer) and not fits(request.hardware, offer):
            expected += [(offer, False)] if offer.microusd_per_hour is not None else []
            expected += [(offer, True)] if request.spot and offer.spot_microusd_per_hour is not None else []
    ways = [(entry.offer, entry.spot) for entry in (*found.attempts, *found.ruled_out)]
    assert sorted(map(repr, ways)) == sorted(map(repr, expected))


@given(requests, some_offers, standings, budgets)
def test_what_is_tried_can_be_paid_and_is_what_it_says(
    request: CellRequest, some: list[Offer], standing: Standing, most: int | None
) -> None:
    found = made(request, some, standing, most)
    for attempt in found.attempts:
        offer = attempt.offer
        assert attempt.microusd_per_hour == (offer.spot_microusd_per_hour if attempt.spot else offer.microusd_per_hour)
        assert most is None or attempt.microusd_per_hour * LEAST_S <= most * 3600
        assert LEAST <= attempt.likelihood <= 1.0 and attempt.word in ("likely", "possible", "unlikely")
        assert attempt.wait_s > 0
    for out in found.ruled_out:
        assert out.kind in KINDS
        assert out.kind != "price_too_high" or most is not None
    costs = [attempt.expected_microusd for attempt in found.attempts]
    assert costs == sorted(costs)


@given(requests, some_offers, standings, budgets, st.integers())
def test_the_order_of_the_offers_does_not_matter(
    request: CellRequest, some: list[Offer], standing: Standing, most: int | None, seed: int
) -> None:
    mixed = some[:]
    random.Random(seed).shuffle(mixed)

    def key(found: Plan) -> list[tuple[object, ...]]:
        return [
            (a.expected_microusd, a.microusd_per_hour, a.spot, a.offer.provider, a.offer.region, a.offer.zone, a.offer.instance)
            for a in found.attempts
        ]

    assert key(made(request, some, standing, most)) == key(made(request, mixed, standing, most))
    assert made(request, some, standing, most) == made(request, some, standing, most)


@given(some_offers, standings)
def test_what_is_thought_of_one_offer_does_not_come_from_another(some: list[Offer], standing: Standing) -> None:
    shared = Chances(standing, some, NOW)
    for offer in some:
        assert shared.of(offer) == Chances(standing, some, NOW).of(offer)


@given(offers, st.integers(0, 10**9), st.integers(1, 10**9), st.booleans(), standings)
def test_a_higher_price_is_tried_later(offer: Offer, low: int, more: int, spot: bool, standing: Standing) -> None:
    # Both cost something: what is free is one's own, which is likelier to be there.
    field = "spot_microusd_per_hour" if spot else "microusd_per_hour"
    other = {"microusd_per_hour": None, "spot_microusd_per_hour": None}
    cheap = replace(offer, **{**other, field: low + 1})
    dear = replace(offer, **{**other, field: low + 1 + more})
    found = made(CellRequest(spot=spot), [dear, cheap], standing)
    if found.attempts:
        assert [attempt.offer for attempt in found.attempts] == [cheap, dear]


def touched(refusal: Refusal, offer: Offer) -> bool:
    """Whether a refusal may say anything of ``offer``."""
    if (refusal.provider, refusal.region) != (offer.provider, offer.region):
        return False
    return refusal.kind in ("not_permitted", "no_quota") or refusal.instance == offer.instance


@given(requests, some_offers.filter(bool), standings, refusals)
def test_a_refusal_never_moves_its_offer_up(
    request: CellRequest, some: list[Offer], standing: Standing, refusal: Refusal
) -> None:
    offer = some[0]
    refusal = replace(
        refusal, provider=offer.provider, region=offer.region, zone=offer.zone, instance=offer.instance,
        at_unix_s=refusal.at_unix_s if math.isfinite(refusal.at_unix_s) else NOW,
    )  # fmt: skip
    before = made(request, some, standing)
    after = made(request, some, replace(standing, refusals=(*standing.refusals, refusal)))

    def ahead(found: Plan) -> float:
        """How many that the refusal does not touch are tried before it; all, if it is not tried."""
        others = [a for a in found.attempts if not touched(refusal, a.offer) or a.spot != refusal.spot]
        mine = [a for a in found.attempts if a.offer == offer and a.spot == refusal.spot]
        return found.attempts.index(mine[0]) - len(
            [a for a in found.attempts[: found.attempts.index(mine[0])] if a not in others]
        ) if mine else math.inf  # fmt: skip

    if refusal.kind in ("not_permitted", "no_quota"):
        gone = [a for a in after.attempts if a.offer == offer and a.spot == refusal.spot]
        was = [a for a in before.attempts if a.offer == offer and a.spot == refusal.spot]
        assert len(gone) <= len(was)
        assert all(new.expected_microusd >= old.expected_microusd for new, old in zip(gone, was, strict=False))
    else:
        assert ahead(after) >= ahead(before)


@given(
    requests, some_offers, standings, st.none() | st.integers(-(2**70), 2**70), st.floats(), st.floats(),
)  # fmt: skip
def test_nothing_makes_it_fail(
    request: CellRequest, some: list[Offer], standing: Standing, most: int | None, now: float, hours: float
) -> None:
    found = plan(request, some, standing, most_microusd=most, now_unix_s=now, hours=hours)
    assert explain(found)
    history_table(standing.refusals)
    assert str(no_offer_error(request, some))
    assert str(no_offer_error(request, some, found, standing.refusals))


@given(st.lists(st.tuples(st.floats(0.02, 1.0), st.integers(0, 10**8)), min_size=2, max_size=5))
def test_no_other_order_is_cheaper_on_average(tries: list[tuple[float, int]]) -> None:
    """The formula is the order of least expected cost, if each try succeeds or not by itself."""
    wait = waiting_microusd(0.5)  # one failed try

    def cost(order: list[tuple[float, int]]) -> float:
        total, reached = 0.0, 1.0
        for likelihood, price in order:
            total += reached * (likelihood * price + (1 - likelihood) * wait)
            reached *= 1 - likelihood
        return total

    best = sorted(tries, key=lambda one: one[1] + waiting_microusd(one[0]))
    for n in range(len(best) - 1):
        other = [*best[:n], best[n + 1], best[n], *best[n + 2 :]]
        assert cost(best) <= cost(other) * (1 + 1e-9) + 1e-6


# ---- what a user meets ----------------------------------------------------------------------------------------------

P4D = Offer("aws", "us-east-1", "p4d.24xlarge", gpu="a100", gpu_count=8, gpu_memory_bytes=40 * GIB, cpus=96,
            microusd_per_hour=21_957_642, spot_microusd_per_hour=8_120_300, quota="L-417A185B", spot_quota="L-7212CCBC",
            quota_units=96)  # fmt: skip
WEST = replace(P4D, region="us-west-2", microusd_per_hour=21_957_640)
GPU = CellRequest(hardware=Hardware(gpu="a100", gpu_count=1))
ENOUGH = Standing((Quota("aws", "us-east-1", "L-417A185B", "P", 96), Quota("aws", "us-west-2", "L-417A185B", "P", 96)))


def refused(offer: Offer, kind: str, age_s: float, what: str = "sorry", spot: bool = False) -> Refusal:
    return Refusal(offer.provider, offer.region, offer.zone, offer.instance, spot, kind, what, NOW - age_s)  # type: ignore[arg-type]


def order(standing: Standing, *some: Offer, request: CellRequest = GPU) -> list[str]:
    return [f"{a.offer.region}{' spot' * a.spot}" for a in made(request, list(some), standing).attempts]


def test_the_cheapest_first_and_the_next_region_after_a_stock_out() -> None:
    assert order(ENOUGH, P4D, WEST) == ["us-west-2", "us-east-1"]
    sold_out = replace(ENOUGH, refusals=(refused(WEST, "no_capacity", 5.0),))
    assert order(sold_out, P4D, WEST) == ["us-east-1", "us-west-2"]


def test_a_stock_out_is_forgotten_with_a_half_life_of_ten_minutes() -> None:
    chances = [
        made(GPU, [P4D], replace(ENOUGH, refusals=(refused(P4D, "no_capacity", age),))).attempts[0].likelihood
        for age in (0.0, 600.0, 1200.0, 6000.0)
    ]
    assert chances == pytest.approx([LEAST, 0.25, 0.375, 0.5], abs=1e-3)
    found = made(GPU, [P4D], replace(ENOUGH, refusals=(refused(P4D, "no_capacity", 180.0),))).attempts[0]
    assert (found.word, found.why) == ("unlikely", "no capacity 3 minutes ago")


def test_of_two_refusals_the_newer_counts_and_other_pools_are_not_touched() -> None:
    both = (refused(P4D, "no_capacity", 30.0), refused(P4D, "timeout", 3000.0))
    for pair in (both, both[::-1]):
        assert made(GPU, [P4D], replace(ENOUGH, refusals=pair)).attempts[0].likelihood < 0.05
    spot = replace(ENOUGH, refusals=(refused(P4D, "no_capacity", 0.0, spot=True),))
    assert made(GPU, [P4D], spot) == made(GPU, [P4D], ENOUGH)
    zones = [replace(P4D, zone=zone) for zone in ("us-east-1a", "us-east-1b")]
    one = made(GPU, zones, replace(ENOUGH, refusals=(refused(zones[0], "no_capacity", 0.0),)))
    assert [a.offer.zone for a in one.attempts] == ["us-east-1b", "us-east-1a"]
    region = made(GPU, zones, replace(ENOUGH, refusals=(refused(P4D, "no_capacity", 0.0),)))
    assert {a.likelihood for a in region.attempts} == {LEAST}, "a provider that chose the zone found none in any"


def test_spot_competes_with_on_demand_only_when_it_is_allowed() -> None:
    assert order(ENOUGH, P4D) == ["us-east-1"]
    assert order(ENOUGH, P4D, request=replace(GPU, spot=True)) == ["us-east-1 spot", "us-east-1"]
    no_discount = replace(P4D, spot_microusd_per_hour=P4D.microusd_per_hour)
    assert order(ENOUGH, no_discount, request=replace(GPU, spot=True)) == ["us-east-1", "us-east-1 spot"]
    only_spot = replace(P4D, microusd_per_hour=None)
    assert order(ENOUGH, only_spot) == []


def test_a_quota_that_is_too_small_rules_out_with_its_name_and_code() -> None:
    quota = Quota("aws", "us-east-1", "L-417A185B", "Running On-Demand P instances", 64, 64)
    found = made(GPU, [P4D, WEST], Standing((quota,)))
    assert [a.offer for a in found.attempts] == [WEST]
    assert found.attempts[0].why == "quota not known"
    assert found.ruled_out == (
        RuledOut(P4D, False, "no_quota", "quota 0 of 96: L-417A185B (Running On-Demand P instances)"),
    )
    unnamed = Standing((replace(quota, name="", limit=100),))
    assert made(GPU, [P4D], unnamed).ruled_out[0].what == "quota 36 of 96: L-417A185B (Running On-Demand P instances)"


def test_a_refused_quota_rules_out_for_a_day_or_until_the_quota_is_known() -> None:
    refusal = refused(P4D, "no_quota", 3600.0, "VcpuLimitExceeded")
    larger = replace(P4D, instance="p5.48xlarge", quota_units=192)
    smaller = replace(P4D, instance="p3.2xlarge", quota_units=8)
    found = made(GPU, [P4D, larger, smaller, WEST], Standing(refusals=(refusal,)))
    assert {out.offer for out in found.ruled_out} == {P4D, larger}
    assert found.ruled_out[0].what == "VcpuLimitExceeded (1 hour ago)"
    assert not made(GPU, [P4D], Standing(refusals=(replace(refusal, at_unix_s=NOW - NO_QUOTA_S - 1),))).ruled_out
    known = made(GPU, [P4D], replace(ENOUGH, refusals=(refusal,)))
    assert not known.ruled_out and known.attempts[0].why == "no quota 1 hour ago"


def test_a_missing_permission_rules_its_region_out_for_hours() -> None:
    refusal = refused(P4D, "not_permitted", 60.0, "ec2:RunInstances is not allowed")
    found = made(GPU, [replace(P4D, instance="other"), WEST], replace(ENOUGH, refusals=(refusal,)))
    assert [a.offer for a in found.attempts] == [WEST]
    assert found.ruled_out[0].kind == "not_permitted"
    assert found.ruled_out[0].what == "ec2:RunInstances is not allowed (1 minute ago)"
    old = replace(refusal, at_unix_s=NOW - NOT_PERMITTED_S - 1)
    assert not made(GPU, [P4D], replace(ENOUGH, refusals=(old,))).ruled_out


def test_what_cannot_be_paid_for_twenty_seconds_is_too_dear() -> None:
    found = made(GPU, [P4D], ENOUGH, most=100_000)
    assert found.ruled_out == (RuledOut(P4D, False, "price_too_high", "$21.96 an hour, $0.100 left"),)
    assert made(GPU, [P4D], ENOUGH, most=121_986).ruled_out and made(GPU, [P4D], ENOUGH, most=121_987).attempts
    assert made(GPU, [P4D], ENOUGH, most=0).ruled_out[0].what == "$21.96 an hour, nothing left"
    own = replace(P4D, provider="ssh", microusd_per_hour=0)
    assert made(GPU, [own], ENOUGH, most=0).attempts[0].word == "likely", "one's own machine costs nothing"


def test_region_zone_host_and_provider_narrow() -> None:
    zone, box = replace(P4D, zone="us-east-1a"), Offer("ssh", "", "me@box", gpu="a100", gpu_count=1, microusd_per_hour=0)
    every = [zone, WEST, box]

    def only(words: str) -> list[Offer]:
        return [a.offer for a in made(parse_request(f"gpu=a100 {words}"), every, ENOUGH).attempts]

    assert only("") == [box, WEST, zone]
    assert only("region=us-west-2") == [WEST]
    assert only("region=us-east-1a") == [zone]
    assert only("host=box") == only("host=me@box") == [box]
    assert only("host=you@box") == []
    assert only("provider=aws") == [WEST, zone]
    assert only("provider=aws,ssh region=us-east-1") == [zone]


def test_how_long_it_will_be_used_decides_between_waiting_and_paying() -> None:
    scarce = replace(P4D, region="scarce", microusd_per_hour=20_000_000, quota="")
    there = replace(P4D, region="there", microusd_per_hour=20_400_000, quota="")
    tired = Standing(refusals=(refused(scarce, "no_capacity", 500.0),))
    short, long = (
        [a.offer.region for a in made(GPU, [scarce, there], tired, hours=hours).attempts] for hours in (0.5, 24.0)
    )
    assert (short, long) == (["there", "scarce"], ["scarce", "there"])


def test_words() -> None:
    assert [word(q) for q in (1.0, 0.7, 0.69, 0.25, 0.24, 0.02)] == [
        "likely", "likely", "possible", "possible", "unlikely", "unlikely",
    ]  # fmt: skip


# ---- what is shown --------------------------------------------------------------------------------------------------


def test_a_plan_explains_itself() -> None:
    demo = replace(WEST, provider="demo", simulated=True)
    quota = Quota("aws", "us-east-1", "L-417A185B", "Running On-Demand P instances", 0)
    assert explain(made(GPU, [P4D, demo], replace(ENOUGH, quotas=(quota,)))).splitlines() == [
        "try  provider          where      machine       bought     an hour  to be had",
        "1    demo (simulated)  us-west-2  p4d.24xlarge  on demand  $21.96   possible   quota not known",
        "",
        "provider  where      machine       bought     not tried",
        "aws       us-east-1  p4d.24xlarge  on demand  no quota   quota 0 of 96: L-417A185B (Running On-Demand P instances)",
    ]
    assert explain(Plan()) == "No machine that is on offer fits."
    many = made(CellRequest(), list(snapshot_offers()), Standing())
    assert explain(many, most=3).splitlines()[-1] == f"and {len(many.attempts) - 3} more"


def test_the_history_is_a_table() -> None:
    history = [refused(P4D, "no_capacity", 100.0, "InsufficientInstanceCapacity:\n none in us-east-1"),
               refused(WEST, "timeout", 40.0, "gave up after 600 s", spot=True)]  # fmt: skip
    assert history_table(history).splitlines() == [
        "UTC       provider  where      machine       bought     came to",
        "14:11:40  aws       us-east-1  p4d.24xlarge  on demand  no capacity        InsufficientInstanceCapacity: none in us-east-1",
        "14:12:40  aws       us-west-2  p4d.24xlarge  spot       too slow to start  gave up after 600 s",
    ]
    assert history_table([]) == ""


@pytest.mark.parametrize(
    ("words", "kind", "says", "advice"),
    [
        ("gpu=a1000", BadValue, "No machine on offer has a GPU `a1000`. Nearest by name: a100, v100", "gpu=a100"),
        ("gpu=a100:16", RequestError, "p4d.24xlarge (8 x a100 40 GiB; 96 processors; 1152 GiB): 8 x a100, 16", "%remote offers"),
        ("gpu=l4:4 memory=2T", RequestError, "(8 x l4 24 GB; 192 processors; 768 GiB): 768 GiB memory, 2048 GiB asked", "%remote offers"),
        ("cpus=999", RequestError, "192 processors, 999 asked", "%remote offers"),
        ("region=mars", RequestError, "Nothing is on offer for region=mars. There is: aws ap-northeast-1", "%remote offers"),
        ("provider=ssh host=box", RequestError, "for provider=ssh host=box", "%remote offers"),
        ("gpu=h200 region=us-east-2 cpus=192", NothingToBeHad, "No machine could be had", "try again"),
    ],
)
def test_an_error_names_what_comes_nearest(words: str, kind: type[Exception], says: str, advice: str) -> None:
    error = no_offer_error(parse_request(words), snapshot_offers())
    assert type(error) is kind
    assert says in error.what and advice in error.advice


def test_what_is_only_sold_as_spot_says_so() -> None:
    error = no_offer_error(GPU, [replace(P4D, microusd_per_hour=None)])
    assert "p4d.24xlarge can only be had as spot capacity here" in str(error) and "add `spot`" in error.advice
    assert "c.Cellferry.hosts" in no_offer_error(GPU, []).advice
    assert "No machine here has a GPU." in str(no_offer_error(GPU, [Offer("aws", "r", "m7i.large", cpus=2)]))


def test_the_error_that_ends_it_all_has_the_whole_history() -> None:
    history = (refused(P4D, "no_capacity", 60.0, "InsufficientInstanceCapacity"), refused(WEST, "timeout", 10.0, "600 s"))
    found = made(GPU, [P4D], ENOUGH, most=1)
    error = no_offer_error(GPU, [P4D], found, history)
    assert isinstance(error, NothingToBeHad) and error.history == history
    for part in ("no capacity", "InsufficientInstanceCapacity", "too slow to start", "price too high"):
        assert part in error.what
    alone = no_offer_error(GPU, [P4D], found)
    assert isinstance(alone, NothingToBeHad) and "budget" in alone.advice and alone.history == ()


def test_attempts_behave_like_a_tuple() -> None:
    found = made(CellRequest(spot=True), [P4D, WEST], ENOUGH)
    every = tuple(found.attempts)
    assert len(every) == 4 and found.attempts == every and every == found.attempts and hash(found.attempts) == hash(every)
    assert found.attempts[0] == every[0] and found.attempts[-1] == every[-1] and found.attempts[1:3] == every[1:3]
    assert every[2] in found.attempts and found.attempts.index(every[2]) == 2 and repr(found.attempts) == repr(every)
    assert found.attempts != every[1:] and found.attempts != list(every) and not made(GPU, [], ENOUGH).attempts
    with pytest.raises(IndexError):
        found.attempts[4]


def test_a_plan_keeps_its_offers_when_their_list_changes() -> None:
    some = [P4D, WEST]
    found = made(GPU, some, ENOUGH)
    some.clear()
    assert [a.offer for a in found.attempts] == [WEST, P4D]


def test_an_attempt_cannot_be_changed() -> None:
    attempt = made(GPU, [P4D], ENOUGH).attempts[0]
    with pytest.raises(AttributeError):
        attempt.likelihood = 1.0  # type: ignore[misc]
    assert replace(attempt, why="x") == Attempt(P4D, False, 21_957_642, 0.5, 22_290_975, 60.0, "x")

"""Which machines to try, in which order: offers, standing, money and a clock in, a plan out. Pure, and never raises.

The order is that of least expected cost; ``docs/design/placement.md`` has the formula and why it is the right one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cellferry.errors import BadValue, NothingToBeHad, RequestError
from cellferry.model import CellRequest, Offer, Refusal, RefusalKind, Standing
from cellferry.placement import text_table
from cellferry.placement.chances import Chances, word
from cellferry.placement.fit import Asked, gpu_named, nearest_gpus
from cellferry.placement.lazy import Lazy
from cellferry.placement.text_table import KINDS, columns, gpus, money, place, seller, way

WAITING_MICROUSD_PER_HOUR = 20_000_000
"""What an hour of waiting for a machine is reckoned to cost the one who waits."""
WAIT_S = 60.0
"""How long a try that fails is reckoned to take; how long it may take is for the caller to bound."""
LEAST_S = 20
"""A machine that cannot be paid for so many seconds is not worth starting."""
_MOST_MICROUSD = 10**15
"""A billion dollars an hour: no price is higher, so that no sum overflows."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One machine to try. ``likelihood``: that it is to be had, 0 to 1. ``expected_microusd``: by which it is ordered.

    ``why``: what speaks against it, "" for nothing known. ``wait_s``: how long the try is reckoned to take if it fails.
    """

    offer: Offer
    spot: bool
    microusd_per_hour: int
    likelihood: float
    expected_microusd: int
    wait_s: float = WAIT_S
    why: str = ""

    @property
    def word(self) -> str:
        """``likely``, ``possible`` or ``unlikely``."""
        return word(self.likelihood)


@dataclass(frozen=True, slots=True)
class RuledOut:
    """One machine that would do, and is not worth a try. ``what``: why, with names and figures."""

    offer: Offer
    spot: bool
    kind: RefusalKind
    what: str


@dataclass(frozen=True)
class Plan:
    """``attempts`` in the order in which to try them; ``ruled_out`` cheapest first. What does not fit is in neither.

    Each is a tuple, or behaves like one and makes its items when they are looked at.
    """

    attempts: Sequence[Attempt] = ()
    ruled_out: Sequence[RuledOut] = ()


def plan(
    request: CellRequest,
    offers: Sequence[Offer],
    standing: Standing,
    *,
    most_microusd: int | None,
    now_unix_s: float,
    hours: float = 1.0,
) -> Plan:
    """Every offer that fits ``request``, once for each way in which it may be bought: to be tried, or ruled out.

    ``most_microusd``: what may be spent on it, None for no limit. ``hours``: how long it is likely to be used.
    """
    hours = hours if math.isfinite(hours) and 0 < hours < 1e6 else 1.0
    now_unix_s = now_unix_s if math.isfinite(now_unix_s) else 0.0
    fits, chances = Asked(request.hardware), Chances(standing, offers, now_unix_s)
    offers = tuple(_in_scope(request, offers))  # whoever looks at the plan later finds them as they are now
    waiting: dict[float, float] = {}
    # What so much money pays for 20 seconds; a whole number, so nothing is lost by dividing first.
    dearest = math.inf if most_microusd is None else most_microusd * 3600 // LEAST_S
    tries, ruled_out = [], []
    # Plain tuples sort several times faster than anything with a key; `number` and `spot` end every tie.
    for number, offer in enumerate(offers):
        if fits(offer):
            continue
        provider, region, zone, instance = offer.provider, offer.region, offer.zone, offer.instance
        outlooks = chances.of(offer)
        for spot, price in _ways(offer, request.spot):
            wrong, likelihood, why = outlooks[spot]
            if wrong is not None or price > dearest:
                ruled_out.append((price, spot, provider, region, zone, instance, number, wrong))
                continue
            waits = waiting.get(likelihood)
            if waits is None:
                waits = waiting[likelihood] = waiting_microusd(likelihood)
            expected = round((price if price < _MOST_MICROUSD else _MOST_MICROUSD) * hours + waits)
            tries.append((expected, price, spot, provider, region, zone, instance, number, likelihood, why))
    tries.sort()
    ruled_out.sort()
    return _plan_of(offers, tries, ruled_out, most_microusd)


def _plan_of(
    offers: Sequence[Offer], tries: Sequence[tuple[Any, ...]], ruled_out: Sequence[tuple[Any, ...]], most: int | None
) -> Plan:
    """The sorted rows as what they stand for, each when it is looked at."""

    def attempt(row: tuple[Any, ...]) -> Attempt:
        expected, price, spot, _, _, _, _, number, likelihood, why = row
        return Attempt(offers[number], spot, price, likelihood, expected, WAIT_S, why)

    def ruled(row: tuple[Any, ...]) -> RuledOut:
        price, spot, _, _, _, _, number, wrong = row
        return RuledOut(offers[number], spot, *(wrong or _too_dear(price, most or 0)))

    return Plan(Lazy(tries, attempt), Lazy(ruled_out, ruled))


def waiting_microusd(likelihood: float) -> float:
    """What the tries cost that fail before one succeeds: (1 - q) / q of them, each a wait."""
    return (1.0 - likelihood) / likelihood * WAIT_S / 3600.0 * WAITING_MICROUSD_PER_HOUR


def _in_scope(request: CellRequest, offers: Sequence[Offer]) -> Sequence[Offer]:
    """Offers of the providers, region (or zone) and host that ``request`` names."""
    providers, region, host = request.providers, request.region, request.host
    if not providers and region is None and host is None:
        return offers
    return [
        offer
        for offer in offers
        if (not providers or offer.provider in providers)
        and (region is None or region in (offer.region, offer.zone))
        and (host is None or _same_host(host, offer.instance))
    ]


def _same_host(asked: str, name: str) -> bool:
    """ "box" is "me@box" as long as only one of them says whose login it is."""
    (user, _, host), (other, _, there) = asked.rpartition("@"), name.rpartition("@")
    return host == there and (user == other or not user or not other)


def _ways(offer: Offer, spot: bool) -> list[tuple[bool, int]]:
    on_demand = offer.microusd_per_hour
    ways = [] if on_demand is None else [(False, on_demand)]
    if spot and offer.spot_microusd_per_hour is not None:
        ways.append((True, offer.spot_microusd_per_hour))
    return ways


def _too_dear(price: int, most_microusd: int) -> tuple[RefusalKind, str]:
    return "price_too_high", f"{money(price)} an hour, {money(most_microusd) if most_microusd > 0 else 'nothing'} left"


# ---- for people -----------------------------------------------------------------------------------------------------


def explain(plan: Plan, most: int = 10) -> str:
    """``plan`` as two tables of plain text: what will be tried, and what will not and why; ``most`` rows of each."""
    tries = [
        (
            str(number), seller(attempt.offer), place(attempt.offer), attempt.offer.instance, way(attempt.spot),
            money(attempt.microusd_per_hour), attempt.word, attempt.why,
        )
        for number, attempt in enumerate(plan.attempts[:most], 1)
    ]  # fmt: skip
    parts = []
    if tries:
        heads = ("try", "provider", "where", "machine", "bought", "an hour", "to be had", "")
        parts.append(columns(heads, tries) + _more(len(plan.attempts) - most))
    if plan.ruled_out:
        parts.append(ruled_out_table(plan.ruled_out, most))
    return "\n\n".join(parts) or "No machine that is on offer fits."


def ruled_out_table(ruled_out: Sequence[RuledOut], most: int = 10) -> str:
    """Machines that will not be tried, as a table of plain text."""
    rows = [
        (seller(out.offer), place(out.offer), out.offer.instance, way(out.spot), KINDS[out.kind], out.what)
        for out in ruled_out[:most]
    ]
    heads = ("provider", "where", "machine", "bought", "not tried", "")
    return columns(heads, rows) + _more(len(ruled_out) - most)


def history_table(refusals: Sequence[Refusal]) -> str:
    """Tries that failed, in the order given, as a table of plain text; "" for none. Times of day are UTC."""
    if not refusals:
        return ""
    rows = [
        (
            _clock(refusal.at_unix_s), refusal.provider, refusal.zone or refusal.region, refusal.instance,
            way(refusal.spot), KINDS[refusal.kind], " ".join(refusal.what.split()),
        )
        for refusal in refusals
    ]  # fmt: skip
    return columns(("UTC", "provider", "where", "machine", "bought", "came to", ""), rows)


def no_offer_error(
    request: CellRequest, offers: Sequence[Offer], plan: Plan | None = None, history: Sequence[Refusal] = ()
) -> RequestError | NothingToBeHad:
    """The error for a request for which there is nothing to try; it names what comes nearest, and what to type.

    With ``plan`` and ``history``: every try failed or was ruled out, which is NothingToBeHad with both tables.
    Otherwise RequestError: nothing that is on offer fits. Made for the fleet, which raises it.
    """
    if history or (plan is not None and (plan.ruled_out or plan.attempts)):
        return _nothing_left(plan or Plan(), history)
    here = _in_scope(request, offers)
    if not here:
        return _nowhere(request, offers)
    hardware, fits = request.hardware, Asked(request.hardware)
    fitting = [offer for offer in here if not fits(offer)]
    if any(_ways(offer, request.spot) for offer in fitting):
        return _nothing_left(Plan(), ())
    if fitting:
        names = ", ".join(sorted({offer.instance for offer in fitting}))
        return RequestError(f"{names} can only be had as spot capacity here.", "add `spot` to the line")
    if hardware.gpu and not any(gpu_named(offer.gpu).name == gpu_named(hardware.gpu).name for offer in here):
        near = nearest_gpus(hardware.gpu, here)
        advice = f"gpu={near[0]}" if near else "leave `gpu=` out"
        known = f" Nearest by name: {', '.join(near)}." if near else " No machine here has a GPU."
        return BadValue(f"No machine on offer has a GPU `{hardware.gpu}`.{known}", advice)
    nearest = min(here, key=lambda offer: (_falls_short(request, offer), _cheapest(offer)))
    what = "; ".join(
        part for part in (gpus(nearest), f"{nearest.cpus} processors", text_table.size(nearest.memory_bytes)) if part
    )
    return RequestError(
        f"No machine on offer is large enough. The nearest is {nearest.instance} ({what}): {fits(nearest)}.",
        "ask for less, or see what there is: %remote offers",
    )


_ADVICE: dict[RefusalKind, str] = {
    "no_quota": "ask AWS for more: cellferry quota request",
    "price_too_high": "%remote budget AMOUNT, or budget= on the line",
    "not_permitted": "cellferry aws-policy prints the permissions; cellferry doctor checks them",
    "no_capacity": "add `spot`, leave `region=` out, or try again in ten minutes",
    "timeout": "try again, or give it longer: c.Cellferry.attempt_s",
    "failed": "cellferry doctor",
}


def _nothing_left(plan: Plan, history: Sequence[Refusal]) -> NothingToBeHad:
    parts = ["No machine could be had."]
    if history:
        parts.append(history_table(history))
    if plan.ruled_out:
        parts.append(ruled_out_table(plan.ruled_out))
    kinds = [refusal.kind for refusal in history] or [out.kind for out in plan.ruled_out] or ["no_capacity"]
    common = max(_ADVICE, key=kinds.count)
    return NothingToBeHad("\n\n".join(parts), _ADVICE[common], tuple(history))


def _nowhere(request: CellRequest, offers: Sequence[Offer]) -> RequestError:
    asked = [f"provider={','.join(request.providers)}"] if request.providers else []
    asked += [f"region={request.region}"] if request.region else []
    asked += [f"host={request.host}"] if request.host else []
    there = sorted({f"{offer.provider} {offer.region}".rstrip() for offer in offers})
    if not there:
        return RequestError(
            "No provider that is configured has a machine on offer.",
            "set c.Cellferry.hosts or c.Cellferry.aws_regions, or try the simulated one: provider=demo",
        )
    return RequestError(
        f"Nothing is on offer for {' '.join(asked)}. There is: {', '.join(there[:20])}.", "%remote offers"
    )


def _falls_short(request: CellRequest, offer: Offer) -> float:
    """How far ``offer`` is from what is asked: the missing part of each quantity, and more than all of them for a wrong
    GPU."""
    asked = request.hardware
    pairs = (
        (offer.gpu_count, asked.gpu_count),
        (offer.gpu_memory_bytes, asked.gpu_memory_bytes),
        (offer.cpus, asked.cpus),
        (offer.memory_bytes, asked.memory_bytes),
    )
    wrong_gpu = bool(asked.gpu) and gpu_named(offer.gpu).name != gpu_named(asked.gpu or "").name
    return 9.0 * wrong_gpu + sum(max(0.0, 1.0 - has / wanted) for has, wanted in pairs if wanted)


def _cheapest(offer: Offer) -> int:
    prices = (offer.microusd_per_hour, offer.spot_microusd_per_hour)
    return min((price for price in prices if price is not None), default=_MOST_MICROUSD)


def _clock(unix_s: float) -> str:
    try:
        return datetime.fromtimestamp(unix_s, UTC).strftime("%H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return "?"


def _more(count: int) -> str:
    return f"\nand {count} more" if count > 0 else ""

"""The table of offers: what could be had, at which price, and how likely; made from a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest

from cellferry.model import Hardware, Offer
from cellferry.placement.fit import Asked
from cellferry.placement.plan import Attempt, Plan, RuledOut
from cellferry.placement.text_table import KINDS, age, columns, money, size


@dataclass(frozen=True)
class OfferRow:
    """One machine in one place. Money in micro-dollars an hour, None where it is not sold that way, 0 where it is free.

    ``price_age_s``: None where nobody knows. ``likelihood``: "likely", "possible", "unlikely", or why it is not worth a
    try ("no quota"). ``note``: what speaks against it ("quota 0 of 96: L-417A185B").
    """

    provider: str
    region: str
    zone: str
    instance: str
    gpu: str
    gpu_count: int
    gpu_memory_bytes: int
    cpus: int
    memory_bytes: int
    microusd_per_hour: int | None
    spot_microusd_per_hour: int | None
    price_age_s: float | None
    source: str
    likelihood: str
    note: str = ""
    simulated: bool = False


def rows(plan: Plan, now_unix_s: float) -> tuple[OfferRow, ...]:
    """The offers of ``plan``, cheapest first: by the way that it may be bought and can be paid for, and last what cannot."""
    best: dict[Offer, Attempt] = {}
    for attempt in plan.attempts:
        there = best.get(attempt.offer)
        if there is None or attempt.microusd_per_hour < there.microusd_per_hour:
            best[attempt.offer] = attempt
    out: dict[Offer, RuledOut] = {}
    for ruled in plan.ruled_out:
        out.setdefault(ruled.offer, ruled)
    tried = sorted(best.values(), key=lambda attempt: (attempt.microusd_per_hour, attempt.expected_microusd))
    return (
        *(_row(attempt.offer, attempt.word, attempt.why, now_unix_s) for attempt in tried),
        *(_row(ruled.offer, KINDS[ruled.kind], _short(ruled.what), now_unix_s) for ruled in out.values() if ruled.offer not in best),
    )  # fmt: skip


def to_compare(offers: Sequence[Offer], hardware: Hardware, most: int, now_unix_s: float) -> tuple[OfferRow, ...]:
    """The ``most`` cheapest of ``offers`` that would do for ``hardware``: of clouds that no provider can start machines at."""
    asked = Asked(hardware)
    fit = nsmallest(
        most, (offer for offer in offers if not asked(offer)),
        key=lambda offer: min(p for p in (offer.microusd_per_hour, offer.spot_microusd_per_hour) if p is not None),
    )  # fmt: skip
    return tuple(_row(offer, "price only", "to compare: cellferry cannot start it", now_unix_s) for offer in fit)


def as_text(rows: Sequence[OfferRow]) -> str:
    """``rows`` as a table of plain text. What is simulated says so."""
    if not rows:
        return "no machine on offer fits"
    heads = (
        "provider",
        "where",
        "machine",
        "GPU",
        "CPUs",
        "memory",
        "on demand",
        "spot",
        "price is",
        "to be had",
        "note",
    )
    return columns(heads, [_texts(row) for row in rows])


def _row(offer: Offer, likelihood: str, note: str, now_unix_s: float) -> OfferRow:
    return OfferRow(
        offer.provider,
        offer.region,
        offer.zone,
        offer.instance,
        offer.gpu,
        offer.gpu_count,
        offer.gpu_memory_bytes,
        offer.cpus,
        offer.memory_bytes,
        offer.microusd_per_hour,
        offer.spot_microusd_per_hour,
        max(0.0, now_unix_s - offer.priced_unix_s) if offer.priced_unix_s else None,
        offer.price_source,
        likelihood,
        note,
        offer.simulated,
    )


def _texts(row: OfferRow) -> tuple[str, ...]:
    old = "" if row.price_age_s is None else age(row.price_age_s)
    old = old if old in ("", "now") else f"{old} old"
    gpu = f"{row.gpu_count} x {row.gpu} {size(row.gpu_memory_bytes)}".rstrip() if row.gpu_count else ""
    return (
        f"{row.provider} (simulated)" if row.simulated else row.provider,
        row.zone or row.region,
        row.instance,
        gpu,
        str(row.cpus or ""),
        size(row.memory_bytes),
        money(row.microusd_per_hour),
        money(row.spot_microusd_per_hour),
        ", ".join(part for part in (old, row.source) if part),
        row.likelihood,
        row.note,
    )


def _short(what: str) -> str:
    """Without the quota's long name, which the error has."""
    return what.partition(" (")[0] if what.startswith("quota ") else what

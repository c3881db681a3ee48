"""How likely a machine is to be had: what quotas allow, and what refusals of late say. docs/design/placement.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cellferry.model import Offer, Quota, Refusal, RefusalKind, Standing
from cellferry.placement.quotas_aws import NAMES
from cellferry.placement.text_table import KINDS, age

HALF_LIFE_S = 600.0
"""After a refusal a try is hopeless; after this long half as likely as before it, after twice as long three quarters."""
NOT_PERMITTED_S = 4 * 3600.0
"""A missing permission rules its region out for so long: somebody has to change a policy."""
NO_QUOTA_S = 86400.0
"""A quota that was too small rules machines out for a day, or until the quota itself says otherwise."""
LEAST = 0.02
"""Nothing is hopeless for ever; keeps the cost of trying finite."""

FREE, PLAIN, GPU, LARGE_GPU = 0.98, 0.95, 0.8, 0.5
"""What is assumed of one's own machine, one without GPU, with one, with a large one; nobody publishes figures."""
SPOT, QUOTA_UNKNOWN = 0.6, 0.85
LARGE_GPU_BYTES = 38 << 30
"""GPUs from about 40 GB up are the ones that are sold out."""

_Pool = tuple[str, str, str, str, bool]
"""Provider, region, zone, instance, spot: what is sold out together."""


def word(likelihood: float) -> str:
    """``likely``, ``possible`` or ``unlikely``."""
    return "likely" if likelihood >= 0.7 else "possible" if likelihood >= 0.25 else "unlikely"


class Outlook(NamedTuple):
    """What is thought of one way to buy one machine.

    ``wrong``: why there is no point in trying, or None. ``likelihood``: that one try succeeds, from 0.02 to 1; ``why``:
    what speaks against it, "" for nothing known. Money is not looked at.
    """

    wrong: tuple[RefusalKind, str] | None
    likelihood: float
    why: str


class Chances:
    """``Standing`` made ready for questions about thousands of offers; made once for each plan."""

    def __init__(self, standing: Standing, offers: Sequence[Offer], now_unix_s: float) -> None:
        self._now = now_unix_s
        self._quotas = {(quota.provider, quota.region, quota.code): quota for quota in standing.quotas}
        self._refused: dict[_Pool, Refusal] = {}
        self._forbidden: dict[tuple[str, str], Refusal] = {}
        self._short: dict[_Pool, Refusal] = {}
        for refusal in standing.refusals:
            self._remember(refusal)
        self._short_codes = dict(self._codes(offers)) if self._short else {}
        self._named = {(provider, region, instance) for provider, region, _, instance, _ in (*self._refused, *self._short)}
        self._known: dict[tuple[object, ...], tuple[Outlook, Outlook]] = {}

    def of(self, offer: Offer) -> tuple[Outlook, Outlook]:
        """What is thought of buying ``offer`` on demand, and as spot."""
        if (offer.provider, offer.region, offer.instance) in self._named:
            return self._look(offer)
        # No refusal names the machine: what is left to tell it from its neighbours is little, and thousands share it.
        rare = offer.gpu_count and (2 if offer.gpu_memory_bytes >= LARGE_GPU_BYTES else 1)
        free = offer.microusd_per_hour == 0
        alike = (offer.provider, offer.region, offer.quota, offer.spot_quota, offer.quota_units, rare, free)
        known = self._known.get(alike)
        if known is None:
            known = self._known[alike] = self._look(offer)
        return known

    def _look(self, offer: Offer) -> tuple[Outlook, Outlook]:
        on_demand, spot = (
            Outlook(self._ruled_out(offer, spot), *self._likelihood(offer, spot)) for spot in (False, True)
        )
        return on_demand, spot

    def _ruled_out(self, offer: Offer, spot: bool) -> tuple[RefusalKind, str] | None:
        forbidden = self._forbidden and self._forbidden.get((offer.provider, offer.region))
        if forbidden:
            return "not_permitted", f"{forbidden.what} ({self._ago(forbidden)})"
        code = offer.spot_quota if spot else offer.quota
        quota = self._quotas.get((offer.provider, offer.region, code)) if code else None
        if quota is not None:
            free = quota.limit - quota.used
            return None if free >= offer.quota_units else ("no_quota", _quota_text(quota, offer))
        short = self._short and self._short_of(offer, spot, code)
        return ("no_quota", f"{short.what} ({self._ago(short)})") if short else None

    def _likelihood(self, offer: Offer, spot: bool) -> tuple[float, str]:
        if offer.microusd_per_hour == 0 and not spot:
            likelihood = FREE
        else:
            likelihood = (
                PLAIN if not offer.gpu_count else GPU if offer.gpu_memory_bytes < LARGE_GPU_BYTES else LARGE_GPU
            )
        if spot:
            likelihood *= SPOT
        why = ""
        code = offer.spot_quota if spot else offer.quota
        if code and (offer.provider, offer.region, code) not in self._quotas:
            likelihood *= QUOTA_UNKNOWN
            why = "quota not known"
        refusal = self._refused and self._newest(offer, spot)
        if refusal:
            likelihood *= 1.0 - 0.5 ** (self._age(refusal) / HALF_LIFE_S)
            why = f"{KINDS[refusal.kind]} {self._ago(refusal)}"
        return max(likelihood, LEAST), why

    def _remember(self, refusal: Refusal) -> None:
        old = self._age(refusal)
        pool = (refusal.provider, refusal.region, refusal.zone, refusal.instance, refusal.spot)
        if refusal.kind == "not_permitted":
            if old < NOT_PERMITTED_S:
                self._forbidden[refusal.provider, refusal.region] = refusal
            return
        if refusal.kind == "no_quota" and old < NO_QUOTA_S:
            self._short[refusal.provider, refusal.region, "", refusal.instance, refusal.spot] = refusal
        there = self._refused.get(pool)
        if there is None or refusal.at_unix_s > there.at_unix_s:
            self._refused[pool] = refusal

    def _codes(self, offers: Iterable[Offer]) -> Iterable[tuple[tuple[str, str, str], tuple[int, Refusal]]]:
        """Quotas by which a machine was refused, with the least that did not fit, from the most to the least."""
        found = []
        for offer in offers:
            for code, spot in ((offer.quota, False), (offer.spot_quota, True)):
                refusal = self._short.get((offer.provider, offer.region, "", offer.instance, spot))
                if code and refusal is not None:
                    found.append(((offer.provider, offer.region, code), (offer.quota_units, refusal)))
        return sorted(found, key=lambda item: -item[1][0])

    def _short_of(self, offer: Offer, spot: bool, code: str) -> Refusal | None:
        refusal = self._short.get((offer.provider, offer.region, "", offer.instance, spot))
        if refusal is None and code:
            units, refused = self._short_codes.get((offer.provider, offer.region, code), (0, None))
            return refused if offer.quota_units >= units else None
        return refusal

    def _newest(self, offer: Offer, spot: bool) -> Refusal | None:
        """The last refusal of this machine in its zone, or in its region where the provider chose the zone."""
        here = self._refused.get((offer.provider, offer.region, offer.zone, offer.instance, spot))
        if not offer.zone:
            return here
        anywhere = self._refused.get((offer.provider, offer.region, "", offer.instance, spot))
        if here is None or anywhere is None:
            return here or anywhere
        return here if here.at_unix_s >= anywhere.at_unix_s else anywhere

    def _age(self, refusal: Refusal) -> float:
        # Another machine's clock may be ahead: a refusal from the future is one of this moment.
        return max(0.0, self._now - refusal.at_unix_s)

    def _ago(self, refusal: Refusal) -> str:
        old = age(self._age(refusal))
        return "just now" if old == "now" else f"{old} ago"


def _quota_text(quota: Quota, offer: Offer) -> str:
    name = quota.name or NAMES.get(quota.code, "")
    left = max(quota.limit - quota.used, 0)
    return f"quota {left} of {offer.quota_units}: {quota.code}" + (f" ({name})" if name else "")

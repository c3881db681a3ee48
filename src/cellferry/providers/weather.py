"""What happens in the simulated cloud, from a seed. Pure: the same seed, machine and try give the same fate."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cellferry.errors import BadValue
from cellferry.model import Offer, Quota

Fate = Literal["starts", "no_capacity", "price_too_high", "boot_failed", "leaked"]


@dataclass(frozen=True)
class Weather:
    """How the simulated cloud behaves. Chances from 0 to 1, times in real seconds.

    ``stock_out``: that a scarce GPU is not to be had, for one kind in one region; machines without a GPU are never out.
    ``no_quota``: that the account may have none of a family in a region. ``boot_failure``: that a machine never becomes
    reachable. ``leak``: that one which failed is not ended either, so that it costs money until it is reaped.
    ``spot_life_s``: after this time on average, the provider takes a spot machine back, ``notice_s`` after it said so;
    None: it never does. ``boot_s``: how long a machine takes to boot, from and to.
    """

    stock_out: float = 0.5
    no_quota: float = 0.2
    boot_failure: float = 0.0
    leak: float = 0.0
    spot_life_s: float | None = 3600.0
    notice_s: float = 120.0
    boot_s: tuple[float, float] = (0.2, 1.0)


EXAMPLE = "{'stock_out': 1.0, 'boot_s': (0, 2)}"


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_chance(value: object) -> bool:
    return _is_time(value) and value <= 1  # type: ignore[operator]


def _is_span(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_time, value)) and value[0] <= value[1]


_CHANCE = (_is_chance, "a chance from 0 to 1")
FIELDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "stock_out": _CHANCE,
    "no_quota": _CHANCE,
    "boot_failure": _CHANCE,
    "leak": _CHANCE,
    "spot_life_s": (lambda value: value is None or _is_time(value), "seconds, or None for never"),
    "notice_s": (_is_time, "seconds"),
    "boot_s": (_is_span, "the least and the most seconds, as (0, 2)"),
}
"""What each field of a weather may be, and how people are told."""


def weather_from(told: Mapping[str, Any]) -> Weather:
    """The weather of the setting ``c.Cellferry.demo_weather``. Raises BadValue, which names the valid fields and what they take."""
    read: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
    for key, value in read.items():
        if key not in FIELDS:
            valid = "; ".join(f"{name}: {words}" for name, (_, words) in FIELDS.items())
            raise BadValue(f"c.Cellferry.demo_weather has no field {key!r}", f"its fields are {valid} - for example {EXAMPLE}")
        fits, words = FIELDS[key]
        if not fits(value):
            raise BadValue(f"c.Cellferry.demo_weather: {key} is {value!r}, and must be {words}", f"for example {EXAMPLE}")
    return Weather(**read)


SCARCE = {"a100": 1.0, "a100-80gb": 1.0, "h100": 1.0, "h200": 1.0, "b200": 1.0, "b300": 1.0, "v100": 0.6, "l40s": 0.5}
"""How much of ``stock_out`` counts for a GPU; 0.2 for any other."""
QUOTA_UNITS = 1152
"""Enough for six of the largest machines."""


class Sky:
    """The fates of one seed under one weather."""

    def __init__(self, seed: int, weather: Weather) -> None:
        self.seed, self.weather = seed, weather

    def fate(self, offer: Offer, spot: bool, attempt: int) -> Fate:
        """What comes of the ``attempt``-th try (from 0) to get this machine."""
        weather, place = self.weather, (offer.region, offer.zone, offer.instance, spot, attempt)
        if offer.gpu and self._chance("stock", *place) < weather.stock_out * SCARCE.get(offer.gpu, 0.2):
            return "no_capacity"
        if self._chance("boot", *place) < weather.boot_failure:
            return "leaked" if self._chance("leak", *place) < weather.leak else "boot_failed"
        return "starts"

    def boot_s(self, offer: Offer, token: str) -> float:
        """How long this machine takes to boot."""
        least, most = self.weather.boot_s
        return least + (most - least) * self._chance("boot_s", offer.instance, token)

    def spot_life_s(self, token: str) -> float | None:
        """When, after its start, a spot machine is told that it will be taken back; None: never."""
        mean_s = self.weather.spot_life_s
        return None if mean_s is None else mean_s * (0.5 + self._chance("life", token))

    def quotas(self, offers: Sequence[Offer], names: dict[str, str]) -> list[Quota]:
        """What the account may have: nothing in some places, much in the others."""
        wanted = {(o.provider, o.region, code) for o in offers for code in (o.quota, o.spot_quota) if code}
        return [
            Quota(provider, region, code, names.get(code, code), self._quota(region, code))
            for provider, region, code in sorted(wanted)
        ]

    def _quota(self, region: str, code: str) -> int:
        return 0 if self._chance("quota", region, code) < self.weather.no_quota else QUOTA_UNITS

    def _chance(self, *what: object) -> float:
        """A number from 0 to 1 that belongs to the seed and to ``what``."""
        digest = hashlib.sha256(repr((self.seed, *what)).encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

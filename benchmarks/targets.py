"""Targets: figures computed from the medians of one run, each a ratio or a bound, with its limit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Lookup = Callable[[str, str], float]
"""(contender, metric) -> median in seconds or bytes; raises KeyError when it was not measured."""

MIB = 1 << 20


@dataclass(frozen=True)
class Target:
    """One line under a row. ``limit`` None: shown for information, never judged."""

    label: str
    figure: Callable[[Lookup], float]
    sense: Literal["<=", ">="] = "<="
    limit: float | None = None
    unit: str = "x"


@dataclass(frozen=True)
class Verdict:
    """A target with its figure; ``figure`` None: something it needs was not measured."""

    target: Target
    figure: float | None

    @property
    def word(self) -> str:
        """pass, MISS, info, or "not measured"."""
        if self.figure is None:
            return "not measured"
        limit = self.target.limit
        if limit is None:
            return "info"
        good = self.figure <= limit if self.target.sense == "<=" else self.figure >= limit
        return "pass" if good else "MISS"


def judge(target: Target, lookup: Lookup) -> Verdict:
    """Compute one target."""
    try:
        return Verdict(target, target.figure(lookup))
    except KeyError:
        return Verdict(target, None)


def time_ratio(
    label: str, metric: str, peer: str, limit: float | None, ours: str = "cellferry", peer_metric: str | None = None
) -> Target:
    """Our time over a peer's: below 1 is faster."""
    theirs = peer_metric or metric
    return Target(label, lambda median: median(ours, metric) / median(peer, theirs), "<=", limit)


def speed_ratio(
    label: str, metric: str, peer: str, limit: float | None, ours: str = "cellferry", peer_metric: str | None = None
) -> Target:
    """Our bytes a second over a peer's for the same payload: above 1 is faster."""
    theirs = peer_metric or metric
    return Target(label, lambda median: median(peer, theirs) / median(ours, metric), ">=", limit)


def added(label: str, seen_metric: str, peer: str, peer_metric: str, limit: float | None) -> Target:
    """What the frontend sees above a local cell, over that local cell."""

    def figure(median: Lookup) -> float:
        alone = median(peer, peer_metric)
        return (median("cellferry", seen_metric) - alone) / alone

    return Target(label, figure, "<=", limit)


def bound(label: str, metric: str, limit: float, unit: str, scale: float, ours: str = "cellferry") -> Target:
    """Our own figure, in ``unit`` (``scale`` units for one second or byte)."""
    return Target(label, lambda median: median(ours, metric) * scale, "<=", limit, unit)


def exponent(label: str, metric: str, small: tuple[str, int], large: tuple[str, int], limit: float) -> Target:
    """b in time ~ size**b between two steps of a row, each (label, size): 1 is linear."""

    def figure(median: Lookup) -> float:
        grown = median("cellferry", f"{metric}@{large[0]}") / median("cellferry", f"{metric}@{small[0]}")
        return math.log(grown) / math.log(large[1] / small[1])

    return Target(label, figure, "<=", limit, "exponent")

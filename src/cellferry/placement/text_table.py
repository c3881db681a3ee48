"""Money, ages, sizes and places as people read them, and rows as a table of plain text."""

from __future__ import annotations

from collections.abc import Sequence

from cellferry.model import Offer, RefusalKind

KINDS: dict[RefusalKind, str] = {
    "no_quota": "no quota",
    "no_capacity": "no capacity",
    "price_too_high": "price too high",
    "not_permitted": "not permitted",
    "timeout": "too slow to start",
    "failed": "failed",
}
"""Why a machine was not to be had, in the words of the documentation."""

_GIB = 1 << 30
_UNITS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"))


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """``rows`` below ``heads``, each column as wide as it needs; no line ends in blanks."""
    lines = [heads, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def money(microusd: int | None) -> str:
    """``$0.526``, ``$32.77``, ``free``; "" for what is not sold."""
    if microusd is None:
        return ""
    if microusd == 0:
        return "free"
    usd = microusd / 1_000_000
    return f"${usd:.2f}" if usd >= 10 else f"${usd:.3f}" if usd >= 0.01 else f"${usd:.6f}"


def age(seconds: float) -> str:
    """``307 days``, ``2 hours``, ``12 minutes``, ``now``."""
    for unit_s, name in _UNITS:
        count = int(seconds // unit_s) if seconds < 1e12 else 0
        if count:
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "now" if seconds < 60.0 else "ages"


def size(size_bytes: int) -> str:
    """``40 GiB``; what is no whole number of them in the makers' gigabytes (``24 GB``); "" for none."""
    if not size_bytes:
        return ""
    gib, rest = divmod(size_bytes, _GIB)
    return f"{gib} GiB" if rest == 0 else f"{size_bytes / 1e9:.3g} GB"


def gpus(offer: Offer) -> str:
    """``8 x a100 40 GiB``; "" for none."""
    if not offer.gpu_count:
        return ""
    return f"{offer.gpu_count} x {offer.gpu} {size(offer.gpu_memory_bytes)}".rstrip()


def seller(offer: Offer) -> str:
    """The provider; what is simulated says so."""
    return f"{offer.provider} (simulated)" if offer.simulated else offer.provider


def place(offer: Offer) -> str:
    """``us-east-1``, or its zone where the offer is for one."""
    return offer.zone or offer.region


def way(spot: bool) -> str:
    """How it is bought."""
    return "spot" if spot else "on demand"

"""Arithmetic of money: integer micro-dollars, exact, rounded to the side on which nobody pays too little or too much."""

from __future__ import annotations

import math
from fractions import Fraction

HOUR_S = 3600
MICROUSD = 1_000_000
"""Micro-dollars in a US dollar."""


def cost_microusd(microusd_per_hour: int, seconds: float) -> int:
    """What ``seconds`` cost at this price, rounded up to a whole micro-dollar; 0 for no time, or less than none.

    Exact: the seconds are taken as the fraction that the float is. Never less for a longer time.
    """
    if seconds <= 0 or microusd_per_hour <= 0:
        return 0
    return math.ceil(microusd_per_hour * Fraction(seconds) / HOUR_S)


def seconds_for(microusd: int, microusd_per_hour: int) -> float:
    """The longest time that ``microusd`` pays for, rounded down: it never costs more. ``inf`` for what is free."""
    if microusd_per_hour <= 0:
        return math.inf
    exact = Fraction(max(microusd, 0) * HOUR_S, microusd_per_hour)
    seconds = float(exact)
    return seconds if Fraction(seconds) <= exact else math.nextafter(seconds, 0.0)


def dollars(microusd: int) -> str:
    """For people: "$1.29", "$0.0042"; cents, or below a cent two digits that are not zero, rounded half to even."""
    sign, amount = ("-" if microusd < 0 else ""), abs(microusd)
    places = 2
    if 0 < amount < MICROUSD // 100:
        places = 6 - len(str(amount)) + 2
    step = 10 ** max(6 - places, 0)
    units = round(Fraction(amount, step)) * step
    text = f"{units // MICROUSD}.{units % MICROUSD:06d}"
    whole, _, digits = text.partition(".")
    return f"{sign}${whole}.{digits[:2]}{digits[2:].rstrip('0')}"


def dollars_down(microusd: int) -> str:
    """As ``dollars``, but never more than there is: for what is left under a limit."""
    cent = MICROUSD // 100
    return dollars(microusd // cent * cent if microusd >= cent else microusd)

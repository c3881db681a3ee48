"""Words for amounts: ``32G``, ``10m``, ``$5``. Each reader returns a plain number or raises ValueError saying why."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

_BYTES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_MICRO = 1_000_000
# Far beyond any real machine, cell or purse; keeps `1e999999G` from building a number with a million digits.
_LARGEST = Decimal(10) ** 18


def read_count(text: str) -> int:
    """A whole number of at least one."""
    if not (text.isascii() and text.isdigit()) or int(text[:10]) == 0 or len(text) > 6:
        raise ValueError("it must be a whole number of at least 1")
    return int(text)


def read_size(text: str) -> int:
    """``512M``, ``32G``, ``32GB``, ``1.5GiB`` in bytes; units are binary, as machine types count memory."""
    body = text.upper().removesuffix("B").removesuffix("I")
    unit = _BYTES.get(body[-1:])
    if unit is None:
        raise ValueError("a size is a number with a unit: K, M, G or T")
    return int(_positive(body[:-1], "a size") * unit)


def read_duration(text: str) -> float:
    """``90s``, ``10m``, ``2h``, ``1d`` or several together (``1h30m``) in seconds, larger units first."""
    total, rest = Decimal(0), text.lower()
    for unit, seconds in _SECONDS.items():
        amount, found, after = rest.partition(unit)
        if found:
            total += _positive(amount, "a duration") * seconds
            rest = after
    if rest or not total:
        raise ValueError("a duration is a number with a unit: d, h, m or s")
    return float(total)


def read_money(text: str) -> int:
    """``5``, ``$5``, ``0.50`` (US dollars) in integer micro-dollars."""
    micro = _number(text.removeprefix("$"), "an amount") * _MICRO
    if micro < 0 or micro != int(micro):
        raise ValueError("an amount is in US dollars, not negative, with at most six decimals")
    return int(micro)


def _number(text: str, what: str) -> Decimal:
    # Only plain digits and a point: Decimal itself would also take "nan", "1e9" and digits with underscores.
    try:
        value = Decimal(text) if text.isascii() and text.replace(".", "", 1).isdigit() else None
    except InvalidOperation:
        value = None
    if value is None or value > _LARGEST:
        raise ValueError(f"{what} needs a plain number")
    return value


def _positive(text: str, what: str) -> Decimal:
    value = _number(text, what)
    if value <= 0:
        raise ValueError(f"{what} must be more than zero")
    return value

"""Money: what may be spent, what is held for whom, what was spent on what; integer micro-dollars throughout.

The nouns and the arithmetic load quickly. The database behind ``Ledger`` is loaded by ``open_ledger``, which is called
only where a machine costs money or somebody asks about money. Nothing in this room reads the clock: times are arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellferry.config import Cellferry
from cellferry.ledger.money import cost_microusd, dollars, seconds_for
from cellferry.ledger.nouns import Ask, Balance, CostRow, Limit, Period, Receipt, Reservation
from cellferry.ledger.records import worker_from_record, worker_to_record

if TYPE_CHECKING:
    from cellferry.ledger.ledger import Ledger

__all__ = [
    "Ask",
    "Balance",
    "CostRow",
    "Ledger",
    "Limit",
    "Period",
    "Receipt",
    "Reservation",
    "cost_microusd",
    "dollars",
    "open_ledger",
    "seconds_for",
    "worker_from_record",
    "worker_to_record",
]


def open_ledger(config: Cellferry) -> Ledger:
    """The ledger that ``config.ledger`` names, made or brought up to date if need be.

    Called by the fleet before the first machine that costs money, and by whatever shows costs; close it in the end.
    Raises LedgerError: it cannot be reached, read or written, or belongs to a later version of cellferry.
    """
    from cellferry.ledger.opening import open_database

    return open_database(config)


def __getattr__(name: str) -> object:
    if name == "Ledger":
        from cellferry.ledger.ledger import Ledger

        return Ledger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""What doors show about machines and money; they draw it, this knows it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from cellferry.config import Cellferry
from cellferry.errors import CellferryError
from cellferry.fleet.fleet import Fleet
from cellferry.fleet.states import set_up
from cellferry.ledger import Balance
from cellferry.model import CellRequest, Check, Quota
from cellferry.placement.plan import no_offer_error
from cellferry.placement.table import OfferRow, rows
from cellferry.providers.base import Examined, Market, Progress

SHOWN = ("local", "demo")
"""What there is to look at where nothing is set up."""


def looked_at(request: CellRequest, config: Cellferry) -> CellRequest:
    """The request of somebody who only looks: everything that is set up, else this machine and the simulated cloud."""
    if request.providers or request.host:
        return request
    return replace(request, providers=("local", *set_up(config)) if set_up(config) else SHOWN)


def offers(fleet: Fleet, request: CellRequest, config: Cellferry) -> tuple[OfferRow, ...]:
    """The table of offers, cheapest first. Raises RequestError when nothing fits, naming what comes nearest."""
    asked = looked_at(request, config)
    plan, every = fleet.hunt.plan(asked)
    if not plan.attempts and not plan.ruled_out:
        raise no_offer_error(asked, every)
    return rows(plan, time.time())


def refresh(fleet: Fleet, request: CellRequest, config: Cellferry, progress: Progress) -> int:
    """Bring live prices from the providers; how many came."""
    count = 0
    for name in looked_at(request, config).providers:
        provider = fleet.provider(name)
        if isinstance(provider, Market):
            count += provider.refresh(progress)
    return count


def balances(fleet: Fleet) -> Sequence[tuple[bool, Balance]]:
    """How each limit stands: whether it is for simulated money, and the balance."""
    return [(simulated, balance) for simulated in (False, True) for balance in fleet.purse.balances(simulated)]


def quotas(fleet: Fleet, request: CellRequest, config: Cellferry) -> list[Quota]:
    """What the account may have where ``request`` looks."""
    asked = looked_at(request, config)
    found = set(fleet.hunt.quotas(asked))
    return sorted(found, key=lambda quota: (quota.provider, quota.region, quota.code))


def examine(fleet: Fleet, config: Cellferry) -> Iterator[Check]:
    """Doctor's lines for the providers that are set up, and for the ledger."""
    yield _ledger(fleet)
    for name in (*set_up(config), "demo"):
        try:
            provider = fleet.provider(name)
            if isinstance(provider, Examined):
                yield from provider.examine()
        except CellferryError as error:
            yield Check(name, False, error.what, error.advice)


def _ledger(fleet: Fleet) -> Check:
    try:
        held = len(fleet.purse.open()) if fleet.purse.kept else 0
    except CellferryError as error:
        return Check("ledger", False, error.what, error.advice)
    return Check("ledger", True, f"{held} machines hold money" if fleet.purse.kept else "none yet: nothing was ever paid for")


def aws_policy(regions: Sequence[str]) -> dict[str, Any]:
    """The least IAM policy for provider aws, for ``regions`` (all of them if none is named)."""
    from cellferry.providers.aws_policy import least_policy

    return least_policy(list(regions))

"""What doors show about machines and money; they draw it, this knows it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cellferry.config import Cellferry
from cellferry.errors import CellferryError
from cellferry.fleet.fleet import Fleet
from cellferry.fleet.states import set_up
from cellferry.ledger import Balance, Limit, Period
from cellferry.model import CellRequest, Check, Quota
from cellferry.placement.plan import no_offer_error
from cellferry.placement.table import OfferRow, rows, to_compare
from cellferry.providers import other_clouds
from cellferry.providers.base import Examined, Market, Progress

SHOWN = ("local", "demo")
"""What there is to look at where nothing is set up."""
MOST_ELSEWHERE = 10


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


def elsewhere(request: CellRequest, config: Cellferry) -> tuple[OfferRow, ...]:
    """Prices of clouds that no provider here knows, to compare with: the cheapest few, where the request names no place."""
    if request.providers or request.host or request.region:
        return ()
    return to_compare(other_clouds.kept(config), request.hardware, MOST_ELSEWHERE, time.time())


def words_for(row: OfferRow, words: Sequence[str]) -> list[str]:
    """What to write after ``%%remote`` to get this offer; ``words``: what was asked, of which the rest is kept."""
    decided = ("gpu", "provider", "region", "host")
    kept = [word for word in words if word.partition("=")[0] not in decided]
    named = {word.partition("=")[0] for word in kept}
    found = [f"gpu={row.gpu}" + (f":{row.gpu_count}" if row.gpu_count > 1 else "")] if row.gpu else []
    if not row.gpu and row.provider != "local":
        found += [f"cpus={row.cpus}"] if row.cpus and "cpus" not in named else []
        found += [f"memory={row.memory_bytes >> 30}G"] if row.memory_bytes >> 30 and "memory" not in named else []
    found.append(f"provider={row.provider}")
    if row.provider == "ssh":
        found.append(f"host={row.instance}")
    elif row.provider != "local":
        found.append(f"region={row.region}")
    return [*found, *kept]


def not_set_up(fleet: Fleet, config: Cellferry) -> Iterator[Check]:
    """What could be configured and is not, with what does it."""
    there = set_up(config)
    if "ssh" not in there:
        yield Check("ssh", False, "no machine of yours is named", 'c.Cellferry.hosts = ["me@box"] in jupyter_cellferry_config.py')
    if "aws" not in there:
        advice = 'c.Cellferry.aws_regions = ["eu-west-1"] in jupyter_cellferry_config.py, then: cellferry aws-policy'
        yield Check("aws", False, "no region is named", advice)
    if there and not any(limit for limit in fleet.purse.limits(False)):
        yield Check("budget", False, "nothing limits what may be spent", "cellferry budget 20 --per day")


def refresh(fleet: Fleet, request: CellRequest, config: Cellferry, progress: Progress) -> int:
    """Bring live prices from the providers; how many came."""
    count = 0
    for name in looked_at(request, config).providers:
        provider = fleet.provider(name)
        if isinstance(provider, Market):
            count += provider.refresh(progress)
    if not (request.providers or request.host):
        try:
            count += other_clouds.refresh(config, progress)
        except CellferryError as error:
            progress(f"{error.what} ({error.advice})")  # they are to compare with; what can be had is there
    return count


def balances(fleet: Fleet) -> Sequence[tuple[bool, Balance]]:
    """How each limit stands: whether it is for simulated money, and the balance."""
    return [(simulated, balance) for simulated in (False, True) for balance in fleet.purse.balances(simulated)]


@dataclass(frozen=True)
class Budget:
    """What was spent and is held in one period, and what may be; None where nothing limits it. Micro-dollars."""

    period: str
    notebook: str
    simulated: bool
    spent_microusd: int = 0
    reserved_microusd: int = 0
    limit_microusd: int | None = None
    left_microusd: int | None = None


def budgets(fleet: Fleet, notebooks: Sequence[str]) -> list[Budget]:
    """This person's day and month, and each of these notebooks; simulated money only where there was some."""
    found = []
    for simulated in (False, True):
        rows = _budgets(fleet, "", ("day", "month", "person"), simulated)
        for notebook in notebooks:
            rows += _budgets(fleet, notebook, ("notebook",), simulated)
        found += [row for row in rows if not simulated or row.spent_microusd or row.reserved_microusd]
    return found


def _budgets(fleet: Fleet, notebook: str, periods: Sequence[Period], simulated: bool) -> list[Budget]:
    purse = fleet.purse
    limits: dict[str, Limit] = {limit.period: limit for limit in purse.limits(simulated, notebook)}
    asked = [limits.get(p) or Limit(p, "", 0) for p in periods if p in limits or p != "person"]
    if purse.kept:
        standing = purse.ledger.balances(asked, purse.person(simulated), notebook, time.time())
    else:
        standing = [Balance(limit, 0, 0, limit.microusd) for limit in asked]
    return [
        Budget(
            row.limit.period, notebook, simulated, row.spent_microusd, row.reserved_microusd,
            row.limit.microusd if row.limit.period in limits else None,
            row.left_microusd if row.limit.period in limits else None,
        )
        for row in standing
    ]  # fmt: skip


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


def aws_policy(regions: Sequence[str], person: str) -> dict[str, Any]:
    """The least IAM policy for provider aws, for ``regions`` (all of them if none is named) and the machines of ``person``."""
    from cellferry.providers.aws_policy import least_policy

    return least_policy(list(regions), person)

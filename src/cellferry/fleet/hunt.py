"""Get one machine: offers and standing from the providers, a plan from ``placement``, then one try after the other.

Every try has its own reservation, made before the provider is asked and given back when nothing came of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from heapq import merge
from itertools import groupby
from typing import cast

from cellferry.config import Cellferry
from cellferry.errors import BudgetExceeded, CellferryError, LedgerUnavailable, Refused
from cellferry.fleet.purse import Purse
from cellferry.fleet.states import candidates
from cellferry.model import CellRequest, Offer, Order, Quota, Refusal, Standing, Worker
from cellferry.placement.fit import fits
from cellferry.placement.plan import LEAST_S, Attempt, Plan, no_offer_error, plan
from cellferry.placement.text_table import money
from cellferry.providers.base import Market, Progress, Provider

MOST_TRIES = 12
"""One cell tries no more machines than this; the error says what was tried, and the next cell knows it."""
REMEMBERED_S = 86400.0

Find = Callable[[str], Provider]


class Shop(Market, Provider):
    """A provider that has something to choose from; for the type checker."""


class Hunt:
    """Finds and starts machines for one fleet. Keeps nothing but what the ledger keeps."""

    def __init__(self, config: Cellferry, find: Find, purse: Purse, clock: Callable[[], float] = time.time) -> None:
        self._config, self._find, self._purse, self._clock = config, find, purse, clock
        self.refused: tuple[Refusal, ...] = ()
        """The tries of the last search that came to nothing."""

    def offers(self, request: CellRequest) -> list[Offer]:
        """Everything that the providers of ``request`` have, whether it fits or not."""
        return [offer for market in self._markets(request) for offer in market.offers(request)]

    def quotas(self, request: CellRequest) -> list[Quota]:
        """What the accounts may have of what fits ``request``, as far as it can be told."""
        return list(self._quotas(request, [o for o in self.offers(request) if not fits(request.hardware, o)]))

    def plan(self, request: CellRequest) -> tuple[Plan, list[Offer]]:
        """What could be tried for ``request`` now, and all offers behind it."""
        offers = self.offers(request)
        standing = self._standing(request, offers)
        return self._plan(request, offers, standing), offers

    def start(self, request: CellRequest, name: str, idle_s: float, progress: Progress) -> Worker:
        """A running worker. Raises NothingToBeHad with the whole history, RequestError when nothing on offer fits,
        BudgetError, or what a provider raises that is no refusal."""
        offers = self.offers(request)
        standing = self._standing(request, offers)
        whole = now = self._plan(request, offers, standing)
        if not whole.attempts and whole.ruled_out and self._settle():  # what held the rest had ended long ago
            whole = now = self._plan(request, offers, standing)
        history: list[Refusal] = []
        tried: set[tuple[Offer, bool]] = set()
        while len(history) < MOST_TRIES:
            attempt = next((a for a in now.attempts if (a.offer, a.spot) not in tried), None)
            if attempt is None:
                break
            tried.add((attempt.offer, attempt.spot))
            progress(_line(attempt, len(tried), whole))
            self.refused = tuple(history)
            outcome = self._try(request, name, attempt, idle_s, progress)
            if isinstance(outcome, Worker):
                return outcome
            history.append(outcome)
            standing = replace(standing, refusals=(*standing.refusals, outcome))
            now = self._plan(request, offers, standing)
        if not history:
            self._tell_holder(request, name, whole, idle_s)
        raise no_offer_error(request, offers, now if history else whole, history)

    def _tell_holder(self, request: CellRequest, name: str, whole: Plan, idle_s: float) -> None:
        """Raise BudgetExceeded, which says who holds the rest, where it is only the limits that leave too little."""
        told = request.budget_microusd
        dear = next((out for out in whole.ruled_out if out.kind == "price_too_high"), None)
        if whole.attempts or dear is None:
            return
        price = dear.offer.price(dear.spot)
        if told is not None and price * LEAST_S > told * 3600:
            return  # the cell's own budget is too small, whoever holds what
        order = self._purse.reserve(request, name, dear.offer, dear.spot, idle_s)
        self._purse.ended(order.token, never_started=True)  # it became free in this moment: the next cell finds it

    def _try(
        self, request: CellRequest, name: str, attempt: Attempt, idle_s: float, progress: Progress
    ) -> Worker | Refusal:
        offer, purse = attempt.offer, self._purse
        order = self._reserve(request, name, attempt, idle_s)
        if offer.provider == "local":  # it belongs to its notebook, however it was chosen
            order = replace(order, lease=replace(order.lease, grace_s=self._config.grace_s))
        try:
            worker = self._find(offer.provider).start(order, progress)
        except Refused as refused:
            purse.in_vain(order, refused.kind)
            refusal = Refusal(
                offer.provider, offer.region, offer.zone, offer.instance, attempt.spot, refused.kind, refused.what,
                self._clock(),
            )  # fmt: skip
            with suppress(LedgerUnavailable):  # the next cell asks in vain once more
                purse.ledger.note_refusal(refusal)
            progress(f"{offer.instance} in {offer.zone or offer.region}: {refused.what}")
            return refusal
        except BaseException:
            purse.ended(order.token, never_started=True)
            raise
        try:
            purse.started(order, worker, progress)
        except BaseException:
            self._find(offer.provider).stop(worker)  # it is not paid for
            raise
        return worker

    def _reserve(self, request: CellRequest, name: str, attempt: Attempt, idle_s: float) -> Order:
        try:
            return self._purse.reserve(request, name, attempt.offer, attempt.spot, idle_s)
        except BudgetExceeded:
            if not self._settle():
                raise
            return self._purse.reserve(request, name, attempt.offer, attempt.spot, idle_s)

    def _settle(self) -> bool:
        """Whether money became free that was held for workers which have ended, with nobody there to say so."""
        from cellferry.fleet.reap import settle_dead

        return bool(settle_dead(self._purse, self._find))

    def _plan(self, request: CellRequest, offers: Sequence[Offer], standing: Standing) -> Plan:
        """One plan for real and simulated offers, each with the money that there is for it."""
        plans = []
        for simulated, group in groupby(
            sorted(offers, key=lambda offer: offer.simulated), lambda offer: offer.simulated
        ):
            most = self._purse.most(request, simulated)
            plans.append(plan(request, list(group), standing, most_microusd=most, now_unix_s=self._clock()))
        if len(plans) == 1:  # as nearly always; nothing is to be merged
            return plans[0]
        attempts = merge(*(each.attempts for each in plans), key=lambda a: a.expected_microusd)
        return Plan(tuple(attempts), tuple(out for each in plans for out in each.ruled_out))

    def _standing(self, request: CellRequest, offers: Sequence[Offer]) -> Standing:
        fitting = [offer for offer in offers if not fits(request.hardware, offer)]
        refusals = self._purse.ledger.refusals(self._clock() - REMEMBERED_S)
        return Standing(tuple(self._quotas(request, fitting)), tuple(refusals))

    def _quotas(self, request: CellRequest, offers: Sequence[Offer]) -> Iterable[Quota]:
        for market in self._markets(request):
            mine = [offer for offer in offers if offer.provider == market.name]
            if mine:
                yield from market.quotas(mine)

    def _markets(self, request: CellRequest) -> list[Shop]:
        """The providers of ``request`` that have something to choose from; those that cannot be used are an error only if
        they were asked for by name."""
        names, found, trouble = candidates(request, self._config), list[Shop](), list[CellferryError]()
        for name in names:
            try:
                provider = self._find(name)
            except CellferryError as error:
                trouble.append(error)
                continue
            if isinstance(provider, Market):
                found.append(cast(Shop, provider))
        if trouble and (request.providers or not found):
            raise trouble[0]
        return found


def _line(attempt: Attempt, number: int, whole: Plan) -> str:
    offer = attempt.offer
    gpus = f"{offer.gpu_count}x {offer.gpu}, " if offer.gpu else ""
    way = " spot" if attempt.spot else ""
    mark = ", simulated" if offer.simulated else ""
    return (
        f"{number}. {offer.provider} {offer.zone or offer.region}: {offer.instance}{way} ({gpus}"
        f"{money(attempt.microusd_per_hour)}/h{mark}), one of {len(whole.attempts)} that would do"
    )

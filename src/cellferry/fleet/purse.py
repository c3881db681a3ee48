"""The money of one process: what it may spend, what is held for its workers, the meter that runs while they exist.

What the simulated cloud costs is accounted for like everything else, under a person of its own ("ana (simulated)"), so that
simulated dollars never count against real limits, nor real ones against simulated.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from cellferry.config import Cellferry, person_of, state_folder, user_name
from cellferry.errors import LedgerError, LedgerUnavailable, NoBudget
from cellferry.fleet.clock import now_for, since_now
from cellferry.fleet.noting import NOTE_S, Noting
from cellferry.fleet.owed import End, Note
from cellferry.ledger import (
    Ask,
    Balance,
    CostRow,
    Limit,
    Receipt,
    Reservation,
    cost_microusd,
    dollars,
    open_ledger,
    seconds_for,
    worker_from_record,
    worker_to_record,
)
from cellferry.model import LAST_S, CellRequest, Lease, Offer, Order, RefusalKind, Worker
from cellferry.placement.plan import LEAST_S

if TYPE_CHECKING:
    from cellferry.ledger import Ledger
    from cellferry.ledger.nouns import By

METER_S = 5.0
"""How often the meter counts; also how soon a worker that ended by itself stops to hold money."""
LONGEST_S = 24 * 3600.0
"""Nothing is reserved for longer than this at once, whatever the limits allow; ``%remote extend`` adds to it."""
SIMULATED = " (simulated)"
STARTED_S = 90.0
"""So long a machine that was just started waits for the ledger to know it; its money is reserved."""
EXTEND_S = 10.0
"""So long a cell waits for more money for a worker that has some; its own limit holds meanwhile."""


class Purse:
    """Opens the ledger with its first use. All methods may be called from every thread.

    What reserves money, or asks for limits and sums, raises LedgerError where the ledger cannot be used. What only notes
    something (``note_cell``, ``note_traffic``, ``ended``, ``in_vain``) never does: it is owed then, and ``behind`` says why.
    """

    def __init__(
        self, config: Cellferry, notebook: str, alive: Callable[[Worker], bool], clock: Callable[[], float] = time.time
    ) -> None:
        """``alive``: asked by the meter; a worker that has ended gets no more money."""
        self._config, self.notebook, self._alive, self._clock = config, notebook, alive, clock
        self._who = person_of(config)
        self._lock, self._opening = threading.Lock(), threading.Lock()
        self._ledger: Ledger | None = None
        self._noting = Noting(lambda: state_folder(config), lambda: self.ledger)
        self._seen: dict[str, Reservation] = {}
        self._running: dict[str, Worker] = {}
        self._closed = threading.Event()
        self._meter: threading.Thread | None = None

    @property
    def ledger(self) -> Ledger:
        """Raises LedgerError."""
        with self._opening:
            if self._ledger is not None and self._ledger.replaced:
                self._ledger.close()
                self._ledger = None
            if self._ledger is not None:
                return self._ledger
            ledger = self._ledger = open_ledger(self._config)
        self._noting.catch_up(ledger)
        return ledger

    @property
    def kept(self) -> bool:
        """Whether there is a ledger at all: what is only shown should not make one."""
        return (
            self._ledger is not None
            or bool(self._config.ledger)
            or (state_folder(self._config) / "ledger.sqlite").exists()
        )

    def person(self, simulated: bool) -> str:
        return self._who + SIMULATED if simulated else self._who

    # -- limits -------------------------------------------------------------------------------------------------------

    def limits(self, simulated: bool, notebook: str | None = None) -> list[Limit]:
        """The limits in force: those of the configuration, and over them those that ``%remote budget`` has set.

        ``notebook``: another one than this purse's. Where nothing was ever paid for, those of the configuration alone.
        """
        config = self._config
        told = {"notebook": config.budget, "day": config.budget_day, "month": config.budget_month}
        found = {period: Limit(period, "", round(usd * 1e6)) for period, usd in told.items() if usd is not None}  # type: ignore[arg-type]
        where = self.notebook if notebook is None else notebook
        for limit in self.ledger.limits(self.person(simulated), where) if self.kept else ():
            found[limit.period] = limit
        return list(found.values())

    def set_limit(self, period: str, microusd: int | None, person: str = "") -> None:
        """For this notebook, for the day or month of this person, or for what ``person`` may spend in a month ("person").

        Simulated money gets a limit of the same size. None: forget what was set; one of the configuration stays.
        """
        for who in (person or self.person(False), (person or self._who) + SIMULATED):
            key = {"notebook": self.notebook, "person": who}.get(period, "")
            if microusd is None:
                self.ledger.remove_limit(Limit(period, key, 0), who)  # type: ignore[arg-type]
            else:
                self.ledger.set_limit(Limit(period, key, microusd), who)  # type: ignore[arg-type]

    def balances(self, simulated: bool) -> list[Balance]:
        """How each limit stands."""
        return self.ledger.balances(self.limits(simulated), self.person(simulated), self.notebook, self._clock())

    def most(self, request: CellRequest, simulated: bool) -> int | None:
        """Micro-dollars that a worker for ``request`` could get now; None: nothing limits it."""
        left = self.ledger.most_available(self.limits(simulated), self.person(simulated), self.notebook, self._clock())
        told = [amount for amount in (request.budget_microusd, left) if amount is not None]
        return min(told) if told else None

    # -- one worker ---------------------------------------------------------------------------------------------------

    def reserve(self, request: CellRequest, name: str, offer: Offer, spot: bool, idle_s: float) -> Order:
        """Hold the money for one machine; the order that may now be given to its provider.

        What is reserved is the worst case: the worker ends by itself before it has spent more. Raises BudgetExceeded,
        NoBudget for a machine that costs real money without any limit, LedgerError.
        """
        price = offer.price(spot)
        most, now = self.most(request, offer.simulated), self._clock()
        if price and most is None and not offer.simulated:
            raise NoBudget(
                f"{offer.instance} costs {dollars(price)} an hour, and nobody has said how much may be spent",
                "say it for the cell (%%remote ... budget=5), the notebook (%remote budget 20) or the day "
                "(%remote budget 50 --per day)",
            )
        longest, least = cost_microusd(price, LONGEST_S), cost_microusd(price, LEAST_S)
        amount = max(least, longest if most is None else min(most, longest))
        ask = Ask(
            uuid.uuid4().hex, self.person(offer.simulated), self.notebook, "", name, offer.provider, offer.region, offer.zone,
            offer.instance, spot, price, amount, now, f"{user_name()}@{socket.gethostname()} pid {os.getpid()}",
        )  # fmt: skip
        self.ledger.reserve(ask, self.limits(offer.simulated), now)
        ends = now + max(LAST_S, seconds_for(amount, price) - LAST_S) if price else None
        return Order(
            request, name, since_now(Lease(idle_s, None, ends, now)), offer, spot, ask.token, self._who, self.ledger.id,
            self.notebook, self._config.attempt_s,
        )  # fmt: skip

    def started(self, order: Order, worker: Worker, progress: Callable[[str], None] = lambda _line: None) -> None:
        """The machine exists: its meter runs since the order was given, which is the dearer way to count.

        A ledger that cannot be used at the moment is waited for, ``STARTED_S`` at most. Raises LedgerError: a machine that the
        ledger does not know must not run.
        """
        since = order.lease.since_unix_s
        deadline, record = time.monotonic() + STARTED_S, worker_to_record(worker)
        while True:
            try:
                row = self.ledger.started(order.token, record, self._clock() if since is None else since)
                break
            except LedgerUnavailable as error:
                if time.monotonic() > deadline or self._closed.wait(1.0):
                    raise
                progress(f"worker {worker.name} is there and waits: {error.what}")
        self._seen[order.token] = row
        self.watch(worker)

    def watch(self, worker: Worker) -> None:
        """Meter a worker that this process uses."""
        with self._lock:
            self._running[worker.token] = worker
        self._run_meter()

    def _run_meter(self) -> None:
        with self._lock:
            if self._meter is None:
                self._meter = threading.Thread(target=self._count, name="cellferry-meter", daemon=True)
                self._meter.start()

    def ended(self, token: str, *, at_unix_s: float | None = None, never_started: bool = False) -> int:
        """The machine is gone: what it did not spend is free again. Returns what it came to; repeatable."""
        with self._lock:
            self._running.pop(token, None)
        row = self.spent(token)
        if row is not None and row.state == "ended":
            return row.spent_microusd
        now = at_unix_s if at_unix_s is not None else self._clock() if row is None else self._now(row)
        self._note(End(token, now, 0 if never_started else None))
        if never_started or row is None:
            return 0
        return at_meter_of(row, now).spent_microusd

    def in_vain(self, order: Order, kind: RefusalKind) -> None:
        """Nothing came of the order. A machine that was given and never became reachable was paid for until now."""
        since = order.lease.since_unix_s
        spent = 0
        if kind == "timeout" and order.microusd_per_hour and since is not None:
            with suppress(LedgerError):  # else what it came to is told with its end
                self.ledger.started(order.token, "", since)
            spent = cost_microusd(order.microusd_per_hour, now_for(order.lease) - since)
        self._note(End(order.token, now_for(order.lease), spent))

    def spent(self, token: str) -> Reservation | None:
        """What a worker has cost until now; where the ledger cannot be used, reckoned from what was last known of it."""
        row = self._seen.get(token)
        if self._noting.worth_a_try:
            try:
                row = self.ledger.get(token)
            except LedgerError as error:
                self._noting.failed(error)
        if row is None:
            return None
        self._seen[token] = row
        return at_meter_of(row, self._now(row))

    def _now(self, row: Reservation) -> float:
        """Now, for what is counted since ``row`` began to cost money."""
        with suppress(LedgerError):
            return now_for(worker_from_record(row.record).lease)
        return self._clock()

    def _note(self, note: Note) -> None:
        if not self._noting.note(note):
            self._run_meter()  # it sees to what is owed

    @property
    def behind(self) -> str:
        """Why notes of this process are not in the ledger yet; "" where they are."""
        return self._noting.behind

    def extend(self, worker: Worker, more_microusd: int) -> Lease:
        """Hold more for a running worker; the lease that it may now have. Raises BudgetExceeded, LedgerError."""
        simulated = worker.simulated
        now, price = now_for(worker.lease), worker.microusd_per_hour
        row = self.ledger.hurried(EXTEND_S).extend(worker.token, more_microusd, self.limits(simulated), now)
        ends = row.started_unix_s + seconds_for(row.reserved_microusd, price) - LAST_S if price else None
        lease = replace(worker.lease, ends_unix_s=ends)
        renewed = replace(worker, lease=lease)
        self._seen[worker.token] = self.ledger.started(worker.token, worker_to_record(renewed), now)
        with self._lock:
            if worker.token in self._running:
                self._running[worker.token] = renewed
        return lease

    def note_cell(
        self,
        worker: Worker,
        cell: str,
        started_unix_s: float,
        ended_unix_s: float,
        run: str = "",
        notebook: str | None = None,
    ) -> int:
        """A cell has run there: its share of the machine's price. Returns micro-dollars. ``run``: counts once; ``notebook``: its
        own, if it is not this purse's."""
        simulated = worker.simulated
        amount = cost_microusd(worker.microusd_per_hour, max(0.0, ended_unix_s - started_unix_s))
        self._note(
            Receipt(
                worker.token, "cell", self.person(simulated), self.notebook if notebook is None else notebook, cell, worker.name,
                started_unix_s, ended_unix_s, amount, False, run,
            )
        )  # fmt: skip
        return amount

    def note_traffic(self, worker: Worker, cell: str, at_unix_s: float, size_bytes: int) -> None:
        """So much came home: an estimate of what the provider charges for it."""
        from cellferry.placement.extras import egress_microusd

        amount = egress_microusd(worker.offer, size_bytes) if worker.offer else 0
        if amount:
            simulated = worker.simulated
            self._note(
                Receipt(
                    worker.token, "egress", self.person(simulated), self.notebook, cell, worker.name, at_unix_s, at_unix_s,
                    amount, True,
                )
            )  # fmt: skip

    def costs(self, by: By, *, everybody: bool = False) -> list[CostRow]:
        """What was spent: by this person, real money before simulated; or by everybody in the ledger."""
        self._noting.catch_up()
        if everybody:
            return self.ledger.costs(by)
        rows = []
        for simulated in (False, True):
            mark = SIMULATED if simulated and by != "person" else ""
            rows += [replace(row, key=row.key + mark) for row in self.ledger.costs(by, self.person(simulated))]
        return rows

    def open(self) -> list[Reservation]:
        """The reservations of this person that are not ended, real and simulated."""
        return [row for simulated in (False, True) for row in self.ledger.open(self.person(simulated))]

    def close(self) -> None:
        """Stop the meter. Workers that live on keep their money."""
        self._closed.set()
        with self._lock:
            if self._ledger is not None:
                self._ledger.close()

    def _count(self) -> None:
        while not self._closed.wait(METER_S):
            self._noting.catch_up()
            with self._lock:
                running = list(self._running.items())
            for token, worker in running:
                try:
                    if not self._alive(worker):
                        self.ended(token)
                    elif self._noting.worth_a_try:
                        self._seen[token] = self.ledger.hurried(NOTE_S).meter(token, now_for(worker.lease))
                except LedgerError as error:
                    self._noting.failed(error)  # the next count takes it up; the worker's own limit holds meanwhile


def at_meter_of(row: Reservation, now_unix_s: float) -> Reservation:
    """The reservation as it is when its meter is read now, without a word to the ledger."""
    from cellferry.ledger.metering import at_meter  # with the database behind it

    return at_meter(row, now_unix_s)

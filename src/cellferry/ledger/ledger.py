"""The ledger: money is reserved before a machine is asked for, metered while it runs, and given back when it ends.

Every change is one transaction, and changes happen one after the other (SQLite: BEGIN IMMEDIATE, PostgreSQL: an advisory
lock), so that of two who want the last dollar one gets it. Every method raises LedgerUnavailable when the database cannot
be used; it may then be called again with the same arguments, but ``extend``, which would reserve twice.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from cellferry.errors import LedgerError, LedgerUnavailable
from cellferry.ledger import limiting, reports
from cellferry.ledger.counting import Who, balance, check_fits
from cellferry.ledger.failures import Place, mapped
from cellferry.ledger.metering import at_end, at_meter, book, reservation_for
from cellferry.ledger.nouns import Ask, Balance, By, CostRow, Limit, Receipt, Reservation
from cellferry.ledger.schema import identity, reservations
from cellferry.model import Refusal


class Ledger:
    """An open ledger; made by ``open_ledger``. Every method may be called from every thread, and after a fork."""

    def __init__(self, engine: Engine, place: Place, path: Path | None = None) -> None:
        """``path``: of a file."""
        self._engine = engine
        self._path, self._inode, self._id = path, _inode(path), ""
        self._writer = engine.execution_options(cellferry_writes=True)
        self._reader = engine
        if engine.dialect.name == "postgresql":
            self._reader = engine.execution_options(isolation_level="REPEATABLE READ")
        self._pid = os.getpid()
        self.place = place.text
        """Where it is, without password; for people."""
        self._place = place

    def __repr__(self) -> str:
        return f"<Ledger {self.place}>"

    def hurried(self, wait_s: float) -> Ledger:
        """The same ledger, for notes that may also be made later: a transaction gives up its turn after ``wait_s``."""
        other = copy.copy(self)
        other._writer = self._writer.execution_options(cellferry_wait_s=wait_s)
        return other

    @property
    def replaced(self) -> bool:
        """Whether another file lies in its place, or none: what is written here now is seen by nobody else."""
        return self._path is not None and _inode(self._path) != self._inode

    @property
    def id(self) -> str:
        """Its own name, which the machines that it pays for carry; "" where it may not be read (an old grant)."""
        if not self._id:
            with suppress(LedgerUnavailable), self._reading() as connection:
                self._id = str(connection.scalar(select(identity.c.id)) or "")
        return self._id

    def close(self) -> None:
        """Let go of the connections. Repeatable; what is running goes on being held."""
        self._engine.dispose()

    # -- one machine's money ------------------------------------------------------------------------------------

    def reserve(self, ask: Ask, limits: Sequence[Limit], now: float) -> Reservation:
        """Hold ``ask.amount_microusd``; called before the provider is, which may start only what has a row here.

        The same token again returns the row that is there, whatever became of it. Raises BudgetExceeded, which says who
        holds the rest, when one of the limits would not hold; then nothing is reserved.
        """
        if ask.amount_microusd < 0 or ask.microusd_per_hour < 0:
            raise ValueError("an amount of money is never negative")
        with self._writing() as connection:
            there = _find(connection, ask.token)
            if there is not None:
                return there
            check_fits(connection, ask, ask.amount_microusd, limits, now)
            row = reservation_for(ask)
            connection.execute(insert(reservations).values(**asdict(row)))
            return row

    def started(self, token: str, record: str, now: float) -> Reservation:
        """The machine exists since ``now``, which is when it began to cost money; ``record`` says how to find it.

        Called again, it renews the record; the first start counts. Raises LedgerError for an unknown token, and for a
        reservation that was ended meanwhile: the machine is not paid for, and whoever started it must end it.
        """
        with self._writing() as connection:
            row = _must_find(connection, token)
            if row.state == "ended":
                raise LedgerError(
                    f"the money for worker {row.worker} was given back before its machine had started, so it may not run",
                    "run the cell again: it reserves anew",
                )
            if row.state == "reserved":
                row = replace(row, state="running", started_unix_s=now, metered_unix_s=now)
            return _store(connection, replace(row, record=record))

    def hand_over(self, token: str, client: str) -> None:
        """Somebody else holds it from now on, or nobody in particular: ``client`` says who. Silent if it is not there."""
        with self._writing() as connection:
            connection.execute(update(reservations).where(reservations.c.token == token).values(client=client))

    def meter(self, token: str, now: float) -> Reservation:
        """Count what has been spent until ``now``: price times time since the start, at most what is reserved.

        It never counts less than before, and may be called by anybody, late, early or twice. What has not started, or
        has ended, stays as it is.
        """
        with self._writing() as connection:
            return self._meter(connection, _must_find(connection, token), now)

    def extend(self, token: str, more_microusd: int, limits: Sequence[Limit], now: float) -> Reservation:
        """Hold more for a machine that is to run longer. Raises BudgetExceeded like ``reserve``, LedgerError if it has
        ended. Not repeatable: look at ``get`` if it is not known whether it happened."""
        if more_microusd < 0:
            raise ValueError("an amount of money is never negative")
        with self._writing() as connection:
            row = self._meter(connection, _must_find(connection, token), now)
            if row.state == "ended":
                raise LedgerError(
                    f"worker {row.worker} has ended, so nothing can be reserved for it", "run the cell again"
                )
            check_fits(connection, row, more_microusd, limits, now)
            return _store(connection, replace(row, reserved_microusd=row.reserved_microusd + more_microusd))

    def end(self, token: str, now: float, *, spent_microusd: int | None = None) -> Reservation | None:
        """The machine is gone, or never came: what is not spent is free again.

        ``spent_microusd``: what it came to, if somebody knows better than price times time (also less than was metered);
        never more than is reserved. What never started cost nothing. Repeatable: the first end counts. None: no such
        token here.
        """
        with self._writing() as connection:
            row = _find(connection, token)
            if row is None or row.state == "ended":
                return row
            ended = at_end(row, now, spent_microusd)
            book(connection, row, ended)
            return _store(connection, ended)

    def _meter(self, connection: Connection, row: Reservation, now: float) -> Reservation:
        metered = at_meter(row, now)
        if metered == row:
            return row
        book(connection, row, metered)
        return _store(connection, metered)

    # -- which machines -----------------------------------------------------------------------------------------

    def get(self, token: str) -> Reservation | None:
        """The reservation of an order, or None."""
        with self._reading() as connection:
            return _find(connection, token)

    def open(self, person: str | None = None) -> list[Reservation]:
        """What is reserved or running, the oldest first; of everybody, or of one person."""
        return self._open({"person": person})

    def by_worker(self, name: str, person: str | None = None, notebook: str | None = None) -> list[Reservation]:
        """As ``open``, for the workers of this name."""
        return self._open({"worker": name, "person": person, "notebook": notebook})

    def _open(self, wanted: Mapping[str, str | None]) -> list[Reservation]:
        chosen = [reservations.c[name] == value for name, value in wanted.items() if value is not None]
        query = select(reservations).where(reservations.c.state != "ended", *chosen)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(reservations.c.at_unix_s, reservations.c.token))
            return [Reservation(**row._mapping) for row in rows]

    # -- limits -------------------------------------------------------------------------------------------------

    def most_available(
        self, limits: Sequence[Limit], person: str, notebook: str, now: float, cell: str = ""
    ) -> int | None:
        """Micro-dollars that could be reserved now; None: no limit. Another may take them before you do."""
        return min((row.left_microusd for row in self.balances(limits, person, notebook, now, cell)), default=None)

    def balances(
        self, limits: Sequence[Limit], person: str, notebook: str, now: float, cell: str = ""
    ) -> list[Balance]:
        """How each limit stands, in the order given."""
        with self._reading() as connection:
            return [balance(connection, limit, Who(person, notebook, cell), now) for limit in limits]

    def set_limit(self, limit: Limit, person: str) -> None:
        """Remember a limit for a person, in place of the one for the same period and key."""
        with self._writing() as connection:
            limiting.set_limit(connection, limit, person)

    def remove_limit(self, limit: Limit, person: str) -> None:
        """Forget it; its amount does not matter. Silent if it is not there."""
        with self._writing() as connection:
            limiting.remove_limit(connection, limit, person)

    def limits(self, person: str, notebook: str) -> list[Limit]:
        """What is remembered for this person, and applies to this notebook: one limit for each period, that of the
        notebook itself before the one for any."""
        with self._reading() as connection:
            return limiting.limits(connection, person, notebook)

    # -- receipts, reports, refusals ----------------------------------------------------------------------------

    def note_cell(self, receipt: Receipt) -> None:
        """Remember what a cell used of a machine, for reports by cell. The same receipt again changes nothing, nor does another
        one of the same run."""
        with self._writing() as connection:
            reports.note_receipt(connection, replace(receipt, estimated=False))

    def note_estimate(self, receipt: Receipt) -> None:
        """Remember what storage or egress may have come to. The same receipt again changes nothing."""
        with self._writing() as connection:
            reports.note_receipt(connection, replace(receipt, estimated=True))

    def receipts(self, person: str | None = None, since: float | None = None) -> list[Receipt]:
        """All of them, of a person if given, that ended at or after ``since``; the oldest first."""
        with self._reading() as connection:
            return reports.receipts_of(connection, person, since)

    def costs(self, by: By = "notebook", person: str | None = None, since: float | None = None) -> list[CostRow]:
        """What was spent until the last ``meter``, the most expensive first (days in their order).

        ``person``: of that one alone. ``since``: from the UTC day in which that moment lies.
        """
        with self._reading() as connection:
            return reports.costs(connection, by, person, since)

    def note_refusal(self, refusal: Refusal) -> None:
        """Remember a try that failed, so that the next ones know. Old ones are forgotten."""
        with self._writing() as connection:
            reports.note_refusal(connection, refusal)

    def refusals(self, since_unix_s: float, provider: str | None = None) -> list[Refusal]:
        """Tries that failed at or after this moment, the newest first; of everybody in a shared ledger."""
        with self._reading() as connection:
            return reports.refusals_since(connection, since_unix_s, provider)

    # -- transactions -------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction that nobody else's change comes between; undone by any exception."""
        self._after_fork()
        with mapped(self._place), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Several questions about one and the same moment."""
        self._after_fork()
        with mapped(self._place), self._reader.connect() as connection:
            yield connection

    def _after_fork(self) -> None:
        if self._pid != os.getpid():
            # Connections do not survive a fork; they are left alone here, since the parent goes on using them.
            self._engine.dispose(close=False)
            self._pid = os.getpid()


def _inode(path: Path | None) -> int:
    try:
        return path.stat().st_ino if path is not None else 0
    except OSError:
        return -1


def _find(connection: Connection, token: str) -> Reservation | None:
    row = connection.execute(select(reservations).where(reservations.c.token == token)).one_or_none()
    return None if row is None else Reservation(**row._mapping)


def _must_find(connection: Connection, token: str) -> Reservation:
    row = _find(connection, token)
    if row is None:
        raise LedgerError(
            f"the ledger has no reservation {token!r}",
            "set c.Cellferry.ledger and c.Cellferry.state_dir to what they were when the worker was started",
        )
    return row


def _store(connection: Connection, row: Reservation) -> Reservation:
    changed: dict[str, Any] = {
        name: getattr(row, name)
        for name in (
            "state", "reserved_microusd", "spent_microusd", "started_unix_s", "metered_unix_s", "ended_unix_s", "record"
        )
    }  # fmt: skip
    connection.execute(update(reservations).where(reservations.c.token == row.token).values(**changed))
    return row

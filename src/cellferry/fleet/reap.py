"""Hold the ledger against what really exists: end what it does not pay for any more, give back money of what is gone.

Only machines of this very ledger are ended: each carries the name of the one that pays.

Behind ``cellferry reap``, at the start of a Jupyter server, and before a reservation is refused.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from cellferry.errors import CellferryError
from cellferry.fleet.clock import now_for
from cellferry.fleet.purse import Purse
from cellferry.ledger import Reservation, worker_from_record
from cellferry.model import LAST_S, Machine, Worker
from cellferry.providers.base import Provider, Tagged

YOUNG_S = 900.0
"""A reservation without a machine that is younger than this may still become one, in a process that we cannot see."""


@dataclass(frozen=True)
class Reaped:
    """One thing that was put right. ``what``: "machine" was ended, "reservation" was given back; or seen: "another" is a machine that
    another ledger pays for, and is left alone; "unknown": a provider could not be asked. ``why`` says more."""

    what: str
    provider: str
    name: str
    why: str
    microusd: int = 0


Payer = Literal["paid", "nobody", "another"]


def payer(machine: Machine, row: Reservation | None, ledger: str) -> Payer:
    """Who pays for a machine with our tag, seen from the ledger of that name, in which ``row`` is its order. Pure.

    "nobody": this ledger paid, and does not any more. One that it does not know, and that does not carry its name, is another's:
    the same person may have several (another machine, another home or state folder), and each knows only its own.
    """
    if row is not None:
        return "nobody" if row.state == "ended" else "paid"
    return "nobody" if ledger and machine.ledger == ledger else "another"


def reap(purse: Purse, find: Callable[[str], Provider], names: Iterable[str]) -> list[Reaped]:
    """End machines that this ledger has paid for and that no open reservation pays for; settle reservations whose machine is gone.

    Asks every provider of ``names`` that has machines of its own. Repeatable; what cannot be asked is reported, and so is what
    another ledger pays for.
    """
    done = settle_dead(purse, find)  # first: what a crash left reserved would protect a machine that nobody knows
    for name in names:
        try:
            provider = find(name)
            if not isinstance(provider, Tagged):
                continue
            for machine in provider.machines():
                # asked now, not before: since then somebody may have been given it
                who = payer(machine, purse.ledger.get(machine.token) if machine.token else None, purse.ledger.id)
                if who == "another":
                    done.append(Reaped("another", name, machine.name or machine.id, _whose(machine)))
                elif who == "nobody":
                    provider.end_machine(machine)
                    amount = _note_leak(purse, machine)
                    why = f"{machine.id}: nobody pays for it"
                    done.append(Reaped("machine", name, machine.name or machine.id, why, amount))
        except CellferryError as error:
            done.append(Reaped("unknown", name, "", error.what))
    return done


def _whose(machine: Machine) -> str:
    which = f"the ledger {machine.ledger[:8]}" if machine.ledger else "a ledger of an earlier release"
    return (
        f"{machine.id}: {which} pays for it, not this one; it is left alone. `cellferry reap` with that one's settings "
        "(c.Cellferry.ledger, c.Cellferry.state_dir, HOME) sees to it"
    )


def settle_dead(purse: Purse, find: Callable[[str], Provider]) -> list[Reaped]:
    """Settle the reservations of this person whose worker is gone; those that cannot be told stay."""
    done = []
    for row in purse.open():
        over = _over(row, find)
        if over is not None:
            why, at = over
            came_to = purse.ended(row.token, at_unix_s=at, never_started=row.state == "reserved")
            done.append(Reaped("reservation", row.provider, row.worker, why, came_to))
    return done


def _over(row: Reservation, find: Callable[[str], Provider]) -> tuple[str, float] | None:
    """Why the reservation is over, and when its machine ended at the latest; None while it is not."""
    now = time.time()
    if row.state == "reserved":
        if holder_lives(row):
            return None
        if not held_here(row) and now - row.at_unix_s < YOUNG_S:
            return None
        return "it never became a machine", now
    worker = _worker(row)
    if worker is None:
        return None
    ends = worker.lease.ends_unix_s
    try:
        alive = find(row.provider).alive(worker)
    except CellferryError:
        alive = True
    if alive:
        return None
    # nobody saw it end: it is charged until now, and at most until its money was gone
    now = now_for(worker.lease)
    return "its worker has ended", now if ends is None else min(now, ends + LAST_S)


def _worker(row: Reservation) -> Worker | None:
    try:
        return worker_from_record(row.record)
    except CellferryError:
        return None


def held_here(row: Reservation) -> bool:
    """Whether a process of this machine holds it: then we can see whether it lives."""
    return f"@{socket.gethostname()} pid " in row.client


def holder_lives(row: Reservation) -> bool:
    """Whether the process that made the reservation runs on this machine, as far as that can be seen from here."""
    if not held_here(row):
        return False
    pid = row.client.rpartition(" ")[2]
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):
        return True
    return True


def _note_leak(purse: Purse, machine: Machine) -> int:
    """A machine that leaked did cost money since its reservation was given back: an estimate, shown as one."""
    row = purse.ledger.get(machine.token) if machine.token else None
    if row is None or not row.microusd_per_hour:
        return 0
    from cellferry.ledger import Receipt, cost_microusd

    now = time.time()
    began = machine.started_unix_s or row.at_unix_s
    amount = cost_microusd(row.microusd_per_hour, now - began)
    purse.ledger.note_estimate(
        Receipt(row.token, "machine", row.person, row.notebook, "", row.worker, began, now, amount, True)
    )
    return amount

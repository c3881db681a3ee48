"""Tell the ledger what has happened, now or as soon as it can be used; whoever notes something never fails of it, and waits once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cellferry.errors import LedgerError
from cellferry.fleet.owed import Note, Owed
from cellferry.ledger import Receipt, Reservation, worker_from_record

if TYPE_CHECKING:
    from cellferry.ledger import Ledger

NOTE_S = 2.0
"""So long a cell waits for the ledger to be told what it came to; then that is noted later (``fleet.owed``)."""
AGAIN_S = 4.0
"""After one that failed, the next notes are not tried for so long: each would wait."""


class Noting:
    """The notes of one purse. May be used from every thread."""

    def __init__(self, state: Callable[[], Path], ledger: Callable[[], Ledger]) -> None:
        """``state``: the private folder for what must survive this process, may raise OSError. ``ledger``: raises LedgerError."""
        self._owed, self._ledger = Owed(state), ledger
        self._quiet_until_s, self._why = 0.0, ""
        self.behind = ""
        """Why notes of this process are not in the ledger yet; "" where they are."""

    @property
    def worth_a_try(self) -> bool:
        """Whether the ledger has not failed a moment ago."""
        return time.monotonic() >= self._quiet_until_s

    def failed(self, error: LedgerError) -> None:
        """The ledger could not be used just now: whoever asks or notes next does not wait as well."""
        self._why, self._quiet_until_s = error.what, time.monotonic() + AGAIN_S

    def note(self, note: Note) -> bool:
        """Whether it is in the ledger; else it is owed."""
        if self.worth_a_try:
            try:
                _make(note, self._ledger())
                return True
            except LedgerError as error:
                self.failed(error)
        self.behind = self._why
        self._owed.add(note)
        return False

    def catch_up(self, ledger: Ledger | None = None) -> None:
        """Make every note that is owed to this ledger, whichever process could not. Raises nothing: ``behind`` says it."""
        try:
            owed = self._owed.all()
            if owed:
                ledger = ledger or self._ledger()
            for name, note in owed.items():
                assert ledger is not None
                if ledger.get(note.token) is not None:  # else it belongs to another ledger of this user
                    _make(note, ledger)
                    self._owed.made(name)
            self.behind = ""
        except LedgerError as error:
            self.failed(error)
            self.behind = error.what


def _make(note: Note, ledger: Ledger) -> None:
    """Raises LedgerError."""
    quick = ledger.hurried(NOTE_S)
    if isinstance(note, Receipt):
        (quick.note_estimate if note.estimated else quick.note_cell)(note)
        return
    row = quick.end(note.token, note.at_unix_s, spent_microusd=note.spent_microusd)
    storage = _storage(row) if row is not None and row.started_unix_s and row.record else None
    if storage is not None:
        quick.note_estimate(storage)


def _storage(row: Reservation) -> Receipt | None:
    """The disk that the machine had, estimated."""
    from cellferry.placement.extras import storage_microusd

    try:
        worker = worker_from_record(row.record)
    except LedgerError:
        return None
    until, amount = row.ended_unix_s or row.metered_unix_s, 0
    if worker.offer is not None:
        amount = storage_microusd(worker.offer, worker.hardware.disk_bytes, until - row.started_unix_s)
    if not amount:
        return None
    return Receipt(row.token, "storage", row.person, row.notebook, "", row.worker, row.started_unix_s, until, amount, True)

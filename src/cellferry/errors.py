"""Every error that cellferry raises, in one tree; each message says what failed, why, and what to type next.

CellferryError                  anything below; ``.advice`` is the next thing to type
|- UnsupportedPython            this interpreter cannot be used; raised by ``import cellferry``
|- RequestError                 the words after ``%%remote`` / ``%remote`` are wrong
|  |- UnknownOption             no such key or flag; the nearest valid one is named
|  |- BadValue                  the key exists, its value does not parse
|  '- NotYet                    valid, but this release cannot do it yet
|- PreflightError               the cell cannot travel; nothing was sent, nothing was run
|  |- CellSyntaxError           the cell does not compile
|  |- UndefinedName             a name that the cell reads exists nowhere
|  |- CannotTravel              a value that the cell needs cannot leave this process
|  |- EnvironmentFailed         the packages that the cell needs cannot be had for the worker
|  '- LooksSecret               something that would travel looks like a credential
|- BudgetError                  money: nothing was started, or a cell was stopped in time
|  |- NoBudget                   a machine that costs money, and nobody has said how much it may cost
|  |- BudgetExceeded             the money that is left does not pay for it; who holds it is said
|  '- BudgetSpent                the cell was stopped at its limit; what it had made came home
|- LedgerError                  the ledger cannot be read or written; no machine was asked for
|  '- LedgerUnavailable         it cannot be used at the moment; what is owed to it is noted later
|- RunGone                      there is no such run, or nothing of it is left
|- StaysThere                   a placeholder's value cannot come home; use it in a ``%%remote`` cell
|- ParcelError                  bytes did not arrive as they were sent
|  '- ChunkMismatch             a chunk whose hash is not the promised one was refused
|- LinkError                    the connection to a worker could not be made or was refused
|  '- IdentityError             the other end is not who it should be
'- WorkerError                  the worker failed; the local namespace is untouched
   |- WorkerStartError          it never became ready
   |  |- Refused                a provider did not give one machine; another may be had elsewhere
   |  |  |- NoQuota             the account may not have so many; says which quota
   |  |  |- NoCapacity          there is none left at the moment
   |  |  |- PriceTooHigh        it costs more than may be paid
   |  |  |- NotPermitted        the credentials do not allow it; says which permission
   |  |  '- StartTimeout        it did not become reachable within its time
   |  '- NothingToBeHad         every try failed; the whole history is in the message
   |- EnvironmentNotBuilt       the packages could not be installed there
   |- SpotTaken                 the provider took the machine back (spot); what there was came home
   |- WorkerLost                it ended while in use
   |- KernelDied                the worker lives, the kernel on it was killed
   '- DiskFull                  no space left on the worker or beside the notebook

The user's own exception in a remote cell is none of these: it is shown with its own name and traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from cellferry.model import Refusal, RefusalKind


class CellferryError(Exception):
    """Base of all errors of cellferry.

    ``what`` says what failed and why, in one or two sentences; ``advice`` is the next thing
    to type, shown on a line of its own. Both are safe to print: they hold no secret.
    """

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what, advice)
        self.what = what
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.what}\n  -> {self.advice}" if self.advice else self.what


class UnsupportedPython(CellferryError, ImportError):
    """``import cellferry`` in an interpreter in which it would not keep its promises (a free-threaded one)."""


class RequestError(CellferryError):
    """The words after ``%%remote`` or ``%remote`` cannot be understood; raised by ``capture.request``."""


class UnknownOption(RequestError):
    """A key, flag or subcommand that does not exist."""


class BadValue(RequestError):
    """A known key with a value that does not parse."""


class NotYet(RequestError):
    """A valid request that this release cannot serve yet."""


class PreflightError(CellferryError):
    """The cell cannot travel; raised before anything is sent."""


class CellSyntaxError(PreflightError):
    """The cell's source does not compile."""


class UndefinedName(PreflightError):
    """The cell reads a name that is defined neither in the notebook nor by Python."""


class CannotTravel(PreflightError):
    """A value needed by the cell is bound to this process (an open file, a lock, a generator ...).

    ``path`` is how the culprit is reached from a name of the notebook, for example
    ``model.logger.handlers[0].stream``.
    """

    def __init__(
        self, what: str, advice: str = "", path: str = "", *, culprit: object = None, reason: str = ""
    ) -> None:
        """``culprit``: the very value, while its path is not known yet; ``reason`` reads on after "cannot travel: "."""
        super().__init__(what, advice)
        self.path, self.culprit, self.reason = path, culprit, reason


class EnvironmentFailed(PreflightError):
    """The packages that the cell needs cannot be found, built or resolved for the worker."""


class LooksSecret(PreflightError):
    """Something that would travel looks like a credential; the message says where it is, never what it is."""


class BudgetError(CellferryError):
    """Money: nothing was started, or a cell was stopped in time."""


class NoBudget(BudgetError):
    """A machine that costs money was asked for, and no limit says how much it may cost."""


class BudgetExceeded(BudgetError):
    """The money that is left under a limit does not pay for it; the message says who holds the rest."""


class BudgetSpent(BudgetError):
    """A cell was stopped because its money was gone; what it had made came home."""


class LedgerError(CellferryError):
    """The ledger cannot be read or written; no machine was asked for."""


class LedgerUnavailable(LedgerError):
    """The ledger's database does not answer, is locked by another process, or its file is not what it was.

    Whoever wants to reserve money must give up; whoever only has something to note may do that later (``fleet.owed``).
    """


class RunGone(CellferryError):
    """A run was asked for that no worker knows, or whose results are not kept any more."""


class StaysThere(CellferryError):
    """A value on the worker was asked for at home but cannot travel."""


class ParcelError(CellferryError):
    """Bytes did not arrive as they were sent."""


class ChunkMismatch(ParcelError):
    """A received chunk does not have the hash that was promised for it; it was not used."""


class LinkError(CellferryError):
    """The connection to a worker could not be made, or was refused."""


class IdentityError(LinkError):
    """The other end of a connection is not the one that was pinned."""


class WorkerError(CellferryError):
    """The worker failed. The local namespace is as it was before the cell.

    ``again``: whether it makes sense to run the cell once more on a fresh worker, which is what ``retry=`` does.
    """

    again = False
    goes_on = False
    """Whether the cell still runs there, and nobody waits for it any more."""

    def not_again(self) -> Self:
        """This error, where the end was somebody's will, the money's, or no fault of the worker."""
        self.again = False
        return self


class WorkerStartError(WorkerError):
    """The worker never became ready; the message carries the end of its log."""


class Refused(WorkerStartError):
    """A provider did not give one machine; raised by ``Provider.start``, after which nothing of it is left.

    ``kind`` is what the ledger remembers of it (``model.RefusalKind``). The fleet goes on with the next offer.
    """

    kind: RefusalKind = "failed"


class NoQuota(Refused):
    """The account may not have so many; the message has the quota's exact name and code."""

    kind = "no_quota"


class NoCapacity(Refused):
    """The provider has none left in this place at the moment."""

    kind = "no_capacity"


class PriceTooHigh(Refused):
    """It costs more at the moment than may be paid."""

    kind = "price_too_high"


class NotPermitted(Refused):
    """The credentials do not allow it; the message names the missing permission."""

    kind = "not_permitted"


class StartTimeout(Refused):
    """The machine was given but did not become reachable within its time; it was ended."""

    kind = "timeout"


class NothingToBeHad(WorkerStartError):
    """Every offer was tried or ruled out. ``history``: the tries, in order; the message shows them as a table."""

    def __init__(self, what: str, advice: str = "", history: tuple[Refusal, ...] = ()) -> None:
        super().__init__(what, advice)
        self.history = history


class EnvironmentNotBuilt(WorkerError):
    """The worker could not install the packages that it was told to; the message carries the installer's own words."""


class SpotTaken(WorkerError):
    """The provider took the machine back (spot); what there was came home."""

    again = True


class WorkerLost(WorkerError):
    """The worker ended while it was in use."""

    again = True


class KernelDied(WorkerError):
    """The kernel on the worker was killed; the worker itself is alive and starts another."""

    again = True


class DiskFull(WorkerError):
    """No space is left where files are written; says on which side."""

    again = True

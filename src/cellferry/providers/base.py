"""What every provider of workers does; the only seam through which machines come and go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cellferry.config import Cellferry
from cellferry.model import CellRequest, Check, Machine, Offer, Order, Quota, Worker

Progress = Callable[[str], None]
"""Called with one short line whenever the start gets on; shown to the user."""

MakeIdentity = Callable[[Path], str]
"""Makes this client's key and certificate in a private folder; returns the certificate (PEM), the key stays there."""


class Provider(ABC):
    """Starts workers and ends them. Built once by each ``fleet``; every method may be called from every thread.

    A provider knows nothing of notebooks, money or connections: it brings a worker to the point where its endpoint
    accepts connections, and later makes sure that nothing is left of it.
    """

    ask: Callable[[str], bool] | None
    """Asks the user a question that is answered with yes or no; set by a door that can ask. Only in the caller's thread."""

    def __init__(self, config: Cellferry, make_identity: MakeIdentity) -> None:
        """Must be quick and must not touch the network: it also runs for ``%remote status``."""
        self.config = config
        self.make_identity = make_identity
        self.ask = None

    @property
    @abstractmethod
    def name(self) -> str:
        """The word after ``provider=``."""

    @abstractmethod
    def start(self, order: Order, progress: Progress) -> Worker:
        """Start a worker and return it as soon as its endpoint accepts connections; its kernel may still be booting.

        Called by the fleet in the thread of the cell, which may be interrupted (KeyboardInterrupt): then, as with any
        other exception, nothing of the worker may be left. Raises Refused (with the kind that says why), WorkerStartError
        with the end of the worker's log, DiskFull, or IdentityError. A start that makes progress is not given up before
        ``order.wait_s``. The worker enforces ``order.lease`` by itself, with this machine switched off.
        """

    @abstractmethod
    def alive(self, worker: Worker) -> bool:
        """Whether the worker's process or machine still exists; quick, never raises. Called often."""

    @abstractmethod
    def stop(self, worker: Worker) -> None:
        """End the worker, remove all that belongs to it, return when it is gone. Repeatable; silent if it is gone."""

    @abstractmethod
    def describe_end(self, worker: Worker) -> str:
        """Why the worker ended, in one sentence, with the end of its log if that helps. Only when not ``alive``."""

    @abstractmethod
    def find(self) -> Sequence[Worker]:
        """Every worker of this user that exists at this provider, also those that another process started."""

    def reach(self, worker: Worker) -> Worker:
        """The worker with an endpoint that this process can use; called for one that another process started.

        Raises LinkError. Workers whose endpoint everybody can use are returned as they are.
        """
        return worker

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of connections; ends no worker. Called once, when the fleet closes."""


class Market(ABC):
    """What a provider can do that has several machines to choose from."""

    @abstractmethod
    def offers(self, request: CellRequest) -> Sequence[Offer]:
        """Everything it could give, at the last known prices. Quick: no network, except that of a machine's own first
        look at itself. ``request`` only says which region or host is meant; who fits is decided by ``placement``."""

    @abstractmethod
    def quotas(self, offers: Sequence[Offer]) -> Sequence[Quota]:
        """What the account may have in the regions of these offers. May ask the network, for a few seconds; what cannot
        be told (no permission, no answer) is left out: the start will tell."""

    @abstractmethod
    def refresh(self, progress: Progress) -> int:
        """Ask for live prices and keep them for ``offers``; returns how many. Raises CellferryError with advice."""


class Tagged(ABC):
    """What a provider can do whose machines outlive this process."""

    @abstractmethod
    def machines(self) -> Sequence[Machine]:
        """Every machine that carries our tag and this owner, workers or not. Asks the network; raises CellferryError."""

    @abstractmethod
    def end_machine(self, machine: Machine) -> None:
        """End it and all that belongs to it. Repeatable; silent if it is gone."""


class Examined(ABC):
    """What a provider can say of its own configuration."""

    @abstractmethod
    def examine(self) -> Iterator[Check]:
        """The lines of ``cellferry doctor`` for this provider, one after the other as they are found out."""

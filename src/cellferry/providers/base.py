"""What every provider of workers does; the only seam through which machines come and go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from cellferry.config import Cellferry
from cellferry.model import CellRequest, Lease, Worker

Progress = Callable[[str], None]
"""Called with one short line whenever the start gets on; shown to the user."""

MakeIdentity = Callable[[Path], str]
"""Makes this client's key and certificate in a private folder; returns the certificate (PEM), the key stays there."""


class Provider(ABC):
    """Starts workers and ends them. Built once by each ``fleet``; every method may be called from every thread.

    A provider knows nothing of notebooks, money or connections: it brings a worker to the point where its endpoint
    accepts connections, and later makes sure that nothing is left of it.
    """

    def __init__(self, config: Cellferry, make_identity: MakeIdentity) -> None:
        """Must be quick and must not touch the network: it also runs for ``%remote status``."""
        self.config = config
        self.make_identity = make_identity

    @property
    @abstractmethod
    def name(self) -> str:
        """The word after ``provider=``."""

    @abstractmethod
    def start(self, request: CellRequest, name: str, lease: Lease, progress: Progress) -> Worker:
        """Start a worker and return it as soon as its endpoint accepts connections; its kernel may still be booting.

        Called by the fleet in the thread of the cell, which may be interrupted (KeyboardInterrupt): then, as with any
        other exception, nothing of the worker may be left. Raises WorkerStartError with the end of the worker's log,
        DiskFull, or IdentityError. A start that makes progress is never given up.
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

"""What a session does between cells: values, widgets' messages and files, from and to every worker. Beside ``journey``, see
decision 007."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from cellferry import errands, errors, waited
from cellferry.config import Cellferry
from cellferry.fleet.fleet import Fleet
from cellferry.link.there import There
from cellferry.model import Message, Worker
from cellferry.presses import Presses
from cellferry.screen import Host

T = TypeVar("T")


class Between:
    """What ``journey.Session`` takes from here."""

    config: Cellferry
    fleet: Fleet
    host: Host
    namespace: dict[str, Any]
    _there: dict[str, There]

    def connect(self, worker: Worker) -> There:
        """The link to a worker, a new one if there is none."""
        raise NotImplementedError

    def forget(self, there: There) -> None:
        """Close the link to a worker."""
        raise NotImplementedError

    def _pressed(self) -> bool:
        raise NotImplementedError

    def _counting(self) -> Presses:
        raise NotImplementedError

    def needs_fetch(self, source: str) -> list[str]:
        """Names of placeholders that a local cell would read; called before every local cell."""
        return errands.placeholders_read(source, self.namespace, self.host)

    def fetch(self, names: Sequence[str]) -> None:
        """Bring values that stayed on a worker home; raises StaysThere for one that cannot travel."""
        all_ = list(self._there.values())
        with self._counting() as presses, presses.held(lambda: waited.wake(all_)):
            pressed = waited.twice(presses, self.host.screen, names)
            for each in all_:
                each.link.pressed = pressed
            try:
                errands.fetch(names, self.namespace, all_)
            finally:
                for each in all_:
                    each.link.pressed = self._pressed
                    if each.link.fetching:  # what was asked for may still be under way
                        self.forget(each)

    def comm(self, message: Message) -> Any:
        """Pass a widget's message to the worker that has the widget; returns a future, done when it was handled."""
        return errands.comm(message, list(self._there.values()))

    def get(self, path: str) -> list[str]:
        """Bring files home from every worker that has them, or from the artifact store; returns the names here."""
        store, data_only = self.config.artifact_store, self.config.trust == "data"
        return self._between(lambda all_: errands.get(path, all_, store, self.host.screen, data_only=data_only))

    def put(self, patterns: Sequence[str]) -> int:
        """Send files to every worker now; returns the bytes."""
        return self._between(lambda all_: errands.put(patterns, all_))

    def _between(self, act: Callable[[list[There]], T]) -> T:
        """Do something with every worker, one whose connection was cut included."""
        all_ = [self.connect(worker) for worker in self.fleet.workers()]
        try:
            with self._counting():
                return act(all_)
        except BaseException as exc:
            for there in all_:
                if there.link.lost is not None or not isinstance(exc, errors.CellferryError):
                    self.forget(there)  # answers may still be under way
            raise

"""boto3, loaded when it is first needed: one client for each service and region, shared by all threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from cellferry.config import Cellferry
from cellferry.errors import CellferryError
from cellferry.providers.aws_errors import NOT_YET, THROTTLED, code_of, explained

T = TypeVar("T")
CONNECT_S = 5.0
ANSWER_S = 30.0
ATTEMPTS = 5
PAUSE_S = 0.5
"""Before a throttled start is asked for again; twice as long each time."""


class Sessions:
    """Clients for the account that the configuration names. Safe to use from every thread (boto3's clients are)."""

    def __init__(self, config: Cellferry) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str, int], Any] = {}
        self._session: Any = None

    @property
    def regions(self) -> list[str]:
        """The regions that machines may be in; raises CellferryError where none is configured."""
        if not self._config.aws_regions:
            raise CellferryError(
                "provider aws is not told in which regions it may start machines",
                'for example: c.Cellferry.aws_regions = ["us-east-1"], or CELLFERRY_AWS_REGIONS=us-east-1',
            )
        return list(self._config.aws_regions)

    def client(self, service: str, region: str, attempts: int = ATTEMPTS) -> Any:
        """boto3's client. ``attempts``: how often it asks when AWS is busy. Raises CellferryError."""
        with self._lock:
            key = (service, region, attempts)
            if key not in self._clients:
                self._clients[key] = self._make(service, region, attempts)
            return self._clients[key]

    def call(self, service: str, region: str, operation: str, **request: Any) -> Any:
        """One request; what goes wrong is raised as a CellferryError that says which."""
        try:
            return getattr(self.client(service, region), operation)(**request)
        except Exception as exc:
            raise explained(exc, region=region) from exc

    def pages(self, service: str, region: str, operation: str, key: str, **request: Any) -> list[Any]:
        """Everything that ``operation`` lists below ``key``, over all its pages. Raises CellferryError."""
        try:
            paginator = self.client(service, region).get_paginator(operation)
            return [item for page in paginator.paginate(**request) for item in page[key]]
        except Exception as exc:
            raise explained(exc, region=region) from exc

    def once(self, region: str, operation: str, **request: Any) -> Any:
        """One request of EC2 that is not asked again when there is no capacity, which botocore takes for a fault of the
        server's (HTTP 500); only where AWS says "too many requests", or does not know everywhere yet what it has just
        made. Raises botocore's own errors."""
        client = self.client("ec2", region, attempts=1)
        for attempt in range(ATTEMPTS):
            try:
                return getattr(client, operation)(**request)
            except Exception as exc:
                if code_of(exc) not in THROTTLED | NOT_YET or attempt == ATTEMPTS - 1:
                    raise
                threading.Event().wait(PAUSE_S * 2**attempt)
        raise AssertionError("unreachable")

    def _make(self, service: str, region: str, attempts: int) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as exc:
            raise CellferryError(
                "provider aws needs boto3, which is not installed", "pip install 'cellferry[aws]'"
            ) from exc
        config = Config(
            connect_timeout=CONNECT_S, read_timeout=ANSWER_S, retries={"total_max_attempts": attempts, "mode": "standard"}
        )
        try:
            if self._session is None:
                self._session = boto3.Session(profile_name=self._config.aws_profile or None)
            return self._session.client(service, region_name=region, config=config)
        except Exception as exc:
            raise explained(exc, region=region) from exc


def in_parallel(ask: Callable[[str], T], words: Iterable[str]) -> list[T | CellferryError]:
    """``ask`` for each word in a thread of its own; a CellferryError stands in the place of its answer."""

    def one(word: str) -> T | CellferryError:
        try:
            return ask(word)
        except CellferryError as error:
            return error

    every = list(words)
    with ThreadPoolExecutor(max(1, min(16, len(every))), thread_name_prefix="cellferry-aws") as pool:
        return list(pool.map(one, every))

"""What every provider must do, as tests: subclass ``ProviderContract`` in a test module, override its fixtures, run pytest.

    class TestMine(ProviderContract):
        @pytest.fixture
        def provider(self): ...

Real workers are started; each test waits until what it has started is gone.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from cellferry.errors import LinkError
from cellferry.link.http import WorkerHttp
from cellferry.model import LAST_S, CellRequest, Lease, Offer, Order, Worker
from cellferry.providers.base import Market, Provider, Tagged

PATIENCE_S = 60.0
LOOK_S = 0.05


def eventually(true: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Wait for a condition; fails the test with ``what`` when it does not come."""
    deadline = time.monotonic() + patience_s
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {patience_s:.0f} s: {what}"
        threading.Event().wait(LOOK_S)
    return found


class ProviderContract:
    """Override ``provider``; ``offer`` where the provider has something to choose from; ``lasts_s`` where a start takes long."""

    lasts_s = 3.0
    """How long a worker's money lasts in the test of its end, from the order on: longer than a start takes."""

    @pytest.fixture
    def provider(self) -> Provider:
        raise NotImplementedError

    @pytest.fixture
    def offer(self) -> Offer | None:
        """What is ordered; None where there is nothing to choose."""
        return None

    @pytest.fixture
    def order(self, offer: Offer | None) -> Order:
        return Order(CellRequest(), "contract", Lease(600.0), offer, token=uuid.uuid4().hex, owner="contract")

    @pytest.fixture
    def worker(self, provider: Provider, order: Order) -> Iterator[Worker]:
        worker = provider.start(order, lambda line: None)
        yield worker
        provider.stop(worker)

    def test_a_started_worker_is_as_it_was_ordered(self, provider: Provider, order: Order, worker: Worker) -> None:
        assert worker.provider == provider.name and worker.name == order.name and worker.lease == order.lease
        assert worker.offer == order.offer and worker.token == order.token
        assert provider.alive(worker)

    def test_it_answers_whoever_has_its_keys(self, provider: Provider, worker: Worker) -> None:
        status = WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S).get("status")
        assert status["worker_id"] == worker.id and status["lease"]["idle_s"] == worker.lease.idle_s

    def test_it_is_found_by_another_process(self, provider: Provider, worker: Worker) -> None:
        assert worker.id in {found.id for found in provider.find()}
        reached = provider.reach(worker)
        assert WorkerHttp(reached.endpoint, timeout_s=PATIENCE_S).get("status")["worker_id"] == worker.id

    def test_ending_is_repeatable_and_silent(self, provider: Provider, worker: Worker) -> None:
        provider.stop(worker)
        assert not provider.alive(worker) and provider.describe_end(worker)
        provider.stop(worker)
        assert worker.id not in {found.id for found in provider.find()}
        with pytest.raises(LinkError):
            WorkerHttp(worker.endpoint, timeout_s=1).get("status")

    def test_it_ends_itself_when_its_money_is_gone(self, provider: Provider, order: Order) -> None:
        ends = time.time() + self.lasts_s
        worker = provider.start(replace(order, lease=Lease(600.0, None, ends, time.time())), lambda line: None)
        try:
            eventually(lambda: not provider.alive(worker), "a worker without money is gone", self.lasts_s + PATIENCE_S)
            assert time.time() < ends + LAST_S + 5.0  # the five: until the provider knows
            assert provider.describe_end(worker)
        finally:
            provider.stop(worker)

    def test_an_interrupted_start_leaves_nothing(self, provider: Provider, order: Order) -> None:
        class Enough(Exception):
            pass

        def progress(_line: str) -> None:
            raise Enough

        before = {found.id for found in provider.find()}
        with pytest.raises(Enough):
            provider.start(order, progress)
        assert {found.id for found in provider.find()} == before
        if isinstance(provider, Tagged):
            assert order.token not in {machine.token for machine in provider.machines()}

    def test_its_machine_carries_the_token(self, provider: Provider, order: Order, worker: Worker) -> None:
        if not isinstance(provider, Tagged):
            pytest.skip("its machines do not outlive this process")
        machine = next(machine for machine in provider.machines() if machine.token == order.token)
        assert machine.provider == provider.name and machine.name == order.name
        provider.end_machine(machine)
        eventually(lambda: not provider.alive(worker), "the machine is gone")
        provider.end_machine(machine)

    def test_offers_are_whole(self, provider: Provider) -> None:
        if not isinstance(provider, Market):
            pytest.skip("it has nothing to choose from")
        offers = provider.offers(CellRequest())
        for offer in offers:
            assert offer.provider == provider.name and offer.instance and offer.cpus > 0 and offer.memory_bytes > 0
            assert offer.microusd_per_hour is not None or offer.spot_microusd_per_hour is not None
            assert bool(offer.gpu) == bool(offer.gpu_count) and offer.priced_unix_s > 0 and offer.price_source
        for quota in provider.quotas(offers):
            assert quota.code and quota.name and quota.limit >= 0

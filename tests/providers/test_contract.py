"""The contract of providers, for those that need nothing but this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cellferry.config import Cellferry
from cellferry.errors import NoCapacity, NoQuota, RequestError, StartTimeout
from cellferry.link.identity import make_identity
from cellferry.model import CellRequest, Offer, Order
from cellferry.providers.base import Provider
from cellferry.providers.demo import DemoProvider
from cellferry.providers.local import LocalProvider
from cellferry.testing import SimulatedCloud, Weather
from cellferry.testing.contract import PATIENCE_S, ProviderContract, eventually

pytestmark = pytest.mark.slow
STANDIN = str(Path(__file__).parents[1] / "worker")
CALM = Weather(stock_out=0, no_quota=0, spot_life_s=None, boot_s=(0, 0))


def certificate(folder: Path) -> str:
    return make_identity(folder).cert_pem


@pytest.fixture(autouse=True)
def standin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", STANDIN)
    monkeypatch.setattr(LocalProvider, "kernel_module", "standin_guest")


@pytest.mark.parametrize("transport", ["unix", "tls"], scope="class")
class TestLocal(ProviderContract):
    @pytest.fixture
    def provider(self, transport: str) -> Provider:
        return LocalProvider(Cellferry(start_timeout_s=PATIENCE_S, local_transport=transport), certificate)


class TestDemo(ProviderContract):
    @pytest.fixture
    def provider(self) -> Iterator[SimulatedCloud]:
        cloud = SimulatedCloud(Cellferry(start_timeout_s=PATIENCE_S), certificate, weather=CALM)
        yield cloud
        cloud.close()

    @pytest.fixture
    def offer(self, provider: Provider) -> Offer:
        assert isinstance(provider, SimulatedCloud)
        return next(offer for offer in provider.offers(CellRequest()) if offer.instance == "p4d.24xlarge")

    def test_everything_says_that_it_is_simulated(self, provider: SimulatedCloud, offer: Offer, order: Order) -> None:
        lines: list[str] = []
        worker = provider.start(order, lines.append)
        try:
            assert offer.simulated and "simulated" in offer.price_source and "(simulated)" in lines[0]
            assert worker.machine.startswith("sim-") and worker.provider == "demo"
        finally:
            provider.stop(worker)

    @pytest.mark.parametrize(
        ("weather", "error"),
        [
            (Weather(stock_out=1.0, no_quota=0), NoCapacity),
            (Weather(no_quota=1.0), NoQuota),
            (Weather(stock_out=0, no_quota=0, boot_failure=1.0, boot_s=(0, 0)), StartTimeout),
        ],
    )
    def test_bad_weather(self, provider: SimulatedCloud, order: Order, weather: Weather, error: type[Exception]) -> None:
        provider.weather = weather
        with pytest.raises(error, match="simulated"):
            provider.start(order, lambda line: None)
        assert list(provider.machines()) == []

    def test_a_leak_is_found_by_its_token(self, provider: SimulatedCloud, order: Order) -> None:
        provider.weather = Weather(stock_out=0, no_quota=0, boot_failure=1.0, leak=1.0, boot_s=(0, 0))
        with pytest.raises(StartTimeout, match="could not be ended"):
            provider.start(order, lambda line: None)
        (machine,) = provider.machines()
        assert machine.token == order.token
        provider.end_machine(machine)
        assert list(provider.machines()) == []

    def test_a_spot_machine_is_taken_back(self, provider: SimulatedCloud, order: Order) -> None:
        worker = provider.start(order, lambda line: None)
        provider.interrupt(worker, in_s=0)
        eventually(lambda: not provider.alive(worker), "the machine was taken back")
        assert "took its machine back" in provider.describe_end(worker)
        provider.stop(worker)


def test_the_seed_decides() -> None:
    clouds = [DemoProvider(Cellferry(demo_seed=seed), certificate) for seed in (3, 3, 4)]
    fates = [
        [cloud.sky.fate(offer, False, attempt) for offer in cloud.offers(CellRequest()) for attempt in range(3)]
        for cloud in clouds
    ]
    assert fates[0] == fates[1] != fates[2]
    quotas = [tuple(cloud.quotas(cloud.offers(CellRequest()))) for cloud in clouds]
    assert quotas[0] == quotas[1] != quotas[2]


def test_a_weather_that_does_not_exist() -> None:
    with pytest.raises(RequestError, match="stock_out"):
        DemoProvider(Cellferry(demo_weather={"rain": 1}), certificate)

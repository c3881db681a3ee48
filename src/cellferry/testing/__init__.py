"""For users' tests and for providers of others: the simulated cloud, a clock that only the test moves, the contract suite."""

from cellferry.providers.demo import DemoProvider as SimulatedCloud
from cellferry.providers.weather import Weather
from cellferry.testing.clock import FakeClock

__all__ = ["FakeClock", "SimulatedCloud", "Weather"]

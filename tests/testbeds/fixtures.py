"""Fixtures for whoever tests against hosts: ``from testbeds.fixtures import network`` in a conftest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from testbeds.hosts import Host, Network, leftovers
from testbeds.needs import need_hosts

if TYPE_CHECKING:
    from testbeds.cloud import CloudInABox


@pytest.fixture
def network() -> Iterator[Network]:
    """A network without hosts; what is left of it after the test is an error."""
    need_hosts()
    with Network() as network:
        yield network
    assert leftovers() == []


@pytest.fixture
def host_maker(network: Network) -> Callable[..., Host]:
    """``host_maker(name, ...)``: a host that is up; see ``Network.host`` for the rest."""
    return network.host


@pytest.fixture
def cloud(network: Network) -> Iterator[CloudInABox]:
    """A cloud whose instances boot as hosts of ``network``; its environment is not set, see ``CloudInABox.environ``."""
    from testbeds.cloud import CloudInABox

    with CloudInABox(network) as cloud:
        yield cloud

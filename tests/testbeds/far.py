"""A machine with sshd and two users that has neither our packages nor the internet: what provider ssh is tested against."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from testbeds import namespaces
from testbeds.hosts import OURS, Host, Network, leftovers
from testbeds.needs import need_hosts
from testbeds.sshd import ClientKey, Sshd, make_client_key


class Far(NamedTuple):
    """The machine, and the key of whoever sits here."""

    network: Network
    host: Host
    sshd: Sshd
    key: ClientKey

    def configuration(self, folder: Path, user: str = "ana") -> tuple[Path, Path]:
        """An OpenSSH configuration in which the machine is "box", and a known-hosts file."""
        settings, known = folder / "ssh_config", folder / "known_hosts"
        known.write_text(self.sshd.known_hosts())
        settings.write_text(
            f"Host box\n  HostName {self.sshd.address}\n  Port {self.sshd.port}\n  User {user}\n"
            f"Host *\n  IdentityFile {self.key.path}\n  IdentitiesOnly yes\n"
        )
        return settings, known


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    """Shared by a module: the software is installed there once."""
    need_hosts()
    with open_far() as found:
        yield found


@contextmanager
def open_far() -> Iterator[Far]:
    """The machine, for whoever is no test. Raises AssertionError if something of it is left at the end."""
    with tempfile.TemporaryDirectory() as place, Network() as network:
        key = make_client_key(Path(place))
        host = network.host("box", hide=[folder for folder in OURS if folder != str(Path.home())])
        # a Python as new as this one, which is what some packages ask for, even where it lies in somebody's home (HOME itself
        # may be anywhere, below /tmp too, which each host has for itself)
        host.run(["chmod", "a+x", *map(str, Path(sys.base_prefix).parents)])
        sshd = Sshd(host, {"ana": [key.public], "bob": [key.public]}, options=[_session_environment()])
        yield Far(network, host, sshd, key)
    assert leftovers() == []


def _session_environment() -> str:
    """For sshd: where the Python is, and the mark by which the tests find what is left behind."""
    mark = os.environ.get(namespaces.MARK, "")
    return f"SetEnv=PATH={sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin {namespaces.MARK}={mark}"

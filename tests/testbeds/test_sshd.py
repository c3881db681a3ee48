"""The real sshd on a host of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from testbeds.hosts import PATIENCE_S, Host, Network
from testbeds.needs import need_hosts
from testbeds.sshd import ClientKey, Sshd, make_client_key, ssh_command


@pytest.fixture(autouse=True)
def _sshd_is_installed() -> None:
    need_hosts("sshd")


@pytest.fixture
def key(tmp_path: Path) -> ClientKey:
    return make_client_key(tmp_path / "client")


@pytest.fixture
def host_maker(network: Network) -> Callable[..., Host]:
    """Hosts on which this user's home is empty: what its profile does at a login is no test of ours."""
    return lambda name: network.host(name, hide=[str(Path.home())])


def log_in(
    server: Sshd, key: ClientKey, place: Path, script: str, user: str = "root"
) -> subprocess.CompletedProcess[str]:
    known = place / "known_hosts"
    if not known.exists():
        known.write_text(server.known_hosts())
    argv = [*ssh_command(server, key, known, user), script]
    return subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)


def test_users_log_in_with_their_own_key(host_maker: Callable[..., Host], key: ClientKey, tmp_path: Path) -> None:
    other = make_client_key(tmp_path / "other")
    server = Sshd(host_maker("box"), {"root": [key.public], "alice": [key.public], "bob": [other.public]}, port=2222)
    assert log_in(server, key, tmp_path, "hostname; id -un; echo $HOME").stdout == "box\nroot\n/root\n"
    alice = log_in(server, key, tmp_path, "id -un; pwd; touch here; umask", "alice")
    assert alice.stdout.startswith("alice\n/home/alice\n")
    refused = log_in(server, key, tmp_path, "true", "bob")
    assert refused.returncode == 255 and "Permission denied" in refused.stderr
    assert log_in(server, other, tmp_path, "id -un; ls /home/alice", "bob").stdout.split()[:1] == ["bob"]
    assert "Accepted publickey for alice" in server.log()


def test_another_host_key_is_noticed(host_maker: Callable[..., Host], key: ClientKey, tmp_path: Path) -> None:
    server = Sshd(host_maker("box"), {"root": [key.public]})
    assert log_in(server, key, tmp_path, "true").returncode == 0
    server.renew_host_key()
    server.restart()
    assert "Host key verification failed" in log_in(server, key, tmp_path, "true").stderr


def test_through_a_jump_host(host_maker: Callable[..., Host], key: ClientKey, tmp_path: Path) -> None:
    gate, box = host_maker("gate"), host_maker("box")
    outer, inner = Sshd(gate, {"root": [key.public]}), Sshd(box, {"root": [key.public]})
    (tmp_path / "known_hosts").write_text(outer.known_hosts() + inner.known_hosts())
    through = " ".join(ssh_command(outer, key, tmp_path / "known_hosts")) + " -W %h:%p"
    *words, target = ssh_command(inner, key, tmp_path / "known_hosts")
    done = subprocess.run(
        [*words, "-o", f"ProxyCommand={through}", target, "hostname; echo $SSH_CONNECTION"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert done.stdout.startswith(f"box\n{gate.ip} "), done.stderr


def test_a_session_ends_with_its_host(host_maker: Callable[..., Host], key: ClientKey, tmp_path: Path) -> None:
    host = host_maker("box")
    server = Sshd(host, {"root": [key.public]})
    log_in(server, key, tmp_path, "setsid sleep 1000 </dev/null >/dev/null 2>&1 &")
    deadline = time.monotonic() + PATIENCE_S
    while not any(process.argv == ("sleep", "1000") for process in host.processes()):
        assert time.monotonic() < deadline
    server.stop()
    assert any(process.argv == ("sleep", "1000") for process in host.processes())
    host.power_off()
    assert host.processes() == []

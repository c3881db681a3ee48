"""Provider ssh: real sshd on hosts of their own, which have neither our packages nor the internet."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cellferry.config import Cellferry
from cellferry.errors import IdentityError, LinkError, NotPermitted, Refused
from cellferry.link.http import WorkerHttp
from cellferry.link.identity import make_identity
from cellferry.model import CellRequest, Lease, Offer, Order, Worker
from cellferry.providers.base import Provider
from cellferry.providers.ssh import SshProvider
from cellferry.providers.ssh_tunnel import Tunnel
from cellferry.testing.contract import PATIENCE_S, ProviderContract, eventually
from testbeds.far import Far, far  # noqa: F401
from testbeds.hosts import OURS, Host
from testbeds.sshd import Sshd, make_client_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Make = Callable[..., SshProvider]


def certificate(folder: Path) -> str:
    return make_identity(folder).cert_pem


@pytest.fixture
def make(far: Far, tmp_path: Path) -> Iterator[Make]:
    """A provider of somebody who knows the machine's key; ``settings`` win."""
    sshd = far.sshd
    made: list[SshProvider] = []

    def one(user: str = "ana", known: str | None = None, **settings: Any) -> SshProvider:
        number = len(made)
        (tmp_path / str(number)).mkdir()
        configuration, hosts = far.configuration(tmp_path / str(number), user)
        if known is not None:
            hosts.write_text(known)
        told = {
            "hosts": [f"{user}@{sshd.address}"], "ssh_config": str(configuration), "ssh_known_hosts": str(hosts),
            "state_dir": str(tmp_path / "state"), "start_timeout_s": PATIENCE_S, "person": "ana at home",
        }  # fmt: skip
        made.append(SshProvider(Cellferry(**told | settings), certificate))
        return made[-1]

    yield one
    for provider in made:
        provider.close()


def order(provider: SshProvider, **more: Any) -> Order:
    offer = provider.offers(CellRequest())[0]
    return Order(CellRequest(), "far", Lease(600.0), offer, token=uuid.uuid4().hex, owner=provider.owner, **more)


def left_on(host: Host) -> list[str]:
    """Our processes there."""
    return [line for line in map(str, host.processes()) if "cellferry" in line]


class TestSsh(ProviderContract):
    lasts_s = 8.0

    @pytest.fixture
    def provider(self, make: Make) -> Provider:
        return make()

    @pytest.fixture
    def offer(self, provider: Provider) -> Offer:
        assert isinstance(provider, SshProvider)
        return provider.offers(CellRequest())[0]

    @pytest.fixture
    def order(self, provider: SshProvider, offer: Offer) -> Order:
        return Order(CellRequest(), "contract", Lease(600.0), offer, token=uuid.uuid4().hex, owner=provider.owner)


def test_nothing_is_left_and_nothing_listens(make: Make, far: Far) -> None:
    host = far.host
    provider = make()
    worker = provider.start(order(provider), lambda line: None)
    listening = host.run(["ss", "-Htln"]).stdout.splitlines()
    ports = {line.split()[3].rpartition(":") for line in listening}
    assert all(place == "127.0.0.1" or port == "22" for place, _, port in ports), listening
    folder = worker.machine.split()[1]
    for place in (folder, str(Path(folder).parent)):
        assert host.run(["stat", "-c", "%a %U", place]).stdout.split() == ["700", "ana"]
    assert host.run(["stat", "-c", "%a %U", f"{folder}/proof"]).stdout.split() == ["600", "ana"]
    assert left_on(host)
    provider.stop(worker)
    eventually(lambda: not left_on(host), "no process is left there")
    assert host.run(["sh", "-c", "ls -d /tmp/cfs-*/* 2>/dev/null; true"]).stdout == ""


@pytest.mark.nightly
def test_it_outlives_the_connection_and_ends_by_its_lease(make: Make, far: Far) -> None:
    host = far.host
    provider = make()
    worker = provider.start(dataclasses.replace(order(provider), lease=Lease(1.0)), lambda line: None)
    WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S).get("status")
    provider.close()
    assert left_on(host), "it lives without us"
    again = make()
    assert [found.id for found in again.find()] == [worker.id]
    reached = again.reach(again.find()[0])
    assert WorkerHttp(reached.endpoint, timeout_s=PATIENCE_S).get("status")["worker_id"] == worker.id
    eventually(lambda: not again.alive(worker), "nobody uses it", 120)
    eventually(lambda: not left_on(host), "no process is left there")


def test_other_peoples_workers_are_not_seen(make: Make) -> None:
    ana, bob, guest = make("ana"), make("bob"), make("ana", person="a guest")
    worker = ana.start(order(ana), lambda line: None)
    for other in (bob, guest):
        other.offers(CellRequest())
        assert list(other.find()) == [] and list(other.machines()) == []
    folder = worker.machine.split()[1]
    answer = bob.connections.run(bob.connections.script(bob.config.hosts[0], f"ls {folder}; cat {folder}/worker.json\n"))
    assert answer.out == "" and "denied" in answer.err.lower()
    ana.stop(worker)


def test_an_unknown_key_is_shown_and_asked_for(make: Make, far: Far) -> None:
    sshd = far.sshd
    provider = make(known="")
    with pytest.raises(IdentityError, match="not known here: ssh-ed25519 SHA256:") as caught:
        provider.offers(CellRequest(host=provider.config.hosts[0]))
    assert "ssh-keygen -lf" in caught.value.advice
    asked: list[str] = []
    provider.ask = lambda question: not asked.append(question)  # type: ignore[func-returns-value]
    assert provider.offers(CellRequest(host=provider.config.hosts[0]))
    assert len(asked) == 1 and "SHA256:" in asked[0]
    kept = Path(provider.config.ssh_known_hosts).read_text()
    assert sshd.host_key.split()[1] in kept
    assert make(known=kept).offers(CellRequest(host=provider.config.hosts[0])), "it is known from now on"


def test_a_changed_key_is_never_asked_for(make: Make, far: Far, tmp_path: Path) -> None:
    sshd = far.sshd
    other = make_client_key(tmp_path / "other").public.split()
    provider = make(known=f"{sshd.address} {other[0]} {other[1]}\n")
    provider.ask = lambda question: pytest.fail("a changed key was asked for")
    with pytest.raises(IdentityError, match=r"another key than the one in .* nothing was sent"):
        provider.offers(CellRequest(host=provider.config.hosts[0]))


def test_a_key_that_opens_nothing(make: Make, tmp_path: Path) -> None:
    provider = make("ana")
    settings = Path(provider.config.ssh_config)
    wrong = make_client_key(tmp_path / "wrong")
    settings.write_text(settings.read_text().replace("IdentityFile ", f"IdentityFile {wrong.path}\n  #"))
    with pytest.raises(NotPermitted, match="ssh-copy-id"):
        provider.offers(CellRequest(host=provider.config.hosts[0]))


def test_nobody_there(make: Make) -> None:
    provider = make()
    with pytest.raises(LinkError, match="ssh"):
        provider.offers(CellRequest(host="ana@127.0.0.1:1"))


def test_a_dropped_connection_is_made_again(make: Make, far: Far) -> None:
    host = far.host
    provider = make()
    worker = provider.start(order(provider), lambda line: None)
    status = WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S).get("status")
    for pid in host.run(["pgrep", "-f", "sshd: ana"]).stdout.split():
        host.run(["kill", "-9", pid], check=False)
    eventually(lambda: _answers(worker) == status["worker_id"], "the same worker answers through a new connection")
    assert provider.alive(worker)
    provider.stop(worker)


def test_two_threads_that_reach_one_worker_make_one_tunnel(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a restart: what was left is looked for in a thread, while the user types the next cell."""
    first = make()
    worker = first.start(order(first), lambda line: None)
    second, made, both = make(), list[Tunnel](), threading.Barrier(2)

    def together(*args: Any) -> Tunnel:
        mine = Tunnel(*args)
        made.append(mine)
        both.wait(PATIENCE_S)
        return mine

    monkeypatch.setattr("cellferry.providers.ssh.Tunnel", together)
    threads = [threading.Thread(target=second.reach, args=(worker,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(made) == 2 and len([tunnel for tunnel in made if tunnel.folder.exists()]) == 1
    second.close()
    assert not any(tunnel.folder.exists() for tunnel in made)
    first.stop(worker)


def _ports(host: Host) -> set[int]:
    """Loopback ports there that sshd listens on for somebody."""
    lines = host.run(["ss", "-Hltn"]).stdout.splitlines()
    return {int(line.split()[3].rpartition(":")[2]) for line in lines if line.split()[3].startswith("127.0.0.1:")}


def test_packages_go_on_coming_from_here(make: Make, far: Far) -> None:
    """After the connection broke, and when another process of this user takes the worker over, or starts the next one."""
    host, first = far.host, make()
    worker = first.start(order(first), lambda line: None)
    (port,) = {supply.port for supply in first._supplies.values()}
    assert port in _ports(host), "this machine reaches no index"
    for pid in host.run(["pgrep", "-f", "sshd: ana"]).stdout.split():
        host.run(["kill", "-9", pid], check=False)
    eventually(lambda: first.alive(worker) and port in _ports(host), "the same port, through a new connection")
    first.close()
    eventually(lambda: port not in _ports(host), "nobody is there")
    second = make()
    found = next(each for each in second.find() if each.id == worker.id)
    second.reach(found)
    assert port in _ports(host)
    second.stop(found)
    second.close()
    third = make()
    other = third.start(order(third), lambda line: None)
    assert {supply.port for supply in third._supplies.values()} <= _ports(host) and third._supplies, "although it installed nothing"
    third.stop(other)


def _answers(worker: Worker) -> str:
    try:
        return str(WorkerHttp(worker.endpoint, timeout_s=5).get("status")["worker_id"])
    except LinkError:
        return ""


def test_an_interrupted_start_leaves_nothing(make: Make, far: Far) -> None:
    host = far.host
    provider = make()
    what = order(provider)

    def progress(line: str) -> None:
        if "connecting" not in line:
            signal.raise_signal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else os.kill(
                os.getpid(), signal.SIGINT
            )

    with pytest.raises(KeyboardInterrupt):
        provider.start(what, progress)
    eventually(lambda: not left_on(host), "no process is left there")


def test_through_a_jump_host(make: Make, far: Far, tmp_path: Path) -> None:
    sshd, key = far.sshd, far.key
    gate = far.network.host("gate", hide=OURS)
    door = Sshd(gate, {"ana": [key.public]})
    jump = f"Host box\n  ProxyJump ana@{door.address}\n"
    provider = make(known=sshd.known_hosts() + door.known_hosts(), hosts=["box"])
    settings = Path(provider.config.ssh_config)
    settings.write_text(jump + settings.read_text())
    assert provider.offers(CellRequest(host="box"))[0].instance == "box"
    worker = provider.start(order(provider), lambda line: None)
    assert WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S).get("status")["worker_id"] == worker.id
    assert "ana" in gate.run(["pgrep", "-af", "sshd: ana"]).stdout, "it goes through the gate"
    provider.stop(worker)
    gate.power_off()


def test_indexes_that_only_the_environment_names_are_supplied(make: Make, far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as index:
        monkeypatch.setenv("UV_INDEX", f"corp=https://127.0.0.1:{index.getsockname()[1]}/simple")
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        asked: list[bytes] = []

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = index.accept()
                    with connection:
                        asked.append(connection.recv(1))

        listening = threading.Thread(target=answer, daemon=True)
        listening.start()
        far.host.run(["rm", "-rf", "/home/bob/.cache/cellferry"])
        provider = make("bob")
        with pytest.raises(Refused, match="could not be installed"):  # it is no index, but it was asked
            provider.start(order(provider), lambda line: None)
        eventually(lambda: not provider._supplies and not _ports(far.host), "what was only there for it is closed")
        with pytest.raises(Refused, match="could not be installed"):  # the next try is a try like the first
            provider.start(order(provider), lambda line: None)
        index.shutdown(socket.SHUT_RDWR)
        listening.join(PATIENCE_S)
    assert b"\x16" in asked, "a TLS handshake came through"


def test_two_that_install_at_once_share_one_way_to_the_index(make: Make, far: Far) -> None:
    """Each asks the machine for the same port over the same connection, and neither takes it from the other."""
    host = far.host
    host.run(["rm", "-rf", "/home/ana/.cache/cellferry/software"])
    provider = make()
    provider.connections.reach(provider.config.hosts[0], None)
    with ThreadPoolExecutor(2) as both:
        started = [both.submit(provider.start, order(provider), lambda line: None) for _ in range(2)]
        workers = [each.result(PATIENCE_S * 4) for each in started]
    (supply,) = provider._supplies.values()
    assert supply.port in _ports(host) and not supply.users
    for worker in workers:
        assert WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S).get("status")["worker_id"] == worker.id
        provider.stop(worker)


def test_offers_say_what_the_machine_has(make: Make, far: Far, tmp_path: Path) -> None:
    host = far.host
    line = "echo 'NVIDIA A100-SXM4-80GB, 81920, 550.54.15'\n"
    host.write("/usr/local/bin/nvidia-smi", f"#!/bin/sh\n{line}{line}", 0o755)
    provider = make(state_dir=str(tmp_path / "gpu"))
    (offer,) = provider.offers(CellRequest())
    assert (offer.gpu, offer.gpu_count, offer.gpu_memory_bytes, offer.driver) == ("a100", 2, 80 << 30, "550.54.15")
    assert offer.microusd_per_hour == 0 and offer.cpus > 0 and offer.memory_bytes > 1 << 30
    kept = json.loads((tmp_path / "gpu" / "hosts.json").read_text())
    assert list(kept) == provider.config.hosts
    host.run(["rm", "/usr/local/bin/nvidia-smi"])
    assert provider.offers(CellRequest())[0].gpu == "a100", "remembered"
    provider.refresh(lambda line: None)
    assert provider.offers(CellRequest())[0].gpu == "", "asked again"
    checks = list(provider.examine())
    assert all(check.ok for check in checks) and "CPUs" in checks[1].found

"""What runs on a machine at AWS, as a process of this one: the real program, key, software, worker and link."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from aws_parts import TOKEN, ProcessMachine, eventually, run_cell
from cellferry.environment.kit import Kit, software_kit
from cellferry.errors import IdentityError, Refused
from cellferry.link.identity import make_identity
from cellferry.model import Lease
from cellferry.providers import aws_machine
from cellferry.providers.aws_boot import end_in, program
from cellferry.providers.aws_handover import Door, answers, certificate_at, hand_over

Make = Callable[..., ProcessMachine]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Make]:
    made: list[ProcessMachine] = []

    def make(**more: Any) -> ProcessMachine:
        folder = tmp_path / f"m{len(made)}"
        folder.mkdir(mode=0o700)
        made.append(ProcessMachine(folder, **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


def deliver(machine: ProcessMachine, kit: Kit, cache: Path, said: list[str], lease: Lease | None = None) -> Door:
    door = machine.door()
    hand_over(door, kit, cache, machine.settings(lease or Lease()), "x86_64", said.append, time.monotonic() + 200, lambda: None)
    eventually(lambda: answers(door), "it answers")
    return door


def listens(machine: ProcessMachine) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", machine.port), 1):
        return True
    return False


def oldest_python() -> str:
    """The oldest interpreter here that the program must run on; pyenv's are not always on the path."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in ("3.9", "3.10"):
        for place in [*pyenv.glob(f"{version}.*/bin/python"), *filter(None, [shutil.which(f"python{version}")])]:
            if subprocess.run([place, "-c", ""], check=False).returncode == 0:
                return str(place)
    pytest.skip("no Python 3.9 or 3.10 here")


def test_the_program_is_of_python_3_9() -> None:
    ast.parse(program(), feature_version=(3, 9))
    assert "import cellferry" not in program() and "from cellferry" not in program()


def test_its_key_stays_and_its_certificate_is_on_the_console(machine: Make) -> None:
    one = machine(python=oldest_python())
    pem = certificate_at("127.0.0.1", one.port, one.fingerprint())
    assert (one.worker_folder / "worker.crt").read_text() == pem
    assert (one.worker_folder / "worker.key").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in one.console.read_text() + one.log()
    said = subprocess.run(["openssl", "x509", "-noout", "-text", "-startdate"], input=pem, capture_output=True, text=True, check=True)
    assert "prime256v1" in said.stdout and "CA:FALSE" in said.stdout
    began = ssl.cert_time_to_seconds(said.stdout.split("notBefore=")[1].strip())
    assert 3000 < time.time() - began < 4000, "a client whose clock is late takes it"


def test_only_the_pinned_client_gets_in(machine: Make, tmp_path: Path) -> None:
    one = machine()
    door = one.door()
    make_identity(tmp_path / "other")
    stranger = Door(door.host, door.port, tmp_path / "other", door.cert_pem)

    def hello(who: Door) -> bytes:
        with who.connect() as tls:
            tls.settimeout(20)
            tls.sendall(b'{"op": "hello", "python": "3.11", "index": [], "worker": {}}\n')
            return tls.recv(100)

    with pytest.raises(OSError):
        assert hello(stranger)
    without = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    without.check_hostname, without.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(OSError), socket.create_connection((door.host, door.port), 5) as plain, without.wrap_socket(plain) as tls:
        tls.sendall(b"x\n")
        assert tls.recv(10)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode, old.maximum_version = False, ssl.CERT_NONE, ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError), socket.create_connection((door.host, door.port), 5) as plain:
        old.wrap_socket(plain)
    assert b"need" in hello(door)


def test_another_certificate_than_the_consoles_is_refused(machine: Make) -> None:
    one = machine()
    one.fingerprint()
    assert listens(one)
    with pytest.raises(IdentityError, match="somebody is in between"):
        certificate_at("127.0.0.1", one.port, "0" * 64)


def test_a_machine_that_nobody_claims_ends(machine: Make) -> None:
    one = machine(unclaimed_s=0.2)
    eventually(lambda: one.process.poll() is not None, "it ended")
    assert end_in(one.console.read_text(), TOKEN) == "unclaimed"


@pytest.mark.slow
def test_it_becomes_a_worker_runs_a_cell_and_ends_with_it(machine: Make, tmp_path: Path) -> None:
    one, said = machine(), []
    door = deliver(one, software_kit(tmp_path / "cache"), tmp_path / "cache", said)
    endpoint = one.endpoint(door.cert_pem)
    found = run_cell(endpoint, "import sys, cellferry\ny = x * 2\nwhere = sys.prefix\nhome = cellferry.__file__", x=[21])
    assert found["y"] == [21, 21] and found["where"] == str(one.folder / "machine" / "venv")
    assert found["home"].startswith(found["where"]), "the software that was sent, not this checkout"
    assert any("installs" in line for line in said)
    processes = psutil.Process(one.process.pid).children(recursive=True)
    listening = {(c.laddr.ip, c.laddr.port) for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert listening == {("127.0.0.1", one.port)}
    ready = json.loads((one.worker_folder / "ready.json").read_text())
    psutil.Process(ready["pid"]).terminate()
    eventually(lambda: one.process.poll() is not None, "the machine ended with its worker")
    assert end_in(one.console.read_text(), TOKEN) == "ended 0 signal"
    psutil.wait_procs(processes, timeout=20)
    assert not [p for p in processes if p.is_running()]


@pytest.mark.slow
def test_a_machine_without_an_index_gets_every_package_from_here(
    machine: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    one, said = machine(offline=True), []
    door = deliver(one, software_kit(tmp_path / "cache"), tmp_path / "cache", said)
    assert any("packages are sent from here" in line for line in said)
    assert run_cell(one.endpoint(door.cert_pem), "y = 1")["y"] == 1


@pytest.mark.slow
def test_a_kit_that_cannot_be_installed_is_told_with_the_installers_words(machine: Make, tmp_path: Path) -> None:
    kit = software_kit(tmp_path / "cache")
    wrong = Kit(kit.key, kit.version, kit.python, kit.wheels, "no-such-package-at-all==1.0\n")
    one = machine()
    with pytest.raises(Refused, match="no-such-package-at-all"):
        deliver(one, wrong, tmp_path / "cache", [])
    assert end_in(one.console.read_text(), TOKEN) == "failed"


@pytest.mark.slow
def test_a_broken_connection_is_taken_up_again(machine: Make, tmp_path: Path) -> None:
    """The client hangs up in the middle of each step once; what was done is not done again."""
    one, said = machine(), []
    kit, door = software_kit(tmp_path / "cache"), one.door()
    hello = json.dumps({"op": "hello", "python": kit.python, "index": [], "worker": one.settings(Lease())}).encode() + b"\n"
    with door.connect() as tls, tls.makefile("rwb") as stream:
        stream.write(hello)
        stream.flush()
        assert json.loads(stream.readline()) == {"op": "need", "what": "kit"}
        stream.write(b'{"op": "give", "size": 1000, "sha256": "0"}\nabc')
        stream.flush()
    hand_over(door, kit, tmp_path / "cache", one.settings(Lease()), "x86_64", said.append, time.monotonic() + 200, lambda: None)
    eventually(lambda: answers(door), "it answers")
    assert len(said) == len(set(said))


@pytest.mark.slow
def test_the_workers_lease_ends_the_machine(machine: Make, tmp_path: Path) -> None:
    one = machine()
    deliver(one, software_kit(tmp_path / "cache"), tmp_path / "cache", [], Lease(idle_s=600.0, grace_s=None))
    ready = json.loads((one.worker_folder / "ready.json").read_text())
    psutil.Process(ready["pid"]).kill()
    eventually(lambda: one.process.poll() is not None, "the machine ended after its worker was killed")


# -- the notice of an interruption ------------------------------------------------------------------------------------


class Metadata(BaseHTTPRequestHandler):
    """EC2's instance metadata, version 2: a token first."""

    announced: dict[str, str] | None = None

    def do_PUT(self) -> None:
        self._answer(200 if self.headers.get("X-aws-ec2-metadata-token-ttl-seconds") else 400, b"t0")

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") != "t0":
            self._answer(401, b"")
        elif self.announced is None:
            self._answer(404, b"")
        else:
            self._answer(200, json.dumps(self.announced).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def test_a_notice_is_written_into_the_workers_folder(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Metadata,), {}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        boot = aws_machine.Boot({"folder": str(tmp_path), "metadata": base, "token": TOKEN, "console": []})
        boot.worker.mkdir()
        assert not boot.look_for_notice() and not (tmp_path / "worker" / "notice").exists()
        server.RequestHandlerClass.announced = {"action": "terminate", "time": "2026-01-02T03:04:05Z"}  # type: ignore[attr-defined]
        assert boot.look_for_notice()
        told = json.loads((tmp_path / "worker" / "notice").read_text())
        assert told == {"what": "AWS takes this spot machine back", "at_unix_s": 1767323045}
    finally:
        server.shutdown()
        server.server_close()
        thread.join(20)

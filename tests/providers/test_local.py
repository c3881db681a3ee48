"""The embedded provider: a real process each time, with a stand-in for the kernel."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cellferry.config import Cellferry
from cellferry.errors import DiskFull, WorkerStartError
from cellferry.link.identity import client_context, make_identity
from cellferry.model import CellRequest, Lease, Order, Worker
from cellferry.providers import local
from cellferry.providers.local import LocalProvider
from cellferry.providers.process_end import end_session, is_worker, read_tail, wait_for_exit
from cellferry.worker.keeper import EXIT_CODES

PATIENCE_S = 60.0
STANDIN = str(Path(__file__).parents[1] / "worker")


class StandinProvider(LocalProvider):
    kernel_module = "standin_guest"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a path short enough for a socket in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture(params=["unix", "tls"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def provider_for(**settings: Any) -> StandinProvider:
    config = Cellferry(**{"start_timeout_s": PATIENCE_S} | settings)
    return StandinProvider(config, lambda folder: make_identity(folder).cert_pem)


def start(provider: LocalProvider, progress: Any = lambda line: None) -> Worker:
    return provider.start(Order(CellRequest(), "default", Lease(600, 5)), progress)


@pytest.fixture
def provider(transport: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandinProvider]:
    monkeypatch.setenv("PYTHONPATH", STANDIN)
    provider = provider_for(local_transport=transport)
    yield provider
    for worker in provider.find():
        provider.stop(worker)


def test_start_find_stop(provider: StandinProvider, transport: str) -> None:
    lines: list[str] = []
    worker = start(provider, lines.append)
    assert worker.endpoint.kind == transport and worker.provider == provider.name == "local"
    assert worker.folder is not None and worker.pid is not None
    assert stat.S_IMODE(worker.folder.stat().st_mode) & 0o777 == 0o700
    assert all(lines) and len(lines) == len(set(lines))
    assert provider.alive(worker)
    assert [found.id for found in provider.find()] == [worker.id]
    processes = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
    provider.stop(worker)
    assert not provider.alive(worker) and not worker.folder.exists() and provider.find() == []
    assert psutil.wait_procs(processes, timeout=PATIENCE_S)[1] == []


def test_stop_may_be_repeated_and_come_too_late(provider: StandinProvider) -> None:
    worker = start(provider)
    threads = [threading.Thread(target=provider.stop, args=(worker,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    provider.stop(worker)
    other = provider_for()
    other.stop(worker)
    assert not other.alive(worker)


def test_two_starts_in_parallel(provider: StandinProvider) -> None:
    workers: list[Worker] = []
    threads = [threading.Thread(target=lambda: workers.append(start(provider))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({worker.id for worker in workers}) == len({worker.folder for worker in workers}) == 2
    assert {found.id for found in provider.find()} == {worker.id for worker in workers}
    for worker in workers:
        provider.stop(worker)


def test_a_worker_of_another_process_is_found_and_stopped(provider: StandinProvider) -> None:
    worker = start(provider)
    other = provider_for()
    (found,) = other.find()
    assert found.id == worker.id and found.name == "default" and found.pid == worker.pid
    assert found.endpoint == worker.endpoint and found.lease == worker.lease
    assert other.alive(found)
    other.stop(found)
    assert not provider.alive(worker)
    assert provider.describe_end(worker)


@pytest.mark.parametrize("victim", ["keeper", "server"])
def test_how_a_killed_worker_ended(provider: StandinProvider, victim: str) -> None:
    worker = start(provider)
    assert worker.pid is not None
    keeper = psutil.Process(worker.pid)
    target = keeper if victim == "keeper" else keeper.children()[0]
    target.kill()
    assert wait_for_exit(worker.pid, PATIENCE_S)
    assert not provider.alive(worker)
    assert "killed by SIGKILL" in provider.describe_end(worker)
    provider.stop(worker)


def test_how_a_stopped_worker_ended(provider: StandinProvider) -> None:
    worker = start(provider)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGTERM)
    assert wait_for_exit(worker.pid, PATIENCE_S)
    assert not provider.alive(worker)
    assert provider.describe_end(worker) == "it was told to stop"
    provider.stop(worker)
    assert provider.describe_end(worker) == "it was told to stop", "also without its folder"


@pytest.mark.parametrize(
    ("lease", "why"), [(Lease(0.05, None), "nobody used it for 0 s"), (Lease(9, 0.3), "not connected")]
)
def test_how_a_worker_ended_whose_lease_ran_out(
    provider: StandinProvider, lease: Lease, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = provider.start(Order(CellRequest(), "default", lease), lambda line: None)
    assert worker.pid is not None
    link_once(worker)
    assert wait_for_exit(worker.pid, PATIENCE_S)
    assert why in provider.describe_end(worker)
    provider.stop(worker)


def link_once(worker: Worker) -> None:
    """Be connected for a moment: from then on the lease counts."""
    endpoint = worker.endpoint
    if endpoint.kind == "tls":
        line: socket.socket = socket.create_connection((endpoint.host, endpoint.port), PATIENCE_S)
        line = client_context(endpoint).wrap_socket(line)
    else:
        line = socket.socket(socket.AF_UNIX)
        line.connect(endpoint.path)
        line.sendall(b"CFRY")
    with line:
        line.settimeout(PATIENCE_S)
        line.sendall(b"pid\n")
        assert int(line.recv(100))


def test_the_exit_codes_are_the_workers_own() -> None:
    codes = set(EXIT_CODES.values()) - {EXIT_CODES["keeper"]}  # that one dies with its session
    assert codes == set(local.ENDED_ITSELF)


# -- a start that fails -----------------------------------------------------------------------------------------------


def nothing_left(before: set[str], base: Path) -> None:
    assert {path.name for path in base.iterdir()} == before


def test_a_worker_that_ends_at_once(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    (place / "broken").mkdir()
    (place / "broken" / "socket.py").write_text("raise ImportError('this Python is broken')\n")
    monkeypatch.setenv("PYTHONPATH", str(place / "broken"))
    base = place / "w"
    with pytest.raises(WorkerStartError, match="this Python is broken") as caught:
        start(provider_for(worker_dir=str(base)))
    assert "exit code 1" in caught.value.what and "doctor" in caught.value.advice
    nothing_left(set(), base)


def test_a_worker_that_makes_no_progress(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    (place / "slow").mkdir()
    (place / "slow" / "socket.py").write_text("import signal\nprint('hanging', flush=True)\nsignal.pause()\n")
    monkeypatch.setenv("PYTHONPATH", str(place / "slow"))
    with pytest.raises(WorkerStartError, match="made no progress for 0 s") as caught:
        start(provider_for(worker_dir=str(place / "w"), start_timeout_s=0.4))
    assert "process is started" in caught.value.what
    nothing_left(set(), place / "w")


def test_an_interrupted_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", STANDIN)
    pids: list[int] = []
    launch = local._launch

    def noted(folder: Path) -> subprocess.Popen[bytes]:
        process = launch(folder)
        pids.append(process.pid)
        return process

    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "_launch", noted)
    monkeypatch.setattr(local, "wait_for_exit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start(provider_for(worker_dir=str(place / "w")))
    assert not psutil.pid_exists(pids[0])
    nothing_left(set(), place / "w")


@pytest.fixture
def tiny_disk(place: Path) -> Iterator[Path]:
    """A file system of 256 KiB, where this machine allows one to be mounted."""
    place = place / "d"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(tiny_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", STANDIN)
    with (tiny_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError):
        while True:
            filler.write(b"x" * 4096)
    with pytest.raises(DiskFull, match=str(tiny_disk)) as caught:
        start(provider_for(worker_dir=str(tiny_disk)))
    assert "worker_dir" in caught.value.advice
    nothing_left({"filler"}, tiny_disk)


def test_a_path_too_long_for_a_socket(place: Path) -> None:
    with pytest.raises(WorkerStartError, match="unix socket") as caught:
        start(provider_for(worker_dir=str(place / ("x" * 80))))
    assert "c.Cellferry.worker_dir" in caught.value.advice


def test_a_long_temporary_folder_is_stepped_over(
    provider: StandinProvider, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / ("x" * 80)).mkdir()
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(place / ("x" * 80)))
    worker = start(provider)
    assert worker.folder is not None and worker.folder.parent == Path("/tmp")
    provider.stop(worker)


def test_folders_of_crashed_workers_and_clients_are_removed(provider: StandinProvider) -> None:
    worker = start(provider)
    assert worker.folder is not None
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, starting = worker.folder.parent / "cf-dead", worker.folder.parent / "cf-starting"
    for folder, client in ((dead, ended.pid), (starting, os.getpid())):
        folder.mkdir(mode=0o700)
        (folder / "worker.json").write_text(json.dumps({"client_pid": client}))
    again = start(provider)
    assert not dead.exists() and starting.exists() and worker.folder.exists()
    provider.stop(again)
    shutil.rmtree(starting)


def test_a_process_that_nobody_has_waited_for_is_none(provider: StandinProvider) -> None:
    """A killed notebook, or a worker whose keeper was killed, until somebody collects it."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    worker = start(provider)
    assert worker.folder is not None
    crashed = worker.folder.parent / f"{provider.prefix}crashed"
    crashed.mkdir()
    (crashed / "worker.json").write_text(json.dumps({"client_pid": dead.pid}))
    provider._remove_stale()
    assert not crashed.exists() and worker.folder.exists()
    dead.wait()
    provider.stop(worker)


def test_what_this_notebooks_server_told_it_is_not_passed_on(
    provider: StandinProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "kept")
    worker = start(provider)
    assert worker.pid is not None
    environ = psutil.Process(worker.pid).environ()
    assert "JPY_PARENT_PID" not in environ and environ["OMP_NUM_THREADS"] == "kept"


# -- ending processes -------------------------------------------------------------------------------------------------


def test_a_process_that_is_not_the_worker_is_never_killed(place: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as innocent:
        assert not is_worker(innocent.pid, place)
        end_session(innocent.pid, place)
        assert not wait_for_exit(innocent.pid, 0)
        innocent.communicate(b"\n")
    assert innocent.returncode == 0


def test_the_end_of_a_file(place: Path) -> None:
    path = place / "log"
    assert read_tail(path, lines=2) == ""
    path.write_text("\n".join(map(str, range(10000))) + "\n")
    assert read_tail(path, lines=2) == "9998\n9999"

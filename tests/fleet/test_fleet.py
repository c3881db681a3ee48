"""The fleet with real workers (and a stand-in for the kernel)."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cellferry.config import Cellferry
from cellferry.errors import CellferryError, DiskFull, KernelDied, RequestError, WorkerLost, WorkerStartError
from cellferry.fleet.fleet import Fleet
from cellferry.link.http import WorkerHttp
from cellferry.link.identity import client_context
from cellferry.model import CellRequest, Hardware, Worker
from cellferry.providers.local import LocalProvider
from cellferry.providers.process_end import wait_for_exit

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def standin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "worker"))
    monkeypatch.setattr(LocalProvider, "kernel_module", "standin_guest")
    monkeypatch.setattr("cellferry.fleet.rows.STATUS_S", PATIENCE_S)


@pytest.fixture(params=["unix", "tls"])
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    fleet = Fleet(Cellferry(local_transport=request.param, start_timeout_s=PATIENCE_S))
    yield fleet
    fleet.close()


def acquire(fleet: Fleet, name: str | None = None, **words: Any) -> tuple[Worker, bool]:
    return fleet.acquire(CellRequest(name=name, **words), lambda line: None)


def eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline
        select.select([], [], [], 0.01)
    return value


def answering(worker: Worker) -> dict[str, Any]:
    """Wait until the worker's server is up, so that a diagnosis is measured without it."""
    return WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S).get("status")


def processes_of(worker: Worker) -> list[psutil.Process]:
    keeper = psutil.Process(worker.pid)
    return [keeper, *keeper.children(recursive=True)]


def test_cells_share_a_worker(fleet: Fleet) -> None:
    first, fresh = acquire(fleet)
    assert fresh and first.name == "default"
    assert acquire(fleet) == (first, False)
    assert fleet.alive(first) and fleet.peek(CellRequest()) == "default"
    other, fresh = acquire(fleet, "train")
    assert fresh and other.id != first.id
    assert acquire(fleet, "train") == (other, False)
    assert acquire(fleet, "default") == (first, False)
    bigger, fresh = acquire(fleet, hardware=Hardware(cpus=2))
    assert fresh and bigger.name == "default-2"
    with pytest.raises(RequestError):
        acquire(fleet, "train", hardware=Hardware(cpus=2))


def test_the_lease_is_the_cells_or_the_configurations(fleet: Fleet) -> None:
    worker, _ = acquire(fleet, idle_s=77.0)
    assert worker.lease.idle_s == 77.0 and worker.lease.grace_s == 5.0
    assert answering(worker)["lease"]["idle_s"] == 77.0


def test_threads_share_the_worker_that_one_of_them_starts(fleet: Fleet) -> None:
    found: list[tuple[Worker, bool]] = []
    threads = [threading.Thread(target=lambda: found.append(acquire(fleet))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({worker.id for worker, _ in found}) == 1
    assert sorted(fresh for _, fresh in found) == [False] * 4 + [True]


def test_status_and_down(fleet: Fleet) -> None:
    worker, _ = acquire(fleet)
    train, _ = acquire(fleet, "train")
    answering(worker)
    rows = {row.name: row for row in fleet.status()}
    assert set(rows) == {"default", "train"}
    assert rows["default"].pid == worker.pid and rows["default"].state == "ready" and rows["default"].ours
    assert (rows["default"].links, rows["default"].busy) == (0, False)
    left = processes_of(worker)
    assert [ended.name for ended in fleet.down("default")] == ["default"]
    assert psutil.wait_procs(left, timeout=PATIENCE_S)[1] == []
    assert [row.name for row in fleet.status()] == ["train"]
    with pytest.raises(RequestError, match="no worker 'default'; running: train"):
        fleet.down("default")
    assert [ended.name for ended in fleet.down()] == ["train"] and fleet.down() == [] and fleet.status() == []
    assert train.folder is not None and not train.folder.exists()
    assert acquire(fleet)[1], "a new one may be started"


def test_two_threads_end_the_same_worker(fleet: Fleet) -> None:
    acquire(fleet)
    threads = [threading.Thread(target=fleet.down) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fleet.status() == []


def test_a_dead_worker_is_replaced(fleet: Fleet) -> None:
    worker, _ = acquire(fleet)
    assert worker.pid is not None and worker.folder is not None
    os.kill(worker.pid, signal.SIGKILL)
    wait_for_exit(worker.pid, PATIENCE_S)
    again, fresh = acquire(fleet)
    assert fresh and again.id != worker.id and again.name == "default"
    assert not worker.folder.exists()


def test_a_failed_start_leaves_the_fleet_as_it_was(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("cellferry.providers.local.sys.executable", "/bin/false")
        with pytest.raises(WorkerStartError, match="exit code 1"):
            acquire(fleet)
    assert fleet.status() == []
    assert acquire(fleet)[1]


def test_close_ends_everything_and_may_be_repeated(fleet: Fleet) -> None:
    left = [process for name in ("a", "b") for process in processes_of(acquire(fleet, name)[0])]
    fleet.close()
    assert psutil.wait_procs(left, timeout=PATIENCE_S)[1] == []
    fleet.close()


def test_a_forked_child_does_not_end_its_parents_workers(fleet: Fleet) -> None:
    worker, _ = acquire(fleet)
    child = os.fork()
    if child == 0:
        try:
            fleet.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert acquire(fleet) == (worker, False)


def test_an_exiting_process_ends_its_workers() -> None:
    code = (
        "from cellferry.config import Cellferry\nfrom cellferry.fleet.fleet import Fleet\n"
        "from cellferry.model import CellRequest\nfrom cellferry.providers.local import LocalProvider\n"
        "LocalProvider.kernel_module = 'standin_guest'\n"
        "worker, _ = Fleet(Cellferry(start_timeout_s=60)).acquire(CellRequest(), lambda line: None)\n"
        "print(worker.pid, worker.folder)\n"
    )
    pid, folder = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not psutil.pid_exists(int(pid)) and not Path(folder).exists()


# -- diagnosis --------------------------------------------------------------------------------------------------------


def ask_kernel(worker: Worker, words: str) -> str:
    endpoint = worker.endpoint
    if endpoint.kind == "tls":
        raw = socket.create_connection((endpoint.host, endpoint.port), PATIENCE_S)
        line: socket.socket = client_context(endpoint).wrap_socket(raw)
    else:
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(PATIENCE_S)
        line.connect(endpoint.path)
        line.sendall(b"CFRY")
    with line:
        line.sendall(words.encode() + b"\n")
        return line.recv(1000).decode().strip()


def diagnosed(fleet: Fleet, worker: Worker, **known: Any) -> CellferryError:
    began = time.monotonic()
    error = fleet.diagnose(worker, **known)
    assert time.monotonic() - began < 10
    return error


def test_a_killed_kernel(fleet: Fleet) -> None:
    worker, _ = acquire(fleet)
    answering(worker)
    os.kill(int(ask_kernel(worker, "pid")), signal.SIGKILL)
    error = diagnosed(fleet, worker)
    assert isinstance(error, KernelDied) and "SIGKILL" in error.what and "GiB" in error.what
    assert acquire(fleet) == (worker, False)
    assert eventually(lambda: answering(worker)["kernel"]["ready"])
    assert int(ask_kernel(worker, "pid"))
    assert isinstance(diagnosed(fleet, worker, generation=2), WorkerLost), "the second kernel has not died"


def test_a_kernel_that_ended_itself(fleet: Fleet) -> None:
    worker, _ = acquire(fleet)
    answering(worker)
    ask_kernel(worker, "say goodbye")
    ask_kernel(worker, "exit 5")
    error = diagnosed(fleet, worker, generation=1)
    assert isinstance(error, KernelDied) and "exit code 5" in error.what and "goodbye" in error.what


def test_a_kernel_that_dies_before_the_server_is_up(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLFERRY_STANDIN_EXIT", "9")
    worker, _ = acquire(fleet)
    assert isinstance(error := diagnosed(fleet, worker), KernelDied) and "exit code 9" in error.what
    assert eventually(lambda: answering(worker)["kernel"]["state"] == "dead")
    assert "%remote down default" in diagnosed(fleet, worker).advice


@pytest.mark.parametrize("victim", ["keeper", "server"])
def test_a_killed_worker(fleet: Fleet, victim: str) -> None:
    worker, _ = acquire(fleet)
    answering(worker)
    keeper = psutil.Process(worker.pid)
    target = keeper if victim == "keeper" else keeper.children()[0]
    target.kill()
    error = diagnosed(fleet, worker)
    assert isinstance(error, WorkerLost) and "SIGKILL" in error.what and "new worker" in error.advice


def test_a_worker_whose_folder_was_deleted(fleet: Fleet) -> None:
    worker, _ = acquire(fleet)
    assert worker.folder is not None
    shutil.rmtree(worker.folder)
    error = diagnosed(fleet, worker)
    assert isinstance(error, WorkerLost) and "folder" in error.what


def test_a_worker_that_does_not_answer(fleet: Fleet) -> None:
    worker, _ = acquire(fleet)
    server = psutil.Process(worker.pid).children()[0]
    server.suspend()
    error = diagnosed(fleet, worker)
    assert isinstance(error, WorkerLost) and "does not answer" in error.what and "%remote down default" in error.advice


def test_a_link_that_broke_for_no_reason(fleet: Fleet) -> None:
    worker, _ = acquire(fleet)
    answering(worker)
    error = diagnosed(fleet, worker)
    assert isinstance(error, WorkerLost) and "still there" in error.advice


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = Path(os.environ["TMPDIR"]) / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place)], capture_output=True)
    if mounted.returncode:
        place.rmdir()
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode().strip()}")
    fleet = Fleet(Cellferry(worker_dir=str(place), start_timeout_s=PATIENCE_S))
    try:
        worker, _ = acquire(fleet)
        answering(worker)
        assert worker.folder is not None
        with (worker.folder / "work" / "big").open("wb", buffering=0) as big, pytest.raises(OSError):
            while True:
                big.write(b"x" * 65536)
        error = diagnosed(fleet, worker)
        assert isinstance(error, DiskFull) and str(place) in error.what
        for process in processes_of(worker):
            process.kill()
        assert worker.pid is not None and wait_for_exit(worker.pid, PATIENCE_S)
        assert isinstance(diagnosed(fleet, worker), DiskFull), "also when that was its end"
    finally:
        fleet.close()
        subprocess.run(["umount", str(place)], check=True)
        place.rmdir()

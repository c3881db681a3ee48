"""The worker with the kernel that it really runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from cellferry.config import Cellferry
from cellferry.link.http import WorkerHttp
from cellferry.link.identity import make_identity
from cellferry.model import CellRequest, Lease, Order, Worker
from cellferry.providers.local import LocalProvider

Wait = Callable[..., Any]
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def worker(transport: str) -> Iterator[Worker]:
    config = Cellferry(local_transport=transport, start_timeout_s=PATIENCE_S)
    provider = LocalProvider(config, lambda folder: make_identity(folder).cert_pem)
    worker = provider.start(Order(CellRequest(), "default", Lease()), lambda line: None)
    yield worker
    provider.stop(worker)


@pytest.fixture
def http(worker: Worker, wait: Wait) -> WorkerHttp:
    """To a worker whose kernel is up."""
    http = WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S)
    wait(lambda: http.get("status")["kernel"]["ready"])
    return http


def test_jupyters_own_routes_show_the_kernel(worker: Worker, http: WorkerHttp, wait: Wait) -> None:
    (kernel,) = wait(lambda: http.get("/api/kernels")["items"])
    assert kernel["id"] == worker.id and kernel["name"] == "cellferry-guest"


def test_any_jupyter_client_of_ours_may_speak_to_it(worker: Worker, http: WorkerHttp) -> None:
    assert worker.folder is not None
    client = BlockingKernelClient(connection_file=str(worker.folder / "kernel.json"))
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE_S)
        reply = client.execute_interactive("print(6 * 7)", timeout=PATIENCE_S, output_hook=lambda message: None)
        assert reply["content"]["status"] == "ok"
    finally:
        client.stop_channels()


def listening(worker: Worker) -> list[Any]:
    keeper = psutil.Process(worker.pid)
    found = [c for p in [keeper, *keeper.children(recursive=True)] for c in p.net_connections("inet")]
    return [each for each in found if each.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)]


def test_nothing_listens_beyond_loopback(worker: Worker, http: WorkerHttp) -> None:
    assert {each.laddr.ip for each in listening(worker)} <= {"127.0.0.1"}


def test_nothing_listens_but_the_door(worker: Worker, http: WorkerHttp) -> None:
    ports = {worker.endpoint.port} if worker.endpoint.kind == "tls" else set()
    assert {each.laddr.port for each in listening(worker)} == ports


def test_a_restarted_kernel_is_found_where_the_first_one_was(worker: Worker, http: WorkerHttp, wait: Wait) -> None:
    before = http.get("status")["kernel"]
    http.post("kernel/restart")
    after = wait(lambda: (k := http.get("status")["kernel"])["ready"] and k)
    assert after["generation"] == before["generation"] + 1 and after["pid"] != before["pid"]
    test_any_jupyter_client_of_ours_may_speak_to_it(worker, http)
    assert [kernel["id"] for kernel in http.get("/api/kernels")["items"]] == [worker.id]

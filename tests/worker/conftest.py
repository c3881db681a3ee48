"""Real workers with a stand-in for the kernel, on both transports."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from cellferry.config import Cellferry
from cellferry.link.http import WorkerHttp
from cellferry.link.identity import client_context, make_identity
from cellferry.model import CellRequest, Lease, Order, Worker
from cellferry.providers.local import LocalProvider

PATIENCE_S = 60.0
"""A busy machine takes long to import a Jupyter server; nothing waits this long when all is well."""


def eventually(condition: Callable[[], Any], what: str = "") -> Any:
    """The first true value of ``condition``; fails if none comes."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never came true: {what or condition}"
        select.select([], [], [], 0.005)
    return value


@dataclass
class Line:
    """A connection to the stand-in kernel."""

    connection: socket.socket
    file: Any = field(init=False)

    def __post_init__(self) -> None:
        self.connection.settimeout(PATIENCE_S)
        self.file = self.connection.makefile("rwb")

    def ask(self, *words: object) -> str:
        self.file.write((" ".join(map(str, words)) + "\n").encode())
        self.file.flush()
        answer: bytes = self.file.readline()
        if not answer:
            raise ConnectionResetError("the kernel hung up")
        return answer.decode().strip()

    def tell(self, *words: object) -> None:
        self.file.write((" ".join(map(str, words)) + "\n").encode())
        self.file.flush()

    def close(self) -> None:
        self.file.close()
        self.connection.close()


@dataclass
class Bench:
    """One started worker."""

    provider: LocalProvider
    worker: Worker

    def __post_init__(self) -> None:
        assert self.worker.folder is not None and self.worker.pid is not None
        self.folder: Path = self.worker.folder
        self.keeper = psutil.Process(self.worker.pid)
        self.http = WorkerHttp(self.worker.endpoint, timeout_s=PATIENCE_S)

    @property
    def server(self) -> psutil.Process:
        """The process below the keeper."""
        return self.keeper.children()[0]

    def raw(self) -> socket.socket:
        endpoint = self.worker.endpoint
        if endpoint.kind == "tls":
            return socket.create_connection((endpoint.host, endpoint.port), PATIENCE_S)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE_S)
        connection.connect(endpoint.path)
        return connection

    def link(self) -> Line:
        connection = self.raw()
        if self.worker.endpoint.kind == "tls":
            return Line(client_context(self.worker.endpoint).wrap_socket(connection))
        connection.sendall(b"CFRY")
        return Line(connection)

    def kernel(self) -> dict[str, Any]:
        kernel: dict[str, Any] = self.http.get("status")["kernel"]
        return kernel

    def lease(self) -> dict[str, Any]:
        lease: dict[str, Any] = self.http.get("status")["lease"]
        return lease

    def everything(self) -> list[psutil.Process]:
        """The worker's processes at this moment, whatever session or parent they have."""
        return [self.keeper, *self.keeper.children(recursive=True)]


def gone(processes: list[psutil.Process], what: str = "the processes") -> None:
    """Wait until none of them lives; a zombie whose parent has not looked yet is dead."""

    def living() -> list[psutil.Process]:
        return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]

    def none_lives() -> bool:
        try:
            return not living()
        except psutil.NoSuchProcess:
            return False  # it ended between the two questions: ask again

    eventually(none_lives, f"{what} ended")


class StandinProvider(LocalProvider):
    kernel_module = "standin_guest"


Start = Callable[..., Bench]


@pytest.fixture(params=["unix", "tls"], scope="module")
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def begin(transport: str, idle_s: float = 600.0, grace_s: float | None = None) -> Bench:
    config = Cellferry(local_transport=transport, start_timeout_s=PATIENCE_S)
    provider = StandinProvider(config, lambda folder: make_identity(folder).cert_pem)
    return Bench(provider, provider.start(Order(CellRequest(), "default", Lease(idle_s, grace_s)), lambda line: None))


def finish(bench: Bench) -> None:
    left = bench.everything() if bench.keeper.is_running() else []
    bench.provider.stop(bench.worker)
    gone(left)
    assert not bench.folder.exists()


@pytest.fixture(scope="module", autouse=True)
def standin_is_found() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        yield


@pytest.fixture
def start(transport: str) -> Iterator[Start]:
    """Start a worker with the given lease; it is stopped at the end of the test, if it still runs."""
    started: list[Bench] = []

    def one(**lease: Any) -> Bench:
        started.append(begin(transport, **lease))
        return started[-1]

    yield one
    for bench in started:
        finish(bench)


@pytest.fixture(scope="module")
def shared(transport: str) -> Iterator[Bench]:
    """One worker for all tests of a module that leave it as it is."""
    bench = begin(transport)
    yield bench
    finish(bench)


@pytest.fixture
def wait() -> Callable[..., Any]:
    return eventually


@pytest.fixture
def ended() -> Callable[..., None]:
    return gone

"""A real worker whose environment is being made while the wire to it breaks: it is made once, and the cell then runs."""

from __future__ import annotations

import hashlib
import http.server
import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from cellferry.errors import EnvironmentNotBuilt, LinkError, WorkerLost
from cellferry.link import packages
from cellferry.link.packages import EnvironmentThere, Order, ask_versions, build_there
from cellferry.model import CellRequest, EnvironmentChoice
from environment.wheelhouse import make_wheel

from .real import PATIENCE_S, Notebook, eventually, wire_of

MEGABYTE = 1 << 20
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


class SlowIndex:
    """One wheel by HTTP, which is not given before ``go``; ``asked``: how often somebody wanted it."""

    def __init__(self, wheel: Path) -> None:
        self.asked, self.go = 0, threading.Event()
        index, data = self, wheel.read_bytes()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked += 1
                index.go.wait(PATIENCE_S)
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/{wheel.name}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.go.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


@dataclass
class Building:
    """An order that is being carried out in a thread, as ``cellferry.packages`` has it done."""

    notebook: Notebook
    order: Order

    def __post_init__(self) -> None:
        self.lines: list[str] = []
        self.made: EnvironmentThere | None = None
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        endpoint, link = self.notebook.endpoint, self.notebook.link
        try:
            self.made = build_there(endpoint, "box", self.order, self.lines.append, lambda: link.lost)
        except Exception as error:
            self.error = error

    def ends(self) -> EnvironmentThere:
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error
        assert self.made is not None
        return self.made


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    """With a worker whose kernel has an environment of its own, as on a machine elsewhere."""
    request = CellRequest(environment=EnvironmentChoice("made", "", HERE))
    with ExitStack() as stack:
        yield Notebook(stack, tmp_path, request, cache_dir=str(tmp_path / "cache"))


def order(files: dict[str, Path], urls: dict[str, Path] | None = None) -> Order:
    """For these wheels: those that travel, and those that are had by URL."""
    wanted = [*((wheel, f'path = "wheels/{wheel.name}"') for wheel in files.values()),
              *((wheel, f'url = "{url}"') for url, wheel in (urls or {}).items())]  # fmt: skip
    text = 'lock-version = "1.0"\ncreated-by = "a test"\n'
    for wheel, place in wanted:
        name, version = wheel.name.split("-")[:2]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        text += f'[[packages]]\nname = "{name}"\nversion = "{version}"\narchive = {{ {place}, hashes = {{ sha256 = "{digest}" }} }}\n'
    versions = {wheel.name.split("-")[0]: wheel.name.split("-")[1] for wheel, _place in wanted}
    sent = {f"wheels/{wheel.name}": wheel for wheel in files.values()}
    return Order(uuid.uuid4().hex, uuid.uuid4().hex, text, versions, sent, {})


def wheel(folder: Path, name: str, size: int = 10) -> Path:
    return make_wheel(folder, name, "1", {f"{name}.py": f"KIND = {name!r}", f"{name}.bin": os.urandom(size // 2).hex()})


def test_files_go_on_where_they_stopped(notebook: Notebook, tmp_path: Path) -> None:
    wire, size = wire_of(notebook), 24 * MEGABYTE
    asked = order({"first": wheel(tmp_path, "first", 8 * MEGABYTE), "big": wheel(tmp_path, "big", size)})
    notebook.send("import big, first\nkind = big.KIND + first.KIND", packages=asked.ticket)
    before = wire.passed["out"]
    wire.cut_after(20 * MEGABYTE)
    building = Building(notebook, asked)
    assert building.ends().versions["big"] == "1"
    notebook.home()
    assert notebook.values["kind"] == "bigfirst"
    assert wire.cuts == 1 and wire.passed["out"] - before < size + 13 * MEGABYTE


@pytest.mark.parametrize("silently", [False, True], ids=["cut", "silent"])
def test_what_is_being_built_is_not_built_twice(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silently: bool
) -> None:
    monkeypatch.setattr(packages, "SILENT_S", 5.0)
    wire, small, slow = wire_of(notebook), wheel(tmp_path, "small"), wheel(tmp_path, "slow")
    index = SlowIndex(slow)
    try:
        asked = order({"small": small}, {index.url: slow})
        notebook.send("import small, slow\nkind = slow.KIND", packages=asked.ticket)
        building = Building(notebook, asked)
        eventually(lambda: index.asked, "the download")
        if silently:
            back = wire.passed["back"]
            eventually(lambda: wire.passed["back"] > back + 200, "signs of life")
            wire.stop()
        wire.refused = True
        if not silently:
            wire.cut()
        eventually(lambda: [line for line in building.lines if "connection to box lost" in line], "the line under the cell")
        wire.refused = False
        wire.mend()
        connections = wire.connections
        eventually(lambda: wire.connections > connections, "another connection")
        index.go.set()
        assert building.ends().versions["slow"] == "1"
        notebook.home()
        assert notebook.values["kind"] == "slow" and index.asked == 1
    finally:
        index.close()


def test_how_it_ended_is_told_to_who_comes_back(notebook: Notebook, tmp_path: Path) -> None:
    """It fails while nobody is connected."""
    wire, slow = wire_of(notebook), wheel(tmp_path, "slow")
    index = SlowIndex(slow)
    try:
        slow.write_bytes(b"another")  # what is served is not what the lock says
        asked = order({}, {index.url: slow})
        building = Building(notebook, asked)
        eventually(lambda: index.asked, "the download")
        wire.refused = True
        wire.cut()
        index.go.set()
        eventually(lambda: not list(notebook.folder.glob("lock-*")), "its end")
        wire.refused = False
        with pytest.raises(EnvironmentNotBuilt, match="could not be installed"):
            building.ends()
    finally:
        index.close()


def test_a_worker_that_is_gone_ends_the_wait(notebook: Notebook, tmp_path: Path) -> None:
    slow = wheel(tmp_path, "slow")
    index = SlowIndex(slow)
    try:
        building = Building(notebook, order({}, {index.url: slow}))
        eventually(lambda: index.asked, "the download")
        assert notebook.worker.pid is not None
        os.killpg(notebook.worker.pid, signal.SIGKILL)
        with pytest.raises(WorkerLost):
            building.ends()
    finally:
        index.close()


def test_what_is_there_is_asked_again_when_the_connection_breaks(notebook: Notebook) -> None:
    wire, lines = wire_of(notebook), list[str]()
    wire.refused = True
    with ThreadPoolExecutor(1) as asking:
        asked = asking.submit(ask_versions, notebook.endpoint, "box", lines.append, lambda: notebook.link.lost)
        eventually(lambda: [line for line in lines if "connection to box lost" in line], "the line under the cell")
        wire.refused = False
        assert asked.result(PATIENCE_S).python == HERE
    wire.refused = True
    with pytest.raises(LinkError, match="as it may be"):
        ask_versions(notebook.endpoint, "box", lines.append, lambda: LinkError("as it may be", "try"))

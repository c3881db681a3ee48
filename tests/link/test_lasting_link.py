"""A real worker behind a wire that breaks: every cell ends as if it had not, with each output once."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from cellferry.config import Cellferry
from cellferry.errors import KernelDied, LinkError, ParcelError, WorkerLost
from cellferry.link import redial
from cellferry.link.dial import dial
from cellferry.link.files import FileSync
from cellferry.link.http import ONCE, WorkerHttp
from cellferry.link.identity import make_identity
from cellferry.link.session import KernelLink
from cellferry.model import PROTOCOL, CellRequest, Endpoint, Lease, Order
from cellferry.parcels.parcel import pack
from cellferry.parcels.placeholder import Placeholder
from cellferry.parcels.wire import PREAMBLE, Channel, PlainStream
from cellferry.providers.local import LocalProvider

from . import real
from .real import PATIENCE_S, Notebook, eventually, own, wire_of  # noqa: F401

MEGABYTE = 1 << 20
FOREVER = "import threading\nprint('here', flush=True)\nthreading.Event().wait()"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    with ExitStack() as stack:
        notebook = Notebook(stack, tmp_path_factory.mktemp("nb"))
        notebook.run("import time")
        yield notebook


@pytest.fixture
def notebook(shared: Notebook) -> Iterator[Notebook]:
    """One for all tests of this module; each leaves it as it found it."""
    shared.paper.text, shared.paper.notes, shared.paper.bars = "", [], []
    shared.paper.asked.clear()
    assert shared.wire is not None
    shared.wire.cuts = 0
    yield shared
    shared.wire.mend()
    shared.wire.refused = False
    assert shared.run("'it works'")["status"] == "ok"
    for name in [name for name in shared.values if not name.startswith("\0")]:
        del shared.values[name]


def test_an_upload_goes_on_where_it_stopped(notebook: Notebook) -> None:
    notebook.values["a"] = np.random.default_rng(0).random(6 * MEGABYTE)
    size, wire = notebook.values["a"].nbytes, wire_of(notebook)
    before = wire.passed["out"]
    wire.cut_after(size // 2)
    assert notebook.run("total = float(a.sum())")["status"] == "ok"
    assert notebook.values["total"] == notebook.values["a"].sum()
    assert wire.cuts == 1 and wire.passed["out"] - before < size + 20 * MEGABYTE


def test_results_come_home_from_where_they_stopped(notebook: Notebook) -> None:
    size, wire = 48 * MEGABYTE, wire_of(notebook)
    before = wire.passed["back"]
    wire.cut_after(size // 2, "back")
    notebook.run(f"import numpy\nb = numpy.random.default_rng(1).random({size // 8})")
    assert (notebook.values["b"] == np.random.default_rng(1).random(size // 8)).all()
    assert wire.cuts == 1 and wire.passed["back"] - before < size + 20 * MEGABYTE


def test_a_cut_in_the_cells_own_frames(notebook: Notebook) -> None:
    for size in (1, 40, 400):
        wire_of(notebook).cut_after(size)
        notebook.run(f"x = {size}")
        assert notebook.values["x"] == size
        wire_of(notebook).cut_after(size, "back")
        notebook.run(f"y = {size}")
        assert notebook.values["y"] == size
    assert wire_of(notebook).cuts == 6


def test_each_output_comes_once_and_in_order(notebook: Notebook) -> None:
    wire = wire_of(notebook)
    notebook.send("for i in range(300):\n    print(i, flush=True)\n    time.sleep(0.002)")
    for _ in range(4):
        wire.cut_after(4000, "back")
        eventually(lambda: wire.cut_at["back"] is None, "the cut")
    notebook.home()
    assert notebook.paper.text.split() == [str(i) for i in range(300)] and wire.cuts == 4


def test_a_value_that_stayed_is_fetched(notebook: Notebook) -> None:
    notebook.send(f"import numpy\nkept = numpy.ones({2 * MEGABYTE})", fetch_limit=1000)
    notebook.home()
    held = notebook.values["kept"]
    assert type(held) is Placeholder
    oid = notebook.link.heap.oid_of[id(held)]
    wire_of(notebook).cut_after(5 * MEGABYTE, "back")
    notebook.link.fetch([oid])
    found = notebook.home().arrived.roots[str(oid)]
    assert found.sum() == 2 * MEGABYTE and wire_of(notebook).cuts == 1
    notebook.values.pop(str(oid), None)


def test_files_go_and_come(notebook: Notebook, tmp_path: Path) -> None:
    here, back = tmp_path / "here", tmp_path / "back"
    here.mkdir()
    back.mkdir()
    content = np.random.default_rng(2).bytes(24 * MEGABYTE)
    (here / "big.bin").write_bytes(content)
    screen: Any = notebook.paper
    files = FileSync(1 << 30, screen, "", inspect=lambda _text: None)
    wire_of(notebook).cut_after(10 * MEGABYTE)
    files.send(notebook.link, here, (), ["big.bin"])
    wire_of(notebook).cut_after(10 * MEGABYTE, "back")
    assert files.get(notebook.link, back, "big.bin") == ["big.bin"]
    assert (back / "big.bin").read_bytes() == content and wire_of(notebook).cuts == 2


def test_a_client_whose_address_has_changed_comes_back(notebook: Notebook) -> None:
    wire = wire_of(notebook)
    notebook.send("print('here', flush=True)\ntime.sleep(0.3)\nmoved = 1")
    eventually(lambda: "here" in notebook.paper.text, "the cell")
    wire.source = "127.0.0.2"
    wire.cut()
    notebook.home()
    assert notebook.values["moved"] == 1


def test_input_waits_for_its_user(notebook: Notebook) -> None:
    notebook.send("name = input('who? ')", stdin=True)

    def answer() -> None:
        notebook.paper.asked.wait(PATIENCE_S)
        wire_of(notebook).cut()
        notebook.paper.answers.put("ana")

    thread = threading.Thread(target=answer)
    thread.start()
    notebook.home()
    thread.join()
    assert notebook.values["name"] == "ana" and notebook.paper.answers.empty()


def test_a_wire_that_is_dead_without_a_sign_is_noticed(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    """And said under the cell, for as long as it lasts."""
    wire = wire_of(notebook)
    monkeypatch.setattr(redial, "NOTED_AFTER_S", 1.0)
    notebook.send("for i in range(5):\n    print('line', i, flush=True)\n    time.sleep(0.1)")
    wire.stop()
    wire.refused = True
    stopped = time.monotonic()

    def look() -> None:
        eventually(lambda: notebook.paper.bars, "the line under the cell")
        assert time.monotonic() - stopped < 15
        wire.refused = False
        wire.mend()

    thread = threading.Thread(target=look)
    thread.start()
    notebook.home()
    thread.join()
    assert notebook.paper.text.count("line") == 5
    assert "lost" in notebook.paper.bars[0] and "the cell goes on there" in notebook.paper.bars[0]
    assert notebook.paper.bars[-1] == "" and "nothing is missing" in notebook.paper.notes[-1]


def test_an_interrupt_while_it_is_gone_is_delivered_later(notebook: Notebook) -> None:
    wire = wire_of(notebook)
    notebook.send(FOREVER)
    eventually(lambda: "here" in notebook.paper.text, "the cell")
    wire.refused = True
    wire.cut()
    eventually(lambda: notebook.link._redial.away, "the loss")
    notebook.link.interrupted(1)
    assert "goes on there" in notebook.paper.notes[-1]
    wire.refused = False
    assert notebook.home().frame["reply"]["ename"] == "KeyboardInterrupt"


def test_who_interrupts_twice_waits_no_longer(own: Callable[..., Notebook]) -> None:
    notebook = own()
    wire = wire_of(notebook)
    notebook.send(FOREVER)
    eventually(lambda: "here" in notebook.paper.text, "the cell")
    wire.refused = True
    wire.cut()
    eventually(lambda: notebook.link._redial.away, "the loss")
    notebook.link.interrupted(1)
    with pytest.raises(WorkerLost, match="%remote attach"):
        notebook.link.interrupted(2)
    assert notebook.link.lost is not None


def test_a_stopped_cell_is_stopped(notebook: Notebook) -> None:
    """``on_disconnect=stop``."""
    wire = wire_of(notebook)
    notebook.send(FOREVER, stop_after_s=0.5)
    eventually(lambda: "here" in notebook.paper.text, "the cell")
    wire.refused = True
    wire.cut()
    eventually(lambda: not WorkerHttp(notebook.worker.endpoint, timeout_s=PATIENCE_S).get("status")["lease"]["busy"], "its end")
    wire.refused = False
    assert notebook.home().frame["reply"]["ename"] == "KeyboardInterrupt"


def test_a_cell_that_is_kept_goes_on_without_its_client(notebook: Notebook) -> None:
    wire = wire_of(notebook)
    notebook.send("print('before', flush=True)\ntime.sleep(0.5)\nprint('after')\nz = 5")
    eventually(lambda: "before" in notebook.paper.text, "the cell")
    wire.refused = True
    wire.cut()

    def lease() -> Any:
        return WorkerHttp(notebook.worker.endpoint, timeout_s=PATIENCE_S).get("status")["lease"]

    eventually(lambda: not lease()["busy"], "its end")
    assert lease()["links"] == 0
    wire.refused = False
    notebook.home()
    assert notebook.values["z"] == 5 and notebook.paper.text == "before\nafter\n"
    assert lease()["links"] == 1


def test_a_kernel_that_dies_is_told_at_once(own: Callable[..., Notebook]) -> None:
    notebook = own()
    notebook.send("import os\nprint(os.getpid(), flush=True)\n" + FOREVER)
    eventually(lambda: "here" in notebook.paper.text, "the cell")
    started = time.monotonic()
    os.kill(int(notebook.paper.text.split()[0]), signal.SIGKILL)
    with pytest.raises(KernelDied, match="SIGKILL"):
        notebook.home()
    assert time.monotonic() - started < 10


def test_a_kernel_that_died_behind_a_broken_wire_is_told_when_it_is_found_out(own: Callable[..., Notebook]) -> None:
    notebook = own()
    wire = wire_of(notebook)
    notebook.send("import os\nprint(os.getpid(), flush=True)\n" + FOREVER)
    eventually(lambda: "here" in notebook.paper.text, "the cell")
    wire.refused = True
    wire.cut()
    os.kill(int(notebook.paper.text.split()[0]), signal.SIGKILL)
    wire.refused = False
    with pytest.raises(KernelDied, match="SIGKILL"):
        notebook.home()


def test_a_worker_that_is_gone_is_told(own: Callable[..., Notebook]) -> None:
    notebook = own()
    notebook.send(FOREVER)
    eventually(lambda: "here" in notebook.paper.text, "the cell")
    started = time.monotonic()
    assert notebook.worker.pid is not None
    os.killpg(notebook.worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerLost):
        notebook.home()
    assert time.monotonic() - started < 10


def test_a_client_that_says_goodbye_is_forgotten(own: Callable[..., Notebook]) -> None:
    notebook = own(local_transport="unix")
    notebook.run("x = 1")
    status = WorkerHttp(notebook.worker.endpoint, timeout_s=PATIENCE_S)
    assert status.get("status")["lease"]["links"] == 1
    notebook.link.close()
    eventually(lambda: status.get("status")["lease"]["links"] == 0, "the goodbye")
    notebook.link = notebook.connect()
    notebook.run("y = x + 1")
    assert notebook.values["y"] == 2


def test_what_is_asked_for_twice_under_one_name_is_done_once(own: Callable[..., Notebook]) -> None:
    notebook = own(local_transport="unix")
    http = WorkerHttp(notebook.endpoint, timeout_s=PATIENCE_S)
    named = {ONCE: "this one"}
    assert http._ask("POST", "kernel/restart", None, named)["generation"] == 2
    assert http._ask("POST", "kernel/restart", None, named)["generation"] == 2
    assert http.post("kernel/restart")["generation"] == 3


# -- versions ---------------------------------------------------------------------------------------------------------


class OldKernel:
    """The hello of an earlier release: it takes whatever client comes and says which one protocol it speaks."""

    def __init__(self, path: Path, protocol: int) -> None:
        self.endpoint = Endpoint("unix", path=str(path))
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.protocol = protocol
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        connection, _ = self.listener.accept()
        assert connection.recv(len(PREAMBLE)) == PREAMBLE
        channel = Channel(PlainStream(connection))
        channel.recv()
        channel.send({"op": "welcome", "protocol": self.protocol, "pid": 1, "python": [3, 11, 0], "work": "/"})
        channel.close()
        self.listener.close()


@pytest.mark.parametrize("protocol", [PROTOCOL - 1, PROTOCOL + 1])
def test_a_worker_of_another_version_runs_no_cells_and_says_so(notebook: Notebook, tmp_path: Path, protocol: int) -> None:
    kernel = OldKernel(tmp_path / "s", protocol)
    screen: Any = notebook.paper
    link = KernelLink(kernel.endpoint, screen, {}, "old", lambda when: None)
    with pytest.raises(LinkError, match=rf"speaks protocol {protocol}.*can be ended"):
        link.open()
    link.close()
    kernel.thread.join(PATIENCE_S)


class OldProvider(LocalProvider):
    kernel_module = "old_guest"


def test_an_old_worker_still_tells_its_status_and_its_runs_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = OldProvider(Cellferry(start_timeout_s=PATIENCE_S), lambda folder: make_identity(folder).cert_pem)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    worker = provider.start(Order(CellRequest(), "old", Lease()), lambda _line: None)
    try:
        link = KernelLink(worker.endpoint, cast(Any, None), {}, "old", lambda when: None)
        with pytest.raises(LinkError, match=f"speaks protocol {PROTOCOL - 1}"):
            link.open()
        link.close()
        http = WorkerHttp(worker.endpoint, timeout_s=PATIENCE_S)
        assert http.get("status")["worker_id"] == worker.id and http.get("runs") is not None
        assert http.post("lease", {"idle_s": 30})["lease"]["idle_s"] == 30
        http.post("stop")
        eventually(lambda: not provider.alive(worker), "its end")
    finally:
        provider.stop(worker)


@pytest.mark.parametrize("hello", [{"protocol": PROTOCOL - 1}, {"protocol": PROTOCOL + 3, "oldest": PROTOCOL + 2}])
def test_a_client_of_another_version_is_told_ours(own: Callable[..., Notebook], hello: dict[str, Any]) -> None:
    notebook = own(local_transport="unix")
    channel = dial(notebook.endpoint)
    channel.send({"op": "hello", "pid": 1, "vm": False, **hello})
    welcome = channel.recv()[0]
    assert welcome["op"] == "welcome" and welcome["protocol"] == PROTOCOL
    channel.close()
    status = WorkerHttp(notebook.endpoint, timeout_s=PATIENCE_S).get("status")
    assert status["protocol"] == PROTOCOL and status["lease"]["links"] == 1
    assert notebook.run("1")["status"] == "ok"


def test_a_newer_client_that_still_speaks_ours_is_welcome(own: Callable[..., Notebook]) -> None:
    notebook = own(local_transport="unix")
    channel = dial(notebook.endpoint)
    channel.send({"op": "hello", "pid": 1, "vm": False, "protocol": PROTOCOL + 3, "oldest": PROTOCOL, "session": "s"})
    assert channel.recv()[0]["protocol"] == PROTOCOL
    channel.close()


def test_a_cell_whose_memory_cannot_be_had_there_is_not_waited_for(
    own: Callable[..., Notebook], monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = own()
    notebook.values["a"] = np.zeros(MEGABYTE)

    def strange(*args: Any) -> Any:
        parcel = pack(*args)
        for leaf in parcel.leaves:
            leaf.spec = ("nd", "no such type", *leaf.spec[2:])
        return parcel

    monkeypatch.setattr(real, "pack", strange)
    with pytest.raises(ParcelError, match="no such type"):
        notebook.send("a.sum()")
    monkeypatch.undo()
    assert notebook.run("1")["status"] == "ok"
    assert not any("before" in text for text in [*notebook.paper.notes, *notebook.paper.bars]), "it is the first in the queue"

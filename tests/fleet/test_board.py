"""The board: what a process shows of its workers and cells, in one file."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cellferry.config import Cellferry
from cellferry.fleet.board import Board, board_folder, read_boards
from cellferry.model import Endpoint, Hardware, Offer, Worker, WorkerId
from cellferry.screen import Cell
from cellferry.testing.contract import eventually

CELL = Cell("1", 0, 7, "c-1")
OFFER = Offer("demo", "us-east-1", "p4d", gpu="a100", gpu_count=8, gpu_memory_bytes=40 << 30, cpus=96, memory_bytes=1152 << 30,
              microusd_per_hour=32_000_000, simulated=True)  # fmt: skip


def worker(name: str = "train") -> Worker:
    return Worker(WorkerId(f"id-{name}"), name, "demo", Endpoint("unix"), Hardware(), offer=OFFER)


@pytest.fixture
def config(tmp_path: Path) -> Cellferry:
    return Cellferry(state_dir=str(tmp_path))


@pytest.fixture
def board(config: Cellferry) -> Iterator[Board]:
    board = Board(config, "/n/a.ipynb", "k-1")
    yield board
    board.close()
    assert not list(board_folder(config).iterdir())


def seen(config: Cellferry, until: Any = lambda content: True) -> dict[str, Any]:
    """What is on the board, as soon as it is so."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = read_boards(board_folder(config))
        return bool(found) and bool(until(found[0]))

    eventually(look, "the board says so")
    return found[0]


def names(content: dict[str, Any]) -> list[str]:
    return [each["phase"] for each in content["workers"][0]["phases"]]


def test_a_start_is_told_phase_by_phase(config: Cellferry, board: Board) -> None:
    heard: list[str] = []
    tell = board.starting("train", "gpu=a100", heard.append)
    tell("1. aws us-east-1: p4d, one of 3 that would do")
    tell("(simulated) p4d boots")
    assert names(seen(config, lambda c: len(names(c)) == 2)) == ["requested", "booting"]
    tell("2. aws us-east-2: p4d, one of 3 that would do")
    tell("(simulated) p4d boots")
    tell("the worker's Python runs, its kernel is starting")
    board.started(worker())
    content = seen(config, lambda c: c["workers"][0]["state"] == "ready")
    assert names(content) == ["requested", "booting", "environment", "data", "ready"]
    assert content["kernel_id"] == "k-1" and content["notebook"] == "/n/a.ipynb" and len(heard) == 5
    board.ending("train")
    board.gone("train")
    assert seen(config, lambda c: not c["workers"])


def test_a_failed_start_says_why(config: Cellferry, board: Board) -> None:
    board.starting("train", "gpu=a100", print)
    board.failed("train", ValueError("no luck"))
    assert seen(config, lambda c: c["workers"][0]["state"] == "failed")["workers"][0]["error"] == "no luck"


def test_a_cell_is_told_step_by_step(config: Cellferry, board: Board) -> None:
    board.starting("train", "", print)
    board.begin(CELL, "train")
    board.name_run("r-1")
    clock = board.clock()
    clock.append(1.0)
    assert seen(config, lambda c: c["runs"])["runs"][0]["phase"] == "worker"
    board.started(worker())
    clock.append(2.0)
    content = seen(config, lambda c: c["runs"][0]["phase"] == "sending")
    told = content["runs"][0]
    assert told["run"] == "r-1" and told["worker_id"] == "id-train" and told["hardware"] == "8x A100 40 GiB, 96 CPUs, 1152 GiB"
    assert told["simulated"] and told["microusd_per_hour"] == 32_000_000 and told["cell_id"] == "c-1"
    assert names(content)[-1] == "data" and content["workers"][0]["state"] == "starting"
    clock.append(3.0)
    content = seen(config, lambda c: c["runs"][0]["phase"] == "running")
    assert content["workers"][0]["state"] == "ready" and len(clock) == 4
    board.cost(7)
    board.step("home")
    board.end("ok", environment="abc")
    told = seen(config, lambda c: c["runs"][0]["phase"] == "done")["runs"][0]
    assert told["status"] == "ok" and told["microusd"] == 7 and told["environment"] == "abc" and told["ended_unix_s"]


def test_a_cell_that_never_left_is_forgotten(config: Cellferry, board: Board) -> None:
    board.begin(CELL, "train")
    board.end("error")
    board.begin(CELL, "train")
    board.step("worker")
    board.end("lost", detail="gone")
    assert [run["status"] for run in seen(config, lambda c: c["runs"])["runs"]] == ["lost"]


def test_only_the_latest_runs_are_kept(config: Cellferry, board: Board) -> None:
    for number in range(60):
        board.begin(Cell("1", 0, number), "train")
        board.step("worker")
        board.end("ok")
    assert [run["number"] for run in seen(config, lambda c: len(c["runs"]) == 50)["runs"]] == list(range(10, 60))


def test_many_changes_are_few_writes(config: Cellferry, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("cellferry.fleet.board._write", lambda path, text: written.append(text))
    tell = board.starting("train", "", lambda line: None)
    for number in range(1000):
        tell(f"line {number}")
    eventually(lambda: written and "line 999" in written[-1], "the last state is written")
    assert len(written) < 20


def test_it_is_private_and_goes_with_its_process(config: Cellferry, tmp_path: Path) -> None:
    program = (
        "import os, sys; from cellferry.config import Cellferry; from cellferry.fleet.board import Board\n"
        f"board = Board(Cellferry(state_dir={str(tmp_path)!r})); board.starting('x', '', print)\n"
        "sys.stdin.readline(); os._exit(1)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    try:
        content = seen(config)
        (path,) = board_folder(config).iterdir()
        assert path.name == f"{socket.gethostname()}-{process.pid}.json"
        assert content["pid"] == process.pid and path.stat().st_mode & 0o777 == 0o600
        assert board_folder(config).stat().st_mode & 0o777 == 0o700
    finally:
        process.communicate(b"\n")
    assert path.exists() and read_boards(board_folder(config)) == [] and not path.exists()


def test_another_process_of_the_same_number_is_not_believed(config: Cellferry) -> None:
    path = board_folder(config) / f"{os.getpid()}.json"
    told = {"v": 1, "host": socket.gethostname(), "pid": os.getpid(), "started_s": 1.0, "workers": [], "runs": []}
    path.write_text(json.dumps(told))
    assert read_boards(board_folder(config)) == [] and not path.exists()
    path.write_text(json.dumps(told | {"host": "another-machine"}))
    assert read_boards(board_folder(config)) == [] and path.exists(), "nobody can see from here whether it lives"
    path.unlink()


def test_threads_change_it_at_the_same_time(config: Cellferry, board: Board) -> None:
    threads = [threading.Thread(target=lambda n=n: board.starting(f"w{n}", "", print)) for n in range(20)]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen(config, lambda c: len(c["workers"]) == 20)["workers"]) == 20


def test_a_cell_that_is_left_to_its_worker_goes_on(config: Cellferry, board: Board) -> None:
    board.begin(CELL, "train")
    board.step("running")
    board.end("detached")
    told = seen(config, lambda c: c["runs"])["runs"][0]
    assert (told["status"], told["phase"], told["ended_unix_s"]) == ("detached", "running", None)

"""What the machine does: samples with a past, GPUs as a stand-in for ``nvidia-smi`` tells them, and the routes."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cellferry.errors import LinkError
from cellferry.worker.metrics import Sampler, read_gpu

Wait = Callable[..., Any]
SMI = """#!/bin/sh
while true; do
    echo "0, NVIDIA A100-SXM4-80GB, 37, 1024, 81920"
    echo "1, NVIDIA A100-SXM4-80GB, [N/A], 0, 81920"
    sleep 0.1
done
"""


@pytest.fixture
def sampler(tmp_path: Path) -> Iterator[Callable[..., Sampler]]:
    made: list[Sampler] = []

    def make(text: str = SMI, **options: Any) -> Sampler:
        program = tmp_path / "nvidia-smi"
        if text:
            program.write_text(text)
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        made.append(Sampler(0.1, (str(program),), **options))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_samples_have_numbers_and_a_past(sampler: Callable[..., Sampler], wait: Wait) -> None:
    one = sampler("")
    rows = wait(lambda: len((told := one.rows())["rows"]) >= 3 and told, "three samples")
    assert rows["from"] == 0
    row = rows["rows"][0]
    assert 0 <= row["cpu"] <= 1 and 0 < row["memory_used_bytes"] < row["memory_total_bytes"] and row["gpus"] == []
    assert row["net_in_bytes_s"] >= 0 and abs(row["at_unix_s"] - time.time()) < 60
    later = wait(lambda: (told := one.rows(3))["rows"] and told, "the next")
    assert later["from"] == 3
    assert one.rows(1)["rows"][0] == rows["rows"][1]
    assert one.rows(10**6)["from"] == 0, "after another sampler's numbers, all"


def test_gpus_are_told_as_nvidia_smi_tells_them(sampler: Callable[..., Sampler], wait: Wait) -> None:
    one = sampler()
    row = wait(lambda: (rows := one.rows()["rows"]) and len(rows[-1]["gpus"]) == 2 and rows[-1], "both GPUs")
    assert row["gpus"][0] == {
        "name": "NVIDIA A100-SXM4-80GB", "use": 0.37, "memory_used_bytes": 1 << 30, "memory_total_bytes": 80 << 30
    }  # fmt: skip
    assert row["gpus"][1]["use"] == 0.0


def test_an_nvidia_smi_that_ends_is_started_again(sampler: Callable[..., Sampler], wait: Wait) -> None:
    one = sampler("#!/bin/sh\necho '0, NVIDIA T4, 5, 1, 2'\necho garbage\n")
    row = wait(lambda: (rows := one.rows(5)["rows"]) and rows[-1], "some samples")
    assert [gpu["name"] for gpu in row["gpus"]] == ["NVIDIA T4"]


@pytest.mark.parametrize("line", ["", "a, b", "x, T4, 1, 2, 3", "Failed to initialize NVML: Driver/library version mismatch"])
def test_lines_that_say_nothing(line: str) -> None:
    assert read_gpu(line) is None


def test_a_sample_costs_next_to_nothing(sampler: Callable[..., Sampler]) -> None:
    one = sampler("")
    psutil.cpu_percent()
    began = time.thread_time()
    for _ in range(100):
        psutil.cpu_percent()
        psutil.virtual_memory()
        psutil.net_io_counters()
        one.rows()
    assert (time.thread_time() - began) / 100 < 0.005


def test_the_worker_tells_them(shared: Any, wait: Wait) -> None:
    bench = shared
    told = bench.http.get("metrics?since=0")
    assert told["from"] == 0 and isinstance(told["rows"], list)
    with pytest.raises(LinkError, match="400"):
        bench.http.get("metrics?since=-1")


def test_the_worker_tells_its_logs(shared: Any) -> None:
    bench = shared
    assert isinstance(bench.http.get("logs")["text"], str)
    bench.folder.joinpath("kernel.log").open("a").write("the last words\n")
    assert bench.http.get("logs?which=kernel&most=15")["text"] == "the last words\n"
    for wrong in ("logs?which=../worker.json", "logs?which=kernel&most=all"):
        with pytest.raises(LinkError, match="400"):
            bench.http.get(wrong)


def test_the_worker_has_terminals(shared: Any) -> None:
    bench = shared
    made = bench.http.post("/api/terminals", {})
    assert [each["name"] for each in bench.http.get("/api/terminals")["items"]] == [made["name"]]
    bench.http.delete(f"/api/terminals/{made['name']}")
    assert bench.http.get("/api/terminals")["items"] == []

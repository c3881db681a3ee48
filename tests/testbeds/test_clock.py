"""The wall clock that jumps: what a process sees of it while it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbeds.clock import Clock
from testbeds.needs import need_hosts

TELL = "import datetime, time\nwhile input(): print(time.time(), datetime.datetime.now().timestamp(), time.monotonic(), flush=True)"


def test_only_the_wall_clock_jumps(tmp_path: Path) -> None:
    need_hosts("cc")
    clock = Clock(tmp_path)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", TELL], env={**os.environ, **clock.environment}, **pipes)  # type: ignore[call-overload]

    def told() -> list[float]:
        process.stdin.write("now\n")
        process.stdin.flush()
        return [float(word) for word in process.stdout.readline().split()]

    before = told()
    clock.set_ahead(-7200)
    behind = told()
    clock.set_ahead(0)
    after = told()
    process.communicate("\n")
    for number in (0, 1):
        assert behind[number] - before[number] == pytest.approx(-7200, abs=5)
        assert after[number] - before[number] == pytest.approx(0, abs=5)
    assert before[2] <= behind[2] <= after[2] < before[2] + 5

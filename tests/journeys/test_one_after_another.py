"""A local cell right after a remote one, very often, on a machine that is busy: each shows its result."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from .conftest import User

TIMES = 1000
BUSY = "while True: pass"


@pytest.fixture
def busy() -> Iterator[None]:
    """Twice as many programs as processors, all of which want to run."""
    with ExitStack() as stack:
        for _ in range(2 * (os.cpu_count() or 1)):
            program = stack.enter_context(subprocess.Popen([sys.executable, "-c", BUSY]))
            stack.callback(program.kill)
        yield


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_each_local_cell_after_a_remote_one_shows_its_result(user: User, busy: None) -> None:
    """Once a cell like this showed neither a result nor an error."""
    for number in range(TIMES):
        there = user.types(f"%%remote\n{number}")
        here = user.types("_ + 1")
        for seen, value in ((there, number), (here, number + 1)):
            results = [output["data"] for output in seen.outputs if output["output_type"] == "execute_result"]
            assert results == [{"text/plain": str(value)}], seen

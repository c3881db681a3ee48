"""Which interpreters ``import cellferry`` refuses, and with which words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cellferry
from cellferry.errors import CellferryError, UnsupportedPython
from cellferry.worker.foreign import look_into

SOURCE = Path(cellferry.__file__).parents[1]


def test_only_one_without_a_global_lock_is_refused() -> None:
    cellferry._check_interpreter("")
    cellferry._check_interpreter("d")
    for abiflags in ("t", "td"):
        with pytest.raises(UnsupportedPython, match="free-threaded") as refused:
            cellferry._check_interpreter(abiflags)
        assert isinstance(refused.value, ImportError) and isinstance(refused.value, CellferryError)
        assert sys.executable in refused.value.what and "uv venv --python" in refused.value.advice


def free_threaded() -> list[str]:
    """Free-threaded Pythons on this machine; CELLFERRY_FREE_THREADED names another one."""
    names = [os.environ.get("CELLFERRY_FREE_THREADED", ""), *(f"python3.{minor}t" for minor in (13, 14, 15))]
    return [found for name in names if name and (found := shutil.which(name))]


@pytest.mark.parametrize("gil", ["0", "1"])
def test_a_real_one_says_what_to_do(gil: str) -> None:
    for python in free_threaded():
        assert look_into(python)[0].endswith("t")
        told = subprocess.run(
            [python, "-c", "import cellferry"],
            env={"PYTHONPATH": str(SOURCE), "PYTHON_GIL": gil},
            capture_output=True,
            text=True,
        )
        assert told.returncode == 1 and "UnsupportedPython" in told.stderr and "-> use a kernel" in told.stderr, (
            told.stderr
        )
    if not free_threaded():
        pytest.skip("there is no free-threaded Python here")


def test_the_usual_ones_have_a_plain_version() -> None:
    assert look_into(sys.executable)[0] == f"{sys.version_info[0]}.{sys.version_info[1]}"

"""What the user reads when a worker fails: what happened, why, and what to type next."""

from __future__ import annotations

from typing import Any

import pytest

from cellferry.errors import DiskFull, KernelDied, WorkerLost
from cellferry.fleet import diagnosis


def status(**kernel: Any) -> dict[str, Any]:
    usual = {
        "state": "running",
        "exitcode": None,
        "signal": None,
        "oom": False,
        "asked": False,
        "generation": 2,
        "ended_generation": 1,
        "ended_s_ago": 0.1,
        "log_tail": "",
    }
    return {"kernel": usual | kernel, "disk_free_bytes": 1 << 30, "memory_total_bytes": 16 << 30, "work": "/w"}


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        ({"signal": "SIGKILL", "oom": True}, "by Linux, because the memory of its machine (16.0 GiB) was used up"),
        ({"signal": "SIGKILL"}, "killed by SIGKILL; the memory of its machine (16.0 GiB) had not run out"),
        ({"signal": "SIGSEGV", "log_tail": "Fatal Python error\n"}, "killed by SIGSEGV; memory (16.0 GiB) had not"),
        ({"exitcode": 3}, "ended with exit code 3"),
        ({"signal": "SIGKILL", "asked": True}, "was restarted"),
        ({"signal": "SIGTERM", "asked": True, "why": "the cell did not listen"}, "was ended by its worker: the cell did not listen"),
    ],
)
def test_a_dead_kernel(kernel: dict[str, Any], words: str) -> None:
    error = diagnosis.explain_status("train", status(**kernel))
    assert isinstance(error, KernelDied)
    assert words in error.what and "'train'" in error.what and kernel.get("log_tail", "") in error.what + "\n"
    assert error.advice.startswith("run the cell again: a new kernel is already there") and "retry=2" in error.advice
    assert "variables are as they were" in error.advice and "are lost" in error.advice
    assert error.again == (not kernel.get("asked")), "what was asked for is not undone by retry="


def test_a_kernel_that_does_not_start_any_more() -> None:
    error = diagnosis.explain_status("train", status(state="dead", exitcode=1, ended_s_ago=999.0))
    assert isinstance(error, KernelDied) and "%remote down train" in error.advice


def test_nothing_is_wrong() -> None:
    assert diagnosis.explain_status("train", status(ended_generation=None)) is None
    assert diagnosis.explain_status("train", status(exitcode=1, ended_s_ago=3600.0)) is None
    assert diagnosis.explain_status("train", status(exitcode=1), generation=2) is None


def test_the_kernel_that_the_client_knew_is_meant_however_long_ago() -> None:
    error = diagnosis.explain_status("train", status(exitcode=1, ended_s_ago=3600.0), generation=1)
    assert isinstance(error, KernelDied)


def test_a_full_disk_comes_first() -> None:
    error = diagnosis.explain_status("train", status(exitcode=1) | {"disk_free_bytes": 1000})
    assert isinstance(error, DiskFull) and "/w" in error.what and error.advice


def test_lost_workers() -> None:
    for error in (
        diagnosis.lost("train", "its process was killed by SIGKILL"),
        diagnosis.unreachable("train", "timed out"),
        diagnosis.broken_link("train"),
    ):
        assert isinstance(error, WorkerLost) and "'train'" in error.what and "run the cell again" in error.advice


def test_an_end_that_somebody_wanted_is_not_undone_by_retry() -> None:
    assert diagnosis.lost("train", "its process was killed by SIGKILL").again
    assert diagnosis.lost("train", "AWS took the spot machine back").again
    for why in ("its money was spent", "it was told to stop", "somebody ended the machine at AWS", "nobody used it for 600 s"):
        assert not diagnosis.lost("train", why).again
    assert DiskFull("full").again and not DiskFull("here").not_again().again and DiskFull("full").again

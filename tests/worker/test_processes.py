"""Orphans that a worker adopts, beside children that somebody here waits for."""

from __future__ import annotations

import os

import pytest

from cellferry.worker import processes


def ended_child() -> int:
    """A child that has ended and that nobody has waited for."""
    pid = os.posix_spawn("/bin/true", ["true"], {})  # not subprocess, which waits for those that it has forgotten
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def test_only_what_has_been_there_for_long_is_reaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal's shell that ends beside an old orphan is left to the terminal, which asks for it in a moment."""
    now = 1000.0
    monkeypatch.setattr("cellferry.worker.processes.time.monotonic", lambda: now)
    monkeypatch.setattr(processes, "_seen", {})
    own, old = ended_child(), ended_child()
    processes.reap_orphans(own)
    now += processes.ORPHAN_S + 1
    new = ended_child()
    processes.reap_orphans(own)
    with pytest.raises(ChildProcessError):
        os.waitpid(old, os.WNOHANG)
    assert os.waitpid(new, os.WNOHANG)[0] == new
    processes.reap_orphans(own)
    assert os.waitpid(own, os.WNOHANG)[0] == own

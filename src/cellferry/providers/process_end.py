"""Wait for processes of this machine to end, and make sure that they have."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

STARTING_S = 0.002


def wait_for_exit(pid: int, timeout_s: float) -> bool:
    """Whether the process has ended within the time; it need not be a child. Takes no exit status."""
    try:
        pid_fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(pid_fd, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))
    finally:
        os.close(pid_fd)


def is_worker(pid: int, folder: Path) -> bool:
    """Whether the process lives, is this user's, and is the worker of that folder: the number alone may be another process's by
    now, and anybody can have such a command line."""
    return _is_ours(pid) and _words(pid)[-2:] == [b"cellferry.worker", os.fsencode(folder)]


def runs(pid: int) -> bool:
    """Whether the process is there; one that has ended and that nobody has waited for yet is not."""
    return bool(_words(pid))


def _words(pid: int) -> list[bytes]:
    """The command line; empty for a process that has ended, and for a moment while one starts."""
    try:
        return [word for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") if word]
    except OSError:
        return []


def end_session(pid: int, folder: Path, timeout_s: float = 5.0) -> None:
    """Kill the worker's process, all below it and all in its session, and wait until they are gone.

    Does nothing if ``pid`` has become another process. A number that is the session of a living process is never given
    out again, so what is still in the worker's session is the worker's.
    """
    deadline = time.monotonic() + timeout_s
    while not _words(pid) and not wait_for_exit(pid, STARTING_S) and time.monotonic() < deadline:
        pass  # just started: it cannot be told yet whose it is
    while (members := _members(pid, folder)) and time.monotonic() < deadline:
        for member in members:
            try:
                os.kill(member, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for member in members:
            wait_for_exit(member, max(0.0, deadline - time.monotonic()))


def _members(leader: int, folder: Path) -> list[int]:
    import psutil

    # Not by its state: a process of several threads is a zombie already while the last of them still hold its files.
    running = not wait_for_exit(leader, 0)
    if running and not is_worker(leader, folder):
        return []
    members = {pid for pid in psutil.pids() if _session(pid) == leader}
    if running:
        members.add(leader)
        try:
            members |= {child.pid for child in psutil.Process(leader).children(recursive=True)}
        except psutil.NoSuchProcess:
            pass
    return sorted(pid for pid in members if _is_ours(pid) and not wait_for_exit(pid, 0))


def _is_ours(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}").stat().st_uid == os.geteuid()
    except OSError:
        return False


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


def read_tail(path: Path, *, lines: int) -> str:
    """The last lines of a file, without the newline at the end; empty if there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16384))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip("\n").splitlines()[-lines:])

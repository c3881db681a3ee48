"""The outermost process of a worker. It does nothing but wait for the server, and then makes sure all is gone.

The server process can be killed by anyone at any time (the out-of-memory killer, ``kill -9``); its kernel's children
would then live on. So the process that the provider starts stays this small, adopts every orphan below it, and ends
them when the server is gone. The other way round, the server ends everything when it sees the keeper gone: the two
hold the ends of one pipe and are in different process groups.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

from cellferry.worker.processes import adopt_orphans, end_descendants

ENDED = "ended"
"""File in the worker's folder: the reason, written by a server that ended the worker on purpose."""
EXIT_CODES = {
    "stop": 0, "signal": 0, "idle": 100, "unlinked": 101, "folder": 102, "keeper": 103, "money": 104, "notice": 105,
    "stuck": 106,
}  # fmt: skip
"""Reason of an end on purpose -> exit status, by which the provider knows it even when the folder is gone."""
KEEP_FOLDER_REASONS = ("stop", "signal")
"""The reasons after which a provider is there to remove the folder; after any other nobody may be left to do it."""
STOP_S = 4
"""How long the server may take to end what is below it before it is killed."""


def keep(server: int, line: int, folder: str) -> NoReturn:
    """Wait for the server process; ``line`` is the write end of the pipe whose other end it watches."""

    def on_term(_signum: int, _frame: FrameType | None) -> None:
        try:
            os.write(line, b"T")
        except OSError:
            pass
        signal.alarm(STOP_S)

    def on_alarm(_signum: int, _frame: FrameType | None) -> None:
        os.kill(server, signal.SIGKILL)

    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, on_term)
    signal.signal(signal.SIGALRM, on_alarm)
    adopt_orphans()
    status = _wait_for(server)
    signal.alarm(0)
    end_descendants(term_s=0)
    _tidy(folder)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)  # as a shell would tell it: 137 for SIGKILL


def _wait_for(server: int) -> int:
    while True:
        pid, status = os.wait()  # orphans end here too, and must not stay zombies
        if pid == server:
            return status


def _tidy(folder: str) -> None:
    _remove(f"{folder}/worker.sock")
    try:
        with open(f"{folder}/{ENDED}") as file:  # noqa: PTH123
            reason = file.read()
    except OSError:
        return  # a crash: the logs in the folder are what explains it
    if reason.strip() not in KEEP_FOLDER_REASONS:
        import shutil

        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)


def _remove(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except OSError:
        pass

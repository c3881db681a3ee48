"""What every test stands on: a private place for temporary files, and the proof that nothing is left behind.

A test must leave no process, no listening port and no temporary file or worker folder. Processes are found by a mark
in their environment, so one that was orphaned, or made itself the leader of its own session, is found as well.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

MARK = "CELLFERRY_TEST_LEAK_MARK"
"""Begins as what a worker inherits does (``providers.environ``), so that workers carry it as well."""
SETTLE_S = 15.0
"""How long a process may take to end after its test: a worker outlives a killed kernel by its grace, 5 s."""

_KEPT_BY_PYTHON = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
_REAL_WORKERS = ("journeys/", "jupyter/", "providers/test_local", "worker/test_w", "link/test_http", "link/test_lasting",
                 "fleet/test_fleet", "fleet/test_cli", "testbeds/", "doors/")
"""Where tests start real kernels, workers and hosts, which takes seconds: slow, whether a test says so itself or not."""
_home: Path | None = None


_LONGEST_FIRST = (
    "journeys/test_remote", "doors/test_binder", "journeys/test_retry", "providers/test_aws.py", "lab/", "journeys/", "jupyter/",
    "chaos/", "providers/", "doors/", "worker/", "fleet/", "test_docs", "ledger/",
)  # fmt: skip
"""Modules in the order in which they are begun, so that none is still going on when all others have ended."""
_BY_NOTEBOOK = "test_remote_equals_local.py"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # `make test &` in a script ignores SIGINT, and so would every process of a test that interrupts one
    signal.signal(signal.SIGINT, signal.default_int_handler)
    home = make_home()
    if hasattr(config, "workerinput"):  # one of several processes: its share of the first one's folder is too deep for sockets
        config.option.basetemp = str(home / "p")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--skips", metavar="FILE", help="a skipped test whose reason fits no line of FILE (patterns) fails the run")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With ``--skips``: nothing is left out without a reason that is written down."""
    file, terminal = session.config.getoption("skips"), session.config.pluginmanager.get_plugin("terminalreporter")
    if not file or terminal is None:
        return
    allowed = [line.split("  #")[0] for line in Path(file).read_text().splitlines() if line and not line.startswith("#")]
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in terminal.stats.get("skipped", ())}
    unknown = [reason for reason in sorted(reasons) if not any(re.fullmatch(pattern, reason) for pattern in allowed)]
    for reason in unknown:
        terminal.write_line(f"skipped for a reason that {file} does not know: {reason}", red=True)
    if unknown and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which tests stay together, when several processes run them (``make test``): those of a module, which share fixtures;
    of the longest module those of a notebook."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            module, _, test = nodeid.partition("::")
            return f"{module} {test.rpartition('-')[2]}" if module.endswith(_BY_NOTEBOOK) else module

    config.option.loadscopereorder = False
    return Together(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    remove_home()


def make_home() -> Path:
    """Give this run a private, short temporary folder (a unix socket's path is at most 107 bytes) and a mark."""
    global _home
    _home = Path(tempfile.mkdtemp(prefix="cf", dir="/tmp"))
    os.environ[MARK] = uuid.uuid4().hex
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    # terminals are killed in the middle of whatever the profile of the user's own shell does, which may leave its locks behind
    os.environ["SHELL"] = "/bin/sh"
    # torch makes a folder of its own beside the temporary files of whoever imports parts of it
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(_home / "torchinductor")
    for variable, folder in (
        ("TMPDIR", "t"),
        ("XDG_RUNTIME_DIR", "r"),
        ("JUPYTER_RUNTIME_DIR", "j"),
        ("IPYTHONDIR", "i"),
        ("CELLFERRY_STATE_DIR", "s"),
    ):
        (_home / folder).mkdir(mode=0o700)
        os.environ[variable] = str(_home / folder)
    tempfile.tempdir = str(_home / "t")
    return _home


def remove_home() -> None:
    if _home is not None:
        shutil.rmtree(_home, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _place(item).startswith(_REAL_WORKERS):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: next((n for n, word in enumerate(_LONGEST_FIRST) if _place(item).startswith(word)), 99))


def _place(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).as_posix()


_strangers: dict[str, float] = {}
"""Processes without the mark, by pid, and when each was seen first (monotonic). A pid that is gone is forgotten, so that
another process of the same number is looked at."""
_EXEC_S = 5.0
"""So long a process is looked at again and again: it may not have reached the program, and the mark, that it is started for."""


def _without_strangers() -> list[str]:
    """The pids of all processes but those that were looked at and are none of ours; reading each is slow."""
    present, now = set(filter(str.isdigit, os.listdir("/proc"))), time.monotonic()  # noqa: PTH208
    for pid in _strangers.keys() - present:
        del _strangers[pid]
    return [pid for pid in present if now - _strangers.get(pid, now) < _EXEC_S]


def our_processes() -> dict[int, psutil.Process]:
    """Every living process that inherited this run's mark, but this one; zombies are dead."""
    found = {}
    mark = f"{MARK}={os.environ[MARK]}".encode()
    for word in _without_strangers():
        pid = int(word)
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
                ours = pid != os.getpid() and mark in file.read().split(b"\0")
            if not ours:
                _strangers.setdefault(word, time.monotonic())
                continue
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if not any(word in " ".join(process.cmdline()) for word in _KEPT_BY_PYTHON):
                found[pid] = process
        except (psutil.Error, OSError):
            continue
    return found


def listening_ports() -> set[tuple[str, int]]:
    """The TCP ports on which this process itself listens; others are found with their process."""
    if not any(map(_is_socket, os.listdir("/proc/self/fd"))):  # noqa: PTH208 - asked twice for each test
        return set()
    connections = psutil.Process().net_connections(kind="tcp")
    return {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}


def _is_socket(descriptor: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")  # noqa: PTH115
    except OSError:
        return False  # that of the listing itself


def temporary_files() -> set[str]:
    """What lies in the places for temporary and run-time files, pytest's own folders left out."""
    assert _home is not None
    return {
        f"{place}/{entry.name}"
        for place in ("t", "r", "j")
        for entry in (_home / place).iterdir()
        if not entry.name.startswith("pytest-of-")
    }


@dataclass(frozen=True)
class Footprint:
    """What exists at one moment."""

    processes: dict[int, psutil.Process]
    ports: set[tuple[str, int]]
    files: set[str]

    @classmethod
    def now(cls) -> Footprint:
        return cls(our_processes(), listening_ports(), temporary_files())

    def leaked_since(self, *, files: bool = True) -> list[str]:
        """What is here now and was not at the time of this footprint; new processes get ``SETTLE_S`` to end.

        Those that do not end are killed, so that one leak is told once.
        The offspring of a process that was there before belongs to that one, and whoever made it answers for it.
        """
        new = [process for pid, process in our_processes().items() if not self._descends_from_earlier(pid, process)]
        _, alive = psutil.wait_procs(new, timeout=SETTLE_S)
        leaks = [f"process {_describe(process)}" for process in alive if process.pid in our_processes()]
        for process in alive:
            process.kill()
        leaks += [f"listening port {ip}:{port}" for ip, port in listening_ports() - self.ports]
        if files:
            leaks += [f"temporary file {name}" for name in sorted(temporary_files() - self.files)]
        return leaks

    def _descends_from_earlier(self, pid: int, process: psutil.Process) -> bool:
        try:
            return pid in self.processes or any(parent.pid in self.processes for parent in process.parents())
        except psutil.Error:
            return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid}: {' '.join(process.cmdline())[:200]}"
    except psutil.Error:
        return str(process.pid)


@pytest.fixture(autouse=True)
def leaves_nothing(_module_leaves_nothing: None) -> Iterator[None]:
    """Fails a test that leaves something behind; what a wider fixture keeps is judged at the end of its module."""
    before = Footprint.now()
    yield
    leaks = before.leaked_since(files=not before.processes)
    assert not leaks, "the test left behind: " + "; ".join(leaks)


@pytest.fixture(autouse=True, scope="module")
def _module_leaves_nothing() -> Iterator[None]:
    before = Footprint.now()
    yield
    leaks = before.leaked_since()
    assert not leaks, "the tests of this module left behind: " + "; ".join(leaks)

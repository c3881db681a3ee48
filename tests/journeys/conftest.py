"""A user for tests: someone with a notebook in a real kernel, who types cells and looks at what comes."""

from __future__ import annotations

import ast
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from nbclient.util import run_sync

from .kernel import Kernel, Seen, kernel
from .notebook import Step

WORKER_MODULES = ("cellferry.worker", "cellferry.guest")


class User:
    """One notebook in ``folder``, with the extension loaded."""

    def __init__(self, found: Kernel, folder: Path) -> None:
        self.kernel, self.folder = found, folder
        assert not self.kernel.run(Step("%load_ext cellferry", False)).outputs

    def types(self, cell: str) -> Seen:
        """Run a cell, whatever comes of it."""
        return self.kernel.run(Step(cell, cell.startswith("%%remote")))

    def sees(self, cell: str) -> str:
        """All text that a cell shows, displays included (not the empty one of a progress line that is over). Fails if the
        cell does."""
        seen = self.types(cell)
        failed = [output for output in seen.outputs if output["output_type"] == "error"]
        assert not failed, "\n".join(failed[0]["traceback"])
        shown = [output for output in seen.outputs if "data" not in output or output["data"].get("text/plain")]
        return "".join(output.get("text") or output["data"].get("text/plain", "") + "\n" for output in shown)

    def is_told(self, cell: str) -> tuple[str, str]:
        """(name, text) of the error that a cell ends with. Fails if the cell does not."""
        outputs = self.types(cell).outputs
        failed = [output for output in outputs if output["output_type"] == "error"]
        assert failed, f"the cell did not fail: {outputs}"
        return failed[-1]["ename"], failed[-1]["evalue"]

    def has(self, expression: str) -> Any:
        """The value of an expression at home, looked at silently: no hook runs, a placeholder stays one."""
        execute = run_sync(self.kernel.client.kc._async_execute_interactive)
        reply = execute("", silent=True, store_history=False, user_expressions={"v": f"repr({expression})"})
        answer = reply["content"]["user_expressions"]["v"]
        assert answer["status"] == "ok", answer
        text = ast.literal_eval(answer["data"]["text/plain"])
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text

    def restarts(self) -> None:
        """Restart the notebook's kernel, as the button does."""
        run_sync(self.kernel.client.km.restart_kernel)(now=False)
        run_sync(self.kernel.client.kc.wait_for_ready)(timeout=60)

    def workers(self) -> list[psutil.Process]:
        """The processes of this notebook's workers."""
        pid = self.has("__import__('os').getpid()")
        return [p for p in psutil.Process(pid).children(recursive=True) if is_worker(p)]


def is_worker(process: psutil.Process) -> bool:
    """Whether a process is a worker's server, keeper or kernel."""
    try:
        return any(name in process.cmdline() for name in WORKER_MODULES)
    except psutil.Error:
        return False


def worker_folder(kernel_pid: int) -> Path:
    """The private folder of the worker whose kernel this is."""
    words = psutil.Process(kernel_pid).cmdline()
    return Path(words[words.index("--control") - 1])


NewUser = Callable[..., User]


@pytest.fixture
def new_user(tmp_path: Path) -> Iterator[NewUser]:
    """Makes users whose settings are given as on a machine: ``new_user(CELLFERRY_FETCH_LIMIT="1000")``."""
    with ExitStack() as stack:

        def make(**settings: str) -> User:
            folder = tmp_path / f"work{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return User(stack.enter_context(kernel(folder, settings)), folder)

        yield make


@pytest.fixture(scope="module", params=["unix", "tls"])
def user(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """One user for a whole module, on each transport in turn; for tests that leave the worker as they found it."""
    folder = tmp_path_factory.mktemp(request.param) / "work"
    folder.mkdir()
    own = {"CELLFERRY_LOCAL_FOLDER": "own"} if request.param == "tls" else {}  # as a worker elsewhere would be reached
    with kernel(folder, {"CELLFERRY_LOCAL_TRANSPORT": request.param, **own}) as found:
        yield User(found, folder)


class Meeting:
    """A place where a running cell and the test wait for each other, without either of them looking at a clock.

    ``cell`` is what the cell says to come there: it tells its process id and goes on when ``act`` has returned.
    """

    def __init__(self, folder: Path, act: Callable[[int], None]) -> None:
        self._there, self._back = folder / "there", folder / "back"
        os.mkfifo(self._there)
        os.mkfifo(self._back)
        self._act = act
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    @property
    def cell(self) -> str:
        return (
            f"import os\nwith open({str(self._there)!r}, 'w') as door: print(os.getpid(), file=door)\n"
            f"with open({str(self._back)!r}) as door: door.readline()\n"
        )

    def _wait(self) -> None:
        with self._there.open() as door:
            pid = int(door.read())
        self._act(pid)
        # nobody may be left to read it; and it stays open, for what is written is lost if nobody has it open yet
        self._answer = os.open(self._back, os.O_RDWR)
        os.write(self._answer, b"go on\n")


@pytest.fixture
def meeting(tmp_path: Path) -> Callable[[Callable[[int], None]], Meeting]:
    """Makes the one meeting of a test: ``meeting(act)``."""
    return lambda act: Meeting(tmp_path, act)


@pytest.fixture
def little_memory() -> Iterator[Callable[[int], None]]:
    """Gives a process only 200 MiB more than it has, by a control group of Linux (version 1 or 2; needs root)."""
    first = Path("/sys/fs/cgroup/memory")
    group = (first if first.is_dir() else Path("/sys/fs/cgroup")) / f"cellferry-test-{os.getpid()}"
    group.mkdir()

    def limit(pid: int) -> None:
        # what a process holds already is not counted in a group that it joins later
        size, swap = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") if first.is_dir() else ("memory.max", "")
        (group / size).write_text(str(200 << 20))
        if swap and (group / swap).exists():
            (group / swap).write_text(str(200 << 20))
        elif (group / "memory.swap.max").exists():
            (group / "memory.swap.max").write_text("0")
        (group / "cgroup.procs").write_text(str(pid))

    yield limit
    group.rmdir()


@dataclass
class Gate:
    """Two named pipes in a cell: it tells that it is there, and waits until it may go on."""

    folder: Path

    def __post_init__(self) -> None:
        os.mkfifo(self.folder / "there")
        os.mkfifo(self.folder / "back")

    @property
    def cell(self) -> str:
        there, back = str(self.folder / "there"), str(self.folder / "back")
        return f"with open({there!r}, 'w') as door: door.write('here')\nwith open({back!r}) as door: door.read()\n"

    def wait(self) -> None:
        """Until the cell is there."""
        assert (self.folder / "there").read_text() == "here"

    def open(self) -> None:
        (self.folder / "back").write_text("go on")


@pytest.fixture
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate"))

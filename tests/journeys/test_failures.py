"""When something dies: a clear error within ten seconds, nothing left behind, the notebook's variables as they were."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from nbclient.exceptions import DeadKernelError

from .conftest import NewUser, User, is_worker
from .notebook import Step

pytestmark = pytest.mark.slow

LIMIT_S = 10.0
FOREVER = "import threading\nthreading.Event().wait()"
TRANSPORTS = pytest.mark.parametrize("transport", ["unix", "tls"])


class Killer:
    """Kills a process that it finds from the id of the kernel on the worker, and remembers when."""

    def __init__(self, find: Callable[[psutil.Process], list[psutil.Process]]) -> None:
        self._find = find
        self.at = 0.0
        self.all: list[psutil.Process] = []

    def __call__(self, pid: int) -> None:
        guest = psutil.Process(pid)
        self.all = [p for p in [guest, *guest.parents()] if is_worker(p)]
        victims = self._find(guest)
        self.at = time.monotonic()
        for victim in victims:
            victim.kill()


def the_kernel(guest: psutil.Process) -> list[psutil.Process]:
    return [guest]


def the_server(guest: psutil.Process) -> list[psutil.Process]:
    return [p for p in guest.parents() if is_worker(p)][:1]


def everything(guest: psutil.Process) -> list[psutil.Process]:
    return [p for p in [guest, *guest.parents()] if is_worker(p)]


@TRANSPORTS
@pytest.mark.parametrize(
    ("find", "error"),
    [(the_kernel, {"KernelDied"}), (the_server, {"WorkerLost"}), (everything, {"WorkerLost"})],
    ids=["kernel", "server", "everything"],
)
def test_killed_in_mid_cell(new_user: NewUser, meeting, transport: str, find, error: set[str]) -> None:
    user = new_user(CELLFERRY_LOCAL_TRANSPORT=transport)
    user.sees("before = {'list': [1, 2]}\nalias = before['list']\nuntouched = 'as it was'")
    killer = Killer(find)
    at = meeting(killer)
    name, text = user.is_told(f"%%remote\nalias.append(3)\nuntouched = 'changed there'\nnew = 1\n{at.cell}{FOREVER}")
    assert time.monotonic() - killer.at < LIMIT_S
    assert name in error and "SIGKILL" in text and "->" in text
    assert user.has("(before, alias is before['list'], untouched, 'new' in globals())") == (
        {"list": [1, 2]}, True, "as it was", False,
    )  # fmt: skip
    assert user.sees("%%remote\nalias.append(4)\nprint(before)") == "{'list': [1, 2, 4]}\n"
    assert user.has("alias") == [1, 2, 4]


def test_the_kernel_is_killed_because_memory_ran_out(new_user: NewUser, meeting, little_memory) -> None:
    user = new_user()
    user.sees("before = [1]")
    at = meeting(little_memory)
    name, text = user.is_told(f"%%remote\n{at.cell}before.append(2)\nheld = bytearray(b'x') * (512 << 20)")
    assert name == "KernelDied" and "memory" in text and "was used up" in text and "->" in text
    assert user.has("before") == [1]
    assert user.sees("%%remote\nlen(before)") == "1\n"


def test_a_cell_that_exits_the_kernel_itself(new_user: NewUser) -> None:
    user = new_user()
    name, text = user.is_told("%%remote\nimport os\nos._exit(3)")
    assert name == "KernelDied" and "3" in text and "->" in text
    assert user.sees("%%remote\n'again'") == "'again'\n"


def test_a_value_that_lived_only_on_the_dead_worker(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_FETCH_LIMIT="1000")
    user.sees("%%remote\nlarge = bytearray(100_000)")
    user.is_told("%%remote\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    name, text = user.is_told("len(large)")
    assert name in ("WorkerLost", "StaysThere") and "large" in text and "->" in text
    user.sees("large = 1")
    assert user.sees("large") == "1\n"


@TRANSPORTS
def test_the_notebooks_kernel_is_killed_in_mid_cell(new_user: NewUser, meeting, transport: str) -> None:
    user = new_user(CELLFERRY_LOCAL_TRANSPORT=transport, CELLFERRY_IDLE_S="1")
    workers: list[psutil.Process] = []

    def kill_the_notebook(pid: int) -> None:
        workers.extend(p for p in [psutil.Process(pid), *psutil.Process(pid).parents()] if is_worker(p))
        os.kill(home, signal.SIGKILL)

    home = user.has("__import__('os').getpid()")
    at = meeting(kill_the_notebook)
    with pytest.raises(DeadKernelError):
        user.kernel.run(Step(f"%%remote\n{at.cell}", True))
    assert workers  # they finish the cell, and keep what it made for the idle time
    _, alive = psutil.wait_procs(workers, timeout=LIMIT_S)
    assert not alive


def test_the_notebooks_kernel_is_restarted(new_user: NewUser) -> None:
    user = new_user()
    user.sees("%%remote\nthere = 1")
    workers = user.workers()
    assert workers
    user.restarts()
    _, alive = psutil.wait_procs(workers, timeout=LIMIT_S)
    assert not alive
    user.sees("%load_ext cellferry")
    assert user.sees("%%remote\n'there' in globals()") == "False\n"


@pytest.fixture
def broken_python(tmp_path: Path) -> Callable[[str], str]:
    """A folder for PYTHONPATH in which Python, starting as a worker's process, does something else first."""

    def make(what: str) -> str:
        place = tmp_path / "site"
        place.mkdir()
        (place / "sitecustomize.py").write_text(f"import sys\nif 'cellferry.worker' in sys.orig_argv:\n    {what}\n")
        return str(place)

    return make


@pytest.mark.parametrize(
    ("what", "told"),
    [("import threading; threading.Event().wait()", "2 s"), ("import os; os._exit(7)", "7")],
    ids=["hangs", "ends at once"],
)
def test_a_worker_that_never_starts(new_user: NewUser, broken_python, what: str, told: str) -> None:
    user = new_user(PYTHONPATH=broken_python(what), CELLFERRY_START_TIMEOUT_S="2")
    user.sees("before = [1]")
    started = time.monotonic()
    name, text = user.is_told("%%remote\nbefore.append(2)")
    assert time.monotonic() - started < LIMIT_S
    assert name == "WorkerStartError" and told in text and "->" in text
    assert user.has("before") == [1] and not user.workers()


def test_a_folder_that_cannot_be_used(new_user: NewUser, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    user = new_user(CELLFERRY_WORKER_DIR=str(tmp_path / "a file"))
    name, text = user.is_told("%%remote\n1")
    assert name in ("WorkerStartError", "IdentityError") and "->" in text and "worker_dir" in text


def test_what_a_cell_started_goes_with_the_worker(new_user: NewUser) -> None:
    user = new_user()
    pid = int(user.sees(
        "%%remote\nimport subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import threading; threading.Event().wait()'],"
        " start_new_session=True)\nprint(child.pid)"
    ).splitlines()[0])  # fmt: skip
    child = psutil.Process(pid)
    user.sees("%remote down --all")
    _, alive = psutil.wait_procs([child], timeout=LIMIT_S)
    assert not alive


def test_the_disk_beside_the_notebook_is_full(new_user: NewUser, small_disk: Path) -> None:
    user = new_user(CELLFERRY_LOCAL_FOLDER="own")
    user.sees(f"import os\nos.chdir({str(small_disk)!r})")
    name, text = user.is_told("%%remote\nopen('too large.bin', 'wb').write(bytes(3_000_000))\nbound = 1")
    assert name == "DiskFull" and "too large.bin" in text and "->" in text
    assert not list(small_disk.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 1 MiB; needs root and a kernel that lets root mount."""
    import subprocess

    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True)
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_local_worker_is_held_to_what_its_cells_ask_for(new_user: NewUser) -> None:
    user = new_user()
    asked = "%%remote cpus=1 memory=2G name=small\n"
    assert user.sees(f"{asked}import os\nlen(os.sched_getaffinity(0))") == "1\n"
    name, _ = user.is_told(f"{asked}import numpy\na = numpy.ones(3 * 2**30, dtype='u1')")
    assert name in ("MemoryError", "_ArrayMemoryError", "ArrayMemoryError")
    assert user.sees(f"{asked}print('alive', numpy.ones(2**20).sum())") == "alive 1048576.0\n"
    assert user.sees("%%remote\na = numpy.ones(3 * 2**30, dtype='u1').nbytes\na") == f"{3 * 2**30}\n", "another worker is not"
    name, text = user.is_told("%%remote cpus=10000\n1")
    assert name == "RequestError" and "this machine has" in text


def test_an_interrupt_while_an_error_is_shown_does_not_hide_it(user: User) -> None:
    """As by a machine that is taken back in the very moment in which the cell fails by itself."""
    code = (
        "import os, signal, time\nclass Late(Exception):\n    told = False\n    def __str__(self):\n"
        "        if not Late.told:\n            Late.told = True\n            os.kill(os.getpid(), signal.SIGINT)\n"
        "            time.sleep(0.05)\n        return 'why it failed'\nstep = 1\nraise Late"
    )
    assert user.is_told(f"%%remote\n{code}") == ("Late", "why it failed")
    assert user.has("step") == 1

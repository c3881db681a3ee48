"""Cells that go on without their notebook: let go and brought home, left by a restart, left by a kernel that was killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from nbclient.util import run_sync

from .conftest import Gate, NewUser, User

pytestmark = pytest.mark.slow


def _run_id(shown: str) -> str:
    found = re.search(r"%remote attach ([0-9a-f]{12})", shown)
    assert found, shown
    return found[1]


def _open_when_shown(user: User, text: str, gate: Path) -> None:
    """Let the cell at ``gate`` go on once the running cell shows ``text``."""
    while text not in str(user.kernel.client.nb.cells[-1].outputs):
        threading.Event().wait(0.02)
    gate.write_text("go")


def test_a_cell_is_let_go_and_brought_home(new_user: NewUser) -> None:
    user = new_user()
    user.sees("total, seen = 1, [1]")
    shown = user.sees("%%remote detach\nprint('in between')\nseen.append(2)\ntotal += 41\nanswer = {'a': total}\ntotal")
    run = _run_id(shown)
    assert user.has("total") == 1  # nothing has come home yet
    assert f"In [{3}]" in user.sees("%remote runs") or run in user.sees("%remote runs")
    home = user.sees(f"%remote attach {run}")
    assert "in between" in home and "42" in home
    assert (user.has("total"), user.has("seen"), user.has("answer")) == (42, [1, 2], {"a": 42})
    assert "no cell runs" in user.sees("%remote runs")
    assert "in between" in user.sees(f"%remote attach {run}")  # once more, for whoever missed it


def test_large_outputs_of_a_cell_that_was_let_go_are_there(new_user: NewUser) -> None:
    user = new_user()
    user.sees(
        "%%remote detach\nfrom IPython.display import display\nprint('x' * (70 << 20) + 'end')\n"
        "display({'text/plain': 'small', 'text/html': 'y' * (9 << 20)}, raw=True)"
    )
    shown = user.types("%remote attach").outputs
    text = "".join(output.get("text", "") for output in shown)
    assert "characters of this output were not kept" in text and text.rstrip().endswith("xend") and len(text) > 8 << 20
    assert any(len(output.get("data", {}).get("text/html", "")) == 9 << 20 for output in shown)


def test_files_of_a_cell_that_was_let_go_come_home_too(new_user: NewUser) -> None:
    user = new_user()
    user.sees("%%remote detach\nwith open('made.txt', 'w') as file: file.write('there')\nmade = True")
    user.sees("%remote attach")
    assert user.has("made") and (user.folder / "made.txt").read_text() == "there"


def test_files_of_a_cell_that_was_left_come_home_too(new_user: NewUser, gate: Gate) -> None:
    """To a kernel that has never spoken to the worker."""
    user = new_user()
    kernel = user.has("__import__('os').getpid()")
    user.kernel.client.kc.execute(f"%%remote\n{gate.cell}\nwith open('made.txt', 'w') as file: file.write('there')")
    gate.wait()
    os.kill(kernel, signal.SIGKILL)
    user.restarts()
    gate.open()
    user.sees("%load_ext cellferry")
    user.sees("%remote attach")
    assert (user.folder / "made.txt").read_text() == "there"
    assert "was left on a worker" not in user.sees("again = 1"), "it has come home"


def test_the_cell_after_it_waits_and_says_so(new_user: NewUser, tmp_path: Path) -> None:
    user = new_user()
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    user.sees(f"%%remote detach\nwith open({str(gate)!r}) as door: first = door.read()")
    assert "running" in user.sees("%remote runs")
    threading.Thread(target=_open_when_shown, args=(user, "1 cell before this one", gate), daemon=True).start()
    user.sees("%%remote\nsecond = 2")  # it ends at all only because it said so
    assert user.has("second") == 2
    user.sees("%remote attach")
    assert user.has("first") == "go"


def test_what_it_raised_is_raised_where_it_is_brought_home(new_user: NewUser) -> None:
    user = new_user()
    user.sees("%%remote detach\nbefore = 'bound'\n1 / 0")
    name, what = user.is_told("%remote attach")
    assert (name, what) == ("ZeroDivisionError", "division by zero")
    assert user.has("before") == "bound"


@pytest.mark.parametrize("transport", ["unix", "tls"])
def test_a_restart_of_the_kernel_leaves_the_cell_running(new_user: NewUser, gate: Gate, transport: str) -> None:
    user = new_user(CELLFERRY_LOCAL_TRANSPORT=transport)
    user.kernel.client.kc.execute(f"%%remote\nprint('before')\n{gate.cell}\nprint('after')\nmade = 'there'")
    gate.wait()
    user.restarts()
    gate.open()
    user.sees("%load_ext cellferry")
    shown = user.sees("%remote attach")
    assert "before" in shown and "after" in shown
    assert user.has("made") == "there"


def test_a_killed_kernel_leaves_the_cell_running(new_user: NewUser, gate: Gate) -> None:
    user = new_user()
    kernel = user.has("__import__('os').getpid()")
    user.kernel.client.kc.execute(f"%%remote\nprint('before')\n{gate.cell}\nprint('after')\nmade = [1, 2]")
    gate.wait()
    os.kill(kernel, signal.SIGKILL)
    user.restarts()
    gate.open()
    offered = _run_id(user.sees("%load_ext cellferry"))
    shown = user.sees(f"%remote attach {offered}")
    assert "before" in shown and "after" in shown
    assert user.has("made") == [1, 2]
    user.restarts()
    assert not user.sees("%load_ext cellferry")


def test_two_notebooks_share_what_they_give_one_name(new_user: NewUser) -> None:
    one, two = new_user(), new_user()
    one.sees("%%remote name=shared returns=\nmade = [1]\nprint('of the first')")
    assert "of the first" not in two.sees("%%remote name=shared\nmade.append(2)\nprint(made)")
    assert "[1, 2, 3]" in one.sees("%%remote name=shared\nmade.append(3)\nprint(made)")
    assert not two.workers() and one.workers()  # it is the first one's
    assert two.sees("%%remote name=shared\ntaken = list(made)") == ""
    assert two.has("taken") == [1, 2, 3]


def test_the_second_of_two_that_attach_is_told_who_has_the_values(new_user: NewUser, gate: Gate) -> None:
    one, two = new_user(), new_user()
    run = _run_id(one.sees(f"%%remote detach\nprint('it says')\n{gate.cell}\nmade = [1]"))
    gate.wait()
    kernel = psutil.Process(two.has("__import__('os').getpid()"))
    client = two.kernel.client.kc
    asked = client.execute(f"%remote attach {run}")
    shown = _shown_until(client, asked, lambda text: "it says" in text)
    kernel.suspend()
    try:
        gate.open()
        one.sees(f"%remote attach {run}")
    finally:
        kernel.resume()
    shown += _shown_until(client, asked, lambda _text: False)
    assert one.has("made") == [1]
    assert "were fetched before, by notebook" in shown and "RunGone" not in shown, shown


def _shown_until(client: Any, request: str, enough: Callable[[str], bool]) -> str:
    """What a request shows until that is enough, or its cell is over."""
    shown = ""
    while not enough(shown):
        message = run_sync(client.get_iopub_msg)(timeout=60)
        if message["parent_header"].get("msg_id") != request:
            continue
        content = message["content"]
        if content.get("execution_state") == "idle":
            break
        shown += content.get("text", "") + content.get("data", {}).get("text/plain", "") + content.get("ename", "")
    return shown


def test_two_notebooks_share_nothing_else(new_user: NewUser) -> None:
    one, two = new_user(), new_user()
    one.sees("%%remote\nmade = [1]")
    two.sees("%%remote\npass")
    assert two.is_told("%%remote\nprint(made)")[0] in ("UndefinedName", "NameError")


def test_a_terminal_sees_the_runs(new_user: NewUser, gate: Gate) -> None:
    user = new_user()
    run = _run_id(user.sees(f"%%remote detach\nprint('it says')\n{gate.cell}"))
    gate.wait()

    def typed(*words: str) -> str:
        done = subprocess.run([sys.executable, "-m", "cellferry.cli", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run in typed("runs") and json.loads(typed("runs", "--json"))[0]["status"] == "running"
    assert typed("logs", run) == "it says\n"
    assert "interrupted" in typed("interrupt", run)
    assert user.is_told("%remote attach")[0] == "KeyboardInterrupt"
    assert "has ended" in typed("interrupt", run)

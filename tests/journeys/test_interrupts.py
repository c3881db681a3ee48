"""The stop button, pressed by hands that do not wait: every press counts, and no cell goes on there unseen."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from .conftest import Gate, NewUser, User

SPACINGS_S = (0.0, 0.01, 0.03, 0.06, 0.09, 0.12, 0.16, 0.25)


class Hand:
    """Presses the stop button as soon as the running cell has come so far that it makes a file."""

    def __init__(self, user: User, folder: Path) -> None:
        self.pid = int(user.has("__import__('os').getpid()"))
        self._folder, self._numbers = folder, itertools.count()
        self.user = user

    def presses(self, cell: str, pauses_s: Sequence[float], *, stops: int = 0) -> Any:
        """Run ``cell``, in which ``{sign}`` makes the sign, and press once, and again after each pause. ``stops``: a process that
        is stopped before. What the cell showed."""
        sign = self._folder / f"sign{next(self._numbers)}"

        def press() -> None:
            while not sign.exists():
                time.sleep(0.002)
            if stops:
                os.kill(stops, signal.SIGSTOP)
            for pause_s in (0.0, *pauses_s):
                time.sleep(pause_s)  # what is tested is this span
                os.kill(self.pid, signal.SIGINT)

        thread = threading.Thread(target=press, daemon=True)
        thread.start()
        seen = self.user.types(cell.replace("{sign}", f"open({str(sign)!r}, 'w').close()"))
        thread.join(60)
        return seen

    def error_of(self, seen: Any) -> str:
        return next((output["ename"] for output in seen.outputs if output["output_type"] == "error"), "")


@pytest.fixture(scope="module")
def hand(user: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hand]:
    yield Hand(user, tmp_path_factory.mktemp("signs"))


PATIENT = "%%remote\nimport time\n{sign}\ntime.sleep(30)"
CATCHES = """%%remote
import time
caught = 0
{sign}
end = time.monotonic() + 30
while time.monotonic() < end and caught < MOST:
    try:
        time.sleep(30)
    except KeyboardInterrupt:
        caught += 1
"""


@pytest.mark.parametrize("pause_s", SPACINGS_S)
def test_two_presses_end_a_cell_there_and_here(hand: Hand, pause_s: float) -> None:
    seen = hand.presses(PATIENT, [pause_s])
    assert hand.error_of(seen) == "KeyboardInterrupt"
    assert hand.user.sees("%%remote\nprint('free')") == "free\n"


@pytest.mark.parametrize("pause_s", [0.03, 0.08, 0.3])
def test_a_cell_that_catches_interrupts_gets_each(hand: Hand, pause_s: float) -> None:
    """Three presses may end it with its kernel; two never do, and both arrive unless they are one to Linux."""
    seen = hand.presses(CATCHES.replace("MOST", "1"), [pause_s])
    assert hand.error_of(seen) in ("", "KeyboardInterrupt")
    assert hand.user.sees("%%remote\nprint(caught)") == "1\n"


def test_three_presses_end_the_kernel_of_a_cell_that_does_not_listen(hand: Hand) -> None:
    seen = hand.presses(CATCHES.replace("MOST", "9"), [0.05, 0.05])
    assert hand.error_of(seen) == "KernelDied"
    assert hand.user.sees("%%remote\nprint('free')") == "free\n"


def kernel_of(user: User) -> int:
    (pid,) = {p.pid for p in user.workers() if "cellferry.guest" in p.cmdline()}
    return pid


@pytest.mark.parametrize("pause_s", [0.03, 0.12])
def test_a_stopped_kernel_is_said_and_ended_by_the_third_press(hand: Hand, pause_s: float) -> None:
    hand.user.types("%%remote\n1")
    seen = hand.presses(PATIENT, [pause_s, pause_s], stops=kernel_of(hand.user))
    assert hand.error_of(seen) == "KernelDied"
    assert hand.user.sees("%%remote\nprint('free')") == "free\n"


def test_a_kernel_that_is_stopped_between_cells_is_said_and_left_by_a_press(hand: Hand) -> None:
    user = hand.user
    user.types("%%remote\n1")
    stopped = kernel_of(user)
    os.kill(stopped, signal.SIGSTOP)
    told = []

    def press() -> None:
        told.append(shown_by(user, "has not answered"))
        os.kill(hand.pid, signal.SIGINT)
        told.append(shown_by(user, "interrupt it again"))
        os.kill(hand.pid, signal.SIGINT)  # not both at once: two signals that wait are one to Linux
        told.append(shown_by(user, "a third interrupt"))
        os.kill(hand.pid, signal.SIGINT)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    seen = user.types("%%remote\nprint(1)")
    thread.join(60)
    assert hand.error_of(seen) == "KernelDied"
    # over TLS the kernel is on a machine that may be another: nobody here looks at its process
    near = user.has("__import__('os').environ['CELLFERRY_LOCAL_TRANSPORT']") == "unix"
    why = "it is stopped (SIGSTOP)" if near else "is stopped, or runs code that holds the interpreter"
    assert all(why in text for text in told)
    assert user.sees("%%remote\nprint('free')") == "free\n"


def shown_by(user: User, *words: str) -> str:
    """The text with one of these words that the running cell shows, as soon as it does."""
    cell = user.kernel.client.nb.cells
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        outputs = cell[-1].get("outputs", ())
        for output in list(outputs):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            if any(word in text for word in words):
                return str(text)
        time.sleep(0.02)
    raise AssertionError(f"nothing of {words} was shown")


def test_presses_while_the_values_are_packed(hand: Hand) -> None:
    """Nothing has been sent: the cell is over at once, and what was known of the worker's values still holds."""
    user = hand.user
    user.types("class Slow:\n    def __reduce__(self):\n        import time; open(SIGN, 'w').close(); time.sleep(30); return (int, ())")
    user.types("%%remote\nbefore = [1]")
    sign = hand._folder / "packed"
    user.types(f"SIGN, s = {str(sign)!r}, Slow()")

    def press() -> None:
        while not sign.exists():
            time.sleep(0.002)
        for _ in range(2):
            os.kill(hand.pid, signal.SIGINT)
            time.sleep(0.05)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    seen = user.types("%%remote\nbefore.append(2); s")
    thread.join(60)
    assert hand.error_of(seen) == "KeyboardInterrupt"
    user.types("del s")
    assert user.sees("%%remote\nbefore.append(3); print(before)") == "[1, 3]\n"
    assert user.has("before") == [1, 3]


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
def test_presses_while_a_worker_starts_leave_none_behind(new_user: NewUser, tmp_path: Path, pause_s: float) -> None:
    user = new_user()
    hand = Hand(user, tmp_path)
    folders = Path(os.environ["XDG_RUNTIME_DIR"])
    before = set(folders.iterdir())

    def press() -> None:
        while not set(folders.iterdir()) - before:
            time.sleep(0.001)
        for _ in range(2):
            os.kill(hand.pid, signal.SIGINT)
            time.sleep(pause_s)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    seen = user.types("%%remote\nprint(1)")
    thread.join(60)
    assert hand.error_of(seen) == "KeyboardInterrupt"
    assert not user.workers() and set(folders.iterdir()) == before
    assert user.sees("%%remote\nprint('free')") == "free\n"


def test_an_interrupt_of_a_waiting_cell_is_its_own(new_user: NewUser, tmp_path: Path, gate: Gate) -> None:
    """It waits behind one that was let go: that one goes on."""
    user = new_user()
    hand = Hand(user, tmp_path)
    user.types(f"%%remote detach\n{gate.cell}\nx = 'went on'")
    gate.wait()

    def press() -> None:
        shown_by(user, "is busy")
        os.kill(hand.pid, signal.SIGINT)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    seen = user.types("%%remote\nprint('never')")
    thread.join(60)
    assert hand.error_of(seen) == "KeyboardInterrupt" and "never" not in str([o for o in seen.outputs if o.output_type == "stream"])
    gate.open()
    user.types("%remote attach")
    assert user.has("x") == "went on"


def test_whoever_attaches_to_a_waiting_run_is_told_and_may_leave(new_user: NewUser, tmp_path: Path, gate: Gate) -> None:
    user = new_user()
    hand = Hand(user, tmp_path)
    user.types(f"%%remote detach\n{gate.cell}\nx = 'went on'")
    gate.wait()
    seen = user.types("%%remote detach\ny = 'second'")
    assert "is busy" not in str(seen.outputs), "a line of progress is taken away with its cell"
    run = user.has("[r.run for r in get_ipython().run_line_magic('remote', 'runs')][-1]")

    def press() -> None:
        shown_by(user, "waits for its turn")
        os.kill(hand.pid, signal.SIGINT)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    seen = user.types(f"%remote attach {run}")
    thread.join(60)
    assert hand.error_of(seen) == "KeyboardInterrupt"
    assert "still waits" in str(seen.outputs)
    user.types(f"%remote interrupt {run}")  # drops it, and does not touch the one that runs
    gate.open()
    user.types("%remote attach")
    assert user.has("x") == "went on"
    assert user.has("'y' in dir()") is False

"""Plain ``ipython`` and ``jupyter console``: a remote cell at a prompt, on a real worker."""

from __future__ import annotations

import os
import re
import sys

import pexpect
import pytest

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()>=].?|\r")
PATIENCE_S = 60


class Terminal:
    """A program in a terminal. A cell is one line of Python, since prompts complete and indent what is typed."""

    def __init__(self, arguments, **settings):
        self.child = pexpect.spawn(sys.executable, ["-m", *arguments], encoding="utf-8", timeout=PATIENCE_S,
                                   dimensions=(50, 200), env={**os.environ, **settings})
        self.prompt()

    def prompt(self):
        """Everything shown up to the next input prompt."""
        self.child.expect(r"In .{0,40}\[.{0,40}\d+.{0,40}\]: ")
        return ESCAPES.sub("", self.child.before)

    def run(self, code):
        """Run one line."""
        self.child.sendline(code)
        return self.prompt()

    def remote(self, body, line=""):
        """Run a cell under ``%%remote``, as IPython's own transformation of it."""
        return self.run(f"get_ipython().run_cell_magic('remote', {line!r}, {body!r})")

    def close(self):
        self.child.sendline("exit()")
        self.child.expect(pexpect.EOF)
        self.child.close()


PROGRAMS = {
    "ipython": ["IPython", "--simple-prompt", "--no-banner", "--no-confirm-exit", "--colors=nocolor"],
    "jupyter console": ["jupyter_console", "--simple-prompt", "--no-confirm-exit", "--kernel=python3"],
}


@pytest.fixture(scope="module", params=PROGRAMS, ids=lambda name: name.replace(" ", "-"))
def terminal(request):
    made = Terminal(PROGRAMS[request.param])
    made.run("%load_ext cellferry")
    yield made
    made.close()


def test_text_and_results(terminal):
    shown = terminal.remote("print('hello ' + 'there')\n6 * 7")
    assert "hello there" in shown
    assert re.search(r"Out\[\d+\]: ?42", shown)


def test_display_and_its_update(terminal):
    shown = terminal.remote("from IPython.display import display, Pretty\n"
                            "h = display(Pretty('fir' + 'st'), display_id=True)\nh.update(Pretty('sec' + 'ond'))")
    assert "first" in shown


def test_error_is_the_users_own(terminal):
    shown = terminal.remote("a = 1\nb = a / 0")
    assert shown.count("ZeroDivisionError: division by zero") == 1
    assert "cellferry/" not in shown


def test_advice(terminal):
    shown = terminal.remote("1", "gpuu=a100")
    assert "UnknownOption: `gpuu` is not an option" in shown
    assert "-> did you mean `gpu`?" in shown
    assert "Traceback" not in shown


def test_input(terminal):
    terminal.child.sendline("get_ipython().run_cell_magic('remote', '', 'print(input(\"na\" + \"me? \") * 2)')")
    terminal.child.expect_exact("name? ")
    terminal.child.sendline("ab")
    assert "abab" in terminal.prompt()


def test_interrupt(terminal):
    terminal.child.sendline(
        "get_ipython().run_cell_magic('remote', '', 'import time\\nprint(\"go\" + \"ing\")\\ntime.sleep(60)')")
    terminal.child.expect_exact("going")
    terminal.child.sendintr()
    assert "KeyboardInterrupt" in terminal.prompt()
    assert "2" in terminal.run("1 + 1")


def test_values_come_home(terminal):
    terminal.remote("made = [1, 2]\nmade")
    assert "([1, 2], True, True)" in terminal.run("_, made is _, Out[max(Out)] is _")


def test_debug_at_the_prompt(terminal):
    terminal.remote("def f(inner):\n    return 1 / inner\nf(0)")
    terminal.child.sendline("%debug")
    terminal.child.expect_exact("ipdb> ")
    terminal.child.sendline("p inner + 40")
    terminal.child.expect_exact("40")
    terminal.child.expect_exact("ipdb> ")
    terminal.child.sendline("q")
    terminal.prompt()


def test_status(terminal):
    assert "default" in terminal.run("%remote status")
    assert "default" in terminal.run("%remote down")
    assert "no worker is running" in terminal.run("%remote status")


@pytest.fixture(params=PROGRAMS, ids=lambda name: name.replace(" ", "-"))
def far_terminal(request):
    """Its worker does not share the notebook's folder."""
    made = Terminal(PROGRAMS[request.param], CELLFERRY_LOCAL_FOLDER="own")
    made.run("%load_ext cellferry")
    yield made
    made.close()


def test_a_long_transfer_is_one_line_that_is_written_over(far_terminal, tmp_path):
    terminal = far_terminal
    terminal.run(f"import os; os.chdir({str(tmp_path)!r}); import cellferry.link.progress as p; p._PATIENCE_S = p._STEP_S = 0")
    (tmp_path / "slow.bin").write_bytes(bytes(9 << 20))
    shown = terminal.remote("print(open('slow.bin', 'rb').read(1))", "files=slow.bin")
    assert "files to the worker  [##" in shown and shown.count("b'\\x00'") == 1
    # jupyter console shows no updates of a display
    assert "9.0 MiB of 9.0 MiB" in shown or shown.count("files to the worker") == 1

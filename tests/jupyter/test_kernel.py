"""The kernel "Python 3 (cellferry)": a good kernel first, and remote by a cell's own metadata."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import jupyter_kernel_test
import pytest


class TestKernel(jupyter_kernel_test.KernelTests):
    """The public conformance suite."""

    kernel_name = "cellferry"
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    code_page_something = "print?"
    code_generate_error = "raise ValueError('no')"
    code_execute_result: ClassVar = [{"code": "1+2", "result": "3"}, {"code": "'x' * 3", "result": "'xxx'"}]
    code_display_data: ClassVar = [
        {"code": "from IPython.display import HTML, display; display(HTML('<b>x</b>'))", "mime": "text/html"},
        {"code": "from IPython.display import Math, display; display(Math('x'))", "mime": "text/latex"},
    ]
    completion_samples: ClassVar = [{"text": "zi", "matches": {"zip"}}]
    complete_code_samples: ClassVar = ["1", "def f():\n  return 1\n\n", "%%remote\n1\n\n"]
    incomplete_code_samples: ClassVar = ["def f():", "%%remote"]
    invalid_code_samples: ClassVar = ["x = = 1"]
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"
    code_history_pattern = "1?2*"
    supported_history_operations = ("tail", "search")


MARK = {"cellferry": {"remote": ""}}


@pytest.fixture(scope="module")
def marked(module_notebook):
    """The cellferry kernel over the stand-in for the workers."""
    return module_notebook(kernel_name="cellferry")


def test_magics_are_there_at_the_start(marked):
    marked.client.kernel_info()
    info = marked.client.get_shell_msg(timeout=30)["content"]
    assert info["implementation"] == "cellferry"
    assert marked.run("get_ipython().find_cell_magic('remote') is not None").data() == "True"
    assert "already loaded" in marked.run("%load_ext cellferry").text()


def test_a_marked_cell_runs_on_the_worker_as_typed(marked):
    here = marked.run("import os; os.getpid()").data()
    outcome = marked.run("import os\nos.getpid()", meta=MARK)
    assert outcome.data() != here
    typed = marked.run("get_ipython().history_manager.input_hist_raw[-2]").data()
    assert typed == repr("import os\nos.getpid()")
    assert marked.run("made[0].cells[-1].source, made[0].cells[-1].lineno_offset").data() == f"({typed}, 0)"


def test_the_next_cell_is_local_again(marked):
    marked.run("1", meta=MARK)
    before = marked.run("len(made[0].cells)").data()
    marked.run("2")
    assert marked.run("len(made[0].cells)").data() == before


def test_errors_and_words_of_a_marked_cell(marked):
    outcome = marked.run("1 / 0", meta=MARK, check=False)
    assert outcome.reply["ename"] == "ZeroDivisionError"
    outcome = marked.run("1", meta={"cellferry": {"remote": "gpuu=a100"}}, check=False)
    assert outcome.reply["ename"] == "UnknownOption"
    assert "2" in marked.run("1 + 1").data()


@pytest.mark.parametrize("code", ["%%remote timeout=1h\n7", "%remote status"])
def test_a_marked_cell_with_its_own_magic_means_that_one(marked, code):
    assert marked.run(code, meta=MARK).reply["status"] == "ok"


def test_top_level_await_and_magics_inside_a_marked_cell(marked):
    assert marked.run("import asyncio\nawait asyncio.sleep(0, 'done')", meta=MARK).data() == "'done'"
    assert "Wall time" in marked.run("%%time\nprint('timed')", meta=MARK).text()


def test_interrupt_of_a_marked_cell(marked):
    outcome = marked.run("import time\nprint('going')\ntime.sleep(60)", meta=MARK, when={"going": marked.interrupt},
                         check=False)
    assert outcome.reply["ename"] == "KeyboardInterrupt"
    assert marked.run("1 + 1").data() == "2"


def test_other_metadata_means_nothing(marked):
    from cellferry.jupyter.kernel import remote_words

    other = [{"cellferry": None}, {"cellferry": {"remote": None}}, {"cellferry": {"remote": 5}}, {"remote": ""}]
    for meta in [None, {}, *other]:
        assert remote_words("1", meta) is None
    assert remote_words("  \n", MARK) is None
    assert remote_words("1", MARK) == ""


def test_a_file_beside_the_notebook_does_not_break_the_start(tmp_path):
    (tmp_path / "ipykernel.py").write_text("raise SystemExit('wrong module')")
    shown = subprocess.run([sys.executable, "-m", "cellferry.jupyter", "--version"], cwd=tmp_path, text=True,
                           capture_output=True, timeout=60)
    assert shown.returncode == 0, shown.stderr


def test_kernelspec_is_installed():
    jupyter = shutil.which("jupyter", path=str(Path(sys.executable).parent))
    assert jupyter
    listed = subprocess.run([jupyter, "kernelspec", "list"], text=True, capture_output=True, timeout=60)
    assert "cellferry" in listed.stdout

"""Every kind of output of a remote cell on a real worker, as a frontend receives it."""

from __future__ import annotations

import re
import time

import pytest


@pytest.fixture(scope="module")
def far(plain_notebook):
    """A plain ipykernel with the extension and a real local worker."""
    made = plain_notebook()
    made.run("%load_ext cellferry")
    made.run("%%remote\n%matplotlib inline\npass")
    return made


def run(far, body, line="", **options):
    return far.run(f"%%remote {line}\n{body}", **options)


def test_streams_keep_their_order(far):
    outcome = run(far, "import sys\nfor i in range(5):\n    print('o', i, flush=True)\n"
                       "    print('e', i, file=sys.stderr, flush=True)")
    shown = "".join(m["content"]["text"] for m in outcome.messages)
    assert shown == "".join(f"o {i}\ne {i}\n" for i in range(5))


def test_first_line_is_seen_while_the_cell_runs(far):
    seen = []
    run(far, "import time\nprint('first')\ntime.sleep(0.6)\nprint('last')",
        when={"first": lambda: seen.append(time.monotonic()), "last": lambda: seen.append(time.monotonic())})
    assert seen[1] - seen[0] > 0.3


def test_a_hundred_thousand_lines_come_complete(far):
    outcome = run(far, "for i in range(100_000):\n    print(i)")
    assert outcome.text() == "".join(f"{i}\n" for i in range(100_000))


def test_carriage_returns_arrive(far):
    outcome = run(far, "for i in range(3):\n    print(f'\\r{i}', end='')")
    assert outcome.text() == "\r0\r1\r2"


def test_rich_results_and_out(far):
    outcome = run(far, "from IPython.display import HTML\nHTML('<b>bold</b>')")
    assert outcome.data(mime="text/html") == "<b>bold</b>"
    number = outcome.reply["execution_count"]
    assert outcome.of("execute_result")[0]["execution_count"] == number
    run(far, "[1, 2]")
    assert far.run("_, _ is Out[max(Out)]").data() == "([1, 2], True)"


def test_a_semicolon_silences_the_result(far):
    assert run(far, "5;").kinds() == []


def test_display_update_and_clear(far):
    outcome = run(far, "from IPython.display import display, clear_output\nh = display('a', display_id='d1')\n"
                       "h.update('b')\nclear_output(wait=True)\ndisplay('c')")
    assert outcome.kinds() == ["display_data", "update_display_data", "clear_output", "display_data"]
    assert outcome.of("update_display_data")[0]["transient"] == {"display_id": "d1"}
    assert outcome.of("clear_output") == [{"wait": True}]


def test_update_from_a_later_cell(far):
    run(far, "later = display('x', display_id=True)")
    outcome = run(far, "later.update('y')")
    assert outcome.data("update_display_data") == "'y'"


def test_update_from_a_thread_after_the_cell_ended(far):
    run(far, "import threading\nslow = display('waiting', display_id=True)\ngo = threading.Event()\n"
             "def work():\n    go.wait(30); slow.update('finished'); print('printed late')\n"
             "worker_thread = threading.Thread(target=work); worker_thread.start()")
    run(far, "go.set()")
    message = far.until(lambda m: m["msg_type"] == "update_display_data" and "finished" in str(m["content"]))
    assert message["parent_header"]["msg_id"]
    far.until(lambda m: m["msg_type"] == "stream" and "printed late" in m["content"]["text"])


def test_error_names_the_cell_and_its_lines(far):
    outcome = run(far, "def inner(x):\n    return 1 / x\n\nprint('before')\ninner(0)", check=False)
    assert [kind for kind in outcome.kinds() if kind != "display_data"] == ["stream", "error"]
    assert "inner" in outcome.data("display_data")
    number = outcome.reply["execution_count"]
    shown = outcome.traceback()
    assert f"In[{number}], line 6" in shown
    assert f"In[{number}], line 3, in inner(x)" in shown
    assert "cellferry/" not in shown
    assert (outcome.reply["ename"], outcome.reply["evalue"]) == ("ZeroDivisionError", "division by zero")
    assert f"In[{number}], line 3, in inner(x)" in far.run("inner(0)", check=False).traceback()


def test_error_in_a_function_of_a_local_cell(far):
    made = far.run("def of_here(x):\n    y = x\n    return {}[y]")
    outcome = run(far, "of_here('key')", check=False)
    assert f"In[{made.reply['execution_count']}], line 3, in of_here(x)" in outcome.traceback()
    assert "return {}[y]" in outcome.traceback()


def test_syntax_error_is_the_local_one(far):
    outcome = run(far, "a = 1\nb = = 2", check=False)
    assert outcome.reply["ename"] == "SyntaxError"
    shown = outcome.traceback()
    local = far.run("a = 1\n\nb = = 2", check=False)
    assert shown.replace(f"In[{outcome.reply['execution_count']}]", "In") == local.traceback().replace(
        f"In[{local.reply['execution_count']}]", "In")


def test_unknown_magic_is_said_once(far):
    outcome = run(far, "%nosuchmagic", check=False)
    assert outcome.reply["ename"] == "UsageError"
    assert outcome.text("stderr").count("nosuchmagic") + len(outcome.of("error")) == 1


def test_exception_groups_are_shown_once(far):
    outcome = run(far, "raise ExceptionGroup('both', [ValueError('one'), KeyError('two')])", check=False)
    assert outcome.reply["ename"] == "ExceptionGroup"
    everything = outcome.text("stderr") + "".join("\n".join(c["traceback"]) for c in outcome.of("error"))
    assert everything.count("ValueError: one") == 1


def test_leaving_is_an_error_shown_once_and_ends_nothing(far):
    outcome = run(far, "import sys\nsys.exit('leaving')", check=False)
    assert outcome.reply["ename"] == "SystemExit"
    assert ["leaving" in "\n".join(c["traceback"]) for c in outcome.of("error")] == [True]
    kernel = run(far, "import os; os.getpid()").data()
    assert "%remote down" in run(far, "exit()").text("stderr")
    assert "%remote down" in run(far, "quit").text("stderr")
    # what IPython's own exit() does comes a tenth of a second later
    assert run(far, "import threading; threading.Event().wait(0.3); os.getpid()").data() == kernel


def test_warnings(far):
    outcome = run(far, "import warnings\nwarnings.warn('careful')")
    assert "UserWarning: careful" in outcome.text("stderr")


def test_input_and_getpass(far):
    outcome = run(far, "import getpass\nprint(input('name? '), getpass.getpass('word? '))", answers=["Ada", "s3"])
    assert outcome.text() == "Ada s3\n"


def test_no_stdin(far):
    outcome = run(far, "input()", allow_stdin=False, check=False)
    assert outcome.reply["ename"] == "StdinNotImplementedError"


def test_interrupt(far):
    outcome = run(far, "import time\nprint('going')\ntime.sleep(60)", when={"going": far.interrupt}, check=False)
    assert outcome.reply["ename"] == "KeyboardInterrupt"
    assert "time.sleep(60)" in outcome.traceback()
    assert run(far, "1 + 1").data() == "2"


def test_interrupt_while_asking(far):
    outcome = run(far, "input('sure? ')", when={"sure? ": far.interrupt}, check=False)
    assert outcome.reply["ename"] == "KeyboardInterrupt"
    assert run(far, "1 + 1").data() == "2"


def test_two_interrupts_of_a_cell_that_ignores_the_first(far):
    outcome = run(far, "import time\ntry:\n    print('going'); time.sleep(60)\nexcept KeyboardInterrupt:\n"
                       "    print('ignored'); time.sleep(60)",
                  when={"going": far.interrupt, "ignored": far.interrupt}, check=False)
    assert outcome.reply["ename"] == "KeyboardInterrupt"


def test_matplotlib_inline(far):
    pytest.importorskip("matplotlib")
    outcome = run(far, "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3]);")
    assert outcome.data("display_data", "image/png")


def test_tqdm(far):
    pytest.importorskip("tqdm")
    outcome = run(far, "from tqdm import tqdm\nfor _ in tqdm(range(10)):\n    pass")
    assert "10/10" in outcome.text("stderr")
    assert "\r" in outcome.text("stderr")


def test_tqdm_notebook(far):
    pytest.importorskip("tqdm")
    outcome = run(far, "from tqdm.notebook import tqdm as bar\nfor _ in bar(range(10)):\n    pass")
    opened = [c["data"]["state"]["_model_name"] for c in outcome.of("comm_open")]
    assert "FloatProgressModel" in opened
    assert outcome.data("display_data", "application/vnd.jupyter.widget-view+json")


SLIDER = """import ipywidgets
slider = ipywidgets.IntSlider(value=3)
slider.observe(lambda change: print('moved to', change['new']), 'value')
display(slider)"""


def test_a_widget_stays_alive_in_both_directions(far):
    made = run(far, SLIDER)
    comm_id = made.of("display_data")[0]["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]
    update = {"comm_id": comm_id, "data": {"method": "update", "state": {"value": 7}, "buffer_paths": []}}
    _, seen = far.ask("comm_msg", update)
    assert [m["content"]["text"] for m in seen if m["msg_type"] == "stream"] == ["moved to 7\n"]
    outcome = run(far, "slider.value = 11")
    assert {"value": 11} in [c["data"]["state"] for c in outcome.of("comm_msg") if c["comm_id"] == comm_id]
    assert outcome.text() == "moved to 11\n"


def test_debug_looks_into_the_remote_frame(far):
    run(far, "def f(inner):\n    return 1 / inner\nf(0)", check=False)
    outcome = far.run("%debug", answers=["p inner + 40", "q"])
    assert "40\n" in outcome.text()


def test_ipython_syntax(far):
    outcome = run(far, "%%time\nprint('timed')\n")
    assert re.search(r"timed\n.*Wall time", outcome.text(), re.S)
    assert run(far, "!echo from the shell").text().split() == ["from", "the", "shell"]
    assert run(far, "import asyncio\nawait asyncio.sleep(0, 'awaited')").data() == "'awaited'"
    assert run(far, "%time x = 5").kinds() == ["stream"]


def test_nested_in_a_local_cell_magic(far):
    outcome = far.run("%%time\n%%remote\nprint('inside')")
    assert "inside" in outcome.text()
    assert "Wall time" in outcome.text()


def test_help_is_shown(far):
    outcome = run(far, "len?")
    pages = [p for p in outcome.reply["payload"] if p["source"] == "page"]
    assert "Return the number of items" in pages[0]["data"]["text/plain"]


def test_estimate_is_a_table(far):
    far.run("numbers = list(range(1000))")
    outcome = run(far, "print(sum(numbers))", "estimate")
    assert "numbers" in outcome.data()
    assert outcome.text() == ""


def test_files_go_and_come_by_name(far, tmp_path):
    far.run(f"%cd -q {tmp_path}")
    (tmp_path / "given.txt").write_text("from here")
    assert "0 B" in far.run("%remote put given.txt").data()  # it works in this very folder
    assert run(far, "print(open('given.txt').read())").text() == "from here\n"


def test_status_and_down(far):
    assert "default" in far.run("%remote status").data()
    assert "default" in far.run("%remote down").data()
    assert "no worker" in far.run("%remote status").data()
    assert run(far, "'again'").data() == "'again'"


def test_a_cell_marked_by_its_metadata(new_notebook):
    marked = new_notebook(kernel_name="cellferry")
    meta = {"cellferry": {"remote": "timeout=5m"}}
    here = marked.run("import os; os.getpid()").data()
    assert marked.run("os.getpid()", meta=meta).data() != here
    outcome = marked.run("def f(x):\n    return 1 / x\nf(0)", meta=meta, check=False)
    assert f"In[{outcome.reply['execution_count']}], line 3" in outcome.traceback()
    assert f"In[{outcome.reply['execution_count']}], line 2, in f(x)" in outcome.traceback()
    assert marked.run("f(1)").data() == "1.0"

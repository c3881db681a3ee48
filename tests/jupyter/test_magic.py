"""The magics in a real ipykernel, over a stand-in for the workers: what is shown, what stays right, what is refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from cellferry.capture.request import COMMANDS
from cellferry.jupyter import magic
from cellferry.jupyter.commands import _COMMANDS


def run(doors, body, line="", **options):
    return doors.run(f"%%remote {line}\n{body}", **options)


def test_outputs_and_result_are_those_of_a_local_cell(doors):
    outcome = run(doors, "print('out')\nimport sys; print('err', file=sys.stderr)\n6 * 7")
    assert outcome.text() == "out\n"
    assert outcome.text("stderr") == "err\n"
    assert outcome.data() == "42"
    assert outcome.of("execute_result")[0]["execution_count"] == outcome.reply["execution_count"]


def test_relayed_messages_belong_to_the_frontends_request_and_this_kernels_session(doors):
    outcome = run(doors, "print(1)\ndisplay(2)")
    (status,) = {m["header"]["session"] for m in doors.ask("comm_msg", {"comm_id": "none", "data": {}})[1]}
    assert {m["header"]["session"] for m in outcome.messages} == {status}
    assert {m["parent_header"]["session"] for m in outcome.messages} == {doors.client.session.session}


def test_a_result_becomes_out_and_underscore_without_a_second_display(doors):
    shown = doors.run("get_ipython()._cellferry.host.result([1, 2])")
    assert shown.kinds() == []
    n = shown.reply["execution_count"]
    after = doors.run(f"_ == [1, 2], Out[{n}] == [1, 2], _{n} is _, get_ipython().last_execution_result.result is _")
    assert after.data() == "(True, True, True, True)"


def test_remote_error_looks_like_a_local_one_and_stops_run_all(doors):
    outcome = run(doors, "a = 1\nb = a / 0", check=False)
    assert outcome.reply["status"] == "error"
    assert (outcome.reply["ename"], outcome.reply["evalue"]) == ("ZeroDivisionError", "division by zero")
    assert len(outcome.of("error")) == 1
    shown = outcome.traceback()
    assert "b = a / 0" in shown
    assert "cellferry" not in shown


def test_error_can_be_caught_as_remote_error(doors):
    outcome = doors.run(
        "from cellferry.journey import RemoteError\n"
        "try:\n    get_ipython().run_cell_magic('remote', '', 'int(\"x\")')\n"
        "except RemoteError as error:\n    caught = error\n"
        "type(caught).__name__, caught.ename, str(caught)")
    name, ename, text = eval(outcome.data())
    assert name == ename == "ValueError"
    assert text.startswith("invalid literal")


def test_tb_shows_the_remote_traceback_again(doors):
    run(doors, "def f():\n    return {}['k']\nf()", check=False)
    assert "return {}['k']" in doors.run("%tb", check=False).traceback()


def test_advice_has_no_internal_traceback(doors):
    outcome = run(doors, "1", "gpuu=a100", check=False)
    lines = outcome.traceback().splitlines()
    assert lines[0].startswith("UnknownOption: `gpuu`")
    assert lines[1].startswith("  -> did you mean `gpu`?")
    assert len(lines) == 2
    assert outcome.reply["ename"] == "UnknownOption"


def test_two_threads_that_open_the_session_get_the_same(monkeypatch):
    """At load a thread looks for what was left elsewhere; the first cell may come at the same moment."""
    both = threading.Barrier(2)

    def opened(*_):
        try:
            both.wait(0.5)  # where both may come here, both do
        except threading.BrokenBarrierError:
            pass
        return object()

    monkeypatch.setattr(magic, "open_session", opened)
    monkeypatch.setattr(magic, "_screen", lambda _shell: SimpleNamespace(connect=lambda _session: None))
    monkeypatch.setattr(magic, "ShellHost", lambda *_: None)
    magics = magic.RemoteMagics(None)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: magics.session, range(2))
    assert one is other is magics.opened


def test_every_command_that_is_understood_is_served():
    assert set(_COMMANDS) == set(COMMANDS)


def test_later_options_and_wrong_commands_say_so(doors):
    assert run(doors, "1", "nodes=2", check=False).reply["ename"] == "NotYet"
    assert doors.run("%remote statos", check=False).reply["ename"] == "UnknownOption"


def test_status_is_a_value_and_a_table(doors):
    outcome = doors.run("%remote status")
    assert "no worker" in outcome.data()
    assert "no worker" in outcome.data(mime="text/html")
    assert doors.run("rows = %remote status\nlen(rows)").data() == "0"


def test_line_numbers_of_the_body_within_the_cell(doors):
    def offset():
        return doors.run("made[0].cells[-1].lineno_offset").data()

    run(doors, "pass")
    assert offset() == "1"
    doors.run("\n\n%%time\n%%remote\npass")
    assert offset() == "2"
    n = run(doors, "pass").reply["execution_count"]
    assert doors.run("made[0].cells[-1].number").data() == str(n)
    assert doors.run("made[0].cells[-1].cell_id").data() == "'cell-1'"


def test_local_capture_takes_remote_outputs(doors):
    doors.run("%%capture taken\n%%remote\nprint('text')\n"
              "from IPython.display import HTML\ndisplay(HTML('<b>x</b>'))\n5")
    outcome = doors.run("taken.stdout, [o.data.get('text/html', o.data['text/plain']) for o in taken.outputs]")
    assert outcome.data() == "('text\\n', ['<b>x</b>', '5'])"


def test_redirected_stdout_takes_remote_text(doors):
    outcome = doors.run(
        "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as kept:\n"
        "    get_ipython().run_cell_magic('remote', '', 'print(1)')\nkept.getvalue()")
    assert outcome.kinds() == ["execute_result"]
    assert outcome.data() == "'1\\n'"


def test_placeholders_come_home_before_a_local_cell(doors):
    doors.run("made[0].placeholders['far'] = 41")
    assert doors.run("far + 1").data() == "42"
    assert doors.run("made[0].fetched").data() == "['far']"


def test_a_value_that_cannot_come_home_stops_the_cell_once(doors):
    doors.run("from cellferry.errors import WorkerLost\n"
              "made[0].placeholders['lost'] = WorkerLost('The worker ended.', 'run its cell again')")
    outcome = doors.run("ran = True; lost", check=False)
    assert outcome.reply["ename"] == "WorkerLost"
    assert outcome.traceback().splitlines() == ["WorkerLost: The worker ended.", "  -> run its cell again"]
    assert doors.run("'ran' in globals()").data() == "False"


def test_syntax_error_has_the_cells_own_line(doors):
    doors.run("from cellferry.errors import CellSyntaxError\n"
              "def broken():\n"
              "    try:\n        compile('a = 1\\nb = = 2\\n', '<cell>', 'exec')\n"
              "    except SyntaxError as error:\n"
              "        raised = CellSyntaxError('does not compile'); raised.__cause__ = error; return raised\n"
              "made[0].fail_next = broken()")
    outcome = run(doors, "a = 1\nb = = 2", check=False)
    assert outcome.reply["ename"] == "SyntaxError"
    shown = outcome.traceback()
    assert shown.splitlines()[0].strip() == f"Cell In[{outcome.reply['execution_count']}], line 3"
    assert "b = = 2" in shown
    assert "cellferry" not in shown


def test_interrupt_is_the_remote_cells(doors):
    outcome = run(doors, "import time\nprint('going')\ntime.sleep(60)", when={"going": doors.interrupt}, check=False)
    assert outcome.reply["ename"] == "KeyboardInterrupt"
    assert "time.sleep(60)" in outcome.traceback()


def test_input_and_getpass(doors):
    outcome = run(doors, "import getpass\nprint(input('name? '), getpass.getpass('word? '))", answers=["Ada", "s3"])
    assert outcome.text() == "Ada s3\n"


def test_interrupt_while_asking(doors):
    outcome = run(doors, "input('sure? ')", when={"sure? ": doors.interrupt}, check=False)
    assert outcome.reply["ename"] == "KeyboardInterrupt"


def test_no_stdin_is_the_usual_error(doors):
    outcome = run(doors, "input()", allow_stdin=False, check=False)
    assert outcome.reply["ename"] == "StdinNotImplementedError"


def test_debug_goes_where_the_last_error_was(doors):
    run(doors, "def f(inner):\n    return 1 / inner\nf(0)", check=False)
    assert "0\n" in doors.run("%debug", answers=["p inner", "q"]).text()
    doors.run("def g(here):\n    return 1 / here\ng(0)", check=False)
    outcome = doors.run("%debug", answers=["p here", "q"])
    assert "0\n" in outcome.text()
    assert "ZeroDivisionError" not in outcome.text()


def test_history_has_the_cell_as_typed(doors):
    run(doors, "x = 1")
    assert doors.run("get_ipython().history_manager.input_hist_raw[-2]").data() == "'%%remote \\nx = 1'"


def test_loading_imports_only_the_door(new_notebook):
    notebook = new_notebook()
    notebook.run("%reload_ext IPython.extensions.autoreload\nimport sys; before = set(sys.modules)")
    notebook.run("%load_ext cellferry")
    loaded = set(eval(notebook.run("set(sys.modules) - before").data()))
    assert all(name.startswith("cellferry") for name in loaded)
    assert not {"cellferry.journey", "cellferry.capture"} & loaded
    watch = {"cellferry.parcels", *(f"cellferry.parcels.{name}" for name in ("import_watch", "own_code", "own_watch"))}
    assert {name for name in loaded if name.startswith("cellferry.parcels")} == watch  # what sees imports is there at once


def test_unload_gives_everything_back(fresh_doors):
    notebook = fresh_doors
    notebook.run("%%remote\nprint(1)")
    notebook.run("%%remote\n1 / 0", check=False)
    notebook.run("child = made[0].manager")
    notebook.run("%unload_ext cellferry")
    assert notebook.run("child.is_alive()").data() == "False"
    assert notebook.run("get_ipython().find_cell_magic('remote') is None").data() == "True"
    assert notebook.run("get_ipython().find_line_magic('debug').__self__.__class__.__name__").data() != "'RemoteMagics'"
    assert "cellferry" not in notebook.run("get_ipython().kernel.shell_handlers['comm_open'].__module__").data()


def test_what_was_left_is_offered_once_and_not_below_the_cell_that_brings_it_home(doors):
    doors.run("m = get_ipython()._cellferry\nm.offers += ['left: %remote attach aaa', 'left: %remote attach bbb']")
    silent = doors.run("%remote attach aaa", check=False)
    assert "left:" not in str(silent.messages)
    told = doors.run("1")
    assert "attach bbb" in str(told.messages) and "attach aaa" not in str(told.messages)
    assert "left:" not in str(doors.run("2").messages)


def test_what_a_thread_says_stands_under_the_cell_that_runs(doors):
    """The link's thread speaks for the worker. ipykernel 7.0 knows a cell's request in the cell's own thread only."""
    run(doors, "pass")
    doors.run("import threading\nfrom ipykernel.zmqshell import ZMQDisplayPublisher\nheaders = ZMQDisplayPublisher.parent_header\n"
              "def unless_elsewhere(self):\n"
              "    if threading.current_thread() is not threading.main_thread():\n        raise LookupError\n"
              "    return headers.__get__(self)\n"
              "ZMQDisplayPublisher.parent_header = property(unless_elsewhere, headers.fset)\n"
              "screen = get_ipython()._cellferry.screen\n"
              "speaker = threading.Thread(target=screen.note, args=('said by a thread',))\nspeaker.start()\nspeaker.join()\n"
              "ZMQDisplayPublisher.parent_header = headers")
    message = doors.until(lambda m: m["msg_type"] == "display_data" and "said by a thread" in str(m["content"]))
    assert message["parent_header"]["msg_type"] == "execute_request"

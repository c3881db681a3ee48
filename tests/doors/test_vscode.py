"""The messages of VS Code's notebooks, to a plain ipykernel and to kernel ``cellferry``, over TCP as it starts them.

What it sends was read in its source (microsoft/vscode-jupyter, ``src/kernels/execution``): a cell's request goes on after an
error, its ``cellId`` is an address with the notebook's path, and between the cells it runs code of its own silently.
"""

from __future__ import annotations

import contextlib
import queue
import time

import pytest
from jupyter_client.manager import KernelManager

PATIENCE_S = 120
CELL = "vscode-notebook-cell:/home/me/my%20notebooks/x.ipynb#W2sZmlsZQ%3D%3D"
WIDGETS = "jupyter.widget"
VIEW = "application/vnd.jupyter.widget-view+json"

pytestmark = pytest.mark.timeout(600)


class VSCode:
    """One notebook there: a kernel, and the requests that VS Code makes of it."""

    def __init__(self, kernel, folder):
        self.manager = KernelManager(kernel_name=kernel)
        self.manager.start_kernel(cwd=str(folder))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE_S)
        self.behind_the_scenes(f"__vsc_ipynb_file__ = {str(folder / 'x.ipynb')!r}")
        self.behind_the_scenes("import os as _VSCODE_os\ndel _VSCODE_os")

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=False)

    def cell(self, code, *, meta=None, answer=None, when=None, do=None):
        """Run a cell: (outputs, reply). ``answer`` goes to the one question; ``do`` is called when ``when`` is shown."""
        content = {"code": code, "silent": False, "stop_on_error": False, "allow_stdin": True, "store_history": True}
        return self._request("execute_request", content, {"cellId": CELL, **(meta or {})}, answer, when, do)

    def behind_the_scenes(self, code):
        """What it asks for its list of variables and the like: no cell, no history, nobody to answer."""
        content = {"code": code, "silent": True, "stop_on_error": False, "allow_stdin": False, "store_history": False}
        outputs, reply = self._request("execute_request", content)
        assert reply["status"] == "ok" and not outputs
        return reply

    def comm(self, kind, comm_id, data, **more):
        """A message of its widget manager; what came until the kernel was idle again."""
        return self._request(kind, {"comm_id": comm_id, "data": data, **more}, replies=False)[0]

    def _request(self, kind, content, metadata=None, answer=None, when=None, do=None, *, replies=True):
        message = self.client.session.msg(kind, content, metadata=metadata or {})
        self.client.shell_channel.send(message)
        outputs, deadline = [], time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if answer is not None:
                with contextlib.suppress(queue.Empty):
                    question = self.client.get_stdin_msg(timeout=0)
                    assert question["parent_header"]["msg_id"] == message["header"]["msg_id"]
                    self.client.input(answer)
                    answer = None
            try:
                found = self.client.get_iopub_msg(timeout=0.02)
            except queue.Empty:
                continue
            if found["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            if found["msg_type"] == "status":
                if found["content"]["execution_state"] == "idle":
                    return outputs, self._reply(message) if replies else None
            elif found["msg_type"] != "execute_input":
                outputs.append(found)
                if when is not None and when in str(found["content"]):
                    when = None
                    do()
        raise AssertionError(f"no end of {content}; so far {outputs}")

    def _reply(self, message):
        while True:
            reply = self.client.get_shell_msg(timeout=PATIENCE_S)
            if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return reply["content"]


@pytest.fixture(params=["python3", "cellferry"])
def code(request, tmp_path):
    made = VSCode(request.param, tmp_path)
    made.kind = request.param
    if request.param == "python3":
        made.cell("%load_ext cellferry")
    yield made
    made.close()


def text(outputs):
    return "".join(o["content"]["text"] for o in outputs if o["msg_type"] == "stream" and o["content"]["name"] == "stdout")


def values(outputs):
    return [o["content"]["data"]["text/plain"] for o in outputs if o["msg_type"] == "execute_result"]


def test_cells_questions_and_what_it_asks_in_between(code):
    outputs, first = code.cell("%%remote\nimport os\nshared = [1]\nprint('there')\nos.getpid()")
    assert first["status"] == "ok" and text(outputs) == "there\n"
    assert values(outputs) != [str(code.manager.provisioner.pid)]
    reply = code.behind_the_scenes("shared.append(2)")
    assert reply["execution_count"] == first["execution_count"], "no cell"
    outputs, reply = code.cell("shared")
    assert values(outputs) == ["[1, 2]"] and reply["execution_count"] == first["execution_count"] + 1
    outputs, _ = code.cell("%%remote\nname = input('who is there? ')\nprint('hello', name, shared)", answer="me")
    assert text(outputs).endswith("hello me [1, 2]\n")
    outputs, reply = code.cell("%%remote\nimport numpy\nlarge = numpy.zeros((3000, 4000))")
    assert "stays on worker" in str(outputs)
    code.behind_the_scenes("[name for name in dir() if not name.startswith('_')]")
    outputs, _ = code.cell("large")
    assert "array([[0., 0." in values(outputs)[0]


def test_an_error_and_an_interrupt_leave_the_notebook_usable(code):
    outputs, reply = code.cell("%%remote\nfine = 1\n1 / 0")
    assert reply["status"] == "error" and reply["ename"] == "ZeroDivisionError"
    assert [o["content"]["ename"] for o in outputs if o["msg_type"] == "error"] == ["ZeroDivisionError"]
    waiting = "%%remote\nimport threading\nprint('waits', flush=True)\nthreading.Event().wait()"
    _, reply = code.cell(waiting, when="waits", do=code.manager.interrupt_kernel)
    assert reply["ename"] == "KeyboardInterrupt"
    assert values(code.cell("%%remote\nfine + 1")[0]) == ["2"]


def test_widgets(code):
    outputs, _ = code.cell(
        "%%remote\nimport ipywidgets\nslider = ipywidgets.IntSlider(value=3)\n"
        "slider.observe(lambda change: print('moved to', change['new']), 'value')\ndisplay(slider)")
    opened = {o["content"]["comm_id"]: o for o in outputs if o["msg_type"] == "comm_open"}
    assert {o["content"]["target_name"] for o in opened.values()} == {WIDGETS}
    assert all(o["metadata"]["version"].startswith("2.") for o in opened.values()), "its manager asks for the protocol"
    (shown,) = [o["content"]["data"][VIEW] for o in outputs if VIEW in o["content"].get("data", {})]
    slider = shown["model_id"]
    assert slider in opened
    moved = code.comm("comm_msg", slider, {"method": "update", "state": {"value": 7}, "buffer_paths": []})
    assert "moved to 7" in str(moved)
    assert values(code.cell("%%remote\nslider.value")[0]) == ["7"]
    message = code.client.session.msg("comm_info_request", {"target_name": WIDGETS})
    code.client.shell_channel.send(message)
    assert slider in code._reply(message)["comms"]


def test_a_cell_that_its_own_metadata_sends_away(tmp_path):
    code = VSCode("cellferry", tmp_path)
    try:
        meta = {"vscode": {"languageId": "python"}, "cellferry": {"remote": "name=away"}}
        here = values(code.cell("import os\nos.getpid()")[0])
        there = values(code.cell("import os\nos.getpid()", meta=meta)[0])
        assert there and there != here
        assert values(code.cell("os.getpid()")[0]) == here
        assert "away" in str(code.cell("%remote status")[0])
    finally:
        code.close()

"""A notebook for tests: a real kernel, driven as a frontend drives it, with every message at hand."""

from __future__ import annotations

import contextlib
import queue
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager

HERE = Path(__file__).parent
ANSI = re.compile(r"\x1b\[[0-9;]*m")
PATIENCE_S = 60


def plain(text):
    """Text without terminal colours."""
    return ANSI.sub("", text)


@dataclass
class Outcome:
    """What one cell showed (iopub messages but status and execute_input, in order) and replied."""

    messages: list = field(default_factory=list)
    reply: dict = field(default_factory=dict)

    def kinds(self):
        """Message types in order, runs of stream messages as one."""
        found = []
        for message in self.messages:
            if not (found and message["msg_type"] == "stream" == found[-1]):
                found.append(message["msg_type"])
        return found

    def text(self, name="stdout"):
        """All text of one stream."""
        return "".join(m["content"]["text"] for m in self.messages
                       if m["msg_type"] == "stream" and m["content"]["name"] == name)

    def of(self, kind):
        """The contents of the messages of one type."""
        return [m["content"] for m in self.messages if m["msg_type"] == kind]

    def data(self, kind="execute_result", mime="text/plain"):
        """The shown representation of the only message of a type."""
        (content,) = self.of(kind)
        return content["data"][mime]

    def traceback(self):
        """The text of the only error message, without colours."""
        (content,) = self.of("error")
        return plain("\n".join(content["traceback"]))


class Notebook:
    """One kernel and its frontend."""

    def __init__(self, kernel_name="python3"):
        self.manager = KernelManager(kernel_name=kernel_name, transport="ipc")
        self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE_S)
        self.late = []
        """Every message that came, but the statuses of cells: outputs may belong to none that is running."""

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=False)

    def run(self, code, *, meta=None, answers=(), when=None, allow_stdin=True, check=True):
        """Run one cell. ``answers`` go to input requests; ``when``: {text: callable}, called when the text appears."""
        message_id = self.send(code, meta, allow_stdin)
        outcome, answers, when = Outcome(), list(answers), dict(when or {})
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert time.monotonic() < deadline, f"no idle for: {code}"
            self._answer(answers, when)
            message = self._next()
            if message is None:
                continue
            if message["parent_header"].get("msg_id") != message_id:
                self.late.append(message)
            elif message["msg_type"] == "status":
                if message["content"]["execution_state"] == "idle":
                    break
            elif message["msg_type"] != "execute_input":
                outcome.messages.append(message)
                self.late.append(message)
                for text in [t for t in when if t in str(message["content"])]:
                    when.pop(text)()
        outcome.reply = self.reply_to(message_id)
        if check:
            assert outcome.reply["status"] == "ok", plain("\n".join(outcome.reply.get("traceback", [])))
        return outcome

    def send(self, code, meta=None, allow_stdin=True):
        """Ask for a cell to be run; returns the request's id."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {},
                   "allow_stdin": allow_stdin, "stop_on_error": True}
        message = self.client.session.msg("execute_request", content, metadata={"cellId": "cell-1", **(meta or {})})
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def reply_to(self, message_id):
        """The reply to one request on the shell channel."""
        while True:
            message = self.client.get_shell_msg(timeout=PATIENCE_S)
            if message["parent_header"].get("msg_id") == message_id:
                return message["content"]

    def ask(self, kind, content):
        """Send a shell request of any kind; returns the iopub messages up to its idle."""
        message = self.client.session.msg(kind, content)
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"], self.until_idle(message["header"]["msg_id"])

    def until_idle(self, message_id):
        """All iopub messages of one request, up to its idle."""
        found = []
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE_S)
            if message["parent_header"].get("msg_id") != message_id:
                self.late.append(message)
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return found
            found.append(message)

    def until(self, wanted):
        """The first message, of those seen already or to come, for which ``wanted`` is true."""
        for message in self.late:
            if wanted(message):
                return message
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE_S)
            self.late.append(message)
            if wanted(message):
                return message

    def interrupt(self):
        """The interrupt button; from a thread of its own since it may be pressed while a message is handled."""
        threading.Thread(target=self.manager.interrupt_kernel).start()

    def _answer(self, answers, when):
        with contextlib.suppress(queue.Empty):
            question = self.client.get_stdin_msg(timeout=0)
            prompt = question["content"]["prompt"]
            if prompt in when:
                when.pop(prompt)()
            else:
                self.client.input(answers.pop(0))

    def _next(self):
        try:
            return self.client.get_iopub_msg(timeout=0.02)
        except queue.Empty:
            return None


@pytest.fixture
def new_notebook():
    """Makes kernels: ``new_notebook(kernel_name=...)``."""
    made = []

    def make(**options):
        made.append(Notebook(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def fresh_doors(new_notebook):
    """A plain ipykernel with the extension and the stand-in, for one test."""
    made = new_notebook()
    load_stand_in(made)
    return made


def load_stand_in(notebook):
    """Load the extension with a stand-in for the way to the workers; ``made[0]`` is it after the first cell."""
    notebook.run(f"import os, sys; sys.path.insert(0, {str(HERE)!r})\nimport stand_in\n"
                 f"os.environ['CELLFERRY_STATE_DIR'] = {str(HERE / 'no ledger')!r}\n"
                 "made = stand_in.install(get_ipython())")
    notebook.run("%load_ext cellferry")


@pytest.fixture(scope="module")
def module_notebook():
    """Makes kernels with the extension and the stand-in that live as long as their module's tests."""
    made = []

    def make(**options):
        made.append(Notebook(**options))
        load_stand_in(made[-1])
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def doors(module_notebook):
    """A plain ipykernel with the extension and the stand-in."""
    return module_notebook()


@pytest.fixture(scope="module")
def plain_notebook():
    """Makes kernels without anything loaded that live as long as their module's tests."""
    made = []

    def make(**options):
        made.append(Notebook(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()

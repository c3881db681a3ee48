"""A stand-in for ``journey.Session`` that runs cells in a second ipykernel, without moving any value.

It lets the doors be tested alone: the messages are those of a real kernel, the failures are made to order.
Used inside the kernel under test: ``from stand_in import install; install(get_ipython())``.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import queue
import subprocess
import threading
from types import SimpleNamespace

from jupyter_client.manager import KernelManager

from cellferry.capture.request import check_supported
from cellferry.journey import RemoteError
from cellferry.model import CellReport


class StandInSession:
    """Runs bodies in one child kernel; ``fail_next`` is raised by the next run instead."""

    def __init__(self, host):
        self.host = host
        self.manager = KernelManager(kernel_name="python3", transport="ipc")
        self.manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=30)
        self.waiting = {}
        self.replies = queue.Queue()
        self.failed_remotely = False
        self.cells = []
        self.fail_next = None
        self.placeholders = {}
        self.fetched = []
        self.fleet = SimpleNamespace(brought=set(), trouble="", purse=SimpleNamespace(behind=""))
        atexit.register(self.close)
        self.closed = False
        self.threads = [threading.Thread(target=loop, daemon=True) for loop in (self._iopub, self._shell)]
        for thread in self.threads:
            thread.start()

    def _send(self, kind, content, header, socket, **more):
        message = {"header": {**header, "msg_type": kind}, "parent_header": {}, "metadata": {}, "content": content}
        message.update(more)
        self.client.session.send(socket, message)

    def _iopub(self):
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=0.1)
            except queue.Empty:
                if self.closed:
                    return
                continue
            kind = message["msg_type"]
            if kind == "status":
                if message["content"]["execution_state"] == "idle":
                    done = self.waiting.pop(message["parent_header"].get("msg_id"), None)
                    if done:
                        done.set_result(None)
            elif kind not in ("execute_input", "error", "iopub_welcome"):
                if kind == "execute_result":
                    message["content"]["execution_count"] = self.cells[-1].number
                self.host.screen.publish(message)

    def _shell(self):
        while True:
            try:
                message = self.client.get_shell_msg(timeout=0.1)
            except queue.Empty:
                if self.closed:
                    return
                continue
            if message["msg_type"] == "execute_reply":
                self.replies.put(message)

    def run(self, request, cell):
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            raise error
        check_supported(request)
        self.cells.append(cell)
        screen = self.host.screen
        header = screen.parent().get("header") or self.client.session.msg_header("execute_request")
        idle = self._idle(header["msg_id"])
        content = {"code": cell.source, "silent": False, "store_history": True, "user_expressions": {},
                   "allow_stdin": screen.allow_stdin(), "stop_on_error": True}
        self._send("execute_request", content, header, self.client.shell_channel.socket)
        reply = self._wait(screen)
        idle.result(10)
        self.failed_remotely = reply["status"] == "error"
        if self.failed_remotely:
            raise RemoteError(reply["ename"], reply["evalue"], reply["traceback"])
        return CellReport(worker="stand-in", status="ok")

    def _wait(self, screen):
        while True:
            try:
                try:
                    return self.replies.get(timeout=0.02)["content"]
                except queue.Empty:
                    pass
                if self.client.stdin_channel.msg_ready():
                    asked = self.client.get_stdin_msg()["content"]
                    self.client.input(screen.ask(asked["prompt"], asked["password"]))
            except KeyboardInterrupt:
                self.manager.interrupt_kernel()

    def comm(self, message):
        done = self._idle(message["header"]["msg_id"])
        self._send(message["msg_type"], message["content"], message["header"], self.client.shell_channel.socket,
                   buffers=message["buffers"])
        return done

    def _idle(self, msg_id):
        return self.waiting.setdefault(msg_id, concurrent.futures.Future())

    def needs_fetch(self, source):
        return [name for name in self.placeholders if name in source]

    def fetch(self, names):
        for name in names:
            value = self.placeholders.pop(name)
            if isinstance(value, BaseException):
                raise value
            self.fetched.append(name)
            self.host.shell.user_ns[name] = value

    def status(self):
        return ()

    def down(self, name):
        return ["stand-in"]

    def interrupt(self):
        self.manager.interrupt_kernel()

    def close(self):
        if self.closed:
            return
        self.closed = True
        for thread in self.threads:
            thread.join()
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def install(shell):
    """Make ``%%remote`` of this shell use a stand-in, and give it back for the test to look at."""
    from cellferry.jupyter import magic

    made = []

    def open_session(_shell, host):
        made.append(StandInSession(host))
        return made[0]

    magic.open_session = open_session
    return made

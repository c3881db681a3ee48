"""A notebook in a real kernel that may be stopped or killed while a cell of it runs."""

from __future__ import annotations

import ast
import os
import queue
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.manager import KernelManager

READY_S = 90.0


@dataclass
class Shown:
    """What one cell has shown so far: its text with displays between, the error's name and text if it failed.

    ``died``: the kernel was gone before the cell had ended. ``hung``: the cell did not end in time.
    """

    text: str = ""
    error: tuple[str, str] | None = None
    died: bool = False
    hung: bool = False


@dataclass
class Notebook:
    """One kernel in ``folder``; ``run`` may be called from one thread alone."""

    folder: Path
    settings: Mapping[str, str]
    said: Callable[[str], None]
    _manager: Any = field(init=False)
    _client: Any = field(init=False)
    _killed: bool = False

    def __post_init__(self) -> None:
        self._manager = KernelManager(kernel_name="python3")
        self._manager.transport, self._manager.ip = "ipc", str(self.folder.parent / "kernel")
        environment = {**os.environ, "PYTHONHASHSEED": "0", **self.settings}
        self._manager.start_kernel(env=environment, cwd=str(self.folder))
        self._connect()

    def _connect(self) -> None:
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=READY_S)

    @property
    def pid(self) -> int:
        return int(self._manager.provisioner.pid)

    def kill(self) -> None:
        self._killed = True
        os.kill(self.pid, signal.SIGKILL)

    def sockets(self) -> set[str]:
        """The unix sockets by a path that the kernel listens on; they would stay behind if it were killed."""
        found = psutil.Process(self.pid).net_connections(kind="unix")
        return {connection.laddr for connection in found if connection.laddr and connection.laddr.startswith("/tmp/cft-")}

    def restart(self) -> None:
        """As the button does for a kernel that has died."""
        self._client.stop_channels()
        self._manager.restart_kernel(now=True)
        self._killed = False
        self._connect()

    def close(self) -> None:
        """End the kernel as closing the notebook does."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=False)
        self._manager.cleanup_resources()

    def run(self, code: str, seen: Callable[[str], None] = lambda _text: None, patience_s: float = 240.0) -> Shown:
        """Run a cell; ``seen`` is given all text so far whenever there is more of it."""
        shown = Shown()
        sent = self._client.execute(code)
        deadline = time.monotonic() + patience_s
        while True:
            try:
                message = self._client.get_iopub_msg(timeout=0.2)
            except queue.Empty:
                if not self._manager.is_alive():
                    shown.died = True
                    return shown
                if time.monotonic() > deadline:
                    shown.hung = True
                    return shown
                continue
            if message["parent_header"].get("msg_id") != sent:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                shown.died = self._killed  # the last that it said may arrive after its death
                return shown
            text = _text_of(kind, content)
            if kind == "error":
                shown.error = (content["ename"], content["evalue"])
            if text:
                self.said(f"{kind}: {text.rstrip()}")
            if text and kind != "update_display_data":
                shown.text += text
                seen(shown.text)

    def has(self, expression: str) -> Any:
        """The value of an expression, looked at silently: no hook of ours runs, and a placeholder stays one."""
        sent = self._client.execute("", silent=True, store_history=False, user_expressions={"v": f"repr({expression})"})
        while True:
            reply = self._client.get_shell_msg(timeout=READY_S)
            if reply["parent_header"].get("msg_id") == sent:
                break
        answer = reply["content"]["user_expressions"]["v"]
        if answer["status"] != "ok":
            return f"{answer['ename']}: {answer['evalue']}"
        return ast.literal_eval(answer["data"]["text/plain"])


def _text_of(kind: str, content: Mapping[str, Any]) -> str:
    if kind == "stream":
        return str(content["text"])
    if kind in ("display_data", "execute_result", "update_display_data"):
        return str(content["data"].get("text/plain", "")) + "\n"
    if kind == "error":
        return f"{content['ename']}: {content['evalue']}\n"
    return ""

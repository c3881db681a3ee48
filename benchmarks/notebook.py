"""A notebook kernel as a frontend sees it: started and driven through ``jupyter_client``."""

from __future__ import annotations

import ast
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

Message = dict[str, Any]
READY_TIMEOUT_S = 60.0


class CellFailed(Exception):
    """A cell ended with an error; the message is its traceback as text."""


class Notebook:
    """One ``python3`` kernel of this interpreter's environment and one client of it."""

    def __init__(self, environ: Mapping[str, str] | None = None, cwd: str | None = None) -> None:
        from jupyter_client.manager import KernelManager

        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(env=dict(os.environ if environ is None else environ), cwd=cwd)
        try:
            self._client = self._manager.blocking_client()
            self._client.start_channels()
            self._client.wait_for_ready(timeout=READY_TIMEOUT_S)
        except BaseException:
            self._manager.shutdown_kernel(now=True)
            raise

    @property
    def pid(self) -> int:
        """The kernel's process."""
        provisioner: Any = self._manager.provisioner
        return int(provisioner.pid)

    def run(
        self,
        source: str,
        expressions: Mapping[str, str] | None = None,
        seen: Callable[[Message], None] | None = None,
        timeout_s: float = 170.0,
    ) -> dict[str, str]:
        """Execute a cell: a round trip ends when the kernel is idle again and its reply is here.

        ``seen`` gets each message of the cell's output. Returns the expressions' texts. Raises CellFailed.
        """
        sent = self._client.execute(source, user_expressions=dict(expressions or {}), allow_stdin=False)
        end = time.monotonic() + timeout_s
        while True:
            message = self._client.get_iopub_msg(timeout=max(0.1, end - time.monotonic()))
            if message["parent_header"].get("msg_id") != sent:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            if seen is not None:
                seen(message)
        return self._reply(sent, max(0.1, end - time.monotonic()))

    def value(self, expression: str, before: str = "") -> Any:
        """The value of an expression (what JSON can say), evaluated in the kernel after the cell ``before``."""
        texts = self.run(
            f"import json as _bench_json\n{before}\n_bench_value = _bench_json.dumps({expression})",
            {"value": "_bench_value"},
        )
        return json.loads(ast.literal_eval(texts["value"]))

    def close(self) -> None:
        """End the kernel: politely first, since what it started ends with it."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=False)
        self._manager.cleanup_resources()

    def _reply(self, sent: str, timeout_s: float) -> dict[str, str]:
        while True:
            reply = self._client.get_shell_msg(timeout=timeout_s)
            if reply["parent_header"].get("msg_id") == sent:
                break
        content = reply["content"]
        if content["status"] != "ok":
            raise CellFailed("\n".join(content.get("traceback", [])) or content.get("evalue", content["status"]))
        texts = {}
        for name, shown in content.get("user_expressions", {}).items():
            if shown["status"] != "ok":
                raise CellFailed(f"{shown.get('ename')}: {shown.get('evalue')}")
            texts[name] = shown["data"]["text/plain"]
        return texts


class LineWatch:
    """Counts printed lines as a frontend sees them, and when the first one came."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self._parts: list[str] = []
        self.first_s: float | None = None

    def __call__(self, message: Message) -> None:
        if message["msg_type"] == "stream":
            if self.first_s is None:
                self.first_s = time.perf_counter() - self._begin
            self._parts.append(message["content"]["text"])

    def finish(self, count: int) -> dict[str, list[float]]:
        """Samples of a ``lines`` step. Raises unless lines 0 .. count-1 came, once and in order."""
        total_s = time.perf_counter() - self._begin
        lines = "".join(self._parts).splitlines()
        if lines != [str(number) for number in range(count)]:
            raise AssertionError(f"{len(lines)} lines arrived of {count}, or not in order")
        assert self.first_s is not None
        return {"total_s": [total_s], "first_s": [self.first_s]}


def printing_cell(count: int) -> str:
    """A cell that prints ``count`` numbered lines."""
    return f"for _i in range({count}): print(_i)"

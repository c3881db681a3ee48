"""A worker started from the sidebar, for a notebook.

On a machine that outlives processes it is started by a process of its own (``starting``), under the notebook's name, and left
for the notebook's kernel to adopt, as after ``cellferry up``. A worker on this machine belongs to its kernel (decision 002), so
the kernel starts it. Either can be cancelled as long as it is not there.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_core.utils import ensure_async

from cellferry.errors import CellferryError, RequestError
from cellferry.fleet.board import Board
from cellferry.fleet.states import DEFAULT_NAME, candidates
from cellferry.jupyter.live import Hub
from cellferry.jupyter.starting import heard, order_for
from cellferry.ledger import worker_from_record
from cellferry.model import CellRequest

REPLY_S = 600.0
MOST_LINE_BYTES = 1 << 20
LOAD = "__import__('cellferry').load_ipython_extension(get_ipython())"


class Launcher:
    """Starts workers for one server."""

    def __init__(self, hub: Hub, board: Board) -> None:
        self._hub, self._board = hub, board
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, words: str, notebook: str) -> str:
        """Begin to start the worker that these words ask for; its name. It goes on by itself, and the board tells.

        ``notebook``: its path below the server's root; "" for none. Raises RequestError.
        """
        request = await self._hub.in_thread(_read, words)
        if request.estimate or request.detach:
            raise RequestError("`estimate` and `detach` are for cells", "leave them out")
        if candidates(request, self._hub.watcher.config) == ("local",):
            return await self._in_kernel(request, words, notebook)
        places = await self._hub.places()
        path = str(Path(places.root) / notebook) if notebook else ""
        name = request.name or self._free_name(notebook)
        self._board.gone(name)  # what failed before under this name
        said = self._board.starting(name, request.line, lambda _line: None, path)
        self._go_on(self._started(name, words, path, said))
        return name

    async def cancel(self, name: str, pid: int) -> None:
        """Give up the start of a worker that is shown by the process ``pid``: ours, or a notebook's kernel, which is interrupted
        as by its stop button. The board tells when nothing is left of it. Raises RequestError where neither can be done."""
        starting = self._starting.get(name)
        if pid == os.getpid() and starting is not None:
            starting.send_signal(signal.SIGINT)
            return
        kernels, boards = self._hub.app.kernel_manager, await self._hub.in_thread(self._hub.watcher.boards)
        board = next((each for each in boards if each["pid"] == pid), None)
        if board is None or board.get("kernel_id") not in kernels.list_kernel_ids():
            raise RequestError(f"worker {name} is being started elsewhere", "interrupt the cell or the command that waits for it")
        await ensure_async(kernels.get_kernel(board["kernel_id"]).interrupt_kernel())

    async def _started(self, name: str, words: str, notebook: str, said: Callable[[str], None]) -> None:
        order = await self._hub.in_thread(order_for, self._hub.watcher.config, name, words, notebook)
        command = (sys.executable, "-P", "-m", "cellferry.jupyter.starting")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=MOST_LINE_BYTES)
        assert process.stdin is not None and process.stdout is not None
        self._starting[name] = process
        process.stdin.write(order)
        process.stdin.close()
        end: dict[str, Any] = {}
        try:
            async for line in process.stdout:
                told = heard(line)
                if "said" in told:
                    said(str(told["said"]))
                elif told:
                    end = told
            status = await process.wait()
        finally:
            del self._starting[name]
        if "worker" in end:
            self._board.started(worker_from_record(end["worker"]))
        elif "cancelled" in end or status == -signal.SIGINT:  # the latter while it was still importing
            self._board.gone(name)
        else:
            what = end.get("failed") or f"the process that was to start it ended with status {status}; the server's log may say why"
            self._board.failed(name, CellferryError(what, end.get("advice", "")))

    def _free_name(self, notebook: str) -> str:
        """What an unnamed cell of that notebook would look for; else the next."""
        rows = self._hub.workers()
        taken = {row["name"] for row in rows if row["notebook"] in (notebook, "") and row["state"] != "failed"}
        names = [DEFAULT_NAME, *(f"{DEFAULT_NAME}-{number}" for number in range(2, len(taken) + 3))]
        return next(name for name in names if name not in taken)

    async def _in_kernel(self, request: CellRequest, words: str, notebook: str) -> str:
        """Let the notebook's kernel start it, as ``%remote up`` typed there does."""
        places, kernels = await self._hub.places(), self._hub.app.kernel_manager
        kernel_id = next((kernel for kernel, path in places.kernels.items() if path == notebook and notebook), None)
        advice = f"type `%remote up {words}` in it".replace("  ", " ")
        if kernel_id is None:
            what = "a worker on this machine belongs to its notebook's kernel, and none is running"
            raise RequestError(what, f"open the notebook, or {advice}")
        if await self._language(kernel_id) != "python":
            raise RequestError("the notebook's kernel is no Python, so it has no workers", "choose the kernel Python 3 (cellferry)")
        line = f"up {shlex.join(shlex.split(words))}".strip()
        code = f"{LOAD}\nget_ipython().run_line_magic('remote', {line!r})"
        self._go_on(self._execute(kernels.get_kernel(kernel_id), code))
        return request.name or DEFAULT_NAME

    async def _language(self, kernel_id: str) -> str:
        kernels = self._hub.app.kernel_manager
        spec = await asyncio.to_thread(self._hub.app.kernel_spec_manager.get_kernel_spec, kernels.get_kernel(kernel_id).kernel_name)
        return str(spec.language).lower()

    async def _execute(self, kernel: Any, code: str) -> None:
        """Silently: nothing of it appears in the notebook, and its cells keep their numbers."""
        client = kernel.client()
        client.start_channels(iopub=False, stdin=False, hb=False, control=False)
        try:
            name = client.execute(code, silent=True, store_history=False, allow_stdin=False, stop_on_error=False)
            while True:
                reply = await client.get_shell_msg(timeout=REPLY_S)
                if reply["parent_header"].get("msg_id") == name:
                    break
            if reply["content"]["status"] != "ok":
                self._hub.app.log.warning("cellferry: %%remote up in the kernel failed: %s", reply["content"].get("evalue"))
        finally:
            client.stop_channels()

    def _go_on(self, work: Any) -> None:
        async def going() -> None:
            try:
                await work
            except Exception as error:  # the board tells the user; this is for whoever looks after the server
                self._hub.app.log.warning("cellferry: a worker was not started: %s: %s", type(error).__name__, error)
            self._hub.look_again()

        task = asyncio.create_task(going())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _read(words: str) -> CellRequest:
    from cellferry.journey import read_request  # and all below it: with the first that is started

    return read_request(words)

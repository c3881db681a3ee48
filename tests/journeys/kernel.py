"""Runs a list of steps in a real kernel, and after each looks at the namespace."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.util import run_sync

from .notebook import Step

PROBE = (Path(__file__).parent / "probe.py").read_text()
_LOAD = """(lambda m: (exec({source!r}, m.__dict__), __import__('sys').modules.__setitem__('equality_probe', m)))(
    __import__('types').ModuleType('equality_probe'))"""
_REPORT = "__import__('sys').modules['equality_probe'].report(get_ipython().user_ns, {path!r})"


@dataclass(frozen=True)
class Seen:
    """What one cell showed, and what the notebook's variables held after it."""

    step: Step
    number: int | None
    outputs: list[Any]
    namespace: dict[str, Any] = field(default_factory=dict)


class Kernel:
    """A kernel that runs cells as nbclient does, so outputs are those of a saved notebook."""

    def __init__(self, client: NotebookClient, folder: Path) -> None:
        self.client = client
        self._report = folder.parent / f"{folder.name}-namespace.json"

    def run(self, step: Step) -> Seen:
        """Run one cell to its end, an error included."""
        cell = nbformat.v4.new_code_cell(step.text)
        self.client.nb.cells.append(cell)
        self.client.execute_cell(cell, len(self.client.nb.cells) - 1)
        return Seen(step, cell.execution_count, list(cell.outputs))

    def quietly(self, code: str, *, silent: bool = True) -> dict[str, Any]:
        """Run something that is no cell of the notebook. A silent one fires no hooks: placeholders stay."""
        execute = run_sync(self.client.kc._async_execute_interactive)
        reply = execute(code, silent=silent, store_history=False, output_hook=lambda message: None, timeout=60)
        return dict(reply["content"])

    def namespace(self) -> dict[str, Any]:
        """Every variable's description, see ``probe.py``."""
        code = _REPORT.format(path=str(self._report))
        expressions = {"r": code}
        execute = run_sync(self.client.kc._async_execute_interactive)
        reply = execute("", silent=True, store_history=False, user_expressions=expressions, timeout=60)
        answer = reply["content"]["user_expressions"]["r"]
        assert answer["status"] == "ok", "\n".join(answer.get("traceback", [str(answer)]))
        return dict(json.loads(self._report.read_text()))


@contextmanager
def kernel(folder: Path, settings: Mapping[str, str] | None = None, name: str = "python3") -> Iterator[Kernel]:
    """A new kernel whose working directory is ``folder``, shut down at the end as nbclient does it."""
    client = NotebookClient(
        nbformat.v4.new_notebook(),
        timeout=120,
        kernel_name=name,
        allow_errors=True,
        resources={"metadata": {"path": str(folder)}},
    )
    manager = client.create_kernel_manager()
    manager.transport, manager.ip = "ipc", str(folder.parent / "kernel")
    manager.shutdown_wait_time = 30.0  # on a busy machine the end of its workers takes longer than Jupyter's five seconds
    environment = {**os.environ, "PYTHONHASHSEED": "0", **(settings or {})}
    with client.setup_kernel(env=environment):
        found = Kernel(client, folder)
        loaded = found.quietly(_LOAD.format(source=PROBE))
        assert loaded["status"] == "ok", loaded
        yield found


def run_all(steps: list[Step], folder: Path, settings: Mapping[str, str] | None = None) -> list[Seen]:
    """Run every step in a new kernel and look at the namespace after each; at the end call home what stayed away."""
    with kernel(folder, settings) as found:
        seen = []
        for step in steps:
            shown = found.run(step)
            seen.append(Seen(step, shown.number, shown.outputs, found.namespace()))
        away = [name for name, value in seen[-1].namespace.items() if "placeholder" in value and name.isidentifier()]
        for name in away:
            found.quietly(f"{name}\nNone", silent=False)
        if away:
            seen.append(Seen(Step("# called home", False), None, [], found.namespace()))
        return seen

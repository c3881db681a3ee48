"""Runs `first-cell.ipynb` in a real Jupyter kernel, without a browser, and tells what happened; `make demo` calls it.

    python examples/run_demo.py [NOTEBOOK]

The notebook runs in a folder of its own, so that nothing is left beside it. Ends with exit code 1 and the error of the
cell if one fails.
"""

from __future__ import annotations

import ast
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbclient.util import run_sync

HERE = Path(__file__).resolve().parent
WIDTH = 110
_REPORT = """__import__('json').dumps(
    (lambda m: m and m.last_report and __import__('dataclasses').asdict(m.last_report))(
        getattr(get_ipython(), '_cellferry', None)))"""
"""cellferry's own report of the last remote cell; evaluated silently, so that it is no cell of the notebook."""


@dataclass(frozen=True)
class Step:
    """One cell that ran. ``seconds``: as its user waits for it. ``report``: a CellReport's fields, of a remote cell."""

    number: int
    source: str
    seconds: float
    shown: list[str]
    report: dict[str, Any] | None

    @property
    def where(self) -> str:
        if self.report is None:
            return "here"
        return f"worker {self.report['worker']}" if self.report["run_s"] else "nowhere"

    @property
    def title(self) -> str:
        """The first line of the cell itself, often a comment."""
        lines = [line for line in self.source.splitlines() if line.strip() and not line.startswith("%%")]
        return lines[0].removeprefix("# ") if lines else self.source

    @property
    def came_back(self) -> str:
        """Names, files and sizes; a value changed in place came back without a name."""
        if self.report is None or not self.report["run_s"]:
            return ""
        home = [*self.report["came_home"], *(f"file {name}" for name in self.report["files"])]
        sent, received = (self.report[key] / 1024 for key in ("sent_bytes", "received_bytes"))
        return f"{', '.join(home) or 'changes in place'}  ({sent:.0f} KiB out, {received:.0f} KiB home)"


def run_cell(client: NotebookClient, index: int) -> Step:
    """Run one cell of the notebook; raises CellExecutionError, which carries the traceback, if it fails."""
    cell = client.nb.cells[index]
    started = time.perf_counter()
    client.execute_cell(cell, index)
    seconds = time.perf_counter() - started
    report = _report(client) if cell.source.startswith("%%remote") else None
    return Step(cell.execution_count, cell.source, seconds, _shown(cell.outputs), report)


def _report(client: NotebookClient) -> dict[str, Any] | None:
    execute = run_sync(client.kc._async_execute_interactive)
    reply = execute("", silent=True, store_history=False, user_expressions={"report": _REPORT})
    text = ast.literal_eval(reply["content"]["user_expressions"]["report"]["data"]["text/plain"])
    found: dict[str, Any] | None = json.loads(text)
    return found


def _shown(outputs: list[nbformat.NotebookNode]) -> list[str]:
    """A cell's outputs as lines of text; a picture is only named."""
    lines: list[str] = []
    for output in outputs:
        data = output.get("data", {})
        text = "[a picture]" if "image/png" in data else str(output.get("text") or data.get("text/plain", ""))
        lines += [line for line in text.splitlines() if line.strip()]
    return lines


def tell_step(step: Step) -> None:
    """One cell, as soon as it has ended."""
    print(f"\n[{step.number}] {step.where:<14} {step.seconds:6.2f} s   {step.title[: WIDTH - 30]}")
    for line in step.shown:
        print("      " + line[: WIDTH - 6])


def tell_all(steps: list[Step], kernel_s: float) -> None:
    """The whole run as a table, one line for each cell."""
    print(f"\n{'cell':>4}  {'ran':<15} {'seconds':>7}  {'what it does':<36}  came back\n{'-' * WIDTH}")
    print(f"{'':>4}  {'here':<15} {kernel_s:>7.2f}  (the start of this notebook's kernel)")
    for step in steps:
        line = f"{step.number:>4}  {step.where:<15} {step.seconds:>7.2f}  {step.title[:36]:<36}  {step.came_back}"
        print(line.rstrip())
    print("-" * WIDTH)


def run(path: Path) -> None:
    """Run every cell, show each as it ends, then the table."""
    nb = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="cellferry-demo-") as folder:
        client = NotebookClient(nb, timeout=300, resources={"metadata": {"path": folder}})
        manager = client.create_kernel_manager()
        manager.transport, manager.ip = "ipc", f"{folder}/kernel"  # no port of this machine is opened
        started = time.perf_counter()
        with client.setup_kernel():
            kernel_s = time.perf_counter() - started
            print(f"{path.name}, in the kernel {nb.metadata.kernelspec.name!r}")
            steps = []
            for index, cell in enumerate(nb.cells):
                if cell.cell_type == "code" and cell.source.strip():
                    steps.append(run_cell(client, index))
                    tell_step(steps[-1])
    tell_all(steps, kernel_s)


def _lab() -> str:
    beside = Path(sys.executable).with_name("jupyter-lab")
    return str(_shortest(beside)) if beside.exists() else shutil.which("jupyter-lab") or "jupyter lab"


def _shortest(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def main(path: Path) -> None:
    try:
        run(path)
    except CellExecutionError as error:
        sys.exit(f"{path.name}: a cell failed\n{error}")
    print(f"\nOpen it in JupyterLab:\n  {_lab()} {_shortest(path)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else HERE / "first-cell.ipynb")

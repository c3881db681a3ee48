"""``make demo``: run the first notebook in a real Jupyter kernel, without a browser, and tell what happened.

Prints each cell as it ends: where it ran, how long it took, what it showed and what came back.
"""

from __future__ import annotations

import ast
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import KernelManager

HERE = Path(__file__).resolve().parent
NOTEBOOK = HERE / "first-cell.ipynb"
CELL_TIMEOUT_S = 300
REPORT = (
    "__import__('json').dumps((lambda m: __import__('dataclasses').asdict(m.last_report) if m and m.last_report else None)"
    "(getattr(get_ipython(), '_cellferry', None)))"
)


@dataclass(frozen=True)
class Step:
    """One code cell that has run. ``seconds``: as the user waits for it."""

    title: str
    where: str
    seconds: float
    home: str


def title(source: str) -> str:
    """The first line of a cell that says what it does."""
    lines = [line for line in source.splitlines() if line.strip() and not line.startswith("%%")]
    return (lines[0] if lines else source)[:44]


def run_cell(client: Any, source: str) -> tuple[float, dict[str, Any] | None]:
    """Run one cell, showing its text output; returns seconds and cellferry's report of it, if it ran elsewhere."""
    shown: list[str] = []

    def output(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            shown.append(content["text"])
        elif message["msg_type"] in ("display_data", "execute_result"):
            kinds = content["data"]
            shown.append("[a picture]\n" if "image/png" in kinds else kinds.get("text/plain", "") + "\n")

    started = time.perf_counter()
    reply = client.execute_interactive(
        source, user_expressions={"report": REPORT}, output_hook=output, allow_stdin=False, timeout=CELL_TIMEOUT_S
    )
    seconds = time.perf_counter() - started
    print("".join("    | " + line + "\n" for line in "".join(shown).splitlines()), end="", flush=True)
    if reply["content"]["status"] != "ok":
        sys.exit("\n".join(reply["content"]["traceback"]))
    text = reply["content"]["user_expressions"]["report"]["data"]["text/plain"]
    return seconds, json.loads(ast.literal_eval(text)) if source.startswith("%%remote") else None


def step(source: str, seconds: float, report: dict[str, Any] | None) -> Step:
    """What the table says of a cell."""
    if report is None:
        return Step(title(source), "here", seconds, "")
    if not report["worker"] or "estimate" in source.splitlines()[0]:
        return Step(title(source), "nowhere (estimate)", seconds, "")
    home = ", ".join([*report["came_home"], *(f"file {name}" for name in report["files"])])
    sizes = f"{report['sent_bytes'] / 1024:.0f} KiB out, {report['received_bytes'] / 1024:.0f} KiB home"
    return Step(title(source), f"worker {report['worker']}", seconds, f"{home or 'changes in place'} ({sizes})")


def table(steps: list[Step]) -> str:
    """The steps in columns."""
    rows = [("cell", "ran", "seconds", "came back")]
    rows += [(s.title, s.where, f"{s.seconds:.2f}", s.home) for s in steps]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def main() -> None:
    """Run the notebook in a folder of its own, so that the demo leaves nothing behind."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    manager = KernelManager(kernel_name="python3", transport="ipc")
    steps: list[Step] = []
    with tempfile.TemporaryDirectory(prefix="cellferry-demo-") as folder:
        manager.connection_file = str(Path(folder) / "kernel.json")
        manager.ip = str(Path(folder) / "kernel-ipc")
        manager.start_kernel(cwd=folder)
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=60)
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    print(f"\n{cell.source.splitlines()[0]}", flush=True)
                    steps.append(step(cell.source, *run_cell(client, cell.source)))
        finally:
            client.stop_channels()
            manager.shutdown_kernel()
            manager.cleanup_resources()
    print(f"\n{table(steps)}\n\nSee it in JupyterLab:\n  {Path(sys.prefix).name}/bin/jupyter lab examples/{NOTEBOOK.name}")


if __name__ == "__main__":
    main()

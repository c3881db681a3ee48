"""``cellferry demo``: a tour of the simulated cloud in a terminal. Real cells on a real worker of this machine; the machines
and the dollars are simulated, the ledger is one of its own that is thrown away."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from typing import Any

CELLS = (
    (
        "What could be had, cheapest first (AWS's prices; the cloud is simulated)",
        "%remote offers gpu=a100 provider=demo",
    ),
    (
        "A cell on an A100, for one dollar at most. What is not to be had is told, and the next place is tried",
        "%%remote gpu=a100 provider=demo budget=1\n"
        "import math\n"
        "loss = [math.exp(-step / 10) for step in range(40)]\n"
        'print(f"40 steps, loss {loss[-1]:.3f}")',
    ),
    ("Its result is here", "len(loss), round(loss[-1], 3)"),
    ("What that came to, and what is still held for the worker", "%remote status"),
    (
        "A cell that does not end by itself, for 15 cents: its worker stops it, and would with this laptop switched off",
        "%%remote gpu=a100 provider=demo budget=0.15 name=forgotten\n"
        "import time\n"
        "steps = 0\n"
        "while True:\n"
        "    steps += 1\n"
        "    time.sleep(0.1)",
    ),
    ("What it had made came home", 'print(f"{steps} steps were done")'),
    ("End what runs, with the total", "%remote down --all"),
    ("The bill", "%remote cost --by worker"),
)


def tour(seed: int) -> int:
    """Play the cells; the exit status is 0 when each did what it should: one is stopped at its budget, none fails else."""
    from IPython.core.interactiveshell import InteractiveShell

    from cellferry.errors import BudgetSpent

    with tempfile.TemporaryDirectory(prefix="cellferry-demo-") as state:
        os.environ.update(CELLFERRY_STATE_DIR=state, CELLFERRY_DEMO_SEED=str(seed), CELLFERRY_BUDGET="5")
        shell = InteractiveShell.instance(colors="nocolor", history_load_length=0)
        shell.history_manager.enabled = False  # type: ignore[union-attr]
        shell.run_line_magic("load_ext", "cellferry")
        stopped = 0
        try:
            for title, source in CELLS:
                print(f"\n# {title}\n" + "\n".join(f">>> {line}" for line in source.splitlines()), flush=True)
                began = time.monotonic()
                outcome: Any = shell.run_cell(source, store_history=True)  # type: ignore[no-untyped-call, unused-ignore]
                print(f"    ({time.monotonic() - began:.1f} s)", flush=True)
                error = outcome.error_in_exec or outcome.error_before_exec
                stopped += isinstance(error, BudgetSpent)
                if error is not None and not isinstance(error, BudgetSpent):
                    return 1
        finally:
            shell.run_line_magic("remote", "down --all")
            shell.run_line_magic("unload_ext", "cellferry")
    return 0 if stopped == 1 else 1


if __name__ == "__main__":
    sys.exit(tour(int(sys.argv[1]) if len(sys.argv) > 1 else 7))

"""The notebook that is run: cells whose outputs and values are known, because they were run without any fault before."""

from __future__ import annotations

import re
from dataclasses import dataclass

TICKS = 10
PAUSE_S = 0.08
TOKEN = re.compile(r"(?:tick|figure|result) \d+\.\d+")
"""Each output of a cell that must be shown once, and in its place."""

SETUP = f"""import hashlib, time
import numpy as np
from pathlib import Path
pause = {PAUSE_S}
def seal(value):
    return hashlib.sha256(value.tobytes() if hasattr(value, "tobytes") else repr(value).encode()).hexdigest()[:12]
def show_tick(cell, number):
    print(f"tick {{cell}}.{{number}}", flush=True)
    time.sleep(pause)
base = np.arange(1 << 20, dtype=np.float64)
log, settings = ["begun"], {{"step": 1, "parts": [0.5]}}
"""
"""Runs in the notebook itself. The array is of 8 MiB."""


@dataclass(frozen=True)
class Part:
    """One remote cell: its code, what of it is compared, the error that it ends with."""

    code: str
    values: tuple[str, ...]
    error: str = ""


def _ticks(number: int, *body: str) -> str:
    lines = "".join(f"    {line}\n" for line in body)
    return f"for i in range({TICKS}):\n{lines}    show_tick({number}, i)\n"


_FIGURE = (
    "from IPython.display import display",
    'display({"image/png": "iVBORw0KGgo=", "text/plain": f"figure 2.{i}"}, raw=True)',
    "shown.append(i * i)",
)

PARTS = (
    Part(
        f"total = 0\n{_ticks(1, 'total += i')}log.append(total)\nsettings['step'] += 1\nprint('result 1.0')",
        ("total", "log", "settings"),
    ),
    Part(f"shown = []\n{_ticks(2, *_FIGURE)}'result 2.0'", ("shown",)),
    Part(f"{_ticks(3)}big = base * 2 + total\nbase[:3] = -1\n'result 3.0'", ("seal(big)", "seal(base)", "float(big[5])")),
    Part(
        f"{_ticks(4)}with open('made.txt', 'w') as file:\n    file.write('line\\n' * 1000 + str(sum(shown)))\n"
        "written = Path('made.txt').stat().st_size\n'result 4.0'",
        ("written", "seal(Path('made.txt').read_text())"),
    ),
    Part(f"log.append('failing')\n{_ticks(5)}raise ValueError('as it should')", ("log",), "ValueError"),
    Part(
        f"{_ticks(6, 'settings[i] = str(i)')}summary = {{'big': float(big.sum()), 'log': list(log), 'n': len(settings)}}\n"
        "settings['parts'].append(written)\n'result 6.0'",
        ("summary", "settings", "log", "seal(big)"),
    ),
)


def tokens(text: str) -> list[str]:
    """What was shown, in order."""
    return TOKEN.findall(text)

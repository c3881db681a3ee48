"""Holds two runs of one notebook against each other, cell by cell, and says where they differ.

A variable that stays different is told once, where that begins.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from .kernel import Seen
from .notebook import Step

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
_PROCESS = re.compile(r"\(pid=\d+\)")
_CELL_FILE = re.compile(r"(?:/[\w.-]+)*/ipykernel_\d+/\d+\.py")
_WARNED_AT = re.compile(rf"{_CELL_FILE.pattern}(?P<between>:|\", line )(?P<line>\d+)")
_NOTE = '<div style="opacity: 0.7; font-size: 90%">'
"""How a line that cellferry itself adds under a cell begins."""
_TIMES = re.compile(r"^(CPU times|Wall time|User|Sys): .*$", re.MULTILINE)
_FRAME = re.compile(r"Cell In\[(?P<cell>\d+)\], line (?P<line>\d+)")
_ARROW = re.compile(r"^-+>\s*(?P<line>\d+)\s?(?P<code>.*)$")

CONTEXT = 4
MAX_SHOWN = 60


def differences(expected: Sequence[Seen], got: Sequence[Seen]) -> str:
    """Empty if both runs are the same to their user; otherwise each cell that differs, what was expected and got."""
    there, here = _Lines(expected), _Lines(got)
    found = []
    told: set[str] = set()
    for want, have in zip(expected, got, strict=False):
        problems = _unlike("outputs", _outputs(want, there), _outputs(have, here))
        if want.number != have.number:
            problems.append(f"execution count: expected {want.number}, got {have.number}")
        problems += [text for text in _namespaces(want.namespace, have.namespace) if text not in told]
        told.update(problems)
        if problems:
            source = "\n".join(f"    | {line}" for line in have.step.text.splitlines())
            found.append("\n".join([f"cell {have.number}:", source, *problems]))
    last = got[-1]
    if len(got) > len(expected):
        problems = _namespaces(expected[-1].namespace, last.namespace)
        if problems:
            found.append("\n".join(["after calling home what had stayed on the worker:", *problems]))
    return "\n\n".join(found)


class _Lines:
    """Line numbers of a run's cells, counted without the lines above their source."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        self._offset = {item.number: item.step.offset for item in seen if item.number is not None}

    def source_line(self, cell: int, line: int) -> int:
        return line - self._offset.get(cell, 0)


def _outputs(seen: Seen, lines: _Lines) -> list[Any]:
    """What a cell showed: neighbouring streams joined, standard error apart (its place among the others is by chance),
    cellferry's own lines left out."""
    shown: list[Any] = []
    errors = ""
    for output in seen.outputs:
        kind = output["output_type"]
        if kind == "stream":
            text = _plain(output["text"], seen.step)
            if output["name"] == "stderr":
                errors += text
            elif shown and shown[-1][0] == "stdout":
                shown[-1][1] += text
            else:
                shown.append(["stdout", text])
        elif kind == "error":
            shown.append(["error", output["ename"], _ADDRESS.sub("0x", output["evalue"]), _frames(output, lines)])
        elif not output["data"].get("text/html", "").startswith(_NOTE):
            number = output.get("execution_count")
            shown.append([kind, number, {mime: _data(mime, data) for mime, data in sorted(output["data"].items())}])
    return shown + ([["stderr", errors]] if errors else [])


def _plain(text: str, step: Step) -> str:
    def at_line(found: re.Match[str]) -> str:
        return f"<cell>{found['between']}{int(found['line']) - step.offset}"

    text = _PROCESS.sub("(pid)", text)
    return _TIMES.sub(r"\1: ...", _ADDRESS.sub("0x", _CELL_FILE.sub("<cell>", _WARNED_AT.sub(at_line, text))))


def _data(mime: str, data: Any) -> Any:
    if mime.startswith("image/") and isinstance(data, str) and len(data) > 500:
        return f"{len(data)} characters, {hashlib.sha256(data.encode()).hexdigest()[:12]}"
    return _ADDRESS.sub("0x", data) if isinstance(data, str) else data


def _frames(output: Any, lines: _Lines) -> list[str]:
    """The notebook's own frames of a traceback, with the line that each stands at."""
    found: list[str] = []
    cell = None
    for line in _ANSI.sub("", "\n".join(output["traceback"])).splitlines():
        frame, arrow = _FRAME.search(line), _ARROW.match(line)
        if frame:
            cell = int(frame["cell"])
            found.append(f"cell {cell} line {lines.source_line(cell, int(frame['line']))}")
        elif line.startswith("File "):
            cell = None
        elif arrow and cell is not None:
            found.append(f"  {lines.source_line(cell, int(arrow['line']))}: {arrow['code'].strip()}")
    return found


def _namespaces(expected: dict[str, Any], got: dict[str, Any]) -> list[str]:
    problems = []
    for name in sorted(expected.keys() | got.keys()):
        if name not in got:
            problems.append(f"  {name}: is not there, expected {_short(expected[name])}")
        elif name not in expected:
            problems.append(f"  {name}: should not be there, is {_short(got[name])}")
        elif not _alike(expected[name], got[name]):
            problems += ["\n".join(_unlike(name, expected[name], got[name]))]
    return problems


def _alike(expected: Any, got: Any) -> bool:
    """Equal, a placeholder anywhere inside counting as equal to a value of the type that it stands for."""
    if isinstance(got, dict) and "placeholder" in got:
        return isinstance(expected, dict) and expected.get("type") == got["placeholder"]
    if isinstance(expected, dict) and isinstance(got, dict):
        return expected.keys() == got.keys() and all(_alike(expected[key], got[key]) for key in expected)
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(map(_alike, expected, got))
    return bool(expected == got)


def _unlike(what: str, expected: Any, got: Any) -> list[str]:
    if expected == got:
        return []
    before, after = (json.dumps(value, indent=1, sort_keys=True).splitlines() for value in (expected, got))
    start = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    before, after = (lines[max(0, start - CONTEXT) : start + MAX_SHOWN] for lines in (before, after))
    changed = list(difflib.unified_diff(before, after, "expected", "got", lineterm="", n=CONTEXT))
    return [f"  {what}: (line {start} of its description)", *(f"    {line[:300]}" for line in changed[:MAX_SHOWN])]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:200] + "..."

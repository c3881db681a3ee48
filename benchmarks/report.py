"""The run as text and as JSON: medians, p95, ratios, targets, verdicts."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows import Row
from benchmarks.runner import RowResult
from benchmarks.stats import median, percentile_95
from benchmarks.targets import MIB, Verdict

PACKAGES = (
    "cellferry", "ipykernel", "jupyter_client", "ipyparallel", "ray", "distributed", "uvloop", "numpy", "xxhash",
)


def _amount(value: float, metric: str) -> str:
    if metric.split("@")[0].endswith("_b"):
        return f"{value / MIB:.1f} MiB"
    if metric.endswith("_per_s"):
        return f"{value:.0f} /s"
    if value < 1e-3:
        return f"{value * 1e6:.0f} us"
    return f"{value * 1e3:.2f} ms" if value < 1 else f"{value:.3f} s"


def _payload_of(row: Row, metric: str) -> int:
    """Bytes that a timed metric moves; 0 where a speed says nothing."""
    name, _, label = metric.partition("@")
    if name.removesuffix("_s").split("_")[0] not in ("out", "home") or not name.endswith("_s"):
        return 0
    return next((step.payload_bytes for step in row.steps if step.label == label), 0)


def _metric_lines(result: RowResult) -> list[str]:
    lines = []
    for contender in result.row.contenders:
        for metric, values in result.samples.get(contender, {}).items():
            middle = median(values)
            size = _payload_of(result.row, metric)
            speed = f"{size / middle / 1e6:9.0f} MB/s" if size and middle > 0 else ""
            shown = f"{_amount(middle, metric):>12} {_amount(percentile_95(values), metric):>12}"
            lines.append(f"  {contender:18} {metric:22} {shown} {len(values):>5}  {speed}".rstrip())
    return lines


def _verdict_line(verdict: Verdict) -> str:
    target = verdict.target
    figure = "-" if verdict.figure is None else f"{verdict.figure:.2f} {target.unit}"
    limit = "" if target.limit is None else f"{target.sense} {target.limit:g}"
    return f"  {verdict.word:>12}  {figure:>14}  {limit:>9}  {target.label}"


def row_text(result: RowResult) -> str:
    """One row's figures as a block of lines."""
    lines = [f"  {'contender':18} {'metric':22} {'median':>12} {'p95':>12} {'n':>5}"]
    lines += _metric_lines(result)
    lines += [f"  note: {note}" for note in result.notes]
    for name, message in result.failures.items():
        lines.append(f"  FAILED {name}: " + message.replace("\n", "\n    "))
    lines += [_verdict_line(verdict) for verdict in result.verdicts()]
    return "\n".join(lines)


def summary(results: Sequence[RowResult]) -> str:
    """How many targets are met."""
    words = [verdict.word for result in results for verdict in result.verdicts()]
    failed = sum(len(result.failures) for result in results)
    counts = ", ".join(f"{words.count(word)} {word}" for word in ("pass", "MISS", "not measured"))
    return f"\ntargets: {counts}; contenders that failed: {failed}"


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version(),
        "load_1min": os.getloadavg()[0],
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def machine_text(facts: dict[str, Any]) -> str:
    """The machine in two lines."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    return (
        f"{facts['cores']} cores {facts['cpu']}, Linux {facts['kernel']}, Python {facts['python']}, "
        f"load {facts['load_1min']:.2f}\n{versions}"
    )


def as_json(results: Sequence[RowResult], facts: dict[str, Any], quick: bool) -> dict[str, Any]:
    """Everything, with every sample."""
    return {"machine": facts, "quick": quick, "rows": [_row_json(result) for result in results]}


def _row_json(result: RowResult) -> dict[str, Any]:
    return {
        "name": result.row.name, "what": result.row.what, "notes": result.notes, "failures": result.failures,
        "contenders": {
            name: {
                metric: {"median": median(values), "p95": percentile_95(values), "samples": values}
                for metric, values in metrics.items()
            }
            for name, metrics in result.samples.items()
        },
        "targets": [
            {
                "label": verdict.target.label, "figure": verdict.figure, "unit": verdict.target.unit,
                "sense": verdict.target.sense, "limit": verdict.target.limit, "verdict": verdict.word,
            }
            for verdict in result.verdicts()
        ],
    }

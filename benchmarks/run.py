"""The run itself, inside the benchmarks' environment: ``python -m benchmarks.run``."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from benchmarks import leaks, report
from benchmarks.contender import CONTENDERS
from benchmarks.pool import Pool
from benchmarks.rows import ROWS, Row
from benchmarks.runner import RowResult, Runner

PATIENCE_S = 20.0


def _names(text: str, known: Sequence[str], what: str) -> list[str]:
    chosen = [name for name in text.split(",") if name]
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"no {what} {', '.join(unknown)}; there are: {', '.join(known)}")
    return chosen


def _arguments() -> argparse.Namespace:
    row_names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="cellferry and its peers, in turn.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, nothing over 1 GiB: about five minutes")
    parser.add_argument(
        "--rows", type=lambda text: _names(text, row_names, "row"), default=row_names,
        help="only these, comma-separated: " + ", ".join(row_names),
    )
    parser.add_argument(
        "--without", type=lambda text: _names(text, list(CONTENDERS), "contender"), default=[],
        help="leave these contenders out, comma-separated: " + ", ".join(CONTENDERS),
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    parser.add_argument("--keep", action="store_true", help="keep the run's folder with the contenders' logs")
    return parser.parse_args()


def _environ(folder: Path, run_id: str) -> dict[str, str]:
    """A clean home and temporary folder for everything that is started, so that nobody's settings count."""
    kept = {
        name: value for name, value in os.environ.items()
        if not name.startswith(("CELLFERRY_", "JUPYTER", "IPYTHON", "RAY_", "DASK_", "XDG_", "PYTHON"))
    }
    home = folder / "home"
    home.mkdir()
    return kept | {"HOME": str(home), "TMPDIR": str(folder), leaks.MARK: run_id}


def _tell(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def _run(rows: Sequence[Row], arguments: argparse.Namespace, folder: Path, run_id: str) -> list[RowResult]:
    """The rows that were finished; all of them unless the user interrupts."""
    results: list[RowResult] = []

    def finished(result: RowResult) -> None:
        results.append(result)
        print(report.row_text(result) + "\n", flush=True)

    pool = Pool(folder, _environ(folder, run_id))
    try:
        Runner(pool, arguments.quick, _tell, finished, arguments.without).run(rows)
    except KeyboardInterrupt:
        _tell("interrupted; ending what was started")
    finally:
        pool.close()
    return results


def main() -> int:
    """Run, report, check that everything ended. 0: all was measured (targets may be missed); 1: it was not."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended politely, it must end what it started as well
    rows = [row for row in ROWS if row.name in arguments.rows]
    facts = report.machine()
    print(report.machine_text(facts), flush=True)
    run_id = uuid.uuid4().hex
    folder = Path(tempfile.mkdtemp(prefix="cfb-"))
    try:
        results = _run(rows, arguments, folder, run_id)
    finally:
        left = leaks.still_running(run_id, PATIENCE_S)
        leaks.end_by_force(left)
        if arguments.keep:
            print(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(report.summary(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(report.as_json(results, facts, arguments.quick), indent=1))
    for pid, command in left.items():
        print(f"LEFT RUNNING and killed: {pid} {command}")
    print("every process that was started has ended" if not left else f"{len(left)} processes were left over")
    incomplete = len(results) < len(rows) or any(result.failures for result in results)
    return 1 if left or incomplete else 0


if __name__ == "__main__":
    sys.exit(main())

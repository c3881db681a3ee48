"""The door for a terminal: ``cellferry status``, ``down``, ``doctor``; everything also with ``--json``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from cellferry import __version__
from cellferry.errors import CellferryError, NotYet

LATER = {
    "demo": "in a checkout, `make demo` runs examples/first-cell.ipynb",
    "offers": "until then only the local worker can be used",
    "up": "a `%%remote` cell starts its worker by itself",
    "reap": "a local worker ends itself; see those that run with `cellferry status`",
    "cost": "the local worker costs nothing",
    "budget": "the local worker costs nothing",
    "aws-policy": "until then only the local worker can be used",
}
"""Commands that the design promises and this release lacks, and what to do instead."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 when all is well, 1 for an error, 2 for words that were not understood."""
    words = _parser().parse_args(argv)
    try:
        run: Callable[[argparse.Namespace], int] = words.run
        return run(words)
    except CellferryError as error:
        if words.json:
            print(json.dumps({"error": type(error).__name__, "what": error.what, "advice": error.advice}))
        else:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "cellferry", description="Workers for %%remote cells: see them, end them, check them."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        command.set_defaults(run=run, command=name)
        return command

    add("status", _status, "your workers, whichever notebook started them")
    down = add("down", _down, "end a worker, or all of yours")
    down.add_argument("name", nargs="?", metavar="NAME")
    down.add_argument("--all", action="store_true", help="end all of your workers")
    add("doctor", _doctor, "check what a worker on this machine needs, by starting one")
    for name in LATER:
        add(name, _later, "not there yet").add_argument("words", nargs="*")
    return parser


def _status(words: argparse.Namespace) -> int:
    with _Fleet() as fleet:
        rows = fleet.status(everyone=True)
    if words.json:
        print(json.dumps([asdict(row) for row in rows]))
    elif not rows:
        print("no worker is running")
    else:
        head = ["NAME", "PROVIDER", "STATE", "PID", "CLIENTS", "CELL", "ENDS IN"]
        cell = {None: "?", True: "running", False: "-"}
        _table(
            [head, *([r.name, r.provider, r.state, r.pid, r.links, cell[r.busy], _seconds(r.ends_in_s)] for r in rows)]
        )
    return 0


def _down(words: argparse.Namespace) -> int:
    if bool(words.name) == words.all:
        raise CellferryError("say which worker to end", "cellferry down NAME - or: cellferry down --all")
    with _Fleet() as fleet:
        ended = fleet.down(words.name, everyone=True)
    print(json.dumps(ended) if words.json else "\n".join(f"ended: {name}" for name in ended) or "no worker is running")
    return 0


def _doctor(words: argparse.Namespace) -> int:
    from cellferry.config import load
    from cellferry.fleet.doctor import examine
    from cellferry.model import Check

    found: list[Check] = []
    for check in examine(load()):
        found.append(check)
        if not words.json:
            print(f"{'ok ' if check.ok else 'BAD'}  {check.name}: {check.found}", flush=True)
            if not check.ok and check.advice:
                print(f"       -> {check.advice}", flush=True)
    if words.json:
        print(json.dumps([asdict(check) for check in found]))
    return 0 if all(check.ok for check in found) else 1


def _later(words: argparse.Namespace) -> int:
    raise NotYet(f"`cellferry {words.command}` is not there yet", LATER[words.command])


class _Fleet:
    """A fleet for one command: it has no workers of its own."""

    def __enter__(self) -> Any:
        from cellferry.config import load
        from cellferry.fleet.fleet import Fleet

        self._fleet = Fleet(load())
        return self._fleet

    def __exit__(self, *_exc: object) -> None:
        self._fleet.close()


def _table(rows: Sequence[Sequence[object]]) -> None:
    texts = [["-" if value is None else str(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} s"


if __name__ == "__main__":
    sys.exit(main())

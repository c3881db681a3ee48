"""The door for a terminal: the magic's own words, ``cellferry offers gpu=a100``; everything also with ``--json``."""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import Any

from cellferry import __version__
from cellferry.config import Cellferry, person_of
from cellferry.errors import CellferryError, RequestError
from cellferry.model import CellRequest

BY = ("notebook", "worker", "day", "person", "cell")
PERIODS = ("notebook", "day", "month", "person")


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
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "cellferry", description="Workers for %%remote cells: find, start, see, pay and end them."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        command.set_defaults(run=run, command=name)
        return command

    add("status", _status, "your workers, whichever notebook started them")
    offers = add("offers", _offers, "what could be had, at which price")
    offers.add_argument("--refresh", action="store_true", help="ask the providers for live prices first")
    up = add("up", _up, "start a worker; cells and other commands find it by its name")
    for command in (offers, up):
        command.add_argument("words", nargs="*", metavar="WORD", help="as after %%%%remote: gpu=a100 budget=5")
    down = add("down", _down, "end a worker, or all of yours")
    down.add_argument("name", nargs="?", metavar="NAME")
    down.add_argument("--all", action="store_true", help="end all of your workers")
    add("runs", _runs, "cells that run, wait, or were left; a notebook brings them home with `%%remote attach RUN`").add_argument(
        "--all", action="store_true", help="also the last ones that were brought home"
    )
    add("logs", _logs, "the text that a run has written so far").add_argument("which", metavar="RUN")
    add("interrupt", _interrupt, "interrupt a run, as the stop button does").add_argument("which", metavar="RUN")
    add("reap", _reap, "end machines that nobody owns, and settle the money of those that are gone")
    cost = add("cost", _cost, "what was spent")
    cost.add_argument("--by", choices=BY, default="notebook")
    cost.add_argument("--csv", action="store_true", help="print it as CSV, amounts in micro-dollars")
    cost.add_argument("--everybody", action="store_true", help="everybody's in a shared ledger")
    budget = add("budget", _budget, "show the limits, or set one")
    budget.add_argument("amount", nargs="?", metavar="USD")
    budget.add_argument("--per", choices=PERIODS, default="day")
    budget.add_argument("--notebook", default="", help="whose limit it is, with --per notebook: its path")
    budget.add_argument("--person", default="", help="whose limit in a month it is, with --per person, in a shared ledger")
    quota = add("quota", _quota, "what your accounts may have; `quota request CODE` asks for more")
    quota.add_argument("words", nargs="*", metavar="WORD", help="`request CODE`, or as after %%%%remote: provider=aws")
    quota.add_argument("--region", default="")
    quota.add_argument("--value", type=int, default=0, help="how much to ask for")
    policy = add("aws-policy", _aws_policy, "the least IAM policy that provider aws needs")
    policy.add_argument("regions", nargs="*", metavar="REGION")
    policy.add_argument("--person", default="", help="whose machines it is for; you, if nobody is named")
    add("doctor", _doctor, "check what workers need, here and at the providers that are set up")
    demo = add("demo", _demo, "a tour on the simulated cloud: offers, failover, a run, its cost, a budget that holds")
    demo.add_argument("--seed", type=int, default=7)
    return parser


def _status(words: argparse.Namespace) -> int:
    with _open() as (fleet, _config):
        rows = fleet.status(everyone=True)
        if fleet.trouble:
            print(f"workers that only the ledger knows are not seen: {fleet.trouble}", file=sys.stderr)
    heads = ["NAME", "PROVIDER", "STATE", "PID", "CLIENTS", "CELL", "ENDS IN", "MACHINE", "SPENT", "AT MOST"]
    cell = {None: "?", True: "running", False: "-"}
    _show(words, rows, heads, lambda r: [
        r.name, _seller(r.provider), r.state, r.pid, r.links, cell[r.busy], _seconds(r.ends_in_s), r.machine or "-",
        *((_usd(r.spent_microusd), _usd(r.reserved_microusd)) if r.machine else ("-", "-")),
    ], "no worker is running")  # fmt: skip
    return 0


def _offers(words: argparse.Namespace) -> int:
    from cellferry.fleet import shopping
    from cellferry.placement.table import as_text

    with _open() as (fleet, config):
        request = _request(words.words, "offers")
        if words.refresh:
            shopping.refresh(fleet, request, config, lambda line: print(line, file=sys.stderr, flush=True))
        rows = (*shopping.offers(fleet, request, config), *shopping.elsewhere(request, config))
    print(json.dumps([asdict(row) for row in rows]) if words.json else as_text(rows))
    return 0


def _up(words: argparse.Namespace) -> int:
    with _open() as (fleet, config):
        request = _request(words.words, "up")
        from cellferry.fleet.states import candidates

        if candidates(request, config) == ("local",):
            raise RequestError(
                "a worker on this machine belongs to the notebook that uses it, and would end with this command",
                "name another provider, for example: cellferry up provider=demo gpu=a100 budget=5",
            )
        worker, _ = fleet.acquire(request, lambda line: print(line, file=sys.stderr, flush=True))
        row = next(r for r in fleet.status() if r.id == worker.id)
    if words.json:
        print(json.dumps(asdict(row)))
    else:
        print(f"{row.name}: {_seller(row.provider)}, {row.machine}, {_usd(row.microusd_per_hour)}/h, at most {_usd(row.reserved_microusd)}")
        print(f"use it from any notebook with `%%remote provider={row.provider} name={row.name}`; end it with `cellferry down {row.name}`")
    return 0


def _down(words: argparse.Namespace) -> int:
    if bool(words.name) == words.all:
        raise CellferryError("say which worker to end", "cellferry down NAME - or: cellferry down --all")
    with _open() as (fleet, _config):
        ended = fleet.down(words.name, everyone=True)
    if words.json:
        print(json.dumps([asdict(each) for each in ended]))
        return 0
    for each in ended:
        total = f" ({_seller(each.provider)}), {_usd(each.spent_microusd)} in all" if each.reserved_microusd else ""
        print(f"ended: {each.name}{total}")
        for lost in each.dropped:
            print(f"  dropped with it: {lost}")
    if not ended:
        print("no worker is running")
    return 0


def _runs(words: argparse.Namespace) -> int:
    from cellferry.fleet.bill import note_runs
    from cellferry.runs import known_runs

    with _open() as (fleet, config):
        found = known_runs(fleet, config, lambda line: print(line, file=sys.stderr, flush=True))
        note_runs(fleet, found)
    rows = [row for row in found if words.all or row.going_on or row.unclaimed]
    if words.json:
        print(json.dumps([{**asdict(row), "worker": row.worker.name} for row in rows], default=str))
        return 0
    _show(words, rows, ["RUN", "WORKER", "CELL", "NOTEBOOK", "STATE", "NOBODY WAITS"],
          lambda r: [r.run, r.worker.name, f"In [{r.number}]" if r.number else "-", r.notebook or "-", r.status,
                     "yes" if r.unclaimed else "-"],
          "no cell runs, waits or was left")  # fmt: skip
    return 0


def _logs(words: argparse.Namespace) -> int:
    from cellferry.fleet.runs import find_run
    from cellferry.runs import written

    with _open() as (fleet, _config):
        text = written(fleet, find_run(fleet, words.which, ""))
    print(json.dumps({"text": text}) if words.json else text, end="" if text.endswith("\n") and not words.json else "\n")
    return 0


def _interrupt(words: argparse.Namespace) -> int:
    from cellferry.fleet.runs import find_run
    from cellferry.runs import interrupt

    with _open() as (fleet, _config):
        row = find_run(fleet, words.which, "")
        if row.going_on:
            interrupt(row)
    _show(words, [], [], lambda _row: [], f"run {row.run} " + ("is interrupted" if row.going_on else f"has ended: {row.status}"))
    return 0


def _reap(words: argparse.Namespace) -> int:
    with _open() as (fleet, _config):
        done = fleet.reap()
    _show(words, done, ["WHAT", "PROVIDER", "WORKER", "WHY", "CAME TO"],
          lambda r: [r.what, _seller(r.provider), r.name or "-", r.why, _usd(r.microusd) if r.microusd else "-"],
          "nothing to end: every machine is paid for by somebody")  # fmt: skip
    return 1 if any(each.what == "unknown" for each in done) else 0


def _cost(words: argparse.Namespace) -> int:
    with _open() as (fleet, _config):
        rows = fleet.purse.costs(words.by, everybody=words.everybody) if fleet.purse.kept else []
        if fleet.purse.kept and fleet.purse.behind:
            print(f"not everything is in the ledger yet, it is noted as soon as it can be: {fleet.purse.behind}", file=sys.stderr)
    if words.csv:
        table = csv.writer(sys.stdout)
        table.writerow([words.by, "machine_microusd", "estimated_microusd", "seconds", "cells"])
        table.writerows([r.key, r.machine_microusd, r.estimated_microusd, f"{r.seconds:.1f}", r.runs] for r in rows)
        return 0
    _show(words, rows, [words.by.upper(), "MACHINES", "DISK, TRAFFIC (ESTIMATED)", "HOURS", "CELLS"],
          lambda r: [r.key or "-", _usd(r.machine_microusd), _usd(r.estimated_microusd), f"{r.seconds / 3600:.2f}", r.runs],
          "nothing was spent")  # fmt: skip
    return 0


def _budget(words: argparse.Namespace) -> int:
    from cellferry.journey import parse_command

    notebook = words.notebook
    if words.amount is not None and words.per == "notebook" and not notebook:
        raise RequestError("say whose limit it is", "cellferry budget 20 --per notebook --notebook work/train.ipynb")
    if words.amount is not None and words.per == "person" and not words.person:
        raise RequestError("say whose limit it is", "cellferry budget 500 --per person --person ana")
    with _open(notebook) as (fleet, _config):
        from cellferry.fleet import shopping

        if words.amount is not None:
            amount = parse_command(shlex.join(["budget", words.amount])).amount_microusd
            fleet.purse.set_limit(words.per, amount, words.person)
        rows = shopping.balances(fleet) if fleet.purse.kept else []
    told = [{"simulated": simulated, **asdict(balance)} for simulated, balance in rows]
    if words.json:
        print(json.dumps(told))
        return 0
    _show(words, rows, ["LIMIT PER", "LIMIT", "SPENT", "HELD", "LEFT"],
          lambda r: [r[1].limit.period + (" (simulated)" if r[0] else ""), _usd(r[1].limit.microusd), _usd(r[1].spent_microusd),
                     _usd(r[1].reserved_microusd), _usd(r[1].left_microusd)],
          "no limit is set; for example: cellferry budget 20 --per day")  # fmt: skip
    return 0


def _quota(words: argparse.Namespace) -> int:
    from cellferry.fleet import shopping

    with _open() as (fleet, config):
        if words.words[:1] == ["request"]:
            if len(words.words) != 2 or not words.region or not words.value:
                example = "cellferry quota request L-417A185B --region us-east-1 --value 96"
                raise RequestError("say which quota, where and how much", example)
            provider: Any = fleet.provider("aws")
            print(provider.request_quota(words.words[1], words.region, words.value))
            return 0
        rows = shopping.quotas(fleet, _request(words.words, "quota"), config)
    _show(words, rows, ["PROVIDER", "REGION", "CODE", "LIMIT", "USED", "NAME"],
          lambda r: [r.provider, r.region, r.code, r.limit, r.used, r.name], "no provider told a quota")  # fmt: skip
    return 0


def _aws_policy(words: argparse.Namespace) -> int:
    from cellferry.fleet.shopping import aws_policy

    with _open() as (_fleet, config):
        person = words.person or person_of(config)
        print(json.dumps(aws_policy(words.regions or list(config.aws_regions), person), indent=2))
    return 0


def _doctor(words: argparse.Namespace) -> int:
    from cellferry.fleet import shopping
    from cellferry.fleet.doctor import examine
    from cellferry.model import Check

    found: list[Check] = []
    with _open() as (fleet, config):
        for checks in (examine(config), shopping.examine(fleet, config)):
            for check in checks:
                found.append(check)
                if not words.json:
                    print(f"{'ok ' if check.ok else 'BAD'}  {check.name}: {check.found}", flush=True)
                    if not check.ok and check.advice:
                        print(f"       -> {check.advice}", flush=True)
    if words.json:
        print(json.dumps([asdict(check) for check in found]))
    return 0 if all(check.ok for check in found) else 1


def _demo(words: argparse.Namespace) -> int:
    return subprocess.run([sys.executable, "-P", "-m", "cellferry.jupyter.tour", str(words.seed)], check=False).returncode


def _request(words: Sequence[str], command: str) -> CellRequest:
    from cellferry.journey import parse_command

    return parse_command(shlex.join(["offers" if command == "quota" else command, *words])).request


@contextmanager
def _open(notebook: str = "") -> Iterator[tuple[Any, Cellferry]]:
    """A fleet for one command, and the settings; it has no workers of its own."""
    from cellferry.config import load
    from cellferry.fleet.fleet import Fleet

    config = load()
    fleet = Fleet(config, notebook)
    if sys.stdin is not None and sys.stdin.isatty():
        fleet.ask = lambda question: input(question).strip().lower() == "yes"
    try:
        yield fleet, config
    finally:
        fleet.close()


def _show(
    words: argparse.Namespace, rows: Sequence[Any], heads: Sequence[str], cells: Callable[[Any], Sequence[object]], empty: str
) -> None:
    if words.json:
        print(json.dumps([asdict(row) if is_dataclass(row) and not isinstance(row, type) else row for row in rows]))
    elif not rows:
        print(empty)
    else:
        _table([list(heads), *(cells(row) for row in rows)])


def _table(rows: Sequence[Sequence[object]]) -> None:
    texts = [["-" if value is None else str(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _seller(provider: str) -> str:
    from cellferry.fleet.states import seller

    return seller(provider)


def _usd(microusd: int) -> str:
    from cellferry.ledger import dollars

    return dollars(microusd)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} s"


if __name__ == "__main__":
    sys.exit(main())

"""``python -m chaos``: many seeds, a table, and an exit status that says whether all of them ended well."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import conftest
from chaos.drive import Told
from chaos.run import expected, play, schedule_for, warm
from testbeds.far import Far, open_far
from testbeds.needs import what_is_missing


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many (200)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--seed", type=int, help="this one alone, with a log of everything")
    parser.add_argument("--step", type=int, default=1, help="from one to the next (1)")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once, in processes of their own (1)")
    parser.add_argument("--log", type=Path, help="folder for the logs of seeds that fail")
    chosen = parser.parse_args(argv)
    if missing := what_is_missing("sshd", "ssh", "ssh-keygen"):
        print(missing, file=sys.stderr)
        return 2
    if chosen.jobs > 1 and chosen.seed is None:
        return _several(chosen)
    seeds = [chosen.seed] if chosen.seed is not None else [chosen.first + n * chosen.step for n in range(chosen.seeds)]
    for number in (signal.SIGTERM, signal.SIGINT):  # whoever ends it finds nothing left either
        signal.signal(number, lambda *_: sys.exit(1))
    with _place():
        return _run(seeds, chosen.log, alone=chosen.seed is not None)


def _several(chosen: argparse.Namespace) -> int:
    """Share the seeds out. Each process has every provider if the number of jobs is odd, one of them otherwise."""
    running = []
    for job in range(chosen.jobs):
        count = len(range(job, chosen.seeds, chosen.jobs))
        words = ["--first", chosen.first + job * chosen.step, "--step", chosen.step * chosen.jobs, "--seeds", count]
        words += ["--log", chosen.log] if chosen.log else []
        running.append(subprocess.Popen([sys.executable, "-m", "chaos", *map(str, words)]))
    return max(process.wait() for process in running)


@contextmanager
def _place() -> Iterator[None]:
    """Temporary files and processes apart from everybody else's, as the tests have them."""
    conftest.make_home()
    try:
        yield
    finally:
        conftest.remove_home()


def _run(seeds: Sequence[int], logs: Path | None, *, alone: bool) -> int:
    truth = expected()
    began, failed, faults = time.monotonic(), list[int](), Counter[str]()
    print(f"{'seed':>5} {'where':5} {'tries':>5} {'s':>6}  verdict  faults", flush=True)
    with _far(seeds) as far:
        if far is not None and (told := warm(far, truth)).wrong:
            print("\n".join([*told.log, told.verdict]))
            return 1
        for seed in seeds:
            before = conftest.Footprint.now()
            told = play(schedule_for(seed), far, truth)
            told.wrong += before.leaked_since(files=False)
            faults.update(fault.kind for fault in told.schedule.faults)
            _show(told)
            if told.wrong:
                failed.append(seed)
            if logs is not None and told.wrong:
                logs.mkdir(parents=True, exist_ok=True)
                (logs / f"{seed}.log").write_text("\n".join(told.log) + "\n")
            if alone:
                print("\n".join(told.log))
    counted = ", ".join(f"{count} {kind}" for kind, count in faults.most_common())
    print(f"{len(seeds)} seeds in {time.monotonic() - began:.0f} s, {len(failed)} failed; faults: {counted}")
    for seed in failed:
        print(f"run it again: make chaos CHAOS='--seed {seed}'")
    return 1 if failed else 0


@contextmanager
def _far(seeds: Sequence[int]) -> Iterator[Far | None]:
    if all(schedule_for(seed).provider != "ssh" for seed in seeds):
        yield None
        return
    with open_far() as far:
        yield far


def _show(told: Told) -> None:
    schedule = told.schedule
    where = schedule.provider if schedule.provider == "ssh" else f"demo/{schedule.transport}"
    faults = ", ".join(map(str, schedule.faults))
    verdict = "ok    " if not told.wrong else "FAILED"
    detached = f" (detached: {', '.join(map(str, sorted(schedule.detached)))})" if schedule.detached else ""
    print(f"{schedule.seed:5} {where:9} {told.attempts:5} {told.seconds:6.1f}  {verdict}  {faults}{detached}", flush=True)
    for what in told.wrong:
        print(f"      {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

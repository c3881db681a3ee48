"""Round robin: in each round every contender of a row does its steps once, then the next round begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from benchmarks.contender import Samples
from benchmarks.pages import available_bytes
from benchmarks.pool import ContenderFailed, Host, Pool
from benchmarks.rows import Row, Step
from benchmarks.stats import median
from benchmarks.targets import Verdict, judge


@dataclass
class RowResult:
    """What a row gave: contender -> metric -> samples, the verdicts, and what went wrong, contender -> message."""

    row: Row
    samples: dict[str, Samples] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def look_up(self, contender: str, metric: str) -> float:
        """The median of a metric. Raises KeyError when it was not measured."""
        return median(self.samples[contender][metric])

    def verdicts(self) -> list[Verdict]:
        """Every target of the row, judged."""
        return [judge(target, self.look_up) for target in self.row.targets]

    def add(self, contender: str, label: str, samples: Samples) -> None:
        """Take one step's samples in."""
        known = self.samples.setdefault(contender, {})
        for metric, values in samples.items():
            known.setdefault(f"{metric}@{label}" if label else metric, []).extend(values)


class Runner:
    """Runs rows with the contenders of one pool."""

    def __init__(
        self, pool: Pool, quick: bool, tell: Callable[[str], None], finished: Callable[[RowResult], None],
        without: Sequence[str] = (),
    ) -> None:
        self._pool = pool
        self._quick = quick
        self._tell = tell
        self._finished = finished
        self._without = without
        self._turn = 0

    def run(self, rows: Sequence[Row]) -> None:
        """All rows in order, each told when it is finished; a contender is ended after the last one that needs it."""
        for at, row in enumerate(rows):
            self._tell(f"{row.name}: {row.what}")
            self._finished(self._run_row(row))
            later = {name for other in rows[at + 1 :] if not other.fresh for name in other.contenders}
            for name in row.contenders:
                if name not in later:
                    self._pool.drop(name)

    def _run_row(self, row: Row) -> RowResult:
        result = RowResult(row)
        names = [name for name in row.contenders if name not in self._without]
        steps = self._feasible(row, result)
        if not steps:
            return result
        if not row.fresh:
            names = [name for name in names if self._attempt(name, result, partial(self._warm_up, row, steps, name))]
        rounds = row.quick_rounds if self._quick else row.rounds
        for number in range(rounds):
            # Every second round goes the other way, so that nobody always follows the same neighbour.
            for name in names if number % 2 == 0 else names[::-1]:
                if name in result.failures or number >= self._cap(row, name, rounds):
                    continue
                self._attempt(name, result, partial(self._one_round, row, steps, name, result))
        return result

    def _cap(self, row: Row, name: str, rounds: int) -> int:
        return row.quick_at_most.get(name, rounds) if self._quick else rounds

    def _feasible(self, row: Row, result: RowResult) -> list[Step]:
        steps = [step for step in row.steps if step.quick or not self._quick]
        return [step for step in steps if self._has_room(step, result)]

    def _has_room(self, step: Step, result: RowResult) -> bool:
        """Whether there is memory for a step now; a machine that others use as well must not run out of it."""
        free = available_bytes()
        if free < step.needs_bytes:
            needs = f"needs {step.needs_bytes / 2**30:.1f} GiB, {free / 2**30:.1f} were free"
            result.notes.append(f"{step.label or result.row.name}: not measured, {needs}")
        return free >= step.needs_bytes

    def _warm_up(self, row: Row, steps: Sequence[Step], name: str) -> None:
        host = self._pool.get(name)
        for _ in range(row.quick_warmup if self._quick else row.warmup):
            # The first step only: of a row that grows, the smallest.
            self._measure(host, row, steps[0])

    def _one_round(self, row: Row, steps: Sequence[Step], name: str, result: RowResult) -> None:
        host = self._pool.fresh(name) if row.fresh else self._pool.get(name)
        try:
            for step in steps:
                if self._has_room(step, result):
                    result.add(name, step.label, self._measure(host, row, step))
        finally:
            if row.fresh:
                host.close()

    def _measure(self, host: Host, row: Row, step: Step) -> Samples:
        args: Mapping[str, object] = step.args
        if row.turns:
            self._turn += 1
            args = {**args, "turn": self._turn}
        return host.measure(row.kind, args)

    def _attempt(self, name: str, result: RowResult, action: Callable[[], None]) -> bool:
        """Whether the action went well, in one of two attempts (a busy machine can make a peer miss its own deadline).

        Each failure is told and kept for the report; the second one ends the contender for this row.
        """
        for last in (False, True):
            try:
                action()
                return True
            except ContenderFailed as failure:
                self._tell(f"  {name} failed: {str(failure).splitlines()[0]}")
                self._pool.drop(name)
                if last:
                    result.failures[name] = str(failure)
                else:
                    result.notes.append(f"{name} failed once and was started again: {str(failure).splitlines()[0]}")
        return False

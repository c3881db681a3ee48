"""Makes the faults of a schedule happen, each once, when the notebook shows what they wait for."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

from chaos.notebook import Notebook
from chaos.schedule import NOTEBOOK_KILLED, Fault, Schedule
from chaos.stages import DemoStage, SshStage, Stage, Worker, send_signal

PATIENCE_S = 20.0
PAUSE_S = 1.0
"""Between the presses of somebody who sees that nothing happens."""


class Faults:
    """``watch(cell)`` is what a ``Notebook.run`` calls. Faults that last go on in threads: ``over`` waits for them."""

    def __init__(self, schedule: Schedule, stage: Stage, notebook: Notebook, said: Callable[[str], None]) -> None:
        self._left, self._stage, self._notebook, self._said = list(schedule.faults), stage, notebook, said
        self._threads: list[threading.Thread] = []
        self.wrong: list[str] = []
        """Faults that could not be made: errors of the suite."""
        self.happened: set[str] = set()
        """Kinds that have happened under the running cell, or were not over when it began."""
        self._going_on: list[str] = []

    def next_cell(self) -> None:
        """Another cell begins."""
        self.happened = set(self._going_on)

    def watch(self, cell: int) -> Callable[[str], None]:
        def seen(text: str) -> None:
            for fault in [fault for fault in self._left if fault.cell == cell and f"tick {cell}.{fault.tick}" in text]:
                self._left.remove(fault)
                self.happened.add(fault.kind)
                self._said(f"FAULT {fault}")
                if fault.kind == NOTEBOOK_KILLED:
                    self._notebook.kill()
                else:
                    thread = threading.Thread(target=self._guarded, args=(fault,), daemon=True)
                    thread.start()
                    self._threads.append(thread)

        return seen

    def over(self) -> None:
        """Wait until every fault that has begun is over."""
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _guarded(self, fault: Fault) -> None:
        self._going_on.append(fault.kind)
        try:
            self._make(fault)
        except Exception as exc:
            self.wrong.append(f"{fault} could not be made: {exc!r}")
        self._going_on.remove(fault.kind)
        self._said(f"OVER {fault}")

    def _make(self, fault: Fault) -> None:
        stage = self._stage
        match fault.kind, stage:
            case "notebook stopped", _:
                _stopped([self._notebook.pid], fault.for_s)
            case "worker stopped", _:
                worker = self._worker()
                _stopped([worker.keeper, worker.server, worker.kernel], fault.for_s)
            case "kernel killed", _:
                send_signal(self._worker().kernel, signal.SIGKILL)
            case "server killed", _:
                send_signal(self._worker().server, signal.SIGKILL)
            case "keeper killed", _:
                send_signal(self._worker().keeper, signal.SIGKILL)
            case "partition", _:
                stage.cut(fault.for_s)
            case "disk full", _:
                stage.fill()
                time.sleep(fault.for_s)
                stage.empty()
            case "loss", SshStage():
                stage.lose(fault.percent, fault.for_s)
            case "slow", SshStage():
                stage.slow(fault.for_s)
            case "spot notice", DemoStage():
                stage.notice(fault.for_s)
            case "clock jump", DemoStage():
                stage.jump(fault.ahead_s, fault.for_s)
            case "pressed twice", _:
                self._press(for_s=fault.for_s, times=2)
            case "kernel stopped", _:
                send_signal(self._worker().kernel, signal.SIGSTOP)
                self._press(for_s=PAUSE_S, times=3)
            case "ledger restarted", DemoStage():
                stage.restart_ledger(fault.for_s)
            case "ledger locked", DemoStage():
                stage.lock_ledger(fault.for_s)
            case _:
                raise NotImplementedError(fault.kind)

    def _press(self, for_s: float, times: int) -> None:
        for number in range(times):
            time.sleep(for_s if number else 0.0)
            send_signal(self._notebook.pid, signal.SIGINT)

    def _worker(self) -> Worker:
        """The one that runs the cell; where another one is just ending, the last."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := self._stage.workers()):
            if time.monotonic() > deadline:
                raise TimeoutError("no worker is whole")
            threading.Event().wait(0.05)
        return found[-1]


def _stopped(pids: list[int], for_s: float) -> None:
    for pid in pids:
        send_signal(pid, signal.SIGSTOP)
    time.sleep(for_s)
    for pid in pids:
        send_signal(pid, signal.SIGCONT)

"""Plays one run: a user runs the story's cells one by one, and after each fault does what the error's advice says."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from chaos.check import left_behind, outputs_wrong, sockets_left
from chaos.faults import Faults
from chaos.notebook import Notebook, Shown
from chaos.schedule import KERNEL_STOPPED, NOTEBOOK_KILLED, PRESSED_TWICE, Schedule
from chaos.stages import Stage
from chaos.story import PARTS, PAUSE_S, SETUP, Part, tokens

IDLE_S = 30
RETRY = f"retry=2 idle={IDLE_S}s timeout=100s"
MOST_TRIES = 6
OURS = {"WorkerLost", "KernelDied", "DiskFull", "SpotTaken", "LinkError", "StartTimeout", "WorkerStartError", "RunGone",
        "NothingToBeHad", "WorkerError", "ParcelError"}  # fmt: skip
"""Errors that a fault explains, and after which a user runs the cell again."""
PRESSED = {PRESSED_TWICE, KERNEL_STOPPED}
ADVICE = ": %remote attach"
RUN = re.compile(r"%remote attach ([0-9a-f]{12})")


@dataclass
class Told:
    """What came of a run. ``attempts``: how often a cell was run, retries of cellferry itself not counted."""

    schedule: Schedule
    attempts: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        return "; ".join(self.wrong) or "ok"


@dataclass(frozen=True)
class Truth:
    """What one cell shows and makes where nothing happens to it."""

    shown: list[str]
    values: dict[str, Any]


@cache
def truth_of(folder: Path) -> tuple[Truth, ...]:
    """The story without ``%%remote`` and without faults, in a kernel of its own."""
    notebook = Notebook(folder, {}, lambda _text: None)
    try:
        notebook.run(SETUP)
        found = []
        for part in PARTS:
            shown = notebook.run(part.code)
            assert (shown.error or ("",))[0] == part.error, shown
            found.append(Truth(tokens(shown.text), {name: notebook.has(name) for name in part.values}))
        return tuple(found)
    finally:
        notebook.close()


class Drive:
    """One run; ``play`` it once. ``state`` is the folder of the ledger, ``folder`` that of the notebook."""

    def __init__(self, schedule: Schedule, stage: Stage, folder: Path, state: Path, truth: tuple[Truth, ...]) -> None:
        self.told = Told(schedule)
        self._stage, self._truth, self._state = stage, truth, state
        self._settings = {**stage.settings, "CELLFERRY_STATE_DIR": str(state)}
        self._began = time.monotonic()
        self._notebook = Notebook(folder, self._settings, self._said)
        self._faults = Faults(schedule, stage, self._notebook, self._said)
        self._sockets: set[str] = set()
        self._went_home = False
        self._last_there = self._began
        self._alone_s = 0.0

    def _said(self, text: str) -> None:
        self.told.log.append(f"{time.monotonic() - self._began:7.2f} {text}")

    def play(self) -> Told:
        try:
            self._begin()
            for number, part in enumerate(PARTS, 1):
                if not self._cell(number, part):
                    break
            self._end()
        except Exception as exc:
            self.told.wrong.append(f"the run broke: {exc!r}")
        finally:
            self._faults.over()
            self._stage.calm()
            self._notebook.close()
        self.told.wrong += left_behind(self._stage, self._state, self._settings)
        self.told.wrong += [*sockets_left(self._sockets), *self._faults.wrong]
        self.told.seconds = time.monotonic() - self._began
        return self.told

    def _begin(self) -> None:
        for code in ("%load_ext cellferry", SETUP):
            shown = self._notebook.run(code)
            if shown.error:
                raise RuntimeError(shown.error)

    def _end(self) -> None:
        shown = self._notebook.run("%remote down --all")
        if shown.error:
            self.told.wrong.append(f"%remote down --all: {shown.error}")

    # -- one cell -----------------------------------------------------------------------------------------------------

    def _cell(self, number: int, part: Part) -> bool:
        """Until it has come home; says whether it has, and checks what did."""
        self._faults.next_cell()
        self._went_home = False
        detach = number in self.told.schedule.detached
        code = f"%%remote {self._stage.words} {RETRY}{' detach' if detach else ''}\n{part.code}"
        attach = ""
        for _ in range(MOST_TRIES):
            self.told.attempts += 1
            shown = self._run(number, attach or code)
            if detach and not attach and shown.error is None and not shown.died and not shown.hung:
                attach = f"%remote attach {RUN.findall(shown.text)[-1]}"
                continue
            if self._is_home(number, part, shown, bool(attach)):
                return True
            attach = self._after(number, shown, bool(attach))
        self.told.wrong.append(f"cell {number} did not come home in {MOST_TRIES} tries")
        return False

    def _run(self, number: int, code: str) -> Shown:
        self._said(f"RUN {code.splitlines()[0]} (cell {number})")
        self._sockets |= self._notebook.sockets()
        watch = self._faults.watch(number)

        def seen(text: str) -> None:
            if NOTEBOOK_KILLED in {fault.kind for fault in self.told.schedule.faults}:
                self._sockets |= self._notebook.sockets()
            watch(text)

        self._alone_s = time.monotonic() - self._last_there
        shown = self._notebook.run(code, seen)
        if PRESSED & self._faults.happened:
            self._faults.over()  # a press is for this cell
        self._last_there = time.monotonic()
        self._said(f"ENDED {shown.error or ''}{' died' if shown.died else ''}{' hung' if shown.hung else ''}")
        return shown

    def _is_home(self, number: int, part: Part, shown: Shown, attached: bool) -> bool:
        truth = self._truth[number - 1]
        home = not shown.died and not shown.hung and (shown.error or ("",))[0] == part.error
        if part.error and shown.error is None and "KeyboardInterrupt" in shown.text and self._may_be_taken_back:
            home = not shown.died  # interrupted while IPython showed the error: it shows that word instead
        lossy = attached and "disk full" in self._faults.happened
        self.told.wrong += [f"cell {number}: {what}" for what in outputs_wrong(shown.text, truth.shown, whole=home, lossy=lossy)]
        # all was shown when the notebook died: what came home died with it, as what a local cell had made would
        self._went_home |= shown.died and tokens(shown.text)[-len(truth.shown) :] == truth.shown
        if not home:
            return False
        values = {name: self._notebook.has(name) for name in part.values}
        wrong = [name for name in part.values if values[name] != truth.values[name]]
        self.told.wrong += [f"cell {number}: {name} is {values[name]!s:.90}, not {truth.values[name]!s:.90}" for name in wrong]
        return True

    def _after(self, number: int, shown: Shown, attached: bool) -> str:
        """Do what the user does after a cell that did not come home; what to type next, "" for the cell itself."""
        if shown.hung:
            raise RuntimeError(f"cell {number} did not end: {shown.text[-300:]!r}")
        if shown.died:
            return self._come_back(number)
        pressed = PRESSED & self._faults.happened
        if shown.error is None:  # interrupted again while IPython showed the error: it shows that word instead
            assert "KeyboardInterrupt" in shown.text and (self._may_be_taken_back or pressed), shown
        name, text = shown.error or ("KeyboardInterrupt", "")
        self._faults.over()  # whoever reads an error takes that long, and the advice is for afterwards
        if name == "KeyboardInterrupt" and (pressed or (shown.error is None and self._may_be_taken_back)):
            if pressed:
                self._from_the_top(number)
            return ""
        if name == "RunGone" and self._went_home:
            return ""
        if name == "RunGone" and attached and not self._excused():
            self.told.wrong.append(f"cell {number}: an acknowledged run is gone: {text[:200]}")
        elif name not in OURS and "No space left" not in text:
            self.told.wrong.append(f"cell {number} ended with {name}: {text[:300]}")
        elif not self._faults.happened and not self._may_be_taken_back:
            self.told.wrong.append(f"cell {number} failed although nothing has happened: {name}: {text[:300]}")
        return "%remote attach" if ADVICE in text else ""

    @property
    def _may_be_taken_back(self) -> bool:
        """The machine goes seconds after the notice, in a later cell perhaps, and interrupts what runs more than once."""
        return "spot notice" in {fault.kind for fault in self.told.schedule.faults}

    def _excused(self) -> bool:
        """Whether something has happened that may take the results of an acknowledged run away. A worker to which nobody came
        for as long as it was to wait has ended, as it should: on a busy machine a new kernel takes that long."""
        died = self._faults.happened & {"kernel killed", "server killed", "keeper killed", "disk full"}
        return bool(died) or self._may_be_taken_back or self._alone_s > IDLE_S

    def _come_back(self, number: int) -> str:
        """The kernel is dead: start it again, run the cells above again here, and fetch what was left running."""
        self._said("RESTART")
        self._notebook.restart()
        self._begin()
        self._make_again(number)
        return "%remote attach"

    def _from_the_top(self, number: int) -> None:
        """What an interrupted cell has changed until then is here, as of a local one: make what it began with again."""
        self._notebook.run(SETUP)
        self._make_again(number)

    def _make_again(self, number: int) -> None:
        self._notebook.run("pause = 0")
        for part in PARTS[: number - 1]:
            self._notebook.run(part.code)
        self._notebook.run(f"pause = {PAUSE_S}")

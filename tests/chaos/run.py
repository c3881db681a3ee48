"""One seed from beginning to end, with everything it needs made before and taken away after."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from chaos.drive import Drive, Told, Truth, truth_of
from chaos.schedule import CLOCK_JUMP, Schedule, schedule_of
from chaos.stages import DemoStage, SshStage, Stage, demo_place
from chaos.story import PARTS, TICKS
from testbeds.clock import Clock
from testbeds.far import Far


def schedule_for(seed: int) -> Schedule:
    """The schedule of a seed for this story."""
    return schedule_of(seed, len(PARTS), TICKS)


def expected() -> tuple[Truth, ...]:
    """What the story shows and makes; looked at once."""
    with tempfile.TemporaryDirectory(prefix="c") as place:
        folder = Path(place) / "n"
        folder.mkdir()
        return truth_of(folder)


def warm(far: Far, truth: tuple[Truth, ...]) -> Told:
    """A run without faults: the software and the packages are brought to the machine, once for all runs."""
    return play(Schedule(-1, "ssh", "unix", frozenset(), ()), far, truth)


def play(schedule: Schedule, far: Far | None, truth: tuple[Truth, ...]) -> Told:
    """One run. ``far``: the machine with sshd, for schedules that need one."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="c")))
        (place / "notebook").mkdir()
        stage: Stage
        if schedule.provider == "ssh":
            assert far is not None
            stage = SshStage(far, place)
        else:
            clock = Clock(place) if any(fault.kind == CLOCK_JUMP for fault in schedule.faults) else None
            stage = DemoStage(schedule, stack.enter_context(demo_place()), clock, place / "state")
        return Drive(schedule, stage, place / "notebook", place / "state", truth).play()

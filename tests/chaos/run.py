"""One seed from beginning to end, with everything it needs made before and taken away after."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chaos.drive import Drive, Told, Truth, truth_of
from chaos.schedule import CLOCK_JUMP, LEDGER_RESTARTED, Schedule, schedule_of
from chaos.stages import DemoStage, SshStage, Stage, demo_place
from chaos.story import PARTS, TICKS
from ledger.postgres import Server, programs
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


@contextmanager
def _postgres() -> Iterator[Server]:
    found = programs()
    assert found is not None, "PostgreSQL is missing: .ci/system-packages postgresql"
    server = Server(found)
    try:
        yield server
    finally:
        server.end()


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
            clock = Clock(place) if schedule.has(CLOCK_JUMP) else None
            server = stack.enter_context(_postgres()) if schedule.has(LEDGER_RESTARTED) else None
            stage = DemoStage(schedule, stack.enter_context(demo_place()), clock, place / "state", server)
        return Drive(schedule, stage, place / "notebook", place / "state", truth).play()

"""What must be true of a run after all that has happened to it."""

from __future__ import annotations

import re
from pathlib import Path

from cellferry.config import Cellferry
from cellferry.fleet.fleet import Fleet
from cellferry.testing.contract import eventually
from chaos.stages import Stage
from chaos.story import tokens

ANOTHER_TRY = re.compile(r"-- try \d+ of \d+.*$", re.MULTILINE)
CUT = "outputs were cut here"
"""What ``%remote attach`` says where the worker's disk had no room for some."""
LIMIT_MICROUSD = 500_000
ENDED_S = 90.0
"""Longer than ``idle=`` in the cells: what nobody could reach ends itself."""


def outputs_wrong(text: str, expected: list[str], *, whole: bool, lossy: bool = False) -> list[str]:
    """What is wrong with the outputs of one display of a cell: its last try shows each once, in order; earlier ones, and a
    display that was cut off (not ``whole``), show the first ones so. ``lossy``: some may be missing, if the text says so."""
    if lossy and CUT in text:
        shown = tokens(text)
        missing = len(expected) - len(shown)
        in_order = shown == [name for name in expected if name in shown]
        return [] if in_order and missing else [f"the cell shows {_differing(shown, expected)}, with a gap"]
    *before, last = ANOTHER_TRY.split(text)
    wrong = []
    for part in before if whole else [*before, last]:
        shown = tokens(part)
        if shown != expected[: len(shown)]:
            wrong.append(f"a try that was cut off shows {_differing(shown, expected)}")
    if whole and tokens(last) != expected:
        wrong.append(f"the cell shows {_differing(tokens(last), expected)}")
    return wrong


def _differing(shown: list[str], expected: list[str]) -> str:
    for place, name in enumerate(shown):
        if place >= len(expected) or name != expected[place]:
            should = expected[place] if place < len(expected) else "nothing"
            return f"{name!r} where {should!r} should be ({len(shown)} outputs, {len(expected)} expected)"
    return f"{len(shown)} outputs and not {len(expected)}: what follows {shown[-1] if shown else 'the beginning'!r} is missing"


def left_behind(stage: Stage, state: Path, settings: dict[str, str]) -> list[str]:
    """What is still there after the notebook was closed, everything ended and ``cellferry reap`` was typed: processes,
    machines, reservations, files."""
    wrong = []
    try:
        eventually(lambda: not _ours(stage), "no process of ours is left there", ENDED_S)
    except AssertionError:
        wrong += [f"process {pid}: {words[:160]}" for pid, words in _ours(stage).items()]
    wrong += _money(state, settings)
    return wrong + stage.left()


def _ours(stage: Stage) -> dict[int, str]:
    return {pid: words for pid, words in stage.pids().items() if "cellferry" in words}


def _money(state: Path, settings: dict[str, str]) -> list[str]:
    options = {name.removeprefix("CELLFERRY_").lower(): value for name, value in settings.items()}
    config = Cellferry(
        state_dir=str(state),
        worker_dir=options.get("worker_dir", ""),
        ssh_config=options.get("ssh_config", ""),
        ssh_known_hosts=options.get("ssh_known_hosts", ""),
        ledger=options.get("ledger", ""),
    )
    fleet = Fleet(config)
    try:
        fleet.reap()
        wrong = [f"reservation of {row}" for row in fleet.purse.open()]
        spent = sum(row.machine_microusd for row in fleet.purse.costs("worker"))
        if spent > LIMIT_MICROUSD:
            wrong.append(f"${spent / 1e6:.4f} were spent, the limit is ${LIMIT_MICROUSD / 1e6:.2f}")
        return wrong
    finally:
        fleet.close()


def sockets_left(sockets: set[str]) -> list[str]:
    """Of the sockets that killed kernels listened on, those whose folders are still there."""
    return [f"folder of {path}" for path in sorted(sockets) if Path(path).parent.exists()]



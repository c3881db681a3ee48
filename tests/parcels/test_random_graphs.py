"""Random object graphs, changed at random on alternating sides: the names here must reach what they would locally."""

from __future__ import annotations

import inspect
import random
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from . import inhabitants
from .graph import first_difference, shape_of
from .notebook import FarProcess, run_all
from .two_heaps import TwoHeaps

NAMES = [f"v{i}" for i in range(6)]
Step = tuple[str, tuple[Any, ...]]

names = st.sampled_from(NAMES)
makes = st.tuples(st.just("make"), st.tuples(names, st.sampled_from(sorted(inhabitants.MAKERS)), names, names))
pokes = st.tuples(st.just("poke"), st.tuples(names, st.integers(0, 30), names))
dives = st.tuples(st.just("dive"), st.tuples(names, st.integers(0, 30), names))
moves = st.tuples(st.just("move"), st.tuples(names, names))
deletes = st.tuples(st.just("delete"), st.tuples(names))
steps = st.lists(st.one_of(makes, makes, pokes, pokes, pokes, dives, moves, deletes), min_size=1, max_size=6)
trips = st.lists(st.tuples(st.booleans(), st.booleans(), steps), min_size=2, max_size=9)


def source_of(step: Step) -> tuple[str, set[str], set[str]]:
    """(Python, names it reads, names it binds)."""
    what, rest = step
    if what == "make":
        name, kind, a, b = rest
        return f"{name} = MAKERS[{kind!r}]({a}, {b})", {a, b}, {name}
    if what == "poke":
        name, amount, other = rest
        return f"poke({name}, {amount}, {other})", {name, other}, set()
    if what == "dive":
        name, amount, other = rest
        return f"poke(inner({name}, {amount}), {amount}, {other})", {name, other}, set()
    if what == "move":
        return f"{rest[0]} = {rest[1]}", {rest[1]}, {rest[0]}
    return f"{rest[0]} = None", set(), {rest[0]}


def inner(value: Any, amount: int) -> Any:
    """Something inside ``value``, found the same way on both sides."""
    for depth in range(amount % 4):
        if isinstance(value, (list, tuple)) and value:
            value = value[(amount + depth) % len(value)]
        elif isinstance(value, dict) and value:
            value = list(value.values())[(amount + depth) % len(value)]
        elif hasattr(value, "__dict__") and not callable(value) and vars(value):
            value = sorted(vars(value).items(), key=lambda item: item[0])[amount % len(vars(value))][1]
        elif callable(value) and getattr(value, "__closure__", None):
            value = value.__closure__[amount % len(value.__closure__)].cell_contents
    return value


TOOLS = {"MAKERS": inhabitants.MAKERS, "poke": inhabitants.poke, "inner": inner}


def play(plan: list[tuple[bool, bool, list[Step]]]) -> None:
    local: dict[str, Any] = {**TOOLS, **dict.fromkeys(NAMES)}
    ends = TwoHeaps()
    ends.here.update(TOOLS | dict.fromkeys(NAMES))
    ends.there.update(TOOLS)
    for there, sweep, steps in plan:
        sources = [source_of(step) for step in steps]
        reads = set().union(*(read for _s, read, _b in sources))
        binds = set().union(*(bound for _s, _r, bound in sources))
        code = "\n".join(s for s, _r, _b in sources)
        exec(code, local)
        if sweep:
            ends.near._sweep_at = 0
        if there:
            ends.remote(code, *reads, bind=tuple(sorted(binds)))
        else:
            exec(code, ends.here)
        expected, found = shape_of(local, NAMES), shape_of(ends.here, NAMES)
        parted = next((d for n in NAMES if (d := first_difference(expected[n], found[n], n))), "")
        assert not parted, f"after {'remote' if there else 'local'}\n{code}\n{parted}"


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(trips)
def test_names_reach_what_they_would_locally(plan: list[tuple[bool, bool, list[Step]]]) -> None:
    play(plan)


def test_long_notebooks() -> None:
    """The same, from plain random numbers: many more steps than Hypothesis makes."""
    for seed in range(25):
        choice = random.Random(seed)
        plan = [
            (choice.random() < 0.6, choice.random() < 0.3, [_random_step(choice) for _ in range(choice.randint(1, 5))])
            for _trip in range(30)
        ]
        play(plan)


def test_long_notebooks_with_classes_of_their_own(far: FarProcess) -> None:
    """The same with another process, and everything defined in the notebook itself, so that classes travel by value."""
    tools = Path(inhabitants.__file__).read_text() + "\n" + inspect.getsource(inner)
    for seed in range(6):
        choice = random.Random(seed)
        cells = [("here", tools), ("here", "\n".join(f"{name} = None" for name in NAMES))]
        for _trip in range(15):
            steps = [_random_step(choice) for _ in range(choice.randint(1, 5))]
            where = "there" if choice.random() < 0.6 else "here"
            cells.append((where, "\n".join(source_of(step)[0] for step in steps)))
        expected, found = run_all(cells, None).shape, run_all(cells, far).shape
        parted = next((d for n in NAMES if (d := first_difference(expected[n], found[n], n))), "")
        assert not parted, f"seed {seed}\n{parted}"


def _random_step(choice: random.Random) -> Step:
    kind = choice.choice(["make", "make", "poke", "poke", "dive", "move", "delete"])
    one, two, three = (choice.choice(NAMES) for _ in range(3))
    rest: dict[str, tuple[Any, ...]] = {
        "make": (one, choice.choice(sorted(inhabitants.MAKERS)), two, three),
        "poke": (one, choice.randint(0, 30), two),
        "dive": (one, choice.randint(0, 30), two),
        "move": (one, two),
        "delete": (one,),
    }
    return kind, rest[kind]

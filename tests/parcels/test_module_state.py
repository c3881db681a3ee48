"""What modules of the project are now against what they were when imported: noticed, packed, taken over, put back."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cellferry
from cellferry.guest.home import Load as HomeLoad
from cellferry.guest.home import pack_home, pack_nothing
from cellferry.parcels.anchors import Anchor, find_anchor, follow, survey
from cellferry.parcels.first_state import as_written
from cellferry.parcels.heap import Heap
from cellferry.parcels.module_state import BASELINES, NAMES, Baselines, ModuleStates
from cellferry.parcels.own_code import is_own
from cellferry.parcels.own_watch import watch
from cellferry.parcels.parcel import AnchorsFailed, PackPlan, pack

from .two_heaps import TwoHeaps, arrive

SOURCE = """
import json
LEVEL = 1
REGISTRY = {}
DEEP = {"a": {"b": [1]}, "t": ({"in": 1},)}
class Model:
    kinds = []
    rate = 1
    def go(self): return self.rate
class Options:
    def __init__(self): self.extra = {}
options = Options()
def call(): call.times = getattr(call, "times", 0) + 1
def _counter():
    count = 0
    def bump():
        nonlocal count
        count += 1
        return count
    return bump
bump = _counter()
"""
Load = Callable[[str], types.ModuleType]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Imports a module of the project with this text, while it is watched."""
    watch()
    made: list[str] = []

    def loaded(text: str) -> types.ModuleType:
        name = f"own_module_{len(made)}_{tmp_path.name}"
        (tmp_path / f"{name}.py").write_text(text)
        made.append(name)
        monkeypatch.syspath_prepend(tmp_path)
        return importlib.import_module(name)

    yield loaded
    for name in made:
        sys.modules.pop(name, None)
        baseline = BASELINES.modules.pop(name, None)
        for anchor in baseline.anchors if baseline else ():
            BASELINES.anchors.pop(id(anchor.obj), None)


def test_a_module_of_hostile_objects_is_surveyed_without_asking_them(load: Load) -> None:
    made = "\nODD = [make(kind, 0) for kind in MAKERS]\n"
    module = load((Path(__file__).parent / "hostile.py").read_text() + made)
    states = ModuleStates(Heap({}))
    assert module.__name__ in BASELINES.modules and labels(states, module) == []
    vars(module)["ODD"].pop()
    assert labels(states, module) == ["ODD"]


def labels(states: ModuleStates, module: types.ModuleType) -> list[str]:
    changes = states.changed()
    own = [root.removeprefix(NAMES) for root in changes.roots if root != NAMES] + [
        anchor.label for anchor in changes.anchors
    ]
    return sorted(
        label.removeprefix(module.__name__).lstrip(".:") for label in own if label.startswith(module.__name__)
    )


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ("pass", []),
        ("m.LEVEL = 5", ["LEVEL"]),
        ("m.fresh = 1", ["fresh"]),
        ("m.REGISTRY['x'] = 1", ["REGISTRY"]),
        ("m.DEEP['a']['b'].append(2)", ["DEEP['a']['b']"]),
        ("m.DEEP['t'][0]['in'] = 2", ["DEEP['t'][0]"]),
        ("m.Model.rate = 2", ["Model"]),
        ("m.Model.kinds.append(1)", ["Model.kinds"]),
        ("m.Model.go = lambda self: 1", ["Model"]),
        ("m.options.extra['x'] = 1", ["options.extra"]),
        ("m.options.more = 1", ["options"]),
        ("m.call()", ["call"]),
        ("m.bump()", ["bump.cell"]),
        ("m.Model(), m.Model().go(), repr(m.options)", []),
        ("import copyreg; copyreg._slotnames(m.Model)", []),
    ],
)
def test_what_is_noticed(load: Load, change: str, seen: list[str]) -> None:
    module = load(SOURCE)
    states = ModuleStates(Heap({}))
    assert labels(states, module) == []
    exec(change, {"m": module})
    assert labels(states, module) == seen


def test_what_a_module_does_to_itself_while_imported_is_no_change(load: Load) -> None:
    module = load("X = []\nX.append(1)\nfor i in range(3): X.append(i)\n")
    assert labels(ModuleStates(Heap({})), module) == []


def test_names_and_objects_arrive_and_only_once(load: Load) -> None:
    """Both ends are one process here, with one module: changed, packed, changed back, taken over."""
    module, ends = load(SOURCE), TwoHeaps()
    near, far = ModuleStates(ends.near), ModuleStates(ends.far)
    module.LEVEL, kinds, registry = 5, module.Model.kinds, module.REGISTRY
    registry["x"], module.Model.rate = [1], 3
    kinds.append("kind")
    changes = near.changed()
    parcel = pack(ends.near, changes.roots, PackPlan(anchors=changes.anchors, also=changes.also))
    parcel.sealed(ends.near)
    near.agree(changes)
    assert not near.changed()
    module.LEVEL, module.Model.rate = 1, 1
    registry.clear()
    kinds.clear()
    arrived, _replaced = arrive(parcel, ends.far)
    assert far.receive(arrived.roots) == []
    assert not arrived.roots
    assert (module.LEVEL, module.Model.rate, registry, kinds) == (5, 3, {"x": [1]}, ["kind"])
    assert registry is module.REGISTRY
    assert module.Model.kinds is kinds


def test_a_name_that_is_again_what_it_was_needs_no_value(load: Load) -> None:
    module = load(SOURCE)
    states, original = ModuleStates(Heap({})), module.call
    module.call = lambda: "another"
    states.agree(states.changed())
    module.call = original
    del module.LEVEL
    assert states.changed().roots == {NAMES: {module.__name__: (["call"], ["LEVEL"])}}
    other = ModuleStates(Heap({}))
    module.call, module.LEVEL = print, 7
    other.receive(states.changed().roots)
    assert module.call is print or module.call is original


def test_a_value_that_is_again_what_it_was_is_a_change(load: Load) -> None:
    module = load(SOURCE)
    states = ModuleStates(Heap({}))
    module.LEVEL = 5
    states.agree(states.changed())
    assert labels(states, module) == []
    module.LEVEL = 1
    assert states.changed().roots[NAMES][module.__name__] == (["LEVEL"], [])
    states.agree(states.changed())
    assert module.__name__ not in states.changed().roots.get(NAMES, {})


def test_what_lies_beside_cellferry_is_a_tool_and_none_of_ours() -> None:
    """A worker's kernel with an environment of its own has its tools in one folder with cellferry."""
    tool = types.ModuleType("some_tool")
    tool.__file__ = str(Path(cellferry.__file__).parents[1] / "some_tool.py")
    assert not is_own(tool)


def test_what_cannot_travel_is_named(load: Load) -> None:
    module = load(SOURCE)
    states = ModuleStates(heap := Heap({}))
    module.DEEP["a"]["b"].append(sys._getframe())
    changes = states.changed()
    with pytest.raises(AnchorsFailed) as failed:
        pack(heap, changes.roots, PackPlan(anchors=changes.anchors))
    assert [anchor.label for anchor in failed.value.anchors] == [f"{module.__name__}.DEEP['a']['b']"]


def test_an_object_whose_type_cannot_be_found_there_is_named(load: Load) -> None:
    """As where somebody has removed the module's file, or the folder from the path, since it was imported."""
    module = load(SOURCE)
    Path(str(module.__file__)).unlink()
    importlib.invalidate_caches()
    states = ModuleStates(heap := Heap({}))
    module.options.more = 2
    home = HomeLoad({"x": 1}, anchors=states.changed().anchors)
    assert list(pack_home(heap, home).sizes) == ["x"], "the rest comes home"
    assert list(home.stayed) == [f"{module.__name__}.options"]


def test_where_no_parcel_can_be_made_names_of_modules_stay(load: Load) -> None:
    module = load(SOURCE)
    states = ModuleStates(heap := Heap({}))
    module.LEVEL = 5
    home = HomeLoad({**states.changed().roots, "x": 1})
    assert list(pack_nothing(heap, home, "no").sizes) == ["x"] and f"{module.__name__}.LEVEL" in home.stayed


def test_an_object_of_a_module_that_a_value_leads_to_stays_that_object(load: Load) -> None:
    module, ends = load(SOURCE), TwoHeaps()
    ModuleStates(ends.near), ModuleStates(ends.far)
    ends.here["registry"] = module.REGISTRY
    ends.send("registry")
    assert ends.there["registry"] is module.REGISTRY
    ends.there["registry"]["x"] = 1
    assert ends.far.changes(ends.far.anchored)


def test_the_way_to_an_object(load: Load) -> None:
    module = load(SOURCE)
    for anchor in survey(module, {}):
        assert follow(module.__name__, anchor.way) is anchor.obj
        assert anchor.holds()
    module.DEEP = {}
    gone = next(a for a in BASELINES.anchors.values() if a.label == f"{module.__name__}.DEEP['a']")
    assert isinstance(gone, Anchor)
    assert not gone.holds()
    assert find_anchor(module.__name__, list(gone.way), dict) == {}


def test_a_module_that_was_there_before_is_held_against_its_literals(load: Load) -> None:
    module = load(
        "LEVEL = 1\nOTHER = 2\nSET = {}\nCALLED = []\nTWICE = 1\nTWICE = 2\n"
        "def set_level(n):\n    global LEVEL\n    LEVEL = n\n"
        "def note(f):\n    CALLED.append(f)\n    return f\n"
        "@note\ndef noted(): pass\n"
    )
    module.set_level(5)
    module.SET["x"] = 1
    assert as_written(module) == {"LEVEL": 1, "SET": {}}
    late = Baselines()
    late.catch_up([module])
    states = ModuleStates(Heap({}), late)
    assert labels(states, module) == ["LEVEL", "SET"]


def test_a_reload_begins_anew(load: Load) -> None:
    module = load(SOURCE)
    states = ModuleStates(Heap({}))
    assert module.__name__ not in states.reloaded()
    module.LEVEL = 5
    importlib.reload(module)
    assert states.reloaded() == [module.__name__]
    assert states.reloaded() == []
    assert labels(states, module) == []


def test_installed_modules_are_none_of_ours(load: Load) -> None:
    assert is_own(load(""))
    assert not any(map(is_own, (sys.modules["json"], pytest, sys, sys.modules["cellferry"])))


def test_large_tables_are_not_looked_into(load: Load) -> None:
    module = load("BIG = list(range(100_000))\nSMALL = [1]\n")
    assert [anchor.label for anchor in survey(module, {})] == [f"{module.__name__}.SMALL"]

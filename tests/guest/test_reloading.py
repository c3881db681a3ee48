"""A module is executed anew, and what was made of the old one follows."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from cellferry.guest.reloading import reload_all

SOURCE = """
import abc
from dataclasses import dataclass
class Base(abc.ABC):
    def who(self): return "old base"
class Net(Base):
    rate = 1
    class Inner:
        def say(self): return "old inner"
    def __init__(self): self.weight = 1
    def go(self): return "old " + super().who()
    @property
    def prop(self): return "old"
    @staticmethod
    def static(): return "old"
    def leaves(self): pass
def make(by):
    def times(n): return ("old", n * by)
    return times
def helper(x, y=1): return ("old", y)
double = make(2)
default = Net()
REGISTRY = {"net": Net, "helper": helper, "made": [Net]}
LEAVES = 1
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    name = f"reloaded_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    yield importlib.import_module(name)
    sys.modules.pop(name, None)


def edit(module: Any, old: str, new: str) -> dict[str, Exception]:
    path = Path(module.__file__)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    importlib.invalidate_caches()
    return reload_all([module.__name__])


def test_instances_and_names_follow(module: Any) -> None:
    net, inner, go, Net, helper, double = (
        module.Net(),
        module.Net.Inner(),
        module.Net().go,
        module.Net,
        module.helper,
        module.double,
    )
    mine = type("Mine", (Net,), {})()
    net.weight = 7
    assert not edit(module, "old", "new")
    assert (net.go(), net.prop, net.static(), inner.say(), go(), mine.go()) == (
        "new new base",
        "new",
        "new",
        "new inner",
        *["new new base"] * 2,
    )
    assert type(net) is module.Net is Net
    assert type(module.default) is Net
    assert module.Net.Inner is type(inner)
    assert module.helper is helper
    assert helper(1) == ("new", 1)
    assert double(4) == ("new", 8)
    assert {"net": Net, "helper": helper, "made": [Net]} == module.REGISTRY
    assert net.weight == 7
    assert isinstance(net, module.Base)


def test_what_the_source_no_longer_has_goes(module: Any) -> None:
    net = module.Net()
    assert not edit(module, "    def leaves(self): pass\n", "")
    assert not hasattr(net, "leaves")
    assert not edit(module, "LEAVES = 1\n", "")
    assert not hasattr(module, "LEAVES")


def test_a_class_that_cannot_take_its_new_form_is_replaced(module: Any) -> None:
    net = module.Net()
    assert not edit(module, "class Net(Base):", "class Net(Base, dict):")
    assert module.Net is not type(net)
    assert module.Net().go() == "old old base"


def test_a_class_with_another_base(module: Any) -> None:
    net = module.Net()
    assert not edit(
        module, "class Net(Base):", "class Other(Base):\n    def who(self): return 'other'\nclass Net(Other):"
    )
    assert net.go() == "old other"


def test_a_source_that_fails_changes_nothing(module: Any) -> None:
    net = module.Net()
    failed = edit(module, "LEAVES = 1", "LEAVES = 1 / 0")
    assert [type(exc) for exc in failed.values()] == [ZeroDivisionError]
    assert module.LEAVES == 1
    assert type(net) is module.Net
    assert not edit(module, "1 / 0", "2")
    assert module.LEAVES == 2

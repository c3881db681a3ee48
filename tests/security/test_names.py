"""Which names a worker may bind or delete in a notebook that trusts it with data alone: those that the cell can."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

from cellferry.capture.bindable import Bindable, bindable, declared_global
from cellferry.capture.dataflow import analyse
from cellferry.link.returned import Returned, not_taken
from cellferry.parcels.plain_parcel import PlainArrived
from journeys.conftest import NewUser, new_user  # noqa: F401 - a fixture

HIDDEN = frozenset({"In", "Out", "_i", "exit"})


def may(source: str, *functions: FunctionType) -> Callable[[str], bool]:
    found = bindable(analyse(source), functions)
    return lambda name: found.allows(name, (), HIDDEN)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("x = 1", "x"), ("def f():\n global g\n g = 1", "f g"), ("for i in []: pass", "i"), ("del z", "z"), ("(w := 1)", "w"),
        ("import a.b as c", "c"), ("try: pass\nexcept E as e: pass", "e"), ("class K: y = 1", "K"), ("print = 1", "print"),
        ("match 1:\n case m: pass", "m"), ("[t for t in []]", ""), ("x.y = 1\nx[0] = 2", ""), ("print(open)", ""),
    ],
)  # fmt: skip
def test_names_that_the_text_binds(source: str, names: str) -> None:
    allows = may(source)
    for name in {*names.split(), "x", "f", "g", "y", "t", "open", "print", "In", "exit", "other", "z"}:
        assert allows(name) is (name in names.split()), name


def test_functions_of_the_notebook_bind_what_they_declare() -> None:
    space: dict[str, Any] = {}
    exec("def f():\n    global counted\n    counted = read\ndef any_(): exec('q = 1', globals())", space)
    assert may("f()", space["f"])("counted") and not may("f()", space["f"])("read")
    assert may("any_()", space["any_"])("q") and declared_global("def f():\n def g():\n  global a, b") == {"a", "b"}


@pytest.mark.parametrize("source", ["exec(text)", "globals()['x'] = 1", "from m import *"])
def test_a_cell_that_may_bind_anything_binds_no_name_that_works_unbound(source: str) -> None:
    allows = may(source)
    assert allows("x") and not any(map(allows, ["print", "open", "get_ipython", "display", "In", "exit", "__import__"]))


def test_the_rest_is_left_and_said() -> None:
    frame = {"stayed": {"b": "too large"}, "deleted": ["d", "a"], "flags": 1}
    returned = Returned(frame, PlainArrived({"a": 1, "b": 2, "\x00result": 3}, [], []), 0)
    left = returned.take_only(lambda name: name == "a", future=False)
    assert left == ["b", "d"] and returned.arrived.roots == {"a": 1, "\x00result": 3}
    assert frame == {"stayed": {}, "deleted": ["a"], "flags": 0} and "b, d" in not_taken(left)[0] and not not_taken([])


def test_a_cell_that_is_not_known_binds_only_what_is_new() -> None:
    assert Bindable(any_other=True).allows("new", {"old": 1}, HIDDEN)
    assert not Bindable(any_other=True).allows("old", {"old": 1}, HIDDEN)


@pytest.mark.slow
def test_a_worker_binds_what_the_cell_binds(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_TRUST="data")
    user.sees("mine = 1\ngone = 2")
    shown = user.sees(
        "%%remote\nfrom types import FunctionType\nbound = 3\ndef f():\n    global later\n    later = 4\n"
        "space = f.__getattribute__('__glo' + 'bals__')\nspace['mine'] = 'theirs'\nspace.pop('gone', 0)\nspace['sum'] = 'theirs'\nNone"
    )
    assert "mine, sum" in shown and "not taken" in shown
    assert user.has("(mine, gone, bound, sum.__name__)") == (1, 2, 3, "sum")
    user.sees("%%remote\nf()")
    assert user.has("later") == 4
    user.sees("%%remote\nexec('dynamic = 5')")
    assert user.has("(dynamic, mine)") == (5, 1)

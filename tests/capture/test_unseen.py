"""Names in texts: which travel along, and which a call may bind."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from cellferry.capture.dataflow import analyse
from cellferry.capture.needs import needed
from cellferry.errors import UndefinedName
from cellferry.parcels.heap import Heap
from cellferry.payload import Beside, pack_all

SETUP = """
import math, threading
limit, other, size, lock = 3, 4, 5, threading.Lock()
text, texts = "a > @limit", {"q": "select * from other"}
def centred(x): return x - size
def chosen(frame, text): return frame.query(text)
def peek(name):
    import sys
    return sys._getframe(1).f_globals[name]
def evaluated(text): return eval(text)
frame = None
"""
SYMBOLS = """
def var(names):
    from inspect import currentframe
    currentframe().f_back.f_globals.update({name: name for name in names.split()})
"""
"""A library that binds names in its caller's namespace, as computer algebra does."""


@pytest.fixture
def namespace() -> dict[str, Any]:
    made: dict[str, Any] = {"__name__": "__main__"}
    exec(SETUP, made)
    return made


@pytest.mark.parametrize(
    ("cell", "along", "not_along"),
    [
        ("frame.query(text)", {"limit"}, {"other"}),
        ("frame.query(texts['q'])", {"other"}, {"limit"}),
        ("chosen(frame, 'a < limit')", {"limit"}, {"other"}),
        ("ols('y ~ centred(x)', frame)", {"centred", "size"}, {"other"}),
        ("sql(f'select * from other where {1}')", {"other"}, {"limit"}),
        ("print('limit and other', frame)", set(), {"limit", "other"}),
        ("peek('limit')", {"limit", "other", "size", "evaluated"}, {"lock"}),
        ("evaluated('limit')", {"limit"}, {"other"}),
    ],
)
def test_names_in_texts_travel_with_calls_that_look_them_up(
    namespace: dict[str, Any], cell: str, along: set[str], not_along: set[str]
) -> None:
    namespace["ols"] = namespace["sql"] = len
    parcel = pack_all(needed(analyse(cell), namespace, ()), Heap(namespace), Beside(), ())
    assert along <= set(parcel.roots) and not not_along & set(parcel.roots)


def test_a_cell_that_nobody_answers_gets_what_its_functions_may_evaluate(namespace: dict[str, Any]) -> None:
    needs = needed(analyse("evaluated('lim' + 'it')"), namespace, (), alone=True)
    assert {"limit", "other"} <= set(pack_all(needs, Heap(namespace), Beside(), ()).roots)


def test_calls_that_look_up_can_be_added(namespace: dict[str, Any]) -> None:
    namespace["find"] = len
    needs = needed(analyse("find('limit')"), namespace, (), looks_up=["find"])
    assert "limit" in pack_all(needs, Heap(namespace), Beside(), ()).roots


@pytest.mark.parametrize(
    "cell",
    ["import symbols as sp\nsp.var('x')\nx + 1", "sp.var('x:2')\nx0 + x1", "bind('y')\ny", "import not_loaded_here\nz"],
)
def test_a_name_that_a_call_may_bind_is_not_refused(
    namespace: dict[str, Any], cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace["sp"] = symbols = types.ModuleType("symbols")
    exec(SYMBOLS, vars(symbols))
    monkeypatch.setitem(sys.modules, "symbols", symbols)
    namespace["bind"] = types.FunctionType((lambda name: None).__code__, {"__name__": "a_library"})
    needed(analyse(cell), namespace, ())


@pytest.mark.parametrize(
    "cell", ["math.sqrt(2)\nmisspelt", "centred(2)\nmisspelt", "misspelt", "import math\nmisspelt.x()"]
)
def test_a_name_that_no_call_can_bind_is_refused(namespace: dict[str, Any], cell: str) -> None:
    with pytest.raises(UndefinedName):
        needed(analyse(cell), namespace, ())

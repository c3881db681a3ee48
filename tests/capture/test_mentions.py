"""Files and submodules that a cell mentions beside its values."""

from __future__ import annotations

import sys
import xml
import xml.dom.minidom
from pathlib import Path
from types import FunctionType, ModuleType

from cellferry.capture.dataflow import analyse
from cellferry.capture.mentions import paths_named, submodules_used


def function(source: str) -> FunctionType:
    found: dict[str, FunctionType] = {}
    exec(source, found)
    return found["f"]


def test_submodules_used_by_attribute_parents_first() -> None:
    flow = analyse("xml.dom.minidom.parseString(text)")
    assert submodules_used(flow, [xml], [], sys.modules) == ["xml.dom", "xml.dom.minidom"]


def test_an_alias_and_an_import_mean_the_module_too() -> None:
    made = ModuleType("scipy")
    loaded = {"scipy", "scipy.stats", "scipy.stats.norm", "scipy.special"}
    assert submodules_used(analyse("sp.stats.t.fit(x)"), [made], [], loaded) == ["scipy.stats"]
    assert submodules_used(analyse("import scipy\nscipy.stats"), [], [], loaded) == ["scipy.stats"]


def test_submodules_used_by_a_function_of_the_notebook() -> None:
    used = function("def f():\n    return [xml.dom.minidom for _ in 'a']")
    assert submodules_used(analyse("f()"), [xml, used], [used], sys.modules) == ["xml.dom", "xml.dom.minidom"]


def test_no_module_no_submodule() -> None:
    assert submodules_used(analyse("x.dom"), ["x"], [], {"x.dom"}) == []


def test_paths_in_the_cell_in_functions_and_in_values() -> None:
    read = function("def f():\n    return open('in/function.csv'), [open('nested.csv') for _ in 'x']")
    given = ["plain.csv", Path("a") / "b.csv", ["listed.csv", 1, Path("c")], {"not": "looked.at"}, "", "x" * 5000]
    found = paths_named(analyse("open('cell.csv')"), given, [read])
    assert found[0] == "cell.csv"
    assert set(found) >= {"plain.csv", "a/b.csv", "listed.csv", "c", "in/function.csv", "nested.csv"}
    assert not {"looked.at", "", "x" * 5000} & set(found)

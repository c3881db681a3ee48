"""Which modules travel, on a disk that does not exist and on the real one."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

import cellferry
from cellferry.capture.modules import Disk, Kind, LocalSource, Places, classify_module, local_sources, places_here

PLACES = Places(stdlib=("/usr/lib/python3.11",), site=("/venv/lib/python3.11/site-packages",))


def module(name: str, file: str | None = None, path: list[str] | None = None, **names: object) -> ModuleType:
    """A module that was never imported."""
    made = ModuleType(name)
    if file is not None:
        made.__file__ = file
    if path is not None:
        made.__path__ = path
    vars(made).update(names)
    return made


def of_spec(name: str, origin: str) -> ModuleType:
    made = ModuleType(name)
    made.__spec__ = ModuleSpec(name, None, origin=origin)
    return made


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (module("json", "/usr/lib/python3.11/json/__init__.py"), "stdlib"),
        (module("numpy", "/venv/lib/python3.11/site-packages/numpy/__init__.py"), "installed"),
        (module("old", "/usr/lib/python3/dist-packages/old.py"), "installed"),
        (module("under_stdlib", "/usr/lib/python3.11/site-packages/x.py"), "installed"),
        (module("mine", "/home/me/work/mine.py"), "local"),
        (module("editable", "/home/me/src/editable/__init__.py"), "local"),
        (module("lookalike", "/usr/lib/python3.11-extra/x.py"), "local"),
        (module("zipped", "/home/me/lib.zip/zipped.py"), "installed"),
        (module("ns", path=["/home/me/work/ns"]), "local"),
        (module("google", path=["/venv/lib/python3.11/site-packages/google"]), "installed"),
        (module("mixed", path=["/venv/lib/python3.11/site-packages/mixed", "/home/me/mixed"]), "local"),
        (module("__main__", "/home/me/x.py"), "main"),
        (module("__mp_main__"), "main"),
        (module("made_by_hand"), "main"),
        (module("cellferry.journey", "/home/me/cellferry/journey.py"), "installed"),
        (of_spec("sys", "built-in"), "stdlib"),
        (of_spec("zipimport", "frozen"), "stdlib"),
        (json, "stdlib"), (sys, "stdlib"), (os, "stdlib"), (pytest, "installed"), (cellferry, "installed"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, ModuleType) else value,
)
def test_classify(made: ModuleType, kind: Kind) -> None:
    places = places_here() if made in (json, os, sys, pytest, cellferry) else PLACES
    assert classify_module(made, places) == kind


def test_a_path_that_only_looks_like_a_list() -> None:
    class Odd:
        def __iter__(self) -> Iterator[str]:
            raise RuntimeError("lazy")

    made = module("odd")
    vars(made)["__path__"] = Odd()
    assert classify_module(made, PLACES) == "main"


# ---- what is pulled in ----------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of several modules, importable, and forgotten afterwards."""
    files = {
        "alone.py": "x = 1",
        "uses.py": "import alone\nfrom pack.deep import thing\nimport json",
        "lazy.py": "def f():\n    import alone\nclass C:\n    @staticmethod\n    def g():\n        import hidden",
        "hidden.py": "",
        "one.py": "import two", "two.py": "import one",
        "pack/__init__.py": "", "pack/deep/__init__.py": "from alone import x\ndef thing(): pass", "pack/data.csv": "1",
        "pack/deep/unused.py": "", "pack/__pycache__/x.py": "", "pack/.hidden/x.py": "", "pack/not-a-name/x.py": "",
        "pack/node_modules/x.py": "", "space/inner/__init__.py": "import alone", "space/other.py": "",
        "broken.py": "import (", "instance.py": "import uses\nvalue = uses.thing",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def find(name: str) -> str | None:
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)


DISK = Disk(os.walk, lambda path: Path(path).read_text(), find)


def sources(*names: str) -> dict[str, tuple[str, ...]]:
    return {s.name: s.files for s in local_sources(names, sys.modules, places_here(), DISK)}


PACK = ("pack/__init__.py", "pack/data.csv", "pack/deep/__init__.py", "pack/deep/unused.py")


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alone", {"alone": ("alone.py",)}),
        ("uses", {"uses": ("uses.py",), "alone": ("alone.py",), "pack": PACK}),
        ("lazy", {"lazy": ("lazy.py",), "alone": ("alone.py",), "hidden": ("hidden.py",)}),
        ("one", {"one": ("one.py",), "two": ("two.py",)}),
        ("pack.deep", {"pack": PACK, "alone": ("alone.py",)}),
        ("space.inner", {"space": ("space/inner/__init__.py", "space/other.py"), "alone": ("alone.py",)}),
        ("instance", {"instance": ("instance.py",), "uses": ("uses.py",), "pack": PACK, "alone": ("alone.py",)}),
        ("json", {}), ("numpy", {}), ("nowhere", {}), ("cellferry", {}),
    ],
)
def test_local_sources(project: Path, name: str, expected: dict[str, tuple[str, ...]], loaded: bool) -> None:
    if loaded and name not in ("nowhere", "numpy"):
        importlib.import_module(name)
    assert sources(name) == expected


def test_roots_are_what_sys_path_needs(project: Path) -> None:
    found = local_sources(["pack"], sys.modules, places_here(), DISK)
    assert {source.root for source in found} == {str(project)}


def test_a_file_that_does_not_parse_still_travels(project: Path) -> None:
    assert sources("broken") == {"broken": ("broken.py",)}


def test_a_namespace_package_may_be_in_several_places(project: Path) -> None:
    one, two = project / "a" / "ns", project / "b" / "ns"
    for folder in (one, two):
        folder.mkdir(parents=True)
        (folder / f"{folder.parent.name}_part.py").write_text("")
    made = module("ns", path=[str(one), str(two)])
    found = local_sources(["ns"], {"ns": made}, places_here(), DISK)
    assert found == (LocalSource("ns", str(one.parent), ("ns/a_part.py",)),
                     LocalSource("ns", str(two.parent), ("ns/b_part.py",)))


def test_a_compiled_module_has_no_source() -> None:
    made = module("fast", f"/home/me/fast{EXTENSION_SUFFIXES[0]}")
    found = local_sources(["fast"], {"fast": made}, PLACES, DISK)
    assert found == (LocalSource("fast", "/home/me", ()),)

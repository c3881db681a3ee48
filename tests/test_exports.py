"""The public face: what ``import cellferry`` gives, how little it loads, and that every declared door opens."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cellferry
from cellferry import errors

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAVY = {
    "IPython", "blake3", "cloudpickle", "cryptography", "ipykernel", "jupyter_client", "jupyter_server",
    "numpy", "pandas", "psutil", "tornado", "torch", "traitlets", "zmq",
}  # fmt: skip


def test_all_is_sorted_complete_and_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLFERRY_CHECKPOINT", str(tmp_path))  # to look at `checkpoint_dir` makes it
    assert list(cellferry.__all__) == sorted(cellferry.__all__)
    missing = [name for name in cellferry.__all__ if not hasattr(cellferry, name)]
    assert not missing
    defined_here = {
        name
        for name, value in vars(cellferry).items()
        if not name.startswith("_") and inspect.isfunction(value) and value.__module__ == "cellferry"
    }
    assert defined_here <= set(cellferry.__all__)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys; import cellferry; print('\\n'.join(m.partition('.')[0] for m in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(run.stdout.split())


def _doors() -> list[str]:
    groups = [PROJECT.get("scripts", {}), *PROJECT.get("entry-points", {}).values()]
    return sorted(target for group in groups for target in group.values())


@pytest.mark.parametrize("target", _doors())
def test_every_entry_point_opens(target: str) -> None:
    module, _, name = target.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_the_error_tree_is_drawn_as_it_is() -> None:
    """The drawing on top of ``errors.py`` names every class, each under its base."""
    drawn: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([|'\s-]*)([A-Z]\w+)  +\S", line)
        if not found:
            continue
        depth, name = len(found[1]), found[2]
        stack = [entry for entry in stack if entry[0] < depth]
        drawn[name] = stack[-1][1] if stack else "Exception"
        stack.append((depth, name))
    classes = {
        name: cls.__bases__[0].__name__
        for name, cls in vars(errors).items()
        if inspect.isclass(cls) and issubclass(cls, Exception) and cls.__module__ == errors.__name__
    }
    assert drawn == classes

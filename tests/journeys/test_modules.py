"""Modules of the project: edited while their objects are in use, changed in ways that cannot travel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .conftest import User

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("user", ["unix"], indirect=True)]

SOURCE = """
COUNT = 0
REGISTRY = {}
def helper():
    return "first"
class Base:
    def who(self):
        return "first base"
class Net(Base):
    def __init__(self):
        self.weight = 1
    def go(self):
        return f"first {super().who()} {self.weight}"
"""


def write(folder: Path, text: str, moment: int, name: str = "nets") -> None:
    path = folder / f"{name}.py"
    path.write_text(text)
    os.utime(path, (moment, moment))


def test_instances_follow_an_edited_module(user: User) -> None:
    write(user.folder, SOURCE, 1_000_000_000)
    user.types("import sys; sys.dont_write_bytecode = True")
    user.types("%load_ext autoreload\n%autoreload 2")
    user.types("import nets\nfrom nets import Net, helper\nmodel = Net(); held = [model]; go = model.go")
    user.types("nets.COUNT = 3; nets.REGISTRY['mine'] = model")
    look = (
        "print(model.go(), go(), helper(), nets.COUNT, type(model) is Net is nets.Net, nets.REGISTRY['mine'] is model)"
    )
    assert (
        user.sees("%%remote\n" + look + "\nmodel.weight = 2\nother = Net()")
        == "first first base 1 first first base 1 first 3 True True\n"
    )
    write(user.folder, SOURCE.replace("first", "second"), 1_000_000_010)
    expected = "second second base 2 second second base 2 second 3 True True\n"
    assert user.sees("%%remote\n" + look) == expected
    assert user.sees(look) == expected
    assert (
        user.sees("%%remote\nprint(type(other) is Net, other.go()); model.weight += 1") == "True second second base 1\n"
    )
    assert (
        user.sees("print(model.go(), type(model) is Net, type(other) is Net, held[0] is model)")
        == "second second base 3 True True True\n"
    )

    user.types("%autoreload 0")
    write(user.folder, SOURCE.replace("first", "third").replace("COUNT = 0", "COUNT = 10"), 1_000_000_020)
    user.types("import importlib\nimportlib.reload(nets)\nnets.REGISTRY['again'] = 1")
    assert (
        user.sees("%%remote\nprint(nets.helper(), nets.COUNT, nets.REGISTRY)\nnets.REGISTRY['there'] = 2")
        == "third 10 {'again': 1}\n"
    )
    assert user.sees("print(nets.REGISTRY)") == "{'again': 1, 'there': 2}\n"
    user.types("importlib.reload(nets)")
    assert user.sees("%%remote\nprint(nets.REGISTRY)") == "{}\n"


def test_what_cannot_travel_is_said_by_name_before_the_cell_runs(user: User) -> None:
    write(user.folder, SOURCE, 1_000_000_000, "plain")
    user.types("import plain, threading")
    user.types(
        "plain.LOCK = threading.Lock(); plain.REGISTRY['lock'] = threading.Lock(); plain.TOKEN = 'ghp_' + 'a1B2' * 9; plain.COUNT = 4"
    )
    shown = user.sees("%%remote\nprint(plain.COUNT, plain.REGISTRY, hasattr(plain, 'LOCK'), hasattr(plain, 'TOKEN'))")
    assert shown.endswith("4 {} False False\n")
    for name in ("plain.LOCK", "plain.REGISTRY", "plain.TOKEN"):
        assert f"{name} was changed here and cannot travel" in shown
    assert "cannot travel" not in user.sees("%%remote\nprint(plain.COUNT)")
    shown = user.sees("%%remote\nplain.LOCK = threading.Lock(); plain.COUNT = 5")
    assert "plain.LOCK stayed on the worker" in shown
    assert user.has("plain.COUNT") == 5

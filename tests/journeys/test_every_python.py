"""What depends most on the Python that runs it, in a real kernel with a real worker: part of ``make pythons``."""

from __future__ import annotations

import sys

import pytest

from .conftest import NewUser

pytestmark = [pytest.mark.slow, pytest.mark.every_python]


def test_changes_come_home_and_values_keep_their_names(new_user: NewUser) -> None:
    user = new_user(CELLFERRY_FETCH_LIMIT="1000000")
    user.sees(
        "import dataclasses, numpy as np\nd = {'k': {'v': [0]}}\nalias = d['k']\nrows = [[[i]] for i in range(200)]\n"
        "@dataclasses.dataclass\nclass Node:\n    size: int\n    below: 'list[Node]' = dataclasses.field(default_factory=list)\n"
        "def later(x: 'Undefined') -> Node: return Node(x)\ntree = Node(1, [Node(2)])\ninner = tree.below[0]"
    )
    user.sees(
        "%%remote\nd['k']['v'][0] += 5\nrows[7][0] += [1]\ninner.size += 1\nmade: int = 1\nbig = np.ones(1_000_000)"
    )
    assert user.has("(d, alias['v'], rows[7], inner.size, tree.below[0] is inner, made)") == (
        {"k": {"v": [5]}}, [5], [[7, 1]], 3, True, 1,
    )  # fmt: skip
    user.sees("%%remote\nd['k']['v'][0] += 5\nrows[8][0] += [2]\ntree.below.append(later(4))\nbig[0] = 2")
    assert user.has("(d, rows[7:9], [n.size for n in tree.below], type(tree.below[1]) is Node)") == (
        {"k": {"v": [10]}}, [[[7, 1]], [[8, 2]]], [3, 4], True,
    )  # fmt: skip
    assert user.sees("print(big[:2].tolist(), len(big))") == "[2.0, 1.0] 1000000\n", (
        "a value that stayed is still known there"
    )


def test_code_runs_as_on_this_python(new_user: NewUser) -> None:
    user = new_user()
    (user.folder / "nearby_part.py").write_text("level = 3\n")
    user.sees("import asyncio, multiprocessing\ndef twice(x: int) -> int: return 2 * x")
    assert user.sees("%%remote\nimport sys\nprint(sys.version_info[:2])") == f"{sys.version_info[:2]}\n"
    assert user.sees(
        "%%remote\nawait asyncio.sleep(0)\nprint(multiprocessing.get_start_method(), twice(2))"
    ) == user.sees("await asyncio.sleep(0)\nprint(multiprocessing.get_start_method(), twice(2))")
    if sys.version_info >= (3, 14):
        user.sees("def f(x: NotYetThere): return t'{x}'\nclass C:\n    x: NotYetThere")
        assert user.sees("%%remote\nprint(f(3).values)") == "(3,)\n"
        user.sees(
            "%%remote\nclass NotYetThere: ...\nok = f.__annotations__['x'] is NotYetThere is C.__annotations__['x']"
        )
        assert user.has("ok") is True
        assert user.has("(f.__annotations__['x'] is NotYetThere, C.__annotations__['x'] is NotYetThere)") == (
            True,
            True,
        )
    if sys.version_info >= (3, 15):
        user.sees("lazy import nearby_part as near\nlazy import xml.dom\nlazy import cellferry_nothing as nothing")
        assert user.sees("%%remote\nprint(near.level, xml.dom.__name__)") == "3 xml.dom\n"
        name, text = user.is_told("%%remote\nnothing.x")
        assert name == "CannotTravel" and "cellferry_nothing" in text

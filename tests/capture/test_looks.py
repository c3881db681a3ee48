"""Cells that cannot change the arrays they are given, and cells that might."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellferry.capture.looks import only_looked_at

THINGS: dict[str, Any] = {
    "x": np.arange(6.0), "grid": np.zeros((2, 3)), "n": 3, "np": np, "objects": np.array([[1], None], dtype=object),
    "records": np.zeros(2, [("a", "i4")]), "matrix": np.matrix([[1]]), "items": [1], "other": ModuleType("other"),
}  # fmt: skip

LOOKS = {
    "m = x.nbytes": "x",
    "x.shape": "x",
    "x.shape[0] + n": "x",
    "print(len(x), x.mean(), f'{x.dtype} {x[0]:.2f}')": "x",
    "y = x[0]": "x",
    "y = x[-1] * 2 + n": "x",
    "y = grid[0, 1]; z = grid.sum(axis=0)": "grid",
    "y = x + 1": "x",
    "y = -x; z = x > n": "x",
    "a = b = x.max()": "x",
    "y = np.mean(x)": "x",
    "y = np.sort(grid, axis=1)": "grid",
    "y = x.copy()\nz = y[0]": "x",
    "x + grid[0, 0]": "x grid",
    "float(x[2]) if n else None": "x",
    "n + 1": "",
}


@pytest.mark.parametrize("source", LOOKS)
def test_only_looks(source: str) -> None:
    assert only_looked_at(source, THINGS) == set(LOOKS[source].split())


@pytest.mark.parametrize(
    "source",
    [
        "x[0] = 1", "x += 1", "x.sort()", "y = x", "y = x[:2]", "y = grid[0]", "y = x.T", "x.view()", "f(x)", "items.append(x)",
        "y = [x]", "y = x or n", "y = x if n else x", "x.sum(out=grid)", "np.mean(x, None, None, grid)", "np.add(x, 1, x)",
        "def f(): x.sum()\nf()", "for v in x: pass", "[v for v in x]", "y = x[n]", "import os\nx.shape", "x.mean(); items.pop()",
        "objects.shape; objects[0]", "records[0]", "matrix.sum()", "other.mean(x)", "x.mean(); other.run()", "len(items)",
        "get_ipython().system('ls')\nx.shape", "x @ items", "print(x, file=items)", "np = other\nnp.mean(x)", "del x",
        "len = f\nlen(x)", "x.data", "x.flat[0]", "with x: pass", "y = (z := x)", "await x", "not python", "x.sum",
    ],
)  # fmt: skip
def test_more_than_a_look(source: str) -> None:
    assert only_looked_at(source, THINGS) == set()


def test_a_builtin_of_the_users_own_is_not_trusted() -> None:
    assert only_looked_at("len(x)", {**THINGS, "len": lambda value: value.sort()}) == set()


_PARTS = st.sampled_from([
    "x", "grid", "n", "1", "x[0]", "x[1:]", "grid[0]", "grid[0, 1]", "x.sum()", "x.copy()", "x.T", "x.sort()", "x.fill(7)",
    "np.sort(x)", "np.ravel(x)", "len(x)", "float(x[1])", "grid.max()", "x.shape[0]", "x.reshape(2, 3)",
])  # fmt: skip
_EXPRESSIONS = st.recursive(
    _PARTS,
    lambda inner: st.one_of(
        st.builds("({} + {})".format, inner, inner), st.builds("({} if n else {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner), st.builds("[{}]".format, inner),
    ),
    max_leaves=4,
)  # fmt: skip
_STATEMENTS = st.one_of(
    st.builds("y = {}".format, _EXPRESSIONS), _EXPRESSIONS, st.sampled_from(["y[0] = 9", "y += 1", "z = y", "z[:] = 8"])
)


@settings(max_examples=400, deadline=None)
@given(st.lists(_STATEMENTS, min_size=1, max_size=4))
def test_what_is_only_looked_at_has_not_changed_after_the_cell(statements: list[str]) -> None:
    """Run for real: an array that the rule lets pass is, byte for byte, what it was."""
    before = {"x": np.arange(6.0), "grid": np.ones((2, 3)), "n": 3, "np": np}
    source = "\n".join(statements)
    looked_at = only_looked_at(source, before)
    namespace = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in before.items()}
    held = dict(namespace)
    try:
        exec(source, namespace)
    except Exception:
        pass  # what it had done before it failed counts
    for name in looked_at:
        assert np.array_equal(held[name], before[name])
        for other, value in namespace.items():  # and nothing that it made could change it later
            if isinstance(value, np.ndarray) and other != name:
                assert not np.shares_memory(value, held[name])

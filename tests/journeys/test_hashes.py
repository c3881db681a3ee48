"""Hashes of texts: the same there where that can be, and a cell that depends on them says so where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import NewUser
from .kernel import kernel
from .notebook import Step

pytestmark = pytest.mark.slow
DIFFER = "hashes of texts differ"
KEPT = "class Kept:\n    def __init__(self): self._hash = hash('kept')\n    def __hash__(self): return self._hash\nkept = Kept()"


def test_a_worker_hashes_as_a_notebook_whose_seed_is_known(new_user: NewUser) -> None:
    user = new_user(PYTHONHASHSEED="17")
    seen = user.types("%%remote\nthere = hash('a')")
    assert DIFFER not in str(seen.outputs) and user.has("there == hash('a')")


def test_a_cell_says_once_that_they_differ(new_user: NewUser) -> None:
    user = new_user(PYTHONHASHSEED="random")
    assert DIFFER not in str(user.types("%%remote\nlen('a')").outputs)
    seen = user.types("%%remote\nhash('a') % 2")
    assert DIFFER in str(seen.outputs) and "PYTHONHASHSEED=0" in str(seen.outputs)
    user.types(KEPT)
    assert DIFFER not in str(user.types("%%remote\nkept").outputs)


def test_an_object_that_keeps_its_hash_is_told(new_user: NewUser) -> None:
    user = new_user(PYTHONHASHSEED="random")
    user.types(KEPT)
    assert DIFFER in str(user.types("%%remote\nkept").outputs)


def test_our_kernel_draws_a_seed_that_its_workers_get(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    with kernel(folder, {"PYTHONHASHSEED": ""}, "cellferry") as found:
        seen = found.run(Step("%%remote\nthere = hash('a')", True))
        assert DIFFER not in str(seen.outputs)
        assert "True" in str(found.run(Step("there == hash('a')", False)).outputs)


def test_a_worker_of_another_notebook_keeps_its_seed(new_user: NewUser) -> None:
    one, other = new_user(PYTHONHASHSEED="1"), new_user(PYTHONHASHSEED="2")
    one.types("%%remote name=shared\n1")
    seen = other.types("%%remote name=shared\nhash('a') % 2")
    assert DIFFER in str(seen.outputs) and "%remote down shared" in str(seen.outputs)

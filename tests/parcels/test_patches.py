"""What somebody sets on installed modules and classes: found, sent once, put back."""

from __future__ import annotations

import sys
import textwrap
import types
from collections.abc import Iterator
from unittest import mock

import pytest

from cellferry.parcels.patches import GONE, ORIGINAL, Patches, Scans

pandas = pytest.importorskip("pandas")


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    shorten = textwrap.shorten
    yield
    textwrap.shorten = shorten
    for name in ("shout", "progress"):
        if name in vars(pandas.Series):
            delattr(pandas.Series, name)


def test_an_untouched_package_has_nothing() -> None:
    import matplotlib.pyplot
    import numpy
    import sklearn.linear_model

    assert numpy and sklearn and matplotlib
    assert not dict(Scans().foreign(["numpy", "pandas", "matplotlib", "sklearn", "textwrap", "no_such"]))


def test_a_method_of_the_notebook_on_a_class() -> None:
    scans, method = Scans(), types.FunctionType((lambda self: 1).__code__, {"__name__": "__main__"})
    method.__module__ = "__main__"
    assert not dict(scans.foreign(["pandas"]))
    pandas.Series.shout = method
    assert dict(scans.foreign(["pandas"])) == {("pandas", "Series.shout"): method}
    pandas.Series.shout = property(method)
    assert dict(scans.foreign(["pandas"])) == {("pandas", "Series.shout"): vars(pandas.Series)["shout"]}
    del pandas.Series.shout
    assert not dict(scans.foreign(["pandas"]))


def test_tqdm_on_pandas() -> None:
    tqdm = pytest.importorskip("tqdm.std").tqdm
    tqdm.pandas(disable=True)
    found = dict(Scans().foreign(["pandas"]))
    assert ("pandas", "Series.progress_apply") in found
    for module, path in found:
        *owner, name = path.split(".")
        kind = getattr(sys.modules[module], owner[0])
        delattr(kind, name)


def test_what_the_text_sets_is_sent_and_put_back() -> None:
    near, far, original = Patches(), Patches(), textwrap.shorten
    key = ("textwrap", "shorten")
    space = {"tw": textwrap}
    assert near.changed({"textwrap"}, [("tw", "shorten")], space) == {key: original}
    assert near.as_sent(key, original) == ORIGINAL
    near.agree(key)
    textwrap.shorten = len
    assert near.changed({"textwrap"}, [("tw", "shorten")], space) == {key: len}
    assert not near.changed({"another"}, [("tw", "shorten")], space)
    near.agree(key)
    assert not near.changed({"textwrap"}, [("tw", "shorten")], space)
    textwrap.shorten = original
    assert far.put(key, len)
    assert textwrap.shorten is len
    assert far.as_sent(key, original) is original  # it has not put this there: the other end has
    assert far.put(key, "".join(list(ORIGINAL)))
    assert textwrap.shorten is original


def test_an_attribute_that_is_gone_again() -> None:
    near, far, key = Patches(), Patches(), ("pandas", "Series.shout")
    pandas.Series.shout = len
    chain = ("pd", "Series", "shout")
    near.changed({"pandas"}, [chain], {"pd": pandas})
    near.agree(key)
    del pandas.Series.shout
    assert near.changed({"pandas"}, [chain], {"pd": pandas}) == {key: GONE}
    assert far.put(key, len)
    assert far.put(key, GONE)
    assert "shout" not in vars(pandas.Series)


@pytest.mark.parametrize(
    "chain", [("sys", "stdout"), ("x", "y"), ("frame", "columns"), ("own", "y"), ("textwrap", "no_such")]
)
def test_what_is_nobody_elses(chain: tuple[str, ...]) -> None:
    own = types.ModuleType("own")
    space = {"sys": sys, "frame": pandas.DataFrame(), "own": own, "textwrap": textwrap}
    assert not Patches().changed({"sys", "pandas", "own", "textwrap"}, [chain], space)


def test_a_started_mock() -> None:
    patch = mock.patch("textwrap.shorten", len)
    patch.start()
    try:
        assert Patches().changed({"textwrap"}, [], {}) == {("textwrap", "shorten"): len}
    finally:
        patch.stop()


def test_nothing_to_set_it_on() -> None:
    assert not Patches().put(("no_such_module", "x"), 1)
    assert not Patches().put(("textwrap", "NoClass.x"), 1)
    assert not Patches().put(("builtins", "int.x"), 1)

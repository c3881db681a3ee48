"""Generators, options and filters of modules: taken on one end, in force on the other."""

from __future__ import annotations

import logging
import pickle
import random
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from cellferry.parcels.ambient import Ambient, plain_states
from cellferry.parcels.ambient_sources import SOURCES
from cellferry.parcels.parcel import PackPlan, pack

from .two_heaps import TwoHeaps, arrive


@pytest.fixture(autouse=True)
def filters_as_they_were() -> Iterator[None]:
    with warnings.catch_warnings():
        yield


def trip(states: dict[str, Any]) -> dict[str, Any]:
    return pickle.loads(pickle.dumps(states))


def _change_random() -> None:
    random.seed(7)


def _change_numpy_random() -> None:
    np.random.seed(7)


def _change_numpy() -> None:
    np.set_printoptions(precision=2, suppress=True)
    np.seterr(divide="ignore")


def _change_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    pandas.set_option("display.max_rows", 6)
    pandas.options.display.float_format = "{:.2f}".format


def _change_matplotlib() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.rcParams["lines.linewidth"] = 7
    matplotlib.rcParams["axes.prop_cycle"] = matplotlib.cycler(color=["red", "green"])
    matplotlib.rcParams["font.family"].append("monospace")


def _change_sklearn() -> None:
    pytest.importorskip("sklearn").set_config(transform_output="pandas")


def _change_torch() -> None:
    pytest.importorskip("torch").manual_seed(7)


def _change_filters() -> None:
    warnings.filterwarnings("ignore", message="noi[sz]e", category=UserWarning, module="some.where", lineno=3)


def _change_loggers() -> None:
    logging.getLogger("ambient.mine").propagate = False
    logging.getLogger("ambient.mine").setLevel(logging.INFO)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("{message}!", "%H", "{"))
    handler.setLevel(logging.INFO)
    logging.root.addHandler(handler)
    logging.root.setLevel(logging.INFO)


CHANGES = {
    "random": _change_random,
    "numpy.random": _change_numpy_random,
    "numpy options": _change_numpy,
    "pandas options": _change_pandas,
    "matplotlib options": _change_matplotlib,
    "sklearn options": _change_sklearn,
    "torch": _change_torch,
    "loggers": _change_loggers,
    "warning filters": _change_filters,
}


def test_every_source_is_tried() -> None:
    assert set(CHANGES) == set(SOURCES)


@pytest.mark.parametrize("name", CHANGES)
def test_a_state_is_in_force_at_the_other_end(name: str) -> None:
    """The two ends are one process here: changed, taken, changed back, given."""
    source = SOURCES[name]
    module = pytest.importorskip(source.module)
    before, near, far = source.take(module), Ambient(), Ambient()
    near.agree(near.changed())
    try:
        CHANGES[name]()
        states = near.changed()
        assert list(states) == [name]
        source.give(module, before)
        assert name == "loggers" or source.take(module) == before
        far.receive(trip(states))
        assert _comparable(source.take(module)) == _comparable(states[name])
        assert name not in far.changed()
    finally:
        source.give(module, before)
        logging.getLogger("ambient.mine").propagate = True
        logging.getLogger("ambient.mine").setLevel(0)


def _comparable(state: Any) -> Any:
    """With what functions do in place of the functions: copies of one are not equal."""
    return {k: v(1 / 3) if isinstance(v, types.BuiltinMethodType) else v for k, v in state.items()} if isinstance(state, dict) else state


def test_given_filters_count_at_once() -> None:
    warnings.simplefilter("error", np.exceptions.RankWarning)
    state = trip({"warning filters": SOURCES["warning filters"].take(warnings)})
    warnings.resetwarnings()
    Ambient().receive(state)
    with pytest.raises(np.exceptions.RankWarning):
        warnings.warn("polyfit", np.exceptions.RankWarning, stacklevel=1)


def test_a_logger_writes_at_the_other_end_as_it_does_here(capsys: pytest.CaptureFixture[str]) -> None:
    logger, ends = logging.getLogger("ambient.other"), TwoHeaps()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    try:
        ends.here["log"] = logger
        ends.send("log")
        assert ends.there["log"] is logger
        assert logger.handlers == [handler]  # it was so already
        parcel = pack(ends.near, {"log": logger}, PackPlan())
        logger.removeHandler(handler)
        arrive(parcel, ends.far)
        logger.error("said")
        assert capsys.readouterr().out == "ERROR said\n"
    finally:
        logger.handlers.clear()


def test_filters_of_classes_that_are_not_loaded_here_are_left_out_and_own_ones_stay() -> None:
    class Own(UserWarning):
        pass

    warnings.resetwarnings()
    warnings.simplefilter("always", Own)
    unknown = ("ignore", None, "not.loaded.here", "SomeWarning", None, 0)
    Ambient().receive({"warning filters": [unknown, ("error", None, "builtins", "UserWarning", None, 0)]})
    assert [(action, category) for action, _m, category, _w, _l in warnings.filters] == [
        ("error", UserWarning),
        ("always", Own),
    ]


def test_states_of_modules_that_are_not_loaded_wait() -> None:
    far = Ambient()
    far.receive({"not known": 1, "random": random.Random(3).getstate()})
    assert random.random() == random.Random(3).random()


def test_a_state_that_does_not_fit_this_version_changes_nothing() -> None:
    before = np.get_printoptions()
    Ambient().receive({"numpy options": ({"no such option": 1}, {})})
    assert np.get_printoptions() == before


def test_what_could_not_travel_is_no_state() -> None:
    Ambient().receive(object())


def test_plain_states_are_nothing_but_data() -> None:
    states = {"a": [1, ("b", {"c": None})], "b": {"float_format": print}, "c": {"d": [open]}}
    assert plain_states(states) == {"a": [1, ("b", {"c": None})]}

"""Generators, options and filters of modules: taken on one end, in force on the other."""

from __future__ import annotations

import csv
import decimal
import importlib
import locale
import logging
import pickle
import random
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellferry.parcels.ambient import Ambient, installed_sources, plain_states
from cellferry.parcels.ambient_sources import SOURCES
from cellferry.parcels.parcel import PackPlan, pack
from environment.wheelhouse import install_by_hand, make_wheel

from .notebook import SLOW_TO_LOAD
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


def _change_torch_settings() -> None:
    torch = pytest.importorskip("torch")
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("high")
    torch.set_printoptions(precision=2)


def _change_jax() -> None:
    pytest.importorskip("jax").config.update("jax_enable_x64", True)


def _change_decimal() -> None:
    decimal.getcontext().prec = 7
    decimal.getcontext().rounding = decimal.ROUND_UP
    decimal.getcontext().traps[decimal.Inexact] = True


def _change_locale() -> None:
    locale.setlocale(locale.LC_NUMERIC, "C.UTF-8" if locale.setlocale(locale.LC_NUMERIC) == "C" else "C")


def _change_interpreter() -> None:
    sys.setrecursionlimit(sys.getrecursionlimit() + 7)
    sys.set_int_max_str_digits(5000)


def _change_altair() -> None:
    altair = pytest.importorskip("altair")
    altair.data_transformers.enable("default", max_rows=7)
    altair.theme.enable("dark")
    altair.theme.register("of the notebook", enable=False)(_own_theme)


def _own_theme() -> Any:
    return {}


def _change_plotly() -> None:
    plotly = pytest.importorskip("plotly.io")
    plotly.templates["of the notebook"] = {"layout": {"font": {"size": 7}}}
    plotly.templates.default = "plotly_dark+of the notebook"


CHANGES = {
    "torch settings": _change_torch_settings,
    "jax settings": _change_jax,
    "decimal context": _change_decimal,
    "locale": _change_locale,
    "interpreter limits": _change_interpreter,
    "csv field size": lambda: csv.field_size_limit(77),
    "altair settings": _change_altair,
    "plotly settings": _change_plotly,
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


_LARGE = ("torch", "jax", "sklearn", "plotly.io", "altair")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW_TO_LOAD if SOURCES[name].module in _LARGE else ()) for name in CHANGES]
)
def test_a_state_is_in_force_at_the_other_end(name: str) -> None:
    """The two ends are one process here: changed, taken, changed back, given."""
    source = SOURCES[name]
    module = pytest.importorskip(source.module)
    if name == "torch settings":
        module.use_deterministic_algorithms(False)  # which loads more of torch, and that changes filters and loggers
    before, near, far = source.take(module), Ambient(), Ambient()
    near.agree(near.changed())
    try:
        CHANGES[name]()
        states = near.changed()
        assert list(states) == [name]
        source.give(module, before)
        assert name in ("loggers", "altair settings", "plotly settings") or source.take(module) == before
        far.receive(trip(states))
        assert _comparable(source.take(module)) == _comparable(states[name])
        assert name not in far.changed()
    finally:
        source.give(module, before)
        if name == "plotly settings":
            del module.templates["of the notebook"]
        logging.getLogger("ambient.mine").propagate = True
        logging.getLogger("ambient.mine").setLevel(0)


def _comparable(state: Any) -> Any:
    """With what functions do in place of the functions: copies of one are not equal."""
    return (
        {k: v(1 / 3) if isinstance(v, types.BuiltinMethodType) else v for k, v in state.items()}
        if isinstance(state, dict)
        else state
    )


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


def test_a_setting_that_cannot_be_in_force_here_is_named() -> None:
    far = Ambient()
    far.receive({"locale": {"LC_NUMERIC": "no_SUCH.locale"}})
    assert far.take_refused() == ["locale: 'no_SUCH.locale': unsupported locale setting"]
    assert not far.take_refused()


def test_a_state_waits_for_its_module_and_is_in_force_when_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late_settings.py").write_text("LEVEL = 1\ndef get():\n    return LEVEL\n")
    (tmp_path / "late_source.py").write_text(
        "from cellferry.parcels.ambient_source import Source\n"
        "def give(module, state):\n    module.LEVEL = state\n"
        "late = Source('late_settings', 'get', lambda module: module.get(), give)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    far = Ambient()
    far.know(["late_source:late", "late_source:missing", "no_such_module:late"])
    far.receive({"late_source:late": 5})
    assert importlib.import_module("late_settings").get() == 5
    assert "late_source:late" not in far.changed()
    sys.modules["late_settings"].LEVEL = 6
    assert far.changed()["late_source:late"] == 6


def test_states_of_installed_packages_are_found_by_their_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(
        tmp_path / "wheels", "with_state", "1.0",
        {
            "with_state.py": "from cellferry.parcels.ambient_source import Source\n"
            "state = Source('with_state', 'state', lambda m: 1, print)\n",
            "with_state-1.0.dist-info/entry_points.txt": "[cellferry.ambient]\nstate = with_state:state\n",
        },
    )  # fmt: skip
    install_by_hand(tmp_path / "site", wheel)
    monkeypatch.syspath_prepend(tmp_path / "site")
    installed_sources.cache_clear()
    assert list(installed_sources()) == ["with_state:state"]
    installed_sources.cache_clear()

"""The setting of the simulated cloud's weather: every wrong value is told, with what is valid."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import pytest
from traitlets import TraitError

from cellferry.config import Cellferry, from_environment
from cellferry.errors import BadValue
from cellferry.providers.registry import load_provider
from cellferry.providers.weather import EXAMPLE, FIELDS, Weather, weather_from


def test_every_field_is_known() -> None:
    assert set(FIELDS) == {field.name for field in fields(Weather)}
    assert weather_from({}) == Weather() and weather_from(asdict(Weather())) == Weather()
    assert weather_from({"boot_s": [0, 2]}).boot_s == (0, 2) and eval(EXAMPLE).keys() <= set(FIELDS)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"stock_out": "much"}, "a chance from 0 to 1"), ({"stock_out": 2}, "a chance from 0 to 1"), ({"leak": True}, "a chance"),
        ({"boot_s": 3}, "the least and the most"), ({"boot_s": (2, 1)}, "the least and the most"), ({"boot_s": (0, "x")}, "the most"),
        ({"spot_life_s": -1}, "None for never"), ({"notice_s": None}, "seconds"), ({"notice_s": float("nan")}, "seconds"),
    ],
)  # fmt: skip
def test_a_wrong_value(told: dict[str, Any], words: str) -> None:
    with pytest.raises(BadValue, match=words) as caught:
        load_provider("demo", Cellferry(demo_weather=told), lambda _folder: "")
    assert str(next(iter(told))) in caught.value.what and EXAMPLE in caught.value.advice


def test_a_wrong_field() -> None:
    with pytest.raises(BadValue, match="'sunny'") as caught:
        weather_from({"sunny": 1.0})
    assert all(name in caught.value.advice for name in FIELDS)


def test_what_is_no_dict_is_told_with_the_variable_that_said_it() -> None:
    with pytest.raises(TraitError, match=r"CELLFERRY_DEMO_WEATHER cannot be used: rain: that is no dict.*stock_out"):
        from_environment({"CELLFERRY_DEMO_WEATHER": "rain"})

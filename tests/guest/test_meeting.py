"""Which version two ends speak, if any."""

from __future__ import annotations

from typing import Any

import pytest

from cellferry.guest.meeting import agreed
from cellferry.parcels.wire import OLDEST_PROTOCOL, PROTOCOL


@pytest.mark.parametrize(
    ("hello", "version"),
    [
        ({"protocol": PROTOCOL, "oldest": OLDEST_PROTOCOL}, PROTOCOL),
        ({"protocol": PROTOCOL + 5, "oldest": PROTOCOL}, PROTOCOL),
        ({"protocol": PROTOCOL + 5, "oldest": PROTOCOL + 1}, None),
        ({"protocol": OLDEST_PROTOCOL - 1}, None),
        ({"protocol": PROTOCOL + 1}, None),
        ({}, None),
    ],
)
def test_the_newest_that_both_speak(hello: dict[str, Any], version: int | None) -> None:
    assert agreed(hello) == version

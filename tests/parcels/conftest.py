"""The other end, started once for all tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .notebook import FarProcess


@pytest.fixture(scope="session")
def far() -> Iterator[FarProcess]:
    process = FarProcess()
    yield process
    process.close()

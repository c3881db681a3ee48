"""The other end, started once for all tests of this room."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .notebook import FarProcess


@pytest.fixture(
    scope="session", autouse=True
)  # before the first test of any module: it must not count as left behind by one
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarProcess]:
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("torch")))
    process = FarProcess()
    yield process
    process.close()

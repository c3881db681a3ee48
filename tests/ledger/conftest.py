"""Every test runs on both databases: a new SQLite file, and a new database in a real PostgreSQL server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cellferry.config import Cellferry
from cellferry.ledger import Ledger, open_ledger

from .postgres import Server, programs


@pytest.fixture(scope="package", autouse=True)
def _running() -> Iterator[Server | None]:
    """One server for this folder, there before anybody counts processes; None where it is not installed."""
    found = programs()
    if found is None:
        yield None
        return
    server = Server(found)
    yield server
    server.end()


@pytest.fixture
def server(_running: Server | None) -> Server:
    """The server, or why there is none."""
    if _running is None:
        how = "PostgreSQL's server is not installed: `apt-get install postgresql`"
        if os.environ.get("CI") == "true":
            pytest.fail(how)
        pytest.skip(how)
    return _running


@dataclass(frozen=True)
class Database:
    """An empty database, and how a ledger in it is configured."""

    kind: str
    config: Cellferry
    name: str = ""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        yield Database("sqlite", Cellferry(state_dir=str(tmp_path / "state")))
        return
    server: Server = request.getfixturevalue("server")
    name = server.new_database()
    yield Database("postgres", Cellferry(ledger=server.url(name), state_dir=str(tmp_path / "state")), name)
    server.drop_database(name)


@pytest.fixture
def ledger(database: Database) -> Iterator[Ledger]:
    ledger = open_ledger(database.config)
    yield ledger
    ledger.close()

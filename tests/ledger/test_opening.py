"""Making, finding and refusing a ledger: migrations, files, servers, rights, and what is said when it does not work."""

from __future__ import annotations

import re
import sqlite3
import stat
import subprocess
import sys
import time
import traceback
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from cellferry.config import Cellferry
from cellferry.errors import LedgerError, LedgerUnavailable
from cellferry.ledger import Ledger, Limit, open_ledger, opening
from cellferry.ledger.failures import POSTGRES_ADVICE, Place
from cellferry.ledger.schema import REVISIONS, metadata

from .asks import NOW, ask, rows
from .conftest import Database
from .postgres import Server

SECRET = "p@ss/w0rd%"
QUOTED = "p%40ss%2Fw0rd%25"


# ---- migrations -------------------------------------------------------------------------------------------------------


def test_the_migrations_end_where_the_tables_are(ledger: Ledger) -> None:
    with ledger._writing() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        scripts = ScriptDirectory.from_config(opening.alembic_config(connection))
        assert tuple(reversed([script.revision for script in scripts.walk_revisions()])) == REVISIONS
    assert rows(ledger, "SELECT version_num FROM alembic_version") == [(REVISIONS[-1],)]


def test_opening_again_is_quick_and_without_alembic(database: Database) -> None:
    open_ledger(database.config).close()
    code = (
        "import sys, time\n"
        "from cellferry.config import Cellferry\n"
        "from cellferry.ledger import open_ledger\n"
        "assert 'sqlalchemy' not in sys.modules\n"
        "import sqlalchemy, cellferry.ledger.opening\n"
        "begun = time.process_time()\n"
        "ledger = open_ledger(Cellferry(ledger=sys.argv[1], state_dir=sys.argv[2]))\n"
        "print(time.process_time() - begun)\n"
        "ledger.close()\n"
        "assert 'alembic' not in sys.modules\n"
    )
    words = [sys.executable, "-c", code, database.config.ledger, database.config.state_dir]
    run = subprocess.run(words, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 1.0


def test_a_ledger_of_the_first_release_is_brought_up_to_date(database: Database) -> None:
    """With what is in it: no receipt of that time names a run."""
    ledger = open_ledger(database.config)
    with ledger._writing() as connection:
        connection.execute(text("ALTER TABLE receipts DROP COLUMN run"))
        connection.execute(text("DROP TABLE identity"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        connection.execute(text(
            "INSERT INTO receipts (token, kind, person, notebook, cell, worker, started_unix_s, ended_unix_s, microusd, estimated, day)"
            " VALUES ('t', 'cell', 'ana', 'a.ipynb', 'c1', 'train', 0, 5, 500, false, 0)"
        ))  # fmt: skip
    ledger.close()
    ledger = open_ledger(database.config)
    (found,) = ledger.receipts()
    assert (found.run, found.microusd) == ("", 500)
    ledger.note_cell(found)
    assert len(ledger.receipts()) == 1
    ledger.close()


def test_a_later_version_is_left_alone(database: Database) -> None:
    ledger = open_ledger(database.config)
    with ledger._writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    ledger.close()
    with pytest.raises(LedgerError, match=r"is of a later version of cellferry \(its tables are at 9999") as caught:
        open_ledger(database.config)
    assert caught.value.advice == "pip install -U cellferry"


def test_a_migration_that_fails_leaves_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = opening._upgrade

    def broken(connection: object) -> None:
        upgrade(connection)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(opening, "_upgrade", broken)
    with pytest.raises(KeyboardInterrupt):
        open_ledger(database.config)
    monkeypatch.undo()
    ledger = open_ledger(database.config)
    assert ledger.open() == []
    ledger.close()


# ---- the file ---------------------------------------------------------------------------------------------------------


def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite"


def emptied(path: Path) -> None:
    """As by `> ledger.sqlite`."""
    path.write_bytes(b"")


@pytest.fixture
def own(tmp_path: Path) -> Cellferry:
    return Cellferry(state_dir=str(tmp_path / "state"))


def test_the_file_is_for_its_owner_alone(own: Cellferry, tmp_path: Path) -> None:
    ledger = open_ledger(own)
    ledger.reserve(ask("t"), [], NOW)
    files = list(state(tmp_path).parent.iterdir())
    assert {path.name for path in files} >= {"ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(state(tmp_path).parent.stat().st_mode) == 0o700
    assert rows(ledger, "PRAGMA journal_mode") == [("wal",)] and rows(ledger, "PRAGMA synchronous") == [(2,)]
    ledger.close()
    state(tmp_path).chmod(0o644)
    open_ledger(own).close()
    assert stat.S_IMODE(state(tmp_path).stat().st_mode) == 0o600


def test_a_file_by_url(tmp_path: Path) -> None:
    ledger = open_ledger(Cellferry(ledger=f"sqlite:///{tmp_path}/mine.db"))
    assert ledger.place == str(tmp_path / "mine.db") and stat.S_IMODE((tmp_path / "mine.db").stat().st_mode) == 0o600
    ledger.close()


def test_opening_takes_no_lock_from_an_open_ledger(own: Cellferry, tmp_path: Path) -> None:
    ledger = open_ledger(own)
    with ledger._writing() as connection:
        connection.execute(text("DELETE FROM limits"))
        open_ledger(own).close()
        other = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
        run = subprocess.run([sys.executable, "-c", other, state(tmp_path)], capture_output=True, text=True)
        assert "database is locked" in run.stderr
    ledger.close()


def test_a_file_that_is_no_database(own: Cellferry, tmp_path: Path) -> None:
    state(tmp_path).parent.mkdir()
    state(tmp_path).write_bytes(b"something else entirely" * 100)
    with pytest.raises(LedgerError, match="file is not a database") as caught:
        open_ledger(own)
    assert "remove it" in caught.value.advice and caught.value.__cause__ is not None


def test_an_emptied_file_is_not_filled_again_unasked(own: Cellferry, tmp_path: Path) -> None:
    """Its limits, and what was spent under them, would be forgotten without a word."""
    ledger = open_ledger(own)
    ledger.set_limit(Limit("day", "", 5), "ana")
    name = ledger.id
    ledger.close()
    emptied(state(tmp_path))
    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match="is empty") as caught:
            open_ledger(own)
        assert f"{state(tmp_path)}-wal" in caught.value.advice and "cellferry reap" in caught.value.advice
    state(tmp_path).unlink()
    again = open_ledger(own)
    assert again.id == name and len(name) == 32, "it finds the machines of the one before"
    assert again.limits("ana", "") == []
    again.close()


def test_a_file_that_is_emptied_under_an_open_ledger(own: Cellferry, tmp_path: Path) -> None:
    ledger = open_ledger(own)
    ledger.reserve(ask("t"), [], NOW)
    ledger.close()  # what is in the log goes into the file
    emptied(state(tmp_path))
    with pytest.raises(LedgerUnavailable) as caught:
        ledger.started("t", "", NOW)
    assert "put it back from a copy" in caught.value.advice and not ledger.replaced
    ledger.close()
    for path in state(tmp_path).parent.glob("ledger.sqlite*"):
        if not path.name.endswith("-id"):
            path.unlink()
    assert ledger.replaced
    again = open_ledger(own)
    assert again.get("t") is None and again.id
    again.close()


def test_a_database_of_something_else(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mine.db") as other:
        other.execute("CREATE TABLE pictures (n)")
    other.close()
    with pytest.raises(LedgerError, match=r"something else \(its tables: pictures\)") as caught:
        open_ledger(Cellferry(ledger=f"sqlite:///{tmp_path}/mine.db"))
    assert "c.Cellferry.ledger" in caught.value.advice


def test_a_full_disk(own: Cellferry) -> None:
    ledger = open_ledger(own)
    ledger.reserve(ask("t"), [], NOW)
    with ledger._writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1")  # SQLite's own limit gives the same code as a full disk
    with pytest.raises(LedgerError, match="full") as caught:
        ledger.started("t", "x" * 1_000_000, NOW)
    assert "make room" in caught.value.advice and "xxx" not in "".join(traceback.format_exception(caught.value))
    row = ledger.get("t")
    assert row is not None and row.state == "reserved"
    ledger.close()


def test_a_file_that_another_keeps_locked(own: Cellferry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUSY_S", 0.1)
    ledger = open_ledger(own)
    other = sqlite3.connect(state(tmp_path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="database is locked") as caught:
        ledger.reserve(ask("t"), [], NOW)
    assert f"fuser -v {state(tmp_path)}" in caught.value.advice
    assert ledger.open() == [], "readers do not wait"
    other.rollback()
    other.close()
    ledger.reserve(ask("t"), [], NOW)
    ledger.close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError) as caught:
        open_ledger(Cellferry(state_dir=str(tmp_path / "file" / "state")))
    assert "c.Cellferry.state_dir" in caught.value.advice
    with pytest.raises(LedgerError):
        open_ledger(Cellferry(ledger=f"sqlite:///{tmp_path}/none/mine.db"))


# ---- the setting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [f"nonsense {SECRET}", f"mysql://me:{QUOTED}@host/db", "sqlite://", "sqlite:///:memory:", f"x://{SECRET}:a:b@"],
)
def test_what_is_no_ledger(url: str) -> None:
    with pytest.raises(LedgerError) as caught:
        open_ledger(Cellferry(ledger=url))
    assert "postgresql+psycopg://HOST/NAME" in caught.value.advice
    said = "".join(traceback.format_exception(caught.value))
    assert SECRET not in said and QUOTED not in said


def test_a_driver_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerError) as caught:
        open_ledger(Cellferry(ledger="postgresql://host/name"))
    assert caught.value.advice == "pip install 'cellferry[postgres]'"


def test_places_are_shown_without_passwords() -> None:
    url = opening._url(f"postgres://me:{QUOTED}@db:5433/team?sslpassword={QUOTED}&sslmode=require")
    assert url is not None and url.drivername == "postgresql+psycopg"
    place = Place.of(url)
    assert place.text == "postgresql://me@db:5433/team"
    assert place.clean(f"in {SECRET} and {QUOTED}") == "in *** and ***" and SECRET not in repr(place)


# ---- the server -------------------------------------------------------------------------------------------------------


@pytest.fixture
def team(server: Server) -> object:
    name = server.new_database()
    yield server, name
    server.drop_database(name)


def failing(url: str) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        open_ledger(Cellferry(ledger=url))
    said = "".join(traceback.format_exception(caught.value))
    assert SECRET not in said and QUOTED not in said
    return caught.value


def test_passwords(team: tuple[Server, str]) -> None:
    server, name = team
    server.execute(f"DROP ROLE IF EXISTS locked; CREATE ROLE locked LOGIN PASSWORD '{SECRET}'")
    server.execute("GRANT CREATE ON SCHEMA public TO locked", name)
    url = server.url(name, "locked")
    right = url.replace("locked@", f"locked:{QUOTED}@")
    ledger = open_ledger(Cellferry(ledger=right))
    assert ledger.place.endswith(f"/{name}") and SECRET not in repr(ledger) and QUOTED not in repr(ledger)
    ledger.close()
    for wrong in (url, right.replace("word", "").replace("w0rd", SECRET[:2] + "no")):
        assert failing(wrong).advice == POSTGRES_ADVICE["28P01"]
    server.execute("DROP OWNED BY locked", name)
    server.execute("DROP ROLE locked")


def test_a_server_or_database_that_is_not_there(server: Server) -> None:
    error = failing(server.url("nowhere").replace("owner@", f"owner:{QUOTED}@"))
    assert "nowhere" in error.what and error.advice == POSTGRES_ADVICE["3D000"]
    error = failing(f"postgresql://me:{QUOTED}@/x?host=/nowhere")
    assert "the ledger postgresql://me@/nowhere/x cannot be used" in error.what and "database server" in error.advice


def test_least_rights_are_enough_once_the_tables_are_there(team: tuple[Server, str]) -> None:
    """As docs/how-to/share-a-ledger.md says."""
    server, name = team
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "share-a-ledger.md").read_text()
    grants = re.search(r"```sql\n(.*?)```", page, re.S)
    assert grants is not None
    server.execute("DROP ROLE IF EXISTS ana; DROP ROLE IF EXISTS cellferry_people; CREATE ROLE ana LOGIN")
    for line in grants[1].replace("\n", " ").split(";"):
        if "CREATE ROLE" in line:
            server.execute(line)
    assert "may not make them" in failing(server.url(name, "ana")).what
    open_ledger(Cellferry(ledger=server.url(name))).close()
    assert failing(server.url(name, "ana")).advice == POSTGRES_ADVICE["42501"]
    for line in grants[1].replace("\n", " ").split(";"):
        if line.strip() and "CREATE ROLE" not in line:
            server.execute(line, name)
    ledger = open_ledger(Cellferry(ledger=server.url(name, "ana")))
    ledger.reserve(ask("t"), [Limit("day", "", 10**7)], NOW)
    ledger.started("t", "", NOW)
    ledger.end("t", NOW + 10)
    ledger.set_limit(Limit("day", "", 5), "ana")
    assert ledger.limits("ana", "") == [Limit("day", "", 5)] and ledger.costs()[0].machine_microusd == 1000
    ledger.close()
    server.execute("DROP OWNED BY cellferry_people", name)
    server.execute("DROP ROLE ana; DROP ROLE cellferry_people")


def test_a_server_that_drops_a_connection(team: tuple[Server, str]) -> None:
    server, name = team
    ledger = open_ledger(Cellferry(ledger=server.url(name)))
    ledger.reserve(ask("t"), [], NOW)
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    assert ledger.started("t", "", NOW).state == "running"
    ledger.close()


def test_one_who_stands_still_in_a_transaction_is_not_waited_for(
    team: tuple[Server, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop that is put to sleep in the middle of a transaction."""
    server, name = team
    monkeypatch.setattr(opening, "POSTGRES_LOCK", opening.POSTGRES_LOCK.replace("{stalled_s}s", "300ms"))
    config = Cellferry(ledger=server.url(name))
    one, other = open_ledger(config), open_ledger(config)
    with pytest.raises(LedgerError), one._writing() as connection:
        connection.execute(text("DELETE FROM limits"))
        begun = time.monotonic()
        other.reserve(ask("t"), [], NOW)
        assert time.monotonic() - begun < 10
        connection.execute(text("DELETE FROM limits"))
    one.close()
    other.close()


def test_a_lock_that_somebody_keeps(team: tuple[Server, str], monkeypatch: pytest.MonkeyPatch) -> None:
    server, name = team
    monkeypatch.setattr(opening, "BUSY_S", 0.1)
    ledger = open_ledger(Cellferry(ledger=server.url(name)))
    with psycopg.connect(server.address(name)) as other:
        other.execute(f"SELECT pg_advisory_xact_lock({opening.LOCK_KEY})")
        with pytest.raises(LedgerError) as caught:
            ledger.reserve(ask("t"), [], NOW)
        assert caught.value.advice == POSTGRES_ADVICE["55P03"]
        assert ledger.open() == [], "readers do not wait"
    ledger.reserve(ask("t"), [], NOW)
    ledger.close()

"""How a ledger is opened: which database, with which connections, and its tables brought up to date."""

from __future__ import annotations

import fcntl
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, select, text, update
from sqlalchemy.exc import ArgumentError, OperationalError

from cellferry.config import Cellferry, state_folder
from cellferry.errors import LedgerError, LedgerUnavailable
from cellferry.ledger.failures import EMPTIED_ADVICE, OWNER_ADVICE, Place, mapped
from cellferry.ledger.ledger import Ledger
from cellferry.ledger.schema import REVISIONS, identity

NAME = "ledger.sqlite"
BUSY_S = 60.0
"""How long a transaction waits for those of others; each takes a few milliseconds, but fifty may come at once on a busy machine."""
STALLED_S = 15
"""A PostgreSQL client that stands still within a transaction (a laptop put to sleep) loses it after this time."""
POSTGRES_WAITS = {"connect_timeout": 10, "tcp_user_timeout": 20_000}
"""Seconds for a connection, milliseconds for an answer over a network that is gone (libpq's parameters)."""
TRY_S = 0.3
"""How long SQLite itself waits, before we let it begin anew: a new try looks more often than an old one."""
PAUSE_S = 0.02
WRITES = "cellferry_writes"
WAIT_S = "cellferry_wait_s"
"""Of a transaction, another patience than ``BUSY_S``."""
LOCK_KEY = 0x63656C6C666572
"""PostgreSQL's advisory lock for whoever changes a ledger: any number, the same for all."""

POSTGRES_LOCK = """
WITH patience AS MATERIALIZED (
    SELECT set_config('lock_timeout', '{wait_ms}ms', true),
           set_config('idle_in_transaction_session_timeout', '{stalled_s}s', true)
)
SELECT pg_advisory_xact_lock({key}) FROM patience
"""
"""One round trip: the limits of patience, which end with the transaction, and then the lock, which does too."""

_opening = threading.Lock()


def open_database(config: Cellferry) -> Ledger:
    """``ledger.open_ledger``, after SQLAlchemy is loaded."""
    url = _url(config.ledger)
    if url is None or url.get_backend_name() == "sqlite":
        path = _path(config, url)
        place = Place.of(path)
        with mapped(place), _opening, _made_by_one(path):
            fresh = _make_private(path)
            engine = sqlite_engine(path)
            with _disposed_on_error(engine):
                if _revision(engine) != REVISIONS[-1]:
                    with nullcontext() if fresh else _one_at_a_time(path):
                        _bring_up_to_date(engine, place, path, fresh)
            return Ledger(engine, place, path)
    place, engine = Place.of(url), _postgres(url)
    with _disposed_on_error(engine), mapped(place):
        if _revision(engine) != REVISIONS[-1]:
            _bring_up_to_date(engine, place, None, fresh=False)
    return Ledger(engine, place)


@contextmanager
def _disposed_on_error(engine: Engine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


# -- which ----------------------------------------------------------------------------------------------------------


def _url(told: str) -> URL | None:
    """The setting, understood; None: the user's own file. Raises LedgerError, which does not repeat the setting."""
    advice = 'write c.Cellferry.ledger = "postgresql+psycopg://HOST/NAME", or leave it empty for a file of yours'
    if not told.strip():
        return None
    try:
        url = make_url(told.strip())
    except (ArgumentError, ValueError):
        raise LedgerError("c.Cellferry.ledger is not the URL of a database", advice) from None
    if url.get_backend_name() in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        return url
    raise LedgerError(
        f"a ledger cannot be kept in {url.get_backend_name()}: it is a SQLite file or in PostgreSQL", advice
    )


def _path(config: Cellferry, url: URL | None) -> Path:
    if url is not None:
        return Path(url.database or NAME).expanduser()
    with mapped(Place("in the state folder")):
        return state_folder(config) / NAME


def _make_private(path: Path) -> bool:
    """The file is ours alone before anything is in it; SQLite gives its companions the same mode. Whether it was made now.

    One that is there is not opened to look at it: closing any descriptor of a file lets go of this process's locks on
    it, those of an open ledger included (POSIX).
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return False
    return True


# -- the connections ------------------------------------------------------------------------------------------------


def sqlite_engine(path: Path) -> Engine:
    """Connections to the file, each transaction of which waits for its turn."""
    url = URL.create("sqlite+pysqlite", database=str(path))
    # No isolation level: the driver begins no transaction of its own, ``begin`` below does.
    engine = create_engine(url, connect_args={"timeout": TRY_S, "isolation_level": None}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        # FULL: a row is on the disk before a machine is asked for, also if the power fails in between.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        _begin(connection, bool(options.get(WRITES)), options.get(WAIT_S, BUSY_S))

    return engine


def _begin(connection: Connection, writes: bool, wait_s: float) -> None:
    """Begin a transaction, as soon as others let us. Raises what SQLite raises, after ``wait_s``.

    SQLite's own patience is not enough: there are moments in which it does not wait at all (somebody recovers or removes the
    log), and whoever has waited for long looks seldom, so that newcomers overtake it again and again.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            # IMMEDIATE: two that read before they write would both go on from the same sum.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
            if not writes:
                connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1")  # what it sees is settled here
            return
        except OperationalError as error:
            if not writes and connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
                connection.exec_driver_sql("ROLLBACK")
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0, PAUSE_S))


def _is_busy(error: OperationalError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _postgres(url: URL) -> Engine:
    try:
        engine = create_engine(
            url,
            pool_pre_ping=True,  # a connection that a sleeping laptop lost is noticed before it is used
            connect_args={name: value for name, value in POSTGRES_WAITS.items() if name not in url.query},
            hide_parameters=True,
            # A writer has the lock, and must see what those before it did, so each statement looks anew.
            isolation_level="READ COMMITTED",
        )
    except ImportError as exc:
        raise LedgerError(
            "a ledger in PostgreSQL needs the package psycopg, which is not installed here",
            "pip install 'cellferry[postgres]'",
        ) from exc

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get(WRITES):
            wait_ms = round(1000 * options.get(WAIT_S, BUSY_S))
            connection.exec_driver_sql(POSTGRES_LOCK.format(wait_ms=wait_ms, stalled_s=STALLED_S, key=LOCK_KEY))

    return engine


# -- the tables -----------------------------------------------------------------------------------------------------


def _revision(engine: Engine) -> str:
    """What the tables are at; "" for a database without them. Quick: every open asks it."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            there = connection.scalar(text("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"))
        else:
            there = connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL"))
        return str(connection.scalar(text("SELECT version_num FROM alembic_version")) or "") if there else ""


def _bring_up_to_date(engine: Engine, place: Place, path: Path | None, fresh: bool) -> None:
    """Run the migrations that are missing, in one transaction; of several processes, one does it. ``fresh``: the file was made
    a moment ago."""
    if path is not None:
        _check_file(engine, place, path, fresh)
        with engine.connect() as connection:
            driver: Any = connection.connection
            driver.execute(f"PRAGMA busy_timeout={round(BUSY_S * 1000)}")
            driver.execute("PRAGMA journal_mode=WAL")  # for ever, and with nobody else in the file
            driver.execute(f"PRAGMA busy_timeout={round(TRY_S * 1000)}")
    writing = engine.execution_options(**{WRITES: True})
    with writing.connect() as connection, connection.begin():
        found = _revision_within(connection)
        if found == REVISIONS[-1]:
            return
        if found and found not in REVISIONS:
            raise LedgerError(
                f"the ledger {place.text} is of a later version of cellferry (its tables are at {found}, known here: "
                f"{REVISIONS[-1]})",
                "pip install -U cellferry",
            )
        _check_may_create(connection, place)
        _upgrade(connection)
        if path is not None:
            _keep_identity(connection, path)


def _check_file(engine: Engine, place: Place, path: Path, fresh: bool) -> None:
    """Raises LedgerUnavailable for a file that once was a ledger and is empty, and LedgerError for a database of somebody else."""
    with engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
    if tables and not tables & {"reservations", "alembic_version"}:
        raise LedgerError(
            f"{place.text} is a database of something else (its tables: {', '.join(sorted(tables)[:5])})",
            "name another file in c.Cellferry.ledger, or leave it empty for a file of yours",
        )
    if not tables and not fresh and _identity_file(path).exists():
        raise LedgerUnavailable(
            f"the ledger {place.text} is empty: what was spent, the limits, and which machines run are not in it any more",
            EMPTIED_ADVICE.format(place=place.text),
        )


def _identity_file(path: Path) -> Path:
    """The ledger's name, beside it: one that is made anew in its place goes on under it, and finds the machines of the old one."""
    return path.with_name(path.name + "-id")


def _keep_identity(connection: Connection, path: Path) -> None:
    kept = _identity_file(path)
    try:
        name = kept.read_text("utf-8").strip()
    except FileNotFoundError:
        name = ""
    if name:
        connection.execute(update(identity).values(id=name))
        return
    name = str(connection.scalar(select(identity.c.id)))
    descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(name)


def _revision_within(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")) or "")


def _check_may_create(connection: Connection, place: Place) -> None:
    if connection.dialect.name == "postgresql" and not connection.scalar(
        text("SELECT has_schema_privilege(current_schema(), 'CREATE')")
    ):
        raise LedgerError(
            f"the ledger {place.text} has no tables of this version yet, and you may not make them",
            f"let its owner open it once with this version (`cellferry cost`); {OWNER_ADVICE}",
        )


def _upgrade(connection: Connection) -> None:
    from alembic import command

    command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> Any:
    """What Alembic's commands want: the scripts of this package, and a connection in a transaction of ours."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _made_by_one(path: Path) -> Iterator[None]:
    """Whoever finds no file makes it, and is alone until its tables are there: a file without them is one that was emptied."""
    with nullcontext() if path.exists() else _one_at_a_time(path):
        yield


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """By a lock file beside it: changing SQLite's journal mode fails at once if somebody else is in."""
    lock = path.with_name(path.name + "-lock")
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

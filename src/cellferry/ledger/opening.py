"""How a ledger is opened: which database, with which connections, and its tables brought up to date."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError

from cellferry.config import Cellferry, state_folder
from cellferry.errors import LedgerError
from cellferry.ledger.failures import OWNER_ADVICE, Place, mapped
from cellferry.ledger.ledger import Ledger
from cellferry.ledger.schema import REVISIONS

NAME = "ledger.sqlite"
BUSY_S = 10.0
"""How long a transaction waits for those of others; each takes a few milliseconds."""
STALLED_S = 15
"""A PostgreSQL client that stands still within a transaction (a laptop put to sleep) loses it after this time."""
POSTGRES_WAITS = {"connect_timeout": 10, "tcp_user_timeout": 20_000}
"""Seconds for a connection, milliseconds for an answer over a network that is gone (libpq's parameters)."""
WRITES = "cellferry_writes"
LOCK_KEY = 0x63656C6C666572
"""PostgreSQL's advisory lock for whoever changes a ledger: any number, the same for all."""

POSTGRES_LOCK = f"""
WITH patience AS MATERIALIZED (
    SELECT set_config('lock_timeout', '{int(BUSY_S)}s', true),
           set_config('idle_in_transaction_session_timeout', '{STALLED_S}s', true)
)
SELECT pg_advisory_xact_lock({LOCK_KEY}) FROM patience
"""
"""One round trip: the limits of patience, which end with the transaction, and then the lock, which does too."""

_opening = threading.Lock()


def open_database(config: Cellferry) -> Ledger:
    """``ledger.open_ledger``, after SQLAlchemy is loaded."""
    url = _url(config.ledger)
    if url is None or url.get_backend_name() == "sqlite":
        path = _path(config, url)
        place = Place.of(path)
        with mapped(place), _opening:
            _make_private(path)
            engine = _sqlite(path)
    else:
        place, engine, path = Place.of(url), _postgres(url), None
    try:
        with mapped(place):
            if _revision(engine) != REVISIONS[-1]:
                _bring_up_to_date(engine, place, path)
    except BaseException:
        engine.dispose()
        raise
    return Ledger(engine, place)


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


def _make_private(path: Path) -> None:
    """The file is ours alone before anything is in it; SQLite gives its companions the same mode.

    One that is there is not opened to look at it: closing any descriptor of a file lets go of this process's locks on
    it, those of an open ledger included (POSIX).
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


# -- the connections ------------------------------------------------------------------------------------------------


def _sqlite(path: Path) -> Engine:
    url = URL.create("sqlite+pysqlite", database=str(path))
    # No isolation level: the driver begins no transaction of its own, ``begin`` below does.
    engine = create_engine(url, connect_args={"timeout": BUSY_S, "isolation_level": None}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        # FULL: a row is on the disk before a machine is asked for, also if the power fails in between.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # IMMEDIATE: two that read before they write would both go on from the same sum.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(WRITES) else "BEGIN")

    return engine


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
        if connection.get_execution_options().get(WRITES):
            connection.exec_driver_sql(POSTGRES_LOCK)

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


def _bring_up_to_date(engine: Engine, place: Place, path: Path | None) -> None:
    """Run the migrations that are missing, in one transaction; of several processes, one does it."""
    with _one_at_a_time(path):
        if path is not None:
            with engine.connect() as connection:
                driver: Any = connection.connection
                driver.execute("PRAGMA journal_mode=WAL")  # for ever, and with nobody else in the file
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
def _one_at_a_time(path: Path | None) -> Iterator[None]:
    """For a file, by a lock file beside it: changing SQLite's journal mode fails at once if somebody else is in."""
    if path is None:
        yield  # PostgreSQL's lock does it
        return
    lock = path.with_name(path.name + "-lock")
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

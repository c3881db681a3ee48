"""What a database says when it cannot: one LedgerError, with the next thing to type and without the password."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from cellferry.errors import LedgerUnavailable

OWNER_ADVICE = "let the one who owns the database grant it: docs/how-to/share-a-ledger.md has the lines"
LOOK_ADVICE = "look at c.Cellferry.ledger, and at the database server; then run the cell again"

EMPTIED_ADVICE = (
    "put it back from a copy, or begin anew: remove it and what lies beside it with its name ({place}-wal, {place}-shm), set the "
    "limits again (`cellferry budget`), and type `cellferry reap`, which ends the machines that it paid for"
)
"""For a file without our tables. It is never filled again unasked: what was spent, and every limit, would be forgotten silently."""

POSTGRES_ADVICE = {
    "28P01": "the password is wrong: put the right one into ~/.pgpass (mode 0600), or into c.Cellferry.ledger",
    "28000": "the server does not let this user in: ask for an entry in its pg_hba.conf",
    "3D000": "make the database first: `createdb NAME`, or correct its name in c.Cellferry.ledger",
    "42501": OWNER_ADVICE,
    "42P01": "its tables are gone: put the database back from a copy, or open it once with `cellferry cost`, which makes them anew",
    "25006": "this server is a read-only copy: name the primary one in c.Cellferry.ledger",
    "53100": "the disk of the database server is full: make room there; no machine was asked for",
    "55P03": "somebody else keeps the ledger locked: try again; the one who does it is in pg_stat_activity",
    "57P03": "the server is starting up or shutting down: try again",
}
"""By SQLSTATE (PostgreSQL's manual, appendix A)."""

SQLITE_ADVICE = {
    sqlite3.SQLITE_BUSY: "another process keeps it locked: end that one (`fuser -v {place}` names it), or try again",
    sqlite3.SQLITE_FULL: "the disk is full: make room; no machine was asked for",
    sqlite3.SQLITE_IOERR: "the disk may be full or broken: make room, or set c.Cellferry.state_dir to another one",
    sqlite3.SQLITE_ERROR: f"its tables are not there any more, somebody has emptied or replaced it: {EMPTIED_ADVICE}",
    sqlite3.SQLITE_NOTADB: f"it is no database; {EMPTIED_ADVICE}",
    sqlite3.SQLITE_CORRUPT: f"it is damaged; {EMPTIED_ADVICE}",
    sqlite3.SQLITE_READONLY: "it cannot be written: `chmod u+w {place}`, or set c.Cellferry.state_dir to a folder of yours",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: look at the rights of its folder, or set c.Cellferry.state_dir to one of yours",
}
"""By primary result code (https://www.sqlite.org/rescode.html)."""


@dataclass(frozen=True)
class Place:
    """Where a ledger is, as it may be shown: no password, and nothing of a URL's query, where one may be too."""

    text: str
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Place({self.text!r})"

    @classmethod
    def of(cls, url: URL | Path) -> Place:
        if isinstance(url, Path):
            return cls(str(url))
        values = [value for found in url.query.values() for value in ([found] if isinstance(found, str) else found)]
        hidden = [str(url.password)] if url.password else []
        hidden += [value for name, value in url.query.items() if "pass" in name and isinstance(value, str)]
        user = f"{url.username}@" if url.username else ""
        host = url.host or next((value for value in values if value.startswith("/")), "")
        port = f":{url.port}" if url.port else ""
        return cls(f"{url.get_backend_name()}://{user}{host}{port}/{url.database or ''}", tuple(hidden))

    def clean(self, text: str) -> str:
        """The text without what must not be shown, in every form in which it stands in a URL."""
        for secret in self.secrets:
            for form in {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}:
                text = text.replace(form, "***")
        return text


@contextmanager
def mapped(place: Place) -> Iterator[None]:
    """Raises LedgerUnavailable for everything that a database, its driver or its file raises."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as exc:
        error = _error(exc, place)
        if place.clean(str(exc)) != str(exc):
            raise error from None  # the words of the driver hold the password
        raise error from exc


def _error(exc: Exception, place: Place) -> LedgerUnavailable:
    original = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
    words = " ".join(place.clean(str(original)).split())
    return LedgerUnavailable(
        f"the ledger {place.text} cannot be used: {words}", _advice(original).format(place=place.text)
    )


def _advice(original: Any) -> str:
    code = getattr(original, "sqlite_errorcode", None)
    if code is not None:
        return SQLITE_ADVICE.get(code & 0xFF, "set c.Cellferry.state_dir to another folder, or type `cellferry doctor`")
    if isinstance(original, OSError):
        return "make its folder writable, or set c.Cellferry.state_dir to a folder that you can write to"
    state = getattr(original, "sqlstate", None)
    if state is not None:
        return POSTGRES_ADVICE.get(state, LOOK_ADVICE)
    return next((advice for word, advice in _BY_WORDS if word in str(original)), LOOK_ADVICE)


_BY_WORDS = (
    ("password authentication failed", POSTGRES_ADVICE["28P01"]),
    ("no password supplied", POSTGRES_ADVICE["28P01"]),
    ("no pg_hba.conf entry", POSTGRES_ADVICE["28000"]),
    ("Peer authentication failed", POSTGRES_ADVICE["28000"]),
    ("does not exist", POSTGRES_ADVICE["3D000"]),
)
"""A connection that was refused has no SQLSTATE in psycopg 3, only libpq's words."""

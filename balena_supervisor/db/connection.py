"""Opening the database and writing to it, with errors that a person understands (design: SQLite rules)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peewee

from balena_supervisor.errors import DatabaseRefused

BUSY_TIMEOUT_S = 5.0


def open_database(path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> peewee.SqliteDatabase:
    """Open a migrated database in this process.

    An accepted write survives a power cut (``synchronous=FULL``); readers never wait for a writer (WAL); a writer
    waits ``busy_timeout_s`` for another one. Raises ``DatabaseRefused``.
    """
    if not path.is_file():
        raise DatabaseRefused(f"cannot open the database {path}: there is no such file", path=str(path))
    database = peewee.SqliteDatabase(
        str(path),
        timeout=busy_timeout_s,
        pragmas={"journal_mode": "wal", "synchronous": "full", "foreign_keys": 0},
    )
    with refusing("open", path):
        database.connect()
    return database


@contextmanager
def writing(database: peewee.SqliteDatabase) -> Iterator[None]:
    """One transaction that takes the write lock at its beginning; inside another one it is a part of that.

    Nothing is written when the body raises. Raises ``DatabaseRefused`` when the database is locked or the disk full.
    """
    with refusing("write", database.database), database.atomic("IMMEDIATE"):
        yield


@contextmanager
def reading(database: peewee.SqliteDatabase) -> Iterator[None]:
    """Reads that belong together: they see one state of the database. Raises ``DatabaseRefused``."""
    with refusing("read", database.database), database.atomic():
        yield


def tuples(query: Any, database: peewee.SqliteDatabase) -> list[tuple[Any, ...]]:
    """The rows of a select as tuples of its columns. (The types of peewee know selects of whole models only.)"""
    return list(query.tuples().bind(database))


def dicts(query: Any, database: peewee.SqliteDatabase) -> list[dict[str, Any]]:
    """The rows of a select by the names of the model's fields."""
    return list(query.dicts().bind(database))


@contextmanager
def refusing(what: str, path: object) -> Iterator[None]:
    """Turn what SQLite raises into ``DatabaseRefused``: "cannot write the database …: database is locked"."""
    try:
        yield
    except (peewee.PeeweeException, sqlite3.Error) as error:
        raise DatabaseRefused(f"cannot {what} the database {path}: {_root_of(error)}", path=str(path)) from error


def _root_of(error: BaseException) -> BaseException:
    """With a full disk SQLite ends the transaction itself, and the rollback that follows fails: that says nothing."""
    while isinstance(error.__context__, peewee.PeeweeException | sqlite3.Error):
        error = error.__context__
    return error

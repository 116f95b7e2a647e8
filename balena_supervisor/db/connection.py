"""Opening the database and writing to it, with errors that a person understands (design: SQLite rules)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peewee

from balena_supervisor.errors import DatabaseDamaged, DatabaseRefused

BUSY_TIMEOUT_S = 5.0
#: A page that the disk cannot read any more is as good as a torn one: another file has other blocks.
_DAMAGE = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS})
_PRIMARY_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Database(peewee.SqliteDatabase):
    """``on_damage`` is called with the reason, from any thread, whenever a read or write meets damage."""

    on_damage: Callable[[str], None] | None = None


def open_database(
    path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S, on_damage: Callable[[str], None] | None = None
) -> Database:
    """Open a migrated database in this process.

    An accepted write survives a power cut (``synchronous=FULL``); readers never wait for a writer (WAL); a writer
    waits ``busy_timeout_s`` for another one. Raises ``DatabaseRefused``.
    """
    if not path.is_file():
        raise DatabaseRefused(f"cannot open the database {path}: there is no such file", path=str(path))
    database = Database(
        str(path),
        timeout=busy_timeout_s,
        pragmas={"journal_mode": "wal", "synchronous": "full", "foreign_keys": 0},
    )
    database.on_damage = on_damage
    with _guarding(database, "open"):
        database.connect()
    return database


@contextmanager
def writing(database: peewee.SqliteDatabase) -> Iterator[None]:
    """One transaction that takes the write lock at its beginning; inside another one it is a part of that.

    Nothing is written when the body raises. Raises ``DatabaseRefused`` when the database is locked or the disk full.
    """
    with _guarding(database, "write"), database.atomic("IMMEDIATE"):
        yield


@contextmanager
def reading(database: peewee.SqliteDatabase) -> Iterator[None]:
    """Reads that belong together: they see one state of the database. Raises ``DatabaseRefused``."""
    with _guarding(database, "read"), database.atomic():
        yield


def tuples(query: Any, database: peewee.SqliteDatabase) -> list[tuple[Any, ...]]:
    """The rows of a select as tuples of its columns. (The types of peewee know selects of whole models only.)"""
    return list(query.tuples().bind(database))


def dicts(query: Any, database: peewee.SqliteDatabase) -> list[dict[str, Any]]:
    """The rows of a select by the names of the model's fields."""
    return list(query.dicts().bind(database))


@contextmanager
def refusing(what: str, path: object) -> Iterator[None]:
    """Turn what SQLite raises into ``DatabaseRefused``: "cannot write the database …: database is locked".

    Damage becomes ``DatabaseDamaged``.
    """
    try:
        yield
    except (peewee.PeeweeException, sqlite3.Error) as error:
        root = _root_of(error)
        kind = DatabaseDamaged if _is_damage(root) else DatabaseRefused
        raise kind(f"cannot {what} the database {path}: {root}", path=str(path)) from error
    except UnicodeDecodeError as error:  # also of names that stand in SQLite's own messages
        text = f"cannot {what} the database {path}: it holds what is no text"
        raise DatabaseDamaged(text, path=str(path)) from error


@contextmanager
def _guarding(database: peewee.SqliteDatabase, what: str) -> Iterator[None]:
    """As ``refusing``; damage is told to ``on_damage`` too."""
    try:
        with refusing(what, database.database):
            yield
    except DatabaseDamaged as error:
        if isinstance(database, Database) and database.on_damage is not None:
            database.on_damage(error.message)
        raise


def _is_damage(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # the one that is Python's own: it cannot decode a text
        return isinstance(error, sqlite3.OperationalError)
    return code in _DAMAGE or code & 0xFF in _PRIMARY_DAMAGE


def _root_of(error: BaseException) -> BaseException:
    """With a full disk SQLite ends the transaction itself, and the rollback that follows fails: that says nothing."""
    while isinstance(error.__context__, peewee.PeeweeException | sqlite3.Error):
        error = error.__context__
    return error

"""Brings a database to the present tables, and keeps the books as a reference supervisor does (spec target-state 8.1).

So either of the two can take over a file that the other has used, as long as it knows all names in the books.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from balena_supervisor.clock import Clock, SystemClock
from balena_supervisor.db.connection import refusing
from balena_supervisor.db.models import COLUMNS
from balena_supervisor.errors import DatabaseDamaged, DatabaseRefused
from balena_supervisor.migrations import (
    m0001_single_container,
    m0002_services,
    m0003_endpoints,
    m0004_device_values,
    m0005_keys_and_commits,
    m0006_app_uuids,
    m0007_since_v14,
)
from balena_supervisor.migrations.step import Given, Migration, columns
from balena_supervisor.migrations.stored_target import forget_target, problem_of_target

MIGRATIONS: tuple[Migration, ...] = (
    *m0001_single_container.MIGRATIONS,
    *m0002_services.MIGRATIONS,
    *m0003_endpoints.MIGRATIONS,
    *m0004_device_values.MIGRATIONS,
    *m0005_keys_and_commits.MIGRATIONS,
    *m0006_app_uuids.MIGRATIONS,
    *m0007_since_v14.MIGRATIONS,
)
NAMES = tuple(migration.name for migration in MIGRATIONS)
BUSY_TIMEOUT_S = 30.0
#: how migrations of the reference are named, also those that are not there yet
_NAME = re.compile(r"(?:M\d{5}|\d{14}[-_][\w-]+)\.js", re.ASCII)
#: what a step meets when the tables are not those that the books promise
_WRONG_TABLES = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH})

BOOKS = (
    """CREATE TABLE IF NOT EXISTS `knex_migrations` (
        `id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `name` varchar(255), `batch` integer,
        `migration_time` datetime)""",
    """CREATE TABLE IF NOT EXISTS `knex_migrations_lock` (
        `index` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `is_locked` integer)""",
)


def migrate(
    path: Path,
    config_json_path: Path,
    clock: Clock | None = None,
    when_new: Callable[[sqlite3.Connection], None] | None = None,
) -> list[str]:
    """Create the database or bring it up to date: everything that is missing in one transaction.

    ``when_new`` adds to a database that was empty, in the same transaction. Returns what could not be converted or
    read, in words. Raises ``DatabaseDamaged`` when the file is damaged, and another
    ``DatabaseRefused`` when it cannot be written or a newer supervisor has used it; then nothing is changed.
    """
    problem = problem_of_place(path)
    if problem:
        raise DatabaseRefused(f"cannot migrate the database {path}: {problem}", path=str(path))
    with _opened(path) as database:
        had_tables = database.execute("SELECT 1 FROM `sqlite_master` WHERE `type` = 'table'").fetchone() is not None
        applied = _applied(database, path)
        check_health(database, path)
        missing = [migration for migration in MIGRATIONS if migration.name not in applied]
        database.execute("PRAGMA journal_mode = wal")
        database.execute("PRAGMA synchronous = full")
        notes: list[str] = []
        if missing:
            with _transaction(database):
                notes += _bring_up(database, path, missing, Given(_config_json(config_json_path)))
                _record(database, [migration.name for migration in missing], clock or SystemClock())
                if when_new is not None and len(missing) == len(MIGRATIONS) and not had_tables:
                    when_new(database)
        _unlock(database)
        check_tables(database, path)
        problem = problem_of_target(database)
        if problem:
            with _transaction(database):
                forget_target(database, problem)
            notes.append(problem)
        return notes


def problem_of_place(path: Path, access: Callable[[Path, int], bool] = os.access) -> str:
    """Why there can be no database at ``path``, in words, or ``""``. SQLite only says that it cannot open the file."""
    if path.is_dir():
        return "it is a folder"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    # the folder too: the log of transactions stands beside the file
    for place in (path.parent, path):
        if place.exists() and not access(place, os.R_OK | os.W_OK):
            return f"{place} cannot be written (read-only, or without permission)"
    return ""


def check_health(database: sqlite3.Connection, path: Path) -> None:
    """Read every page, and compare tables with their indexes. Raises ``DatabaseDamaged``."""
    problems = [str(row[0]) for row in database.execute("PRAGMA integrity_check(5)")]
    if problems != ["ok"]:
        text = "; ".join(" ".join(problem.split()) for problem in problems)
        raise DatabaseDamaged(f"cannot use the database {path}: it is damaged ({text})", path=str(path))


def check_tables(database: sqlite3.Connection, path: Path) -> None:
    """That the tables that are used have the columns that are, and hold text that can be read (no check of SQLite
    sees a wrong byte inside a text). Raises ``DatabaseDamaged``."""
    for table, wanted in COLUMNS.items():
        lacking = sorted(wanted - columns(database, table))
        if lacking:
            text = f"table {table} lacks {', '.join(lacking)}"
            raise DatabaseDamaged(f"cannot use the database {path}: it is damaged ({text})", path=str(path))
    database.text_factory = bytes
    for table in COLUMNS:
        for row in database.execute(f"SELECT * FROM `{table}`"):  # noqa: S608  # own names
            _check_texts(row, table, path)
    database.text_factory = _forgiving_text


def _check_texts(row: tuple[object, ...], table: str, path: Path) -> None:
    try:
        for value in row:
            if isinstance(value, bytes):
                value.decode()
    except UnicodeDecodeError as error:
        text = f"table {table} holds what is no text"
        raise DatabaseDamaged(f"cannot use the database {path}: it is damaged ({text})", path=str(path)) from error


def _forgiving_text(raw: bytes) -> str:
    return raw.decode(errors="replace")


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with refusing("migrate", path):
        database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        database.text_factory = _forgiving_text
        try:
            yield database
        finally:
            database.close()


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _bring_up(database: sqlite3.Connection, path: Path, missing: list[Migration], given: Given) -> list[str]:
    for statement in BOOKS:
        database.execute(statement)
    for migration in missing:
        _apply(migration, database, given, path)
    check_tables(database, path)
    return given.notes


def _apply(migration: Migration, database: sqlite3.Connection, given: Given, path: Path) -> None:
    what = f"cannot migrate the database {path}: {migration.name}"
    try:
        migration.apply(database, given)
    except DatabaseDamaged as error:
        raise DatabaseDamaged(f"{what}: {error.message}", path=str(path)) from error
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF in _WRONG_TABLES:
            raise DatabaseDamaged(f"{what}: {error}", path=str(path)) from error
        raise


def _applied(database: sqlite3.Connection, path: Path) -> set[str]:
    """The names in the books; none for a new file."""
    if not columns(database, "knex_migrations"):
        return set()
    applied = {str(row[0]) for row in database.execute("SELECT `name` FROM `knex_migrations` ORDER BY `id`")}
    unknown = sorted(applied.difference(NAMES))
    if not all(_NAME.fullmatch(name) for name in unknown):
        raise DatabaseDamaged(
            f"cannot use the database {path}: its list of migrations holds what is none", path=str(path)
        )
    if unknown:
        raise DatabaseRefused(
            f"cannot use the database {path}: a newer supervisor has used it; this one does not know the migrations "
            f"{', '.join(unknown)}",
            path=str(path),
            unknown=unknown,
        )
    return applied


def _record(database: sqlite3.Connection, names: list[str], clock: Clock) -> None:
    batch = database.execute("SELECT coalesce(max(`batch`), 0) + 1 FROM `knex_migrations`").fetchone()[0]
    now_ms = int(clock.now().timestamp() * 1000)
    for name in names:
        database.execute(
            "INSERT INTO `knex_migrations` (`name`, `batch`, `migration_time`) VALUES (?, ?, ?)", (name, batch, now_ms)
        )
    if not database.execute("SELECT count(*) FROM `knex_migrations_lock`").fetchone()[0]:
        database.execute("INSERT INTO `knex_migrations_lock` (`is_locked`) VALUES (0)")


def _unlock(database: sqlite3.Connection) -> None:
    """A lock that a killed supervisor left; this process is alone by the lock on the folder."""
    locked = "SELECT 1 FROM `knex_migrations_lock` WHERE `is_locked` <> 0"
    if columns(database, "knex_migrations_lock") and database.execute(locked).fetchone():
        database.execute("UPDATE `knex_migrations_lock` SET `is_locked` = 0")


def _config_json(path: Path) -> dict[str, Any]:
    """The values of config.json; a file that is missing or damaged counts as empty."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}

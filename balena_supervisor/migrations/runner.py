"""Brings a database to the present tables, and keeps the books as a reference supervisor does (spec target-state 8.1).

So either of the two can take over a file that the other has used, as long as it knows all names in the books.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from balena_supervisor.clock import Clock, SystemClock
from balena_supervisor.db.connection import refusing
from balena_supervisor.errors import DatabaseRefused
from balena_supervisor.migrations import (
    m0001_tables_of_v12,
    m0002_app_uuids,
    m0003_no_dependents,
    m0004_no_container_logs,
    m0005_rejected_apps,
)

MIGRATIONS = (
    m0001_tables_of_v12.MIGRATION,
    m0002_app_uuids.MIGRATION,
    m0003_no_dependents.MIGRATION,
    m0004_no_container_logs.MIGRATION,
    m0005_rejected_apps.MIGRATION,
)
NAMES = tuple(name for migration in MIGRATIONS for name in migration.names)
BUSY_TIMEOUT_S = 30.0

_BOOKS = (
    """CREATE TABLE IF NOT EXISTS `knex_migrations` (
        `id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `name` varchar(255), `batch` integer,
        `migration_time` datetime)""",
    """CREATE TABLE IF NOT EXISTS `knex_migrations_lock` (
        `index` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `is_locked` integer)""",
)


def migrate(path: Path, config_json_path: Path, clock: Clock | None = None) -> None:
    """Create the database or bring it up to date: everything that is missing in one transaction.

    Raises ``DatabaseRefused`` and changes nothing when the file is damaged or cannot be written, when a newer
    supervisor has used it, or one so old that its data cannot be taken over.
    """
    problem = problem_of_place(path)
    if problem:
        raise DatabaseRefused(f"cannot migrate the database {path}: {problem}", path=str(path))
    with _opened(path) as database:
        _check_health(database, path)
        applied = _applied(database, path)
        missing = [migration for migration in MIGRATIONS if not applied.issuperset(migration.names)]
        database.execute("PRAGMA journal_mode = wal")
        database.execute("PRAGMA synchronous = full")
        if not missing:
            return
        with _transaction(database):
            for statement in _BOOKS:
                database.execute(statement)
            config_json = _config_json(config_json_path)
            for migration in missing:
                migration.apply(database, config_json)
            names = [name for migration in missing for name in migration.names if name not in applied]
            _record(database, names, clock or SystemClock())


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


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with refusing("migrate", path):
        database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
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


def _check_health(database: sqlite3.Connection, path: Path) -> None:
    problems = [str(row[0]) for row in database.execute("PRAGMA quick_check(5)")]
    if problems != ["ok"]:
        raise DatabaseRefused(f"cannot use the database {path}: it is damaged ({'; '.join(problems)})", path=str(path))


def _applied(database: sqlite3.Connection, path: Path) -> set[str]:
    """The names in the books; none for a new file."""
    tables = {row[0] for row in database.execute("SELECT `name` FROM `sqlite_master` WHERE `type` = 'table'")}
    applied: set[str] = set()
    if "knex_migrations" in tables:
        applied = {str(row[0]) for row in database.execute("SELECT `name` FROM `knex_migrations` ORDER BY `id`")}
    unknown = sorted(applied.difference(NAMES))
    if unknown:
        raise DatabaseRefused(
            f"cannot use the database {path}: a newer supervisor has used it; this one does not know the migrations "
            f"{', '.join(unknown)}",
            path=str(path),
            unknown=unknown,
        )
    first = MIGRATIONS[0].names
    others = tables.difference({"knex_migrations", "knex_migrations_lock", "sqlite_sequence"})
    if not applied.issuperset(first) and (applied or others):
        raise DatabaseRefused(
            f"cannot use the database {path}: it is from a supervisor older than v12 and lacks the migrations "
            f"{', '.join(name for name in first if name not in applied)}",
            path=str(path),
        )
    return applied


def _record(database: sqlite3.Connection, names: list[str], clock: Clock) -> None:
    batch = database.execute("SELECT coalesce(max(`batch`), 0) + 1 FROM `knex_migrations`").fetchone()[0]
    now_ms = int(clock.now().timestamp() * 1000)
    for name in names:
        database.execute(
            "INSERT INTO `knex_migrations` (`name`, `batch`, `migration_time`) VALUES (?, ?, ?)", (name, batch, now_ms)
        )
    database.execute("UPDATE `knex_migrations_lock` SET `is_locked` = 0")
    if not database.execute("SELECT count(*) FROM `knex_migrations_lock`").fetchone()[0]:
        database.execute("INSERT INTO `knex_migrations_lock` (`is_locked`) VALUES (0)")


def _config_json(path: Path) -> dict[str, Any]:
    """The values of config.json; a file that is missing or damaged counts as empty."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}

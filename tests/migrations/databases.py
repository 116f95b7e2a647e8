"""Databases as older supervisors left them, and looking into them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from balena_supervisor.migrations.runner import BOOKS, MIGRATIONS
from balena_supervisor.migrations.step import Given

OLD = Path(__file__).parent / "old"
AGES = ("before_7", "v7", "v10", "v12", "v19")


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as database, database:
        return database.execute(sql).fetchall()


def make_old(path: Path, age: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript((OLD / f"{age}.sql").read_text())


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table but the books'."""
    tables = [name for (name,) in query(path, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    return {name: query(path, f"SELECT * FROM `{name}`") for name in tables if not name.startswith(("knex", "sqlite"))}


def tables_of(path: Path) -> dict[str, set[tuple[str, str]]]:
    """Name and type of every column of every table."""
    names = [name for (name,) in query(path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        name: {(row[1], row[2].lower()) for row in query(path, f"PRAGMA table_info('{name}')")}
        for name in names
        if name != "sqlite_sequence"
    }


def make_stopped_after(path: Path, steps: int) -> None:
    """An empty database that has come so far, with books."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN")
        for statement in BOOKS:
            database.execute(statement)
        given = Given()
        for migration in MIGRATIONS[:steps]:
            migration.apply(database, given)
            database.execute("INSERT INTO knex_migrations (name, batch) VALUES (?, 1)", (migration.name,))
        database.execute("COMMIT")

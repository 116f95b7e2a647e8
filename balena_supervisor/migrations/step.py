"""What a migration file holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Migration:
    """One step of the schema. ``names`` are those of the reference supervisor that it stands for (spec target-state
    8.2); ``apply`` gets the database, inside a transaction, and the values of config.json."""

    names: tuple[str, ...]
    apply: Callable[[sqlite3.Connection, dict[str, Any]], None]


def columns(database: sqlite3.Connection, table: str) -> set[str]:
    """The names of the columns; none when there is no such table."""
    return {row[1] for row in database.execute(f"PRAGMA table_info('{table}')")}

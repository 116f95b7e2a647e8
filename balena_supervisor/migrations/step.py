"""What a migration file holds, and what its steps share."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Given:
    """What a step gets besides the database.

    ``config_json`` holds the values of config.json; a step may change them for the later ones, the file stays.
    ``notes`` takes what could not be converted, in words.
    """

    config_json: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        endpoint = self.config_json.get("apiEndpoint")
        return endpoint if isinstance(endpoint, str) else ""


@dataclass(frozen=True)
class Migration:
    """One step of the schema under the name that it has in the books of the reference supervisor (spec target-state
    8.2). ``apply`` runs inside a transaction and may meet what it would make."""

    name: str
    apply: Callable[[sqlite3.Connection, Given], None]


def columns(database: sqlite3.Connection, table: str) -> set[str]:
    """The names of the columns; none when there is no such table."""
    return {row[1] for row in database.execute(f"PRAGMA table_info('{table}')")}


def add_column(database: sqlite3.Connection, table: str, column: str, declaration: str) -> None:
    """Add a column unless it is there."""
    if column not in columns(database, table):
        database.execute(f"ALTER TABLE `{table}` ADD COLUMN `{column}` {declaration}")


def read_json(text: object) -> Any:
    """The value of a JSON column; None for what is no JSON, and for NULL."""
    if not isinstance(text, str | bytes):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def as_json(value: object) -> str:
    """Pure ASCII: SQLite cannot hold every text that JSON can."""
    return json.dumps(value, separators=(",", ":"))

"""An app whose contracts are not met is stored, and marked."""

from __future__ import annotations

import sqlite3
from typing import Any

from balena_supervisor.migrations.step import Migration


def apply(database: sqlite3.Connection, _config_json: dict[str, Any]) -> None:
    database.execute("ALTER TABLE `app` ADD COLUMN `rejected` boolean DEFAULT 0")


MIGRATION = Migration(("M00012.js",), apply)

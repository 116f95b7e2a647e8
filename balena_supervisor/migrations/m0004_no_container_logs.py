"""Positions in container logs are kept in memory."""

from __future__ import annotations

import sqlite3
from typing import Any

from balena_supervisor.migrations.step import Migration


def apply(database: sqlite3.Connection, _config_json: dict[str, Any]) -> None:
    database.execute("DROP TABLE IF EXISTS `containerLogs`")


MIGRATION = Migration(("M00011.js",), apply)

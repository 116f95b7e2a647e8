"""Dependent devices are gone (since v14.8.0)."""

from __future__ import annotations

import sqlite3
from typing import Any

from balena_supervisor.migrations.step import Migration, columns


def apply(database: sqlite3.Connection, _config_json: dict[str, Any]) -> None:
    if "dependent" in columns(database, "image"):
        database.execute("ALTER TABLE `image` DROP COLUMN `dependent`")
    for table in ("dependentApp", "dependentAppTarget", "dependentDevice", "dependentDeviceTarget"):
        database.execute(f"DROP TABLE IF EXISTS `{table}`")


MIGRATION = Migration(("M00010.js",), apply)

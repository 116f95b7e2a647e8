"""Dependent devices and positions in container logs are gone; an app whose contracts are not met is marked."""

from __future__ import annotations

import sqlite3

from balena_supervisor.migrations.step import Given, Migration, add_column, columns


def no_dependents(database: sqlite3.Connection, _given: Given) -> None:
    if "dependent" in columns(database, "image"):
        database.execute("ALTER TABLE `image` DROP COLUMN `dependent`")
    for table in ("dependentApp", "dependentAppTarget", "dependentDevice", "dependentDeviceTarget"):
        database.execute(f"DROP TABLE IF EXISTS `{table}`")


def no_container_logs(database: sqlite3.Connection, _given: Given) -> None:
    database.execute("DROP TABLE IF EXISTS `containerLogs`")


def rejected_apps(database: sqlite3.Connection, _given: Given) -> None:
    add_column(database, "app", "rejected", "boolean DEFAULT 0")


MIGRATIONS = (
    Migration("M00010.js", no_dependents),
    Migration("M00011.js", no_container_logs),
    Migration("M00012.js", rejected_apps),
)

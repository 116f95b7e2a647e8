"""The tables of supervisors before 7.0, which had no books and one container for each app.

Tables of dependent devices are not made or changed by any step, as a later one drops them.
"""

from __future__ import annotations

import sqlite3

from balena_supervisor.errors import DatabaseDamaged
from balena_supervisor.migrations.step import Given, Migration, add_column, columns

_APP = {
    "name": "varchar(255)", "commit": "varchar(255)", "imageId": "varchar(255)", "appId": "varchar(255)",
    "env": "json", "config": "json", "markedForDeletion": "boolean",
}  # fmt: skip


def apply(database: sqlite3.Connection, _given: Given) -> None:
    if "services" in columns(database, "app"):
        raise DatabaseDamaged("its tables are newer than its list of migrations says")
    for statement in (
        "CREATE TABLE IF NOT EXISTS `config` (`key` varchar(255), `value` varchar(255), PRIMARY KEY (`key`))",
        "CREATE TABLE IF NOT EXISTS `deviceConfig` (`values` json, `targetValues` json)",
        "CREATE TABLE IF NOT EXISTS `app` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT)",
        "DROP TABLE IF EXISTS `image`",
        "DROP TABLE IF EXISTS `container`",
    ):
        database.execute(statement)
    for column in ("values", "targetValues"):
        add_column(database, "deviceConfig", column, "json")
    for column, declaration in _APP.items():
        add_column(database, "app", column, declaration)
    if "containerId" in columns(database, "app"):
        database.execute("ALTER TABLE `app` DROP COLUMN `containerId`")
    if not database.execute("SELECT 1 FROM `deviceConfig`").fetchone():
        database.execute("INSERT INTO `deviceConfig` (`values`, `targetValues`) VALUES ('{}', '{}')")
    database.execute("UPDATE `app` SET `config` = '{}' WHERE `config` IS NULL")


MIGRATIONS = (Migration("20171129013519_legacy.js", apply),)

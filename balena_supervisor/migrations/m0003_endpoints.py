"""Ids of the engine for images, the cloud that apps and log channels came from, and the snapshot of local mode."""

from __future__ import annotations

import sqlite3

from balena_supervisor.migrations.step import Given, Migration, add_column


def image_ids(database: sqlite3.Connection, _given: Given) -> None:
    add_column(database, "image", "dockerImageId", "varchar(255)")


def app_source(database: sqlite3.Connection, given: Given) -> None:
    add_column(database, "app", "source", "varchar(255)")
    database.execute("UPDATE `app` SET `source` = ? WHERE `source` IS NULL", (given.endpoint,))


def logs_channel(database: sqlite3.Connection, given: Given) -> None:
    database.execute("CREATE TABLE IF NOT EXISTS `logsChannelSecret` (`backend` varchar(255), `secret` varchar(255))")
    row = database.execute("SELECT `value` FROM `config` WHERE `key` = 'logsChannelSecret'").fetchone()
    if not database.execute("SELECT 1 FROM `logsChannelSecret`").fetchone():
        database.execute("INSERT INTO `logsChannelSecret` VALUES (?, ?)", (given.endpoint, row[0] if row else None))
    database.execute("DELETE FROM `config` WHERE `key` = 'logsChannelSecret'")


def engine_snapshot(database: sqlite3.Connection, _given: Given) -> None:
    database.execute("CREATE TABLE IF NOT EXISTS `engineSnapshot` (`snapshot` varchar(255), `timestamp` varchar(255))")


MIGRATIONS = (
    Migration("20171214172530_image_docker_id.js", image_ids),
    Migration("20180516164000-endpoint-specific-apps.js", app_source),
    Migration("20181907164000-endpoint-specific-logschannel.js", logs_channel),
    Migration("20190619152500-engine-snapshot.js", engine_snapshot),
)

"""A key of the local API for each service instead of one for all, and the current release of each app."""

from __future__ import annotations

import sqlite3

from balena_supervisor.migrations.step import Given, Migration, columns, read_json
from balena_supervisor.state.coerce import to_numeric_id

_KEYS = """CREATE TABLE `apiSecret` (
    `id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `appId` integer, `key` varchar(255), `scopes` varchar(255),
    `serviceName` varchar(255))"""


def container_logs(_database: sqlite3.Connection, _given: Given) -> None:
    """Positions in container logs: a table that ``M00011.js`` drops, so it is not made."""


def keys_of_services(database: sqlite3.Connection, _given: Given) -> None:
    """In the form of this step the key knew the id of its service; the name takes its place two steps on."""
    if not columns(database, "apiSecret"):
        database.execute(
            """CREATE TABLE `apiSecret` (
                `id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `appId` integer, `serviceId` integer,
                `key` varchar(255), `scopes` varchar(255))"""
        )
    database.execute("DELETE FROM `config` WHERE `key` = 'apiSecret'")


def commit_of_each_app(database: sqlite3.Connection, _given: Given) -> None:
    database.execute(
        """CREATE TABLE IF NOT EXISTS `currentCommit` (
            `id` integer NOT NULL PRIMARY KEY, `appId` integer NOT NULL, `commit` varchar(255) NOT NULL)"""
    )
    database.execute("CREATE UNIQUE INDEX IF NOT EXISTS `currentcommit_appid_unique` ON `currentCommit` (`appId`)")
    database.execute(
        """INSERT OR IGNORE INTO `currentCommit` (`appId`, `commit`)
           SELECT `appId`, (SELECT `value` FROM `config` WHERE `key` = 'currentCommit') FROM `app`"""
    )
    database.execute("DELETE FROM `config` WHERE `key` = 'currentCommit'")


def keys_by_name(database: sqlite3.Connection, _given: Given) -> None:
    """Of two keys that get one name the newer stays. A service that no app has any more gets no name."""
    if "serviceId" not in columns(database, "apiSecret"):
        return
    names = _service_names(database)
    rows = database.execute("SELECT `id`, `appId`, `serviceId`, `key`, `scopes` FROM `apiSecret`").fetchall()
    database.execute("DROP TABLE `apiSecret`")  # with its index, whatever that is called
    database.execute(_KEYS)
    database.execute("CREATE UNIQUE INDEX `apisecret_appid_servicename_unique` ON `apiSecret` (`appId`, `serviceName`)")
    for row_id, app_id, service_id, key, scopes in sorted(rows):
        database.execute(
            "INSERT OR REPLACE INTO `apiSecret` (`id`, `appId`, `key`, `scopes`, `serviceName`) VALUES (?, ?, ?, ?, ?)",
            (row_id, app_id, key, scopes, names.get((app_id, service_id))),
        )


def _service_names(database: sqlite3.Connection) -> dict[tuple[int | None, int | None], str]:
    names: dict[tuple[int | None, int | None], str] = {}
    for app_id, text in database.execute("SELECT `appId`, `services` FROM `app`").fetchall():
        services = read_json(text)
        for service in services if isinstance(services, list) else ():
            name = service.get("serviceName") if isinstance(service, dict) else None
            if isinstance(name, str):
                names[(app_id, to_numeric_id(service.get("serviceId")))] = name
    return names


MIGRATIONS = (
    Migration("M00004.js", container_logs),
    Migration("M00005.js", keys_of_services),
    Migration("M00006.js", commit_of_each_app),
    Migration("M00007.js", keys_by_name),
)

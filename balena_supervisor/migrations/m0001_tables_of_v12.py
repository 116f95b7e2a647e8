"""The tables of v12, as all migrations up to ``M00008.js`` leave them in a new database.

What later migrations drop again is not created: the dependent devices and the positions in container logs.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from balena_supervisor.migrations.step import Migration
from balena_supervisor.state.coerce import is_truthy

NAMES = (
    "20171129013519_legacy.js",
    "20171129064057_multicontainer.js",
    "20171214172530_image_docker_id.js",
    "20180516164000-endpoint-specific-apps.js",
    "20181907164000-endpoint-specific-logschannel.js",
    "20190619152500-engine-snapshot.js",
    *(f"M{number:05}.js" for number in range(9)),
)

_TABLES = (
    "CREATE TABLE `config` (`key` varchar(255), `value` varchar(255), PRIMARY KEY (`key`))",
    "CREATE TABLE `deviceConfig` (`targetValues` json)",
    """CREATE TABLE `app` (
        `id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `name` varchar(255), `releaseId` integer,
        `commit` varchar(255), `appId` integer, `services` json, `networks` json, `volumes` json,
        `source` varchar(255), `uuid` varchar(255), `class` varchar(255) DEFAULT 'fleet',
        `isHost` boolean DEFAULT 0)""",
    "CREATE UNIQUE INDEX `app_uuid_unique` ON `app` (`uuid`)",
    """CREATE TABLE `image` (
        `id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `name` varchar(255), `appId` integer, `serviceId` integer,
        `serviceName` varchar(255), `imageId` integer, `releaseId` integer, `dockerImageId` varchar(255),
        `appUuid` varchar(255), `commit` varchar(255))""",
    """CREATE TABLE `apiSecret` (
        `id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `appId` integer, `key` varchar(255), `scopes` varchar(255),
        `serviceName` varchar(255))""",
    "CREATE UNIQUE INDEX `apisecret_appid_servicename_unique` ON `apiSecret` (`appId`, `serviceName`)",
    """CREATE TABLE `currentCommit` (
        `id` integer NOT NULL PRIMARY KEY, `appId` integer NOT NULL, `commit` varchar(255) NOT NULL)""",
    "CREATE UNIQUE INDEX `currentcommit_appid_unique` ON `currentCommit` (`appId`)",
    "CREATE TABLE `engineSnapshot` (`snapshot` varchar(255), `timestamp` varchar(255))",
    "CREATE TABLE `logsChannelSecret` (`backend` varchar(255), `secret` varchar(255))",
)


def apply(database: sqlite3.Connection, config_json: dict[str, Any]) -> None:
    for statement in _TABLES:
        database.execute(statement)
    endpoint = config_json.get("apiEndpoint")
    local_mode = "true" if is_truthy(config_json.get("localMode")) else "false"
    database.execute("INSERT INTO `config` VALUES ('localMode', ?)", (local_mode,))
    database.execute("INSERT INTO `deviceConfig` VALUES ('{}')")
    database.execute(
        "INSERT INTO `logsChannelSecret` VALUES (?, NULL)", (endpoint if isinstance(endpoint, str) else "",)
    )


MIGRATION = Migration(NAMES, apply)

"""Apps of several containers: what was one container becomes the service ``main`` (spec target-state 5.2).

The composition of these services stands beside their other fields, as the reference wrote it; readers know that form.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from balena_supervisor.errors import DatabaseDamaged, InvalidValue
from balena_supervisor.migrations.step import Given, Migration, as_json, columns, read_json
from balena_supervisor.state.coerce import to_numeric_id
from balena_supervisor.state.image_name import normalise

_TABLES = (
    "DROP TABLE `app`",
    """CREATE TABLE `app` (
        `id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `name` varchar(255), `releaseId` integer,
        `commit` varchar(255), `appId` integer, `services` json, `networks` json, `volumes` json)""",
    """CREATE TABLE `image` (
        `id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `name` varchar(255), `appId` integer, `serviceId` integer,
        `serviceName` varchar(255), `imageId` integer, `releaseId` integer, `dependent` boolean)""",
    "DROP TABLE `deviceConfig`",
    "CREATE TABLE `deviceConfig` (`targetValues` json)",
    "INSERT INTO `deviceConfig` VALUES ('{}')",
)
#: What the reference put under ``deltaRequestTimeout`` a second time goes under its own key here.
_DEVICE_VALUES = {
    "RESIN_SUPERVISOR_POLL_INTERVAL": "appUpdatePollInterval",
    "RESIN_SUPERVISOR_LOCAL_MODE": "localMode",
    "RESIN_SUPERVISOR_CONNECTIVITY_CHECK": "connectivityCheckEnabled",
    "RESIN_SUPERVISOR_LOG_CONTROL": "loggingEnabled",
    "RESIN_SUPERVISOR_DELTA": "delta",
    "RESIN_SUPERVISOR_DELTA_REQUEST_TIMEOUT": "deltaRequestTimeout",
    "RESIN_SUPERVISOR_DELTA_APPLY_TIMEOUT": "deltaApplyTimeout",
    "RESIN_SUPERVISOR_DELTA_RETRY_COUNT": "deltaRetryCount",
    "RESIN_SUPERVISOR_DELTA_RETRY_INTERVAL": "deltaRetryInterval",
    "RESIN_SUPERVISOR_OVERRIDE_LOCK": "lockOverride",
}
_FEATURES = ("kernel-modules", "firmware", "dbus", "supervisor-api", "resin-api")


def apply(database: sqlite3.Connection, given: Given) -> None:
    if "services" in columns(database, "app"):
        raise DatabaseDamaged("its tables are newer than its list of migrations says")
    old_apps = database.execute(
        """SELECT `name`, `commit`, `imageId`, `appId`, `env`, `config` FROM `app`
           WHERE NOT coalesce(`markedForDeletion`, 0) ORDER BY `id`"""
    ).fetchall()
    old_values = database.execute("SELECT `values` FROM `deviceConfig`").fetchone()
    for statement in _TABLES:
        database.execute(statement)
    _copy_device_values(database, read_json(old_values[0]) if old_values else None)
    if old_apps:
        database.execute("INSERT OR REPLACE INTO `config` VALUES ('legacyAppsPresent', 'true')")
    for name, commit, image_id, app_id, env, config in old_apps:
        number, image = to_numeric_id(app_id), _image_name(image_id)
        if number is None or image is None:
            given.notes.append(f"an app of before 7.0 has no id or no image and was left out: {name!r}, id {app_id!r}")
            continue
        service = _service(number, commit, image, _texts(env), _texts(config))
        database.execute(
            """INSERT INTO `app` (`name`, `releaseId`, `commit`, `appId`, `services`, `networks`, `volumes`)
               VALUES (?, 1, ?, ?, ?, '{}', '{"resin-data":{}}')""",
            (name, commit, number, as_json([service])),
        )
        database.execute(
            """INSERT INTO `image` (`name`, `appId`, `serviceId`, `serviceName`, `imageId`, `releaseId`, `dependent`)
               VALUES (?, ?, 1, 'main', 1, 1, 0)""",
            (image, number),
        )


def _copy_device_values(database: sqlite3.Connection, values: object) -> None:
    for name, key in _DEVICE_VALUES.items():
        value = values.get(name) if isinstance(values, dict) else None
        if value is not None:
            text = value if isinstance(value, str) else as_json(value)
            database.execute("INSERT OR REPLACE INTO `config` VALUES (?, ?)", (key, text))


def _image_name(name: object) -> str | None:
    try:
        return normalise(name) if isinstance(name, str) else None
    except InvalidValue:
        return None


def _texts(text: object) -> dict[str, str]:
    """Variables; what cannot be read counts as empty, since the next target brings it again."""
    values = read_json(text)
    if not isinstance(values, dict):
        return {}
    return {name: value if isinstance(value, str) else as_json(value) for name, value in values.items()}


def _service(
    app_id: int, commit: str | None, image: str, env: dict[str, str], config: dict[str, str]
) -> dict[str, Any]:
    labels = {f"io.resin.features.{name}": "1" for name in _FEATURES}
    labels["io.resin.update.strategy"] = config.get("RESIN_SUPERVISOR_UPDATE_STRATEGY", "download-then-kill")
    labels["io.resin.update.handover-timeout"] = config.get("RESIN_SUPERVISOR_HANDOVER_TIMEOUT", "")
    labels["io.resin.legacy-container"] = "1"
    return {
        "serviceName": "main",
        "serviceId": 1,
        "appId": app_id,
        "releaseId": 1,
        "imageId": 1,
        "commit": commit,
        "image": image,
        "running": True,
        "environment": {name: value for name, value in env.items() if not name.startswith("RESIN_")},
        "labels": labels,
        "restart": config.get("RESIN_APP_RESTART_POLICY", "always"),
        "privileged": True,
        "networkMode": "host",
        "volumes": ["resin-data:/data"],
    }


MIGRATIONS = (Migration("20171129064057_multicontainer.js", apply),)

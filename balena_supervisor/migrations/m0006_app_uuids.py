"""Every app gets a uuid: local ones their id as text, those of the cloud by being fetched again.

Until a new target has arrived the running containers stay, since no target counts as set.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from balena_supervisor.migrations.step import Given, Migration, add_column, as_json, read_json
from balena_supervisor.state.coerce import to_numeric_id


def columns_of_apps(database: sqlite3.Connection, _given: Given) -> None:
    """v12 also cleared the data here, by the wrong rule; the next step does it by the right one."""
    add_column(database, "app", "uuid", "varchar(255)")
    add_column(database, "app", "class", "varchar(255) DEFAULT 'fleet'")
    add_column(database, "app", "isHost", "boolean DEFAULT 0")
    database.execute("CREATE UNIQUE INDEX IF NOT EXISTS `app_uuid_unique` ON `app` (`uuid`)")
    add_column(database, "image", "appUuid", "varchar(255)")
    add_column(database, "image", "commit", "varchar(255)")


def uuids(database: sqlite3.Connection, given: Given) -> None:
    legacy = database.execute("SELECT 1 FROM `config` WHERE `key` = 'legacyAppsPresent' AND `value` = 'true'")
    if legacy.fetchone():
        return
    database.execute("DELETE FROM `image`")
    database.execute("DELETE FROM `config` WHERE `key` = 'targetStateSet'")
    local = database.execute("SELECT `id`, `appId`, `services` FROM `app` WHERE `source` = 'local' ORDER BY `id`")
    converted: dict[str, tuple[int, str]] = {}
    for row_id, app_id, text in local.fetchall():
        uuid, services = str(to_numeric_id(app_id)), _with_uuid(text, app_id)
        if services is None:
            given.notes.append(f"the local app {app_id!r} could not be read and was left out")
        else:
            converted[uuid] = (row_id, services)  # of two rows of one app the newer stays
    kept = [row_id for row_id, _ in converted.values()]
    database.execute(f"DELETE FROM `app` WHERE `id` NOT IN ({','.join('?' * len(kept))})", kept)  # noqa: S608  # only marks
    database.execute("UPDATE `app` SET `uuid` = NULL")
    for uuid, (row_id, services) in converted.items():
        database.execute("UPDATE `app` SET `uuid` = ?, `services` = ? WHERE `id` = ?", (uuid, services, row_id))


def _with_uuid(text: object, app_id: object) -> str | None:
    """The services with their app's uuid; None when the row is none of an app."""
    number = to_numeric_id(app_id)
    services: Any = [] if text is None else read_json(text)
    if number is None or not isinstance(services, list) or not all(isinstance(one, dict) for one in services):
        return None
    return as_json([{**service, "appUuid": str(number)} for service in services])


MIGRATIONS = (Migration("M00008.js", columns_of_apps), Migration("M00009.js", uuids))

"""Every app gets a uuid: local ones their id as text, those of the cloud by being fetched again.

Until a new target has arrived the running containers stay, since no target counts as set.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from balena_supervisor.migrations.step import Migration


def apply(database: sqlite3.Connection, _config_json: dict[str, Any]) -> None:
    legacy = database.execute("SELECT 1 FROM `config` WHERE `key` = 'legacyAppsPresent' AND `value` = 'true'")
    if legacy.fetchone():
        return
    database.execute("DELETE FROM `image`")
    database.execute("DELETE FROM `app` WHERE `source` IS NOT 'local'")
    database.execute("DELETE FROM `config` WHERE `key` = 'targetStateSet'")
    for row_id, app_id, services in database.execute("SELECT `id`, `appId`, `services` FROM `app`").fetchall():
        database.execute(
            "UPDATE `app` SET `uuid` = ?, `services` = ? WHERE `id` = ?",
            (str(app_id), _with_uuid(services, str(app_id)), row_id),
        )


def _with_uuid(text: str | None, uuid: str) -> str:
    services = json.loads(text or "[]")
    return json.dumps([{**service, "appUuid": uuid} for service in services], ensure_ascii=False, separators=(",", ":"))


MIGRATION = Migration(("M00009.js",), apply)

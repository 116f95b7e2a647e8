"""Values of the device under other names and in other places."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from balena_supervisor.migrations.step import Given, Migration, as_json, read_json
from balena_supervisor.state.coerce import is_truthy

#: the later one wins
_PREFIXES = ("", "RESIN_", "BALENA_")


def names_without_prefix(database: sqlite3.Connection, given: Given) -> None:
    _change_target_values(database, given, _without_prefix)


def local_mode_to_file(database: sqlite3.Connection, given: Given) -> None:
    """The next step takes it back from there, so the file itself need not change."""
    row = database.execute("SELECT `value` FROM `config` WHERE `key` = 'localMode'").fetchone()
    if row:
        given.config_json["localMode"] = is_truthy(row[0])
        database.execute("DELETE FROM `config` WHERE `key` = 'localMode'")


def local_mode_from_file(database: sqlite3.Connection, given: Given) -> None:
    local_mode = "true" if is_truthy(given.config_json.get("localMode")) else "false"
    database.execute("INSERT OR IGNORE INTO `config` VALUES ('localMode', ?)", (local_mode,))


def no_empty_timeout(database: sqlite3.Connection, given: Given) -> None:
    name = "SUPERVISOR_DELTA_APPLY_TIMEOUT"
    _change_target_values(database, given, lambda values: {**values, name: "0"} if values.get(name) == "" else values)


def _change_target_values(
    database: sqlite3.Connection, given: Given, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    for row_id, text in database.execute("SELECT rowid, `targetValues` FROM `deviceConfig`").fetchall():
        values = read_json(text)
        if not isinstance(values, dict):
            given.notes.append("the stored target configuration could not be read and counts as empty")
            values = {}
        database.execute(
            "UPDATE `deviceConfig` SET `targetValues` = ? WHERE rowid = ?", (as_json(change(values)), row_id)
        )


def _without_prefix(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for prefix in _PREFIXES:
        found |= {name[len(prefix) :]: value for name, value in values.items() if _prefix_of(name) == prefix}
    return found


def _prefix_of(name: str) -> str:
    return next((prefix for prefix in _PREFIXES if prefix and name.startswith(prefix)), "")


MIGRATIONS = (
    Migration("M00000.js", names_without_prefix),
    Migration("M00001.js", local_mode_to_file),
    Migration("M00002.js", local_mode_from_file),
    Migration("M00003.js", no_empty_timeout),
)

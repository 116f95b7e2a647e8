"""A stored target that cannot be read is of no use, not even in part: an app left out would be removed.

So it is dropped as a whole. Containers stay as they are until a target comes.
"""

from __future__ import annotations

import sqlite3

import msgspec

from balena_supervisor.db.rebuild import TARGET_LOST
from balena_supervisor.errors import InvalidValue
from balena_supervisor.migrations.step import read_json
from balena_supervisor.model.target import TargetApp
from balena_supervisor.state.target_rows import app_from_row

_COLUMNS = (
    *("appId", "uuid", "name", "class", "source", "isHost", "rejected"),
    *("releaseId", "commit", "services", "networks", "volumes"),
)


def problem_of_target(database: sqlite3.Connection) -> str:
    """Why the stored target cannot be read, in words, or ``""``."""
    listed = ", ".join(f"`{column}`" for column in _COLUMNS)
    for row in database.execute(f"SELECT {listed} FROM `app`"):  # noqa: S608  # own names
        try:
            app = app_from_row(dict(zip(_COLUMNS, row, strict=True)))
            msgspec.convert(msgspec.to_builtins(app, builtin_types=(bytes,)), TargetApp)  # a column may hold any type
        except (InvalidValue, msgspec.ValidationError) as error:
            return f"the stored target was dropped: {error}"
        except RecursionError:
            return "the stored target was dropped: it is nested too deeply"
    for (text,) in database.execute("SELECT `targetValues` FROM `deviceConfig`"):
        if text and not isinstance(read_json(text), dict):
            return "the stored target was dropped: its configuration is no JSON object"
    return ""


def forget_target(database: sqlite3.Connection, problem: str) -> None:
    database.execute("DELETE FROM `app`")
    database.execute("UPDATE `deviceConfig` SET `targetValues` = '{}'")
    database.execute("DELETE FROM `config` WHERE `key` IN ('targetStateSet', 'targetForce')")
    database.execute("INSERT OR REPLACE INTO `config` VALUES (?, ?)", (TARGET_LOST, problem))

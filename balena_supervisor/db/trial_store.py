"""Releases that were tried and given up: a row of our own in table ``config``. Only the planner writes it."""

from __future__ import annotations

import msgspec
import peewee

from balena_supervisor.db.config_store import ConfigStore

BAD = "badReleases"


class BadRelease(msgspec.Struct, frozen=True, kw_only=True):
    """``definition`` tells whether the target has changed since; ``at`` is ISO wall time."""

    app_id: int
    commit: str
    definition: str
    reason: str
    at: str


class TrialStore:
    def __init__(self, database: peewee.SqliteDatabase) -> None:
        self._config = ConfigStore(database)

    def bad(self) -> dict[int, BadRelease]:
        """By app id. What cannot be read counts as none."""
        text = self._config.get(BAD)
        try:
            found = msgspec.json.decode(text, type=list[BadRelease]) if text else []
        except msgspec.MsgspecError:
            found = []
        return {bad.app_id: bad for bad in found}

    def set_bad(self, bad: dict[int, BadRelease]) -> None:
        values = list(bad.values())
        self._config.set({BAD: msgspec.json.encode(values).decode() if values else None})

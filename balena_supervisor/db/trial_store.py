"""Releases that were tried and given up: a row of our own in table ``config``. Only the planner writes it."""

from __future__ import annotations

import msgspec
import peewee

from balena_supervisor.db.config_store import ConfigStore, decoded, encoded

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
        found = decoded(self._config.get(BAD), list[BadRelease], [])
        return {bad.app_id: bad for bad in found}

    def set_bad(self, bad: dict[int, BadRelease]) -> None:
        self._config.set({BAD: encoded(list(bad.values()))})

"""What has to be known over a reboot that the supervisor itself wanted: a row of our own in table ``config``.

Only the planner writes it.
"""

from __future__ import annotations

import msgspec
import peewee

from balena_supervisor.db.config_store import ConfigStore, decoded, encoded

AWAITING = "awaitingReboot"


class Awaiting(msgspec.Struct, frozen=True, kw_only=True):
    """``made`` maps containers that start after a reboot to the id of the boot in which they were made. ``count`` is
    how often the device was rebooted for the target of ``version``."""

    made: dict[str, str] = {}
    version: int = 0
    count: int = 0


class RebootStore:
    def __init__(self, database: peewee.SqliteDatabase) -> None:
        self._config = ConfigStore(database)

    def load(self) -> Awaiting:
        """What cannot be read counts as nothing."""
        return decoded(self._config.get(AWAITING), Awaiting, Awaiting())

    def save(self, awaiting: Awaiting) -> None:
        self._config.set({AWAITING: encoded(awaiting if awaiting.made or awaiting.count else None)})

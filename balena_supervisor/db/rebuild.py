"""What has to be taken back from the engine after the database was made anew.

The process that makes a database has no engine. It leaves a mark for each part in table ``config``; the owner of the
part takes back what the containers tell, and removes the mark in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import peewee

from balena_supervisor.db.config_store import ConfigStore
from balena_supervisor.db.connection import writing

KEYS = "rebuildKeys"
IMAGES = "rebuildImages"
COMMITS = "rebuildCommits"
MARKS = (KEYS, IMAGES, COMMITS)
#: Why there is no target although there was one, in words; removed with the next target.
TARGET_LOST = "targetLost"


class Rebuild:
    """One part of what is taken back: ``KEYS`` by target-state, ``IMAGES`` by images, ``COMMITS`` by the planner."""

    def __init__(self, database: peewee.SqliteDatabase, part: str) -> None:
        self._database = database
        self._config = ConfigStore(database)
        self._part = part

    def is_wanted(self) -> bool:
        return self._config.get(self._part) is not None

    @contextmanager
    def doing(self) -> Iterator[None]:
        """One transaction: what is written in it, and the end of the mark. Raises ``DatabaseRefused``."""
        with writing(self._database):
            yield
            self._config.set({self._part: None})

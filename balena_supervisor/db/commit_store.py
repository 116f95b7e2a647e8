"""Table ``currentCommit``: the release on which each app settled last. Only the planner writes it."""

from __future__ import annotations

import peewee

from balena_supervisor.db.connection import reading, tuples, writing
from balena_supervisor.db.models import CurrentCommit


class CommitStore:
    def __init__(self, database: peewee.SqliteDatabase) -> None:
        self._database = database

    def all(self) -> dict[int, str]:
        """The commit of each app id."""
        with reading(self._database):
            rows = CurrentCommit.select(CurrentCommit.app_id, CurrentCommit.commit)
            return {int(app_id): str(commit) for app_id, commit in tuples(rows, self._database)}

    def set(self, app_id: int, commit: str) -> None:
        """Keep the commit of one app; an equal one is not written again."""
        with writing(self._database):
            if self.all().get(app_id) == commit:
                return
            changed = CurrentCommit.update(commit=commit).where(CurrentCommit.app_id == app_id)
            if not changed.execute(self._database):
                CurrentCommit.insert(app_id=app_id, commit=commit).execute(self._database)

"""Table ``engineSnapshot``: what the engine had when local mode began. Only the planner writes it."""

from __future__ import annotations

import msgspec
import peewee

from balena_supervisor.db.connection import reading, tuples, writing
from balena_supervisor.db.models import EngineSnapshot
from balena_supervisor.errors import InvalidValue
from balena_supervisor.model.inventory import Inventory


class SnapshotStore:
    def __init__(self, database: peewee.SqliteDatabase) -> None:
        self._database = database

    def load(self) -> Inventory | None:
        """None when there is none. Raises ``InvalidValue`` when it cannot be read."""
        with reading(self._database):
            rows = list(tuples(EngineSnapshot.select(EngineSnapshot.snapshot), self._database))
        if not rows:
            return None
        try:
            return msgspec.json.decode(rows[-1][0] or "", type=Inventory)
        except msgspec.MsgspecError as error:
            text = f"cannot read the engine snapshot: {error}"
            raise InvalidValue(text, field="engineSnapshot") from error

    def save(self, inventory: Inventory, at: str) -> None:
        """Replace it; ``at`` is ISO wall time."""
        with writing(self._database):
            EngineSnapshot.delete().execute(self._database)
            text = msgspec.json.encode(inventory).decode()
            EngineSnapshot.insert(snapshot=text, timestamp=at).execute(self._database)

    def delete(self) -> None:
        with writing(self._database):
            EngineSnapshot.delete().execute(self._database)

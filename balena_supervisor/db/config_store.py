"""Table ``config``: values as text under their names (spec cloud-and-host 2.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec
import peewee

from balena_supervisor.db.connection import reading, tuples, writing
from balena_supervisor.db.models import Config

T = TypeVar("T")


def encoded(value: object) -> str | None:
    """A value as the text of a row; None, which is no row, for an empty one."""
    return msgspec.json.encode(value).decode() if value else None


def decoded(text: str | None, kind: type[T], default: T) -> T:
    """The value of a row; the default when there is none, or when it cannot be read."""
    try:
        return msgspec.json.decode(text, type=kind) if text else default
    except msgspec.MsgspecError:
        return default


class ConfigStore:
    """Each actor writes its own keys only: ``target-state`` those of the target, ``host-config`` the rest."""

    def __init__(self, database: peewee.SqliteDatabase) -> None:
        self._database = database

    def all(self) -> dict[str, str]:
        """All values that are not NULL."""
        with reading(self._database):
            rows = Config.select(Config.key, Config.value).where(Config.value.is_null(False))
            return {str(key): str(value) for key, value in tuples(rows, self._database)}

    def get(self, key: str) -> str | None:
        return self.all().get(key)

    def set(self, values: Mapping[str, str | None]) -> None:
        """Write the values that differ from the stored ones; None removes a key. All or nothing."""
        with writing(self._database):
            stored = self.all()
            for key, value in values.items():
                if value == stored.get(key):
                    continue
                if value is None:
                    Config.delete().where(Config.key == key).execute(self._database)
                else:
                    Config.insert(key=key, value=value).on_conflict_replace().execute(self._database)

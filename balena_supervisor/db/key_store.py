"""Table ``apiSecret``: the keys of the local API (spec device-api 2.3). Only target-state writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec
import peewee

from balena_supervisor.db.connection import dicts, reading, writing
from balena_supervisor.db.models import ApiSecret

GLOBAL_APP_ID = 0
GLOBAL_SCOPES: list[dict[str, Any]] = [{"type": "global"}]


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key; ``service_name`` is None for the global one. ``scopes`` is empty when they cannot be read."""

    app_id: int
    service_name: str | None
    key: str
    scopes: list[dict[str, Any]]


def random_key() -> str:
    """32 hex digits."""
    return uuid4().hex


class KeyStore:
    """Keys are made when they are first asked for and never removed."""

    def __init__(self, database: peewee.SqliteDatabase, new_key: Callable[[], str] = random_key) -> None:
        self._database = database
        self._new_key = new_key

    def all(self) -> tuple[StoredKey, ...]:
        with reading(self._database):
            rows = dicts(ApiSecret.select().order_by(ApiSecret.id), self._database)
            return tuple(_stored_key(row) for row in rows)

    def global_key(self) -> str:
        """The key of the cloud, made when it is missing."""
        return self._key(GLOBAL_APP_ID, None, GLOBAL_SCOPES)

    def service_key(self, app_id: int, service_name: str) -> str:
        """The key of one service, for its own app; made when it is missing or has other scopes."""
        return self._key(app_id, service_name, _of_app(app_id))

    def take_back(self, app_id: int, service_name: str, key: str) -> None:
        """Make the key of a service the one that its container has."""
        with writing(self._database):
            found = self._find(app_id, service_name)
            if found is not None and found.key == key:
                return
            ApiSecret.delete().where(_at(app_id, service_name)).execute(self._database)
            scopes = _of_app(app_id) if found is None or not found.scopes else found.scopes
            new = ApiSecret.insert(app_id=app_id, service_name=service_name, key=key, scopes=_json(scopes))
            new.execute(self._database)

    def _key(self, app_id: int, service_name: str | None, scopes: list[dict[str, Any]]) -> str:
        # a key that is there is found without the write lock, so that a full disk does not stop a start
        found = self._find(app_id, service_name)
        if found is not None and _is_good(found, scopes):
            return found.key
        with writing(self._database):
            key = self._new_key()
            text = _json(scopes)
            if self._find(app_id, service_name) is None:
                new = ApiSecret.insert(app_id=app_id, service_name=service_name, key=key, scopes=text)
                new.execute(self._database)
            else:
                changed = ApiSecret.update(key=key, scopes=text).where(_at(app_id, service_name))
                changed.execute(self._database)
            return key

    def _find(self, app_id: int, service_name: str | None) -> StoredKey | None:
        place = (app_id, service_name)
        return next((row for row in self.all() if (row.app_id, row.service_name) == place), None)


def _of_app(app_id: int) -> list[dict[str, Any]]:
    return [{"type": "app", "appId": app_id}]


def _json(scopes: list[dict[str, Any]]) -> str:
    return json.dumps(scopes, separators=(",", ":"))


def _at(app_id: int, service_name: str | None) -> Any:
    of_service = ApiSecret.service_name.is_null() if service_name is None else ApiSecret.service_name == service_name
    return (ApiSecret.app_id == app_id) & of_service


def _is_good(row: StoredKey, scopes: list[dict[str, Any]]) -> bool:
    return bool(row.key) and _scope_set(row.scopes) == _scope_set(scopes)


def _stored_key(row: dict[str, Any]) -> StoredKey:
    try:
        scopes = json.loads(row["scopes"])
    except (TypeError, ValueError):
        scopes = []
    return StoredKey(
        app_id=row["app_id"] or GLOBAL_APP_ID,
        service_name=row["service_name"],
        key=row["key"] or "",
        scopes=[scope for scope in scopes if isinstance(scope, dict)] if isinstance(scopes, list) else [],
    )


def _scope_set(scopes: list[dict[str, Any]]) -> set[str]:
    return {json.dumps(scope, sort_keys=True) for scope in scopes}

"""The stored target: tables ``app`` and ``deviceConfig`` and some keys of ``config`` (spec target-state 6).

Only target-state writes it. Besides what a reference supervisor keeps there are keys of our own: the version of the
target, which grows with each one accepted; whether it breaks locks, until it was applied; and the releases to which
apps may have to go back.
"""

from __future__ import annotations

import json
from typing import Any

import peewee

from balena_supervisor.db.commit_store import CommitStore
from balena_supervisor.db.config_store import ConfigStore, decoded, encoded
from balena_supervisor.db.connection import reading, tuples, writing
from balena_supervisor.db.models import App, DeviceConfig
from balena_supervisor.db.rebuild import TARGET_LOST
from balena_supervisor.errors import DatabaseRefused, InvalidValue
from balena_supervisor.model.target import TargetApp, TargetState
from balena_supervisor.state.coerce import is_truthy, to_int
from balena_supervisor.state.config_names import kept_config
from balena_supervisor.state.rollback import rollback_s
from balena_supervisor.state.target_format import ParsedTarget
from balena_supervisor.state.target_rows import app_from_row, app_to_row

NAME = "name"
DEFAULT_NAME = "local"
IS_SET = "targetStateSet"
VERSION = "targetVersion"
FORCE = "targetForce"
PREVIOUS = "previousReleases"
#: Apps of other classes run in every mode: local mode must not remove the parts of the system.
FLEET = "fleet"

_COLUMNS: tuple[Any, ...] = (
    App.app_id, App.uuid, App.name, App.app_class, App.source, App.is_host, App.rejected,
    App.release_id, App.commit, App.services, App.networks, App.volumes,
)  # fmt: skip


class TargetStore:
    def __init__(self, database: peewee.SqliteDatabase) -> None:
        self._database = database
        self._config = ConfigStore(database)

    def save(self, parsed: ParsedTarget, source: str) -> int:
        """Make this the target of ``source``, in one transaction; apps of that source it lacks are removed.

        Returns the new version. Raises ``DatabaseRefused``; then the previous target stays.
        """
        with writing(self._database):
            version = self._version() + 1
            previous = self._previous_releases(parsed, source)
            for app in parsed.apps:
                self._save_app(app)
            kept = [app.app_uuid for app in parsed.apps]
            App.delete().where(App.source == source, App.uuid.is_null() | App.uuid.not_in(kept)).execute(self._database)
            self._save_device_config(json.dumps(kept_config(parsed.config), ensure_ascii=False))
            self._config.set(
                {
                    NAME: parsed.name,
                    IS_SET: "true",
                    VERSION: str(version),
                    FORCE: "true" if parsed.force else None,
                    TARGET_LOST: None,
                    PREVIOUS: encoded(previous),
                }
            )
            return version

    def load(self, source: str) -> TargetState:
        """The target of ``source``, with apps of other classes than fleet whatever their source.

        Raises ``DatabaseRefused`` when a row cannot be read: an app left out would be taken for one to remove.
        """
        with reading(self._database):
            values = self._config.all()
            mine = (App.source == source) | (App.app_class != FLEET)
            rows = App.select(*_COLUMNS).where(mine).order_by(App.id)
            apps = tuple(_app(row) for row in tuples(rows, self._database))
            return TargetState(
                version=to_int(values.get(VERSION), positive=True) or 0,
                is_set=is_truthy(values.get(IS_SET)),
                force=is_truthy(values.get(FORCE)),
                name=values.get(NAME, DEFAULT_NAME),
                config=self._device_config(),
                apps=apps,
                previous=tuple(app for app in _apps_of(values.get(PREVIOUS)) if app.source == source),
            )

    def forget_force(self) -> None:
        """The target that was allowed to break locks has been applied."""
        self._config.set({FORCE: None})

    def forget_apps(self, source: str) -> None:
        """Remove the apps of a source, as local mode was left."""
        App.delete().where(App.source == source).execute(self._database)

    def _previous_releases(self, parsed: ParsedTarget, source: str) -> list[TargetApp]:
        """Of each app whose new release may be given up: the last one on which it has settled."""
        config = kept_config(parsed.config)
        known = _apps_of(self._config.get(PREVIOUS))
        kept = [app for app in known if app.source != source]
        wanted = {app.app_uuid: app for app in parsed.apps if rollback_s(app, config)}
        if not wanted:
            return kept
        before = {app.app_uuid: app for app in known if app.source == source}
        settled = CommitStore(self._database).all()
        rows = App.select(*_COLUMNS).where(App.source == source)
        stored = {app.app_uuid: app for app in map(_app, tuples(rows, self._database))}
        for uuid, app in wanted.items():
            old = stored.get(uuid)
            if old is not None and old.commit != app.commit and old.commit == settled.get(old.app_id):
                before[uuid] = old
        return kept + [app for uuid, app in before.items() if uuid in wanted]

    def _version(self) -> int:
        return to_int(self._config.get(VERSION), positive=True) or 0

    def _save_app(self, app: TargetApp) -> None:
        row = app_to_row(app)
        values = {field: row[field.column_name] for field in _COLUMNS}
        changed = App.update(values).where(App.uuid == app.app_uuid).execute(self._database)
        if not changed:
            App.insert(values).execute(self._database)

    def _save_device_config(self, text: str) -> None:
        if not DeviceConfig.update(target_values=text).execute(self._database):
            DeviceConfig.insert(target_values=text).execute(self._database)

    def _device_config(self) -> dict[str, str]:
        rows = tuples(DeviceConfig.select(DeviceConfig.target_values), self._database)
        text = next((row[0] for row in rows), None) or "{}"
        try:
            values = json.loads(text)
        except ValueError as error:
            raise DatabaseRefused(f"cannot read the stored configuration: it is no JSON ({error})") from error
        return {name: str(value) for name, value in values.items()} if isinstance(values, dict) else {}


def _apps_of(text: str | None) -> list[TargetApp]:
    return decoded(text, list[TargetApp], [])


def _app(row: tuple[Any, ...]) -> TargetApp:
    try:
        return app_from_row({field.column_name: value for field, value in zip(_COLUMNS, row, strict=True)})
    except InvalidValue as error:
        raise DatabaseRefused(error.message, **error.fields) from error

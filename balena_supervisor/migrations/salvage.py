"""What can still be read of a damaged database, row by row (each row is checked, since a torn page reads as anything).

The target is not among it: half a target would remove apps, and nobody can tell a half from a whole.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from balena_supervisor.errors import InvalidValue
from balena_supervisor.migrations.step import columns, read_json
from balena_supervisor.state.image_name import parse

Row = tuple[Any, ...]

#: keys of ``config`` that are taken over: all that the supervisor reads, without those that speak of the target
_CONFIG_KEYS = frozenset(
    {
        "name", "initialConfigReported", "initialConfigSaved", "containersNormalised", "loggingEnabled",
        "connectivityCheckEnabled", "delta", "deltaRequestTimeout", "deltaApplyTimeout", "deltaRetryCount",
        "deltaRetryInterval", "deltaVersion", "lockOverride", "legacyAppsPresent", "pinDevice", "localMode",
        "instantUpdates", "firewallMode", "hostDiscoverability", "hardwareMetrics", "apiEndpointOverride",
        "listenPortOverride", "apiRequestTimeout", "reportedTags", "targetTags", "lastConfigJson", "targetVersion",
        "stoppedServices", "badReleases",
    }
)  # fmt: skip
#: the second comes from names in SQLite's own messages
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
_KEY = re.compile(r"[0-9a-f]{32}")


def _is_config(row: Row) -> bool:
    key, value = row
    return key in _CONFIG_KEYS and isinstance(value, str)


def _is_key(row: Row) -> bool:
    app_id, key, scopes, service_name = row
    return (
        _is_number(app_id)
        and isinstance(key, str)
        and bool(_KEY.fullmatch(key))
        and isinstance(read_json(scopes), list)
        and (service_name is None or isinstance(service_name, str))
    )


def _is_commit(row: Row) -> bool:
    app_id, commit = row
    return _is_number(app_id) and app_id > 0 and isinstance(commit, str) and bool(commit)


def _is_image(row: Row) -> bool:
    name, app_id, service_id, service_name, image_id, release_id, docker_image_id, app_uuid, commit = row
    texts = (service_name, docker_image_id, app_uuid, commit)
    try:
        parse(name if isinstance(name, str) else "")
    except InvalidValue:
        return False
    return all(map(_is_number, (app_id, service_id, image_id, release_id))) and all(
        text is None or isinstance(text, str) for text in texts
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int) and value >= 0


#: table -> its columns that are taken over, and which rows are good
TABLES: dict[str, tuple[tuple[str, ...], Callable[[Row], bool]]] = {
    "config": (("key", "value"), _is_config),
    "apiSecret": (("appId", "key", "scopes", "serviceName"), _is_key),
    "image": (
        (
            *("name", "appId", "serviceId", "serviceName", "imageId", "releaseId"),
            *("dockerImageId", "appUuid", "commit"),
        ),
        _is_image,
    ),
    "currentCommit": (("appId", "commit"), _is_commit),
}


def readable_rows(path: Path) -> dict[str, list[Row]]:
    """The good rows of each table that has the present columns. Changes nothing, raises nothing of SQLite."""
    found: dict[str, list[Row]] = {table: [] for table in TABLES}
    with suppress(*_UNREADABLE), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        database.text_factory = _strict_text
        for table, (names, is_good) in TABLES.items():
            with suppress(*_UNREADABLE):
                if columns(database, table).issuperset(names):
                    found[table] = [row for row in _rows(database, table, names) if is_good(row)]
    return found


def insert_rows(database: sqlite3.Connection, found: dict[str, list[Row]]) -> None:
    """Put rows into new tables; a row of the new table with the same key gives way."""
    for table, rows in found.items():
        names = TABLES[table][0]
        listed, marks = ", ".join(f"`{name}`" for name in names), ", ".join("?" * len(names))
        database.executemany(f"INSERT OR REPLACE INTO `{table}` ({listed}) VALUES ({marks})", rows)  # noqa: S608  # own names


def _rows(database: sqlite3.Connection, table: str, names: tuple[str, ...]) -> list[Row]:
    """From the beginning to the first page that cannot be read, and from the end to the last one; no index is used."""
    listed = ", ".join(f"`{name}`" for name in names)
    found: dict[int, Row] = {}
    for order in ("ASC", "DESC"):
        query = f"SELECT rowid, {listed} FROM `{table}` NOT INDEXED ORDER BY rowid {order}"  # noqa: S608  # own names
        found.update(_until_damage(database, query))
    return [found[row_id] for row_id in sorted(found)]


def _until_damage(database: sqlite3.Connection, query: str) -> Iterator[tuple[int, Row]]:
    with suppress(*_UNREADABLE):
        for row in database.execute(query):
            yield row[0], tuple(row[1:])


def _strict_text(raw: bytes) -> str | None:
    """None for what is no text; no check takes that for good."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None

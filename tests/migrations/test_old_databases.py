"""Databases of older supervisors are brought to the end with their data, whatever stands in their rows."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balena_supervisor.db.connection import open_database
from balena_supervisor.db.image_store import ImageStore
from balena_supervisor.db.key_store import KeyStore
from balena_supervisor.db.target_store import TargetStore
from balena_supervisor.migrations.runner import MIGRATIONS, NAMES, migrate
from tests.migrations.databases import AGES, content, make_old, make_stopped_after, query, tables_of
from tests.migrations.test_runner import TABLES

FINAL = {table: set(columns.items()) for table, columns in TABLES.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "database.sqlite"


@pytest.fixture
def config_json(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text('{"apiEndpoint": "https://api"}')
    return path


def config(path: Path) -> dict[str, str]:
    return dict(query(path, "SELECT * FROM config"))


@pytest.mark.parametrize("age", AGES)
def test_every_age_ends_with_the_same_tables_and_whole_books(path: Path, config_json: Path, age: str) -> None:
    make_old(path, age)
    migrate(path, config_json)
    tables = tables_of(path)
    lock = tables.pop("knex_migrations_lock")
    assert ("is_locked", "integer") in lock
    assert {name: {column for column, _ in columns} for name, columns in tables.items()} == {
        name: {column for column, _ in columns} for name, columns in FINAL.items() if name != "knex_migrations_lock"
    }
    assert {name for (name,) in query(path, "SELECT name FROM knex_migrations")} == set(NAMES)
    assert query(path, "SELECT is_locked FROM knex_migrations_lock") == [(0,)]
    before = content(path)
    assert migrate(path, config_json) == []
    assert content(path) == before


@pytest.mark.parametrize("steps", range(len(MIGRATIONS) + 1))
def test_a_database_that_stopped_at_any_step_ends_like_a_fresh_one(
    path: Path, config_json: Path, tmp_path: Path, steps: int
) -> None:
    make_stopped_after(path, steps)
    migrate(path, config_json)
    fresh = tmp_path / "fresh.sqlite"
    migrate(fresh, config_json)
    assert tables_of(path) == FINAL
    assert [name for (name,) in query(path, "SELECT name FROM knex_migrations ORDER BY id")] == list(NAMES)
    indexes = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'index' ORDER BY name"
    assert query(path, indexes) == query(fresh, indexes)
    ours, theirs = content(path), content(fresh)
    del ours["logsChannelSecret"], theirs["logsChannelSecret"]  # depends on config.json at that step
    assert ours == theirs


def test_an_app_of_before_7_becomes_the_service_main(path: Path, config_json: Path) -> None:
    make_old(path, "before_7")
    notes = migrate(path, config_json)
    rows = query(path, "SELECT name, appId, releaseId, `commit`, networks, volumes, source, uuid FROM app")
    assert rows[0] == ("shop", 7, 1, "abc", "{}", '{"resin-data":{}}', "https://api", None)
    assert [row[:2] for row in rows] == [("shop", 7), ("bare", 8), ("torn", 9)]
    (shop,) = json.loads(query(path, "SELECT services FROM app")[0][0])
    assert shop == {
        "serviceName": "main", "serviceId": 1, "imageId": 1, "releaseId": 1, "appId": 7, "commit": "abc",
        "image": "registry.io/shop/abc:latest", "running": True, "environment": {"A": "b", "N": "1"},
        "labels": {
            "io.resin.features.kernel-modules": "1", "io.resin.features.firmware": "1", "io.resin.features.dbus": "1",
            "io.resin.features.supervisor-api": "1", "io.resin.features.resin-api": "1",
            "io.resin.update.strategy": "kill-then-download", "io.resin.update.handover-timeout": "",
            "io.resin.legacy-container": "1",
        },
        "restart": "no", "privileged": True, "networkMode": "host", "volumes": ["resin-data:/data"],
    }  # fmt: skip
    images = "SELECT name, appId, serviceId, serviceName, imageId, releaseId, dockerImageId FROM image"
    assert query(path, images)[0] == ("registry.io/shop/abc:latest", 7, 1, "main", 1, 1, None)
    assert len(notes) == 3
    assert any("'nobody', id 'seven'" in note for note in notes)


def test_the_device_values_of_before_7_are_copied_each_to_its_own_key(path: Path, config_json: Path) -> None:
    make_old(path, "before_7")
    migrate(path, config_json)
    assert config(path) == {
        "name": "kiosk",
        "appUpdatePollInterval": "120000",
        "delta": "1",
        "deltaRequestTimeout": "5",
        "deltaRetryInterval": "7",
        "legacyAppsPresent": "true",
        "localMode": "false",
    }
    assert query(path, "SELECT * FROM deviceConfig") == [("{}",)]
    assert query(path, "SELECT * FROM logsChannelSecret") == [("https://api", "channel")]


def test_the_old_form_of_a_service_can_be_read_as_a_target(path: Path, config_json: Path) -> None:
    make_old(path, "before_7")
    migrate(path, config_json)
    with closing(open_database(path)) as database:
        target = TargetStore(database).load("https://api")
    assert not target.is_set
    main = target.apps[0].services[0]
    assert (main.service_name, main.composition["networkMode"]) == ("main", "host")


def test_v7_keeps_its_legacy_app_and_moves_its_values(path: Path, config_json: Path) -> None:
    make_old(path, "v7")
    migrate(path, config_json)
    assert query(path, "SELECT name, source, uuid FROM app") == [("shop", "https://api", None)]
    assert query(path, "SELECT name, appId FROM image") == [("shop:latest", 7)]
    assert query(path, "SELECT appId, `commit` FROM currentCommit") == [(7, "abc")]
    assert json.loads(query(path, "SELECT * FROM deviceConfig")[0][0]) == {
        "SUPERVISOR_DELTA": "1",
        "SUPERVISOR_DELTA_APPLY_TIMEOUT": "0",
    }
    assert config(path) == {
        "name": "kiosk", "localMode": "true", "legacyAppsPresent": "true", "targetStateSet": "true",
    }  # fmt: skip


def test_v10_waits_for_a_new_target_and_knows_its_commit(path: Path, config_json: Path) -> None:
    make_old(path, "v10")
    migrate(path, config_json)
    assert query(path, "SELECT name, uuid, class, isHost, rejected FROM app") == [("mine", "1", "fleet", 0, 0)]
    assert query(path, "SELECT * FROM image") == []
    assert query(path, "SELECT appId, `commit` FROM currentCommit ORDER BY appId") == [(1, "abc"), (7, "abc")]
    assert config(path) == {"name": "kiosk", "localMode": "false"}


def test_v12_keeps_what_can_be_read_of_the_local_apps(path: Path, config_json: Path) -> None:
    make_old(path, "v12")
    notes = migrate(path, config_json)
    assert query(path, "SELECT appId, `commit`, uuid FROM app ORDER BY id") == [(1, "r2", "1"), (2, "r1", "2")]
    assert json.loads(query(path, "SELECT services FROM app")[0][0]) == [
        {"serviceName": "dev2", "image": "dev:latest", "appUuid": "1"}
    ]
    assert len(notes) == 3
    assert config(path) == {"name": "kiosk", "localMode": "true", "initialConfigReported": "https://api"}
    with closing(open_database(path)) as database:
        assert [key.service_name for key in KeyStore(database).all()] == [None, "web"]


@pytest.mark.parametrize(("flag", "apps"), [("true", 4), ("false", 2)])
def test_legacy_apps_keep_their_rows_only_while_the_flag_is_true(
    path: Path, config_json: Path, flag: str, apps: int
) -> None:
    make_old(path, "v12")
    query(path, f"INSERT INTO config VALUES ('legacyAppsPresent', '{flag}')")
    query(path, "DELETE FROM app WHERE appId IS NULL OR appId > 2 AND source = 'local'")
    migrate(path, config_json)
    assert len(query(path, "SELECT * FROM app")) == apps


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE app SET services = '{'",
        "UPDATE app SET services = replace(hex(zeroblob(5000)), '0', '[')",
        "UPDATE app SET services = '[5]'",
        "UPDATE app SET appId = NULL",
        "UPDATE app SET `commit` = x'00'",
        "UPDATE deviceConfig SET targetValues = '[]'",
    ],
)
def test_a_stored_target_that_cannot_be_read_is_dropped_whole_and_said(path: Path, config_json: Path, sql: str) -> None:
    make_old(path, "v19")
    query(path, "INSERT INTO app (appId, source, uuid) VALUES (8, 'https://api', 'good')")
    query(path, sql)
    (note,) = migrate(path, config_json)
    assert note.startswith("the stored target was dropped")
    with closing(open_database(path)) as database:
        target = TargetStore(database).load("https://api")
        assert (target.is_set, target.apps, target.config) == (False, (), {})
        assert len(KeyStore(database).all()) == 1
    assert config(path)["targetLost"] == note
    assert migrate(path, config_json) == []


def test_a_database_of_v19_is_taken_as_it_is(path: Path, config_json: Path) -> None:
    make_old(path, "v19")
    before = content(path)
    assert migrate(path, config_json) == []
    assert content(path) == before
    with closing(open_database(path)) as database:
        target = TargetStore(database).load("https://api")
        assert [row.ref.name for row in ImageStore(database).rows()] == ["web:latest"]
    assert target.is_set
    assert target.apps[0].services[0].composition == {"command": ["sleep", "9"]}


def test_keys_get_the_names_of_their_services(path: Path, config_json: Path) -> None:
    make_stopped_after(path, NAMES.index("M00006.js"))
    query(path, "CREATE UNIQUE INDEX apisecret_appid_serviceid_unique ON apiSecret (appId, serviceId)")
    services = '[{"serviceId": 3, "serviceName": "web"}, {"serviceId": 4, "serviceName": "web"}]'
    query(path, f"INSERT INTO app (appId, services, source) VALUES (7, '{services}', 'local')")
    query(
        path,
        """INSERT INTO apiSecret (appId, serviceId, key, scopes)
           VALUES (0, NULL, 'g', '[{"type":"global"}]'), (7, 3, 'a', '[]'), (7, 4, 'b', '[]'), (7, 99, 'c', '[]')""",
    )
    migrate(path, config_json)
    assert query(path, "SELECT id, appId, serviceName, key FROM apiSecret ORDER BY id") == [
        (1, 0, None, "g"),
        (3, 7, "web", "b"),
        (4, 7, None, "c"),
    ]


def test_a_very_large_app_is_converted(path: Path, config_json: Path) -> None:
    make_old(path, "v12")
    services = json.dumps(
        [{"serviceName": f"s{number}", "image": "x", "environment": {"A": "x" * 100_000}} for number in range(50)]
    )
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE app SET services = ? WHERE `commit` = 'r2'", (services,))
    migrate(path, config_json)
    assert len(json.loads(query(path, "SELECT services FROM app")[0][0])) == 50


# --- any rows at any step ------------------------------------------------------------------------------------------

VALUES = st.one_of(
    st.none(),
    st.integers(-1, 4),
    st.sampled_from(["", "x", "local", "1", "[]", "{}", "[{}]", "null", "{", '{"RESIN_A":"b","A":1}', "[" * 5000]),
    st.just('[{"serviceName":"web","serviceId":1}]'),
    st.just('[{"serviceName":"\\ud800"}]'),
    st.just(b"ab"),
)


def insert(path: Path, table: str, values: list[Any]) -> None:
    """A row; what the table itself refuses (a second one of a key) is no row."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA synchronous = off")
        names = [row[1] for row in database.execute(f"PRAGMA table_info('{table}')") if row[1] not in {"id", "index"}]
        marks = ", ".join("?" * len(names))
        columns = ", ".join(f"`{name}`" for name in names)
        row = [values[number % len(values)] for number in range(len(names))]
        database.execute(f"INSERT OR IGNORE INTO `{table}` ({columns}) VALUES ({marks})", row)


@settings(max_examples=40, deadline=None)
@given(steps=st.integers(0, len(MIGRATIONS)), data=st.data())
def test_any_rows_at_any_step_end_as_a_database_that_can_be_used(steps: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, config_json = Path(folder, "database.sqlite"), Path(folder, "config.json")
        make_stopped_after(path, steps)
        if steps == 0:
            make_old(path, "before_7")
        for table in sorted(content(path)):
            for values in data.draw(st.lists(st.lists(VALUES, min_size=1, max_size=12), max_size=3)):
                insert(path, table, values)
        migrate(path, config_json)
        assert {name: {column for column, _ in columns} for name, columns in tables_of(path).items()} == {
            name: {column for column, _ in columns} for name, columns in FINAL.items()
        }
        assert query(path, "PRAGMA integrity_check") == [("ok",)]
        before = content(path)
        assert migrate(path, config_json) == []
        assert content(path) == before

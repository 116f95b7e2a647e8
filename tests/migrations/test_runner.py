from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from balena_supervisor.errors import DatabaseRefused
from balena_supervisor.migrations.m0001_tables_of_v12 import MIGRATION as FIRST
from balena_supervisor.migrations.runner import NAMES, migrate, problem_of_place
from tests.fakes.ports import FakeClock

TABLES = {
    "config": {"key": "varchar(255)", "value": "varchar(255)"},
    "deviceConfig": {"targetValues": "json"},
    "app": {
        "id": "integer", "name": "varchar(255)", "releaseId": "integer", "commit": "varchar(255)", "appId": "integer",
        "services": "json", "networks": "json", "volumes": "json", "source": "varchar(255)", "uuid": "varchar(255)",
        "class": "varchar(255)", "isHost": "boolean", "rejected": "boolean",
    },
    "image": {
        "id": "integer", "name": "varchar(255)", "appId": "integer", "serviceId": "integer",
        "serviceName": "varchar(255)", "imageId": "integer", "releaseId": "integer", "dockerImageId": "varchar(255)",
        "appUuid": "varchar(255)", "commit": "varchar(255)",
    },
    "apiSecret": {
        "id": "integer", "appId": "integer", "key": "varchar(255)", "scopes": "varchar(255)",
        "serviceName": "varchar(255)",
    },
    "currentCommit": {"id": "integer", "appId": "integer", "commit": "varchar(255)"},
    "engineSnapshot": {"snapshot": "varchar(255)", "timestamp": "varchar(255)"},
    "logsChannelSecret": {"backend": "varchar(255)", "secret": "varchar(255)"},
    "knex_migrations": {"id": "integer", "name": "varchar(255)", "batch": "integer", "migration_time": "datetime"},
    "knex_migrations_lock": {"index": "integer", "is_locked": "integer"},
}  # fmt: skip


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as database, database:
        return database.execute(sql).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "database.sqlite"


@pytest.fixture
def config_json(tmp_path: Path) -> Path:
    return tmp_path / "config.json"


def as_v12_left_it(path: Path, config_json: Path) -> None:
    """A database whose books end at M00008.js, with the tables that were dropped later."""
    migrate(path, config_json)
    later = "', '".join(name for name in NAMES if name not in FIRST.names)
    for sql in (
        f"DELETE FROM knex_migrations WHERE name IN ('{later}')",
        "ALTER TABLE app DROP COLUMN rejected",
        "ALTER TABLE image ADD COLUMN dependent boolean",
        "CREATE TABLE dependentApp (id integer)",
        "CREATE TABLE containerLogs (containerId varchar(255))",
        """INSERT INTO app (name, appId, services, source)
           VALUES ('cloud', 1, '[]', 'https://api'), ('mine', 7, '[{"serviceName":"a"}]', 'local')""",
        "INSERT INTO image (name) VALUES ('x')",
        "INSERT INTO config VALUES ('targetStateSet', 'true'), ('name', 'kiosk')",
    ):
        query(path, sql)


def test_a_fresh_database_has_exactly_the_final_tables(path: Path, config_json: Path) -> None:
    migrate(path, config_json)
    names = {name for (name,) in query(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names - {"sqlite_sequence"} == set(TABLES)
    for table, columns in TABLES.items():
        assert {row[1]: row[2].lower() for row in query(path, f"PRAGMA table_info('{table}')")} == columns


def test_a_fresh_database_has_the_first_rows(path: Path, config_json: Path) -> None:
    migrate(path, config_json)
    assert query(path, "SELECT * FROM config") == [("localMode", "false")]
    assert query(path, "SELECT * FROM deviceConfig") == [("{}",)]
    assert query(path, "SELECT * FROM logsChannelSecret") == [("", None)]
    assert query(path, "SELECT is_locked FROM knex_migrations_lock") == [(0,)]
    for table in ("app", "image", "apiSecret", "currentCommit", "engineSnapshot"):
        assert query(path, f"SELECT * FROM {table}") == []


def test_the_first_rows_follow_config_json(path: Path, config_json: Path) -> None:
    config_json.write_text('{"apiEndpoint": "https://api", "localMode": true}')
    migrate(path, config_json)
    assert query(path, "SELECT * FROM config") == [("localMode", "true")]
    assert query(path, "SELECT * FROM logsChannelSecret") == [("https://api", None)]


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_a_damaged_config_json_counts_as_empty(path: Path, config_json: Path, content: str) -> None:
    config_json.write_text(content)
    migrate(path, config_json)
    assert query(path, "SELECT * FROM config") == [("localMode", "false")]


def test_the_books_hold_all_names_of_the_reference(path: Path, config_json: Path) -> None:
    clock = FakeClock()
    migrate(path, config_json, clock)
    rows = query(path, "SELECT name, batch, migration_time FROM knex_migrations ORDER BY id")
    assert [row[0] for row in rows] == [
        "20171129013519_legacy.js",
        "20171129064057_multicontainer.js",
        "20171214172530_image_docker_id.js",
        "20180516164000-endpoint-specific-apps.js",
        "20181907164000-endpoint-specific-logschannel.js",
        "20190619152500-engine-snapshot.js",
        *(f"M{number:05}.js" for number in range(13)),
    ]
    assert {row[1:] for row in rows} == {(1, int(clock.now().timestamp() * 1000))}


def test_a_second_run_changes_nothing(path: Path, config_json: Path) -> None:
    migrate(path, config_json)
    query(path, "UPDATE config SET value = 'true'")
    before = path.read_bytes()
    migrate(path, config_json)
    assert path.read_bytes() == before


def test_a_file_that_was_created_but_never_written_is_a_fresh_database(path: Path, config_json: Path) -> None:
    path.touch()
    migrate(path, config_json)
    assert len(query(path, "SELECT * FROM knex_migrations")) == len(NAMES)


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("app (uuid)", "('a')"),
        ('currentCommit (appId, "commit")', "(1, 'a')"),
        ("apiSecret (appId, serviceName)", "(1, 'a')"),
        ("config", "('a', 'b')"),
    ],
)
def test_what_identifies_a_row_is_unique(path: Path, config_json: Path, table: str, row: str) -> None:
    migrate(path, config_json)
    query(path, f"INSERT INTO {table} VALUES {row}")
    with pytest.raises(sqlite3.IntegrityError):
        query(path, f"INSERT INTO {table} VALUES {row}")


def test_a_database_that_a_newer_supervisor_used_is_refused_and_left_alone(path: Path, config_json: Path) -> None:
    migrate(path, config_json)
    query(path, "INSERT INTO knex_migrations (name) VALUES ('M00014.js'), ('M00013.js')")
    before = path.read_bytes()
    with pytest.raises(DatabaseRefused) as caught:
        migrate(path, config_json)
    assert "M00013.js, M00014.js" in caught.value.message
    assert str(path) in caught.value.message
    assert path.read_bytes() == before


def test_the_data_of_v12_is_taken_over_and_waits_for_a_new_target(path: Path, config_json: Path) -> None:
    as_v12_left_it(path, config_json)
    migrate(path, config_json)
    assert query(path, "SELECT name, uuid, rejected FROM app") == [("mine", "7", 0)]
    assert json.loads(query(path, "SELECT services FROM app")[0][0]) == [{"serviceName": "a", "appUuid": "7"}]
    assert query(path, "SELECT * FROM image") == []
    assert dict(query(path, "SELECT * FROM config")) == {"localMode": "false", "name": "kiosk"}
    names = {name for (name,) in query(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names - {"sqlite_sequence"} == set(TABLES)
    assert "dependent" not in {row[1] for row in query(path, "PRAGMA table_info('image')")}
    assert query(path, "SELECT DISTINCT batch FROM knex_migrations") == [(1,), (2,)]


@pytest.mark.parametrize(("flag", "apps"), [("true", 2), ("false", 1)])
def test_legacy_apps_keep_their_rows_only_while_the_flag_is_true(
    path: Path, config_json: Path, flag: str, apps: int
) -> None:
    as_v12_left_it(path, config_json)
    query(path, f"INSERT INTO config VALUES ('legacyAppsPresent', '{flag}')")
    migrate(path, config_json)
    assert len(query(path, "SELECT * FROM app")) == apps


def test_a_failing_step_leaves_the_database_as_it_was(path: Path, config_json: Path) -> None:
    as_v12_left_it(path, config_json)
    query(path, "ALTER TABLE app ADD COLUMN rejected boolean")
    with pytest.raises(DatabaseRefused):
        migrate(path, config_json)
    assert len(query(path, "SELECT * FROM app")) == 2
    assert len(query(path, "SELECT * FROM knex_migrations")) == len(FIRST.names)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM knex_migrations WHERE name = 'M00007.js'",
        "DROP TABLE knex_migrations",
        "DELETE FROM knex_migrations",
    ],
)
def test_a_database_older_than_v12_is_refused(path: Path, config_json: Path, sql: str) -> None:
    as_v12_left_it(path, config_json)
    query(path, sql)
    with pytest.raises(DatabaseRefused, match="older than v12"):
        migrate(path, config_json)
    assert len(query(path, "SELECT * FROM app")) == 2


def test_a_file_that_is_no_database_is_refused(path: Path, config_json: Path) -> None:
    path.write_bytes(b"this is text, and long enough to be looked at as a header of a database file" * 20)
    with pytest.raises(DatabaseRefused, match="not a database"):
        migrate(path, config_json)


def test_a_damaged_database_is_refused(path: Path, config_json: Path) -> None:
    migrate(path, config_json)
    query(path, "PRAGMA journal_mode = delete")
    content = bytearray(path.read_bytes())
    content[4096 * 2 : 4096 * 3] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(DatabaseRefused):
        migrate(path, config_json)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, config_json: Path) -> None:
    with pytest.raises(DatabaseRefused, match=r"cannot migrate the database .*: there is no folder .*/missing$"):
        migrate(tmp_path / "missing" / "database.sqlite", config_json)


def test_a_folder_in_place_of_the_file_is_named(path: Path, config_json: Path) -> None:
    path.mkdir()
    with pytest.raises(DatabaseRefused, match="it is a folder"):
        migrate(path, config_json)


def test_a_place_that_cannot_be_written_is_named(path: Path) -> None:
    path.touch()
    assert problem_of_place(path) == ""
    folder = problem_of_place(path, lambda place, _mode: place != path.parent)
    file = problem_of_place(path, lambda place, _mode: place != path)
    assert folder.startswith(f"{path.parent} cannot be written")
    assert file.startswith(f"{path} cannot be written")


KILLED_AT = """
import os, sqlite3, sys
from pathlib import Path
from balena_supervisor.migrations.runner import migrate

class Dying(sqlite3.Connection):
    left = int(sys.argv[2])

    def execute(self, *arguments):
        Dying.left -= 1
        if Dying.left == 0:
            os.kill(os.getpid(), 9)
        return super().execute(*arguments)

connect = sqlite3.connect
sqlite3.connect = lambda path, **options: connect(path, factory=Dying, **options)
migrate(Path(sys.argv[1]), Path("none"))
"""


@pytest.mark.parametrize("statement", [6, 9, 20, 40, 50])
def test_a_first_start_that_was_killed_half_way_is_as_if_it_had_never_been(
    path: Path, config_json: Path, statement: int
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_AT, str(path), str(statement)], check=False, timeout=30)
    assert killed.returncode == -9
    assert query(path, "SELECT * FROM sqlite_master") == []
    migrate(path, config_json)
    assert [row[0] for row in query(path, "SELECT name FROM knex_migrations")] == list(NAMES)

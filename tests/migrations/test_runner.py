from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from balena_supervisor.errors import DatabaseDamaged, DatabaseRefused
from balena_supervisor.migrations.runner import NAMES, migrate, problem_of_place
from tests.fakes.ports import FakeClock
from tests.migrations.databases import content, make_old, query, tables_of

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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "database.sqlite"


@pytest.fixture
def config_json(tmp_path: Path) -> Path:
    return tmp_path / "config.json"


def test_a_fresh_database_has_exactly_the_final_tables(path: Path, config_json: Path) -> None:
    migrate(path, config_json)
    assert tables_of(path) == {table: set(columns.items()) for table, columns in TABLES.items()}


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


def test_a_failing_step_leaves_the_database_as_it_was(path: Path, config_json: Path) -> None:
    make_old(path, "v12")
    query(path, "CREATE TRIGGER stop BEFORE DELETE ON config BEGIN SELECT RAISE(ABORT, 'no'); END")
    before = path.read_bytes()
    with pytest.raises(DatabaseRefused, match=r"M00009\.js: no"):
        migrate(path, config_json)
    assert path.read_bytes()[100:] == before[100:]  # the header says that there is a log


@pytest.mark.parametrize("sql", ["DROP TABLE knex_migrations", "DELETE FROM knex_migrations"])
def test_tables_that_do_not_fit_the_books_are_left_alone(path: Path, config_json: Path, sql: str) -> None:
    make_old(path, "v12")
    query(path, sql)
    with pytest.raises(DatabaseDamaged, match="newer than its list of migrations"):
        migrate(path, config_json)
    assert len(query(path, "SELECT * FROM app")) == 7


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("DROP TABLE image", "table image lacks"),
        ("ALTER TABLE apiSecret DROP COLUMN scopes", "table apiSecret lacks scopes"),
        ("DROP TABLE config", "table config lacks key, value"),
    ],
)
def test_a_table_that_is_missing_although_the_books_have_it_is_damage(
    path: Path, config_json: Path, sql: str, complaint: str
) -> None:
    migrate(path, config_json)
    query(path, sql)
    with pytest.raises(DatabaseDamaged, match=complaint):
        migrate(path, config_json)


def test_a_missing_table_that_a_step_needs_is_damage(path: Path, config_json: Path) -> None:
    make_old(path, "v10")
    query(path, "DROP TABLE app")
    with pytest.raises(DatabaseDamaged, match=r"M00006\.js: no such table: app"):
        migrate(path, config_json)


def test_a_lock_that_a_killed_supervisor_left_is_taken_away(path: Path, config_json: Path) -> None:
    migrate(path, config_json)
    query(path, "UPDATE knex_migrations_lock SET is_locked = 1")
    migrate(path, config_json)
    assert query(path, "SELECT is_locked FROM knex_migrations_lock") == [(0,)]


def test_later_migrations_are_a_batch_of_their_own(path: Path, config_json: Path) -> None:
    make_old(path, "v12")
    migrate(path, config_json)
    assert query(path, "SELECT DISTINCT batch FROM knex_migrations") == [(1,), (2,), (3,)]


def test_a_file_that_is_no_database_is_refused(path: Path, config_json: Path) -> None:
    path.write_bytes(b"this is text, and long enough to be looked at as a header of a database file" * 20)
    with pytest.raises(DatabaseDamaged, match="not a database"):
        migrate(path, config_json)


def test_a_damaged_database_is_refused(path: Path, config_json: Path) -> None:
    migrate(path, config_json)
    query(path, "PRAGMA journal_mode = delete")
    content = bytearray(path.read_bytes())
    content[4096 * 2 : 4096 * 3] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(DatabaseDamaged):
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


def kill_at(path: Path, statement: int) -> bool:
    """Whether the migration was still under way then."""
    done = subprocess.run([sys.executable, "-c", KILLED_AT, str(path), str(statement)], check=False, timeout=30)
    assert done.returncode in {0, -9}
    return done.returncode == -9


@pytest.mark.parametrize("statement", [6, 20, 40, 60, 100])
def test_a_first_start_that_was_killed_half_way_is_as_if_it_had_never_been(
    path: Path, config_json: Path, statement: int
) -> None:
    assert kill_at(path, statement)
    assert query(path, "SELECT * FROM sqlite_master") == []
    migrate(path, config_json)
    assert [row[0] for row in query(path, "SELECT name FROM knex_migrations")] == list(NAMES)


def test_a_migration_of_old_data_that_is_killed_at_any_statement_is_as_if_it_had_never_been(
    path: Path, tmp_path: Path
) -> None:
    make_old(path, "v10")
    before = content(path)
    whole = tmp_path / "whole.sqlite"
    make_old(whole, "v10")
    migrate(whole, Path("none"))
    for statement in range(1, 200, 11):
        if not kill_at(path, statement):
            break
        if content(path) != before:  # it died after all was written
            break
    assert content(path) == content(whole)

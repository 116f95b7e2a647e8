from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import peewee
import pytest

from balena_supervisor.db.config_store import ConfigStore
from balena_supervisor.db.connection import open_database, tuples, writing
from balena_supervisor.db.models import Config
from balena_supervisor.errors import DatabaseDamaged, DatabaseRefused


def pragma(database: Any, name: str) -> object:
    return database.connection().execute(f"PRAGMA {name}").fetchone()[0]


def changes_of(database: Any) -> object:
    return database.connection().total_changes


def test_a_write_is_on_disk_before_it_is_answered(database: peewee.SqliteDatabase) -> None:
    assert (pragma(database, "journal_mode"), pragma(database, "synchronous")) == ("wal", 2)
    assert pragma(database, "busy_timeout") == 5000


def test_a_missing_file_is_refused_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(DatabaseRefused, match="no such file"):
        open_database(tmp_path / "x.sqlite")
    assert not (tmp_path / "x.sqlite").exists()


def test_a_locked_database_is_refused_and_nothing_is_written(path: Path) -> None:
    database = open_database(path, busy_timeout_s=0.01)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseRefused, match="database is locked") as caught:
            ConfigStore(database).set({"a": "1"})
        assert caught.value.message.startswith(f"cannot write the database {path}")
        assert ConfigStore(database).all() == {"localMode": "false"}
        other.execute("ROLLBACK")
    ConfigStore(database).set({"a": "1"})
    assert ConfigStore(database).get("a") == "1"
    database.close()


def test_two_databases_may_be_open_at_once(database: peewee.SqliteDatabase, path: Path) -> None:
    other = open_database(path)
    ConfigStore(database).set({"a": "1"})
    ConfigStore(other).set({"b": "2"})
    assert ConfigStore(database).all() == ConfigStore(other).all() == {"localMode": "false", "a": "1", "b": "2"}
    other.close()


def test_writers_of_several_actors_wait_for_each_other(path: Path) -> None:
    def write(writer: int) -> None:
        own = open_database(path)
        store = ConfigStore(own)
        for number in range(20):
            store.set({f"{writer}.{number}": "x", f"last of {writer}": str(number)})
        own.close()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write, writer) for writer in range(4)]:
            done.result(timeout=60)
    database = open_database(path)
    assert len(ConfigStore(database).all()) == 1 + 4 * 21
    database.close()


def test_a_body_that_raises_takes_back_what_it_wrote(database: peewee.SqliteDatabase) -> None:
    store = ConfigStore(database)

    def fail() -> None:
        with writing(database):
            store.set({"a": "1"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.get("a") is None


def test_a_full_disk_is_named_as_the_cause_and_later_writes_work(database: peewee.SqliteDatabase) -> None:
    store = ConfigStore(database)
    store.set({"a": "1"})
    pages = database.pragma("page_count")
    database.pragma("max_page_count", pages)
    with pytest.raises(DatabaseRefused, match="database or disk is full"):
        store.set({"b": "x" * 100_000})
    assert store.get("b") is None
    database.pragma("max_page_count", pages + 1000)
    store.set({"b": "2"})
    assert store.all()["b"] == "2"


def test_values_are_kept_as_text_and_none_removes_them(database: peewee.SqliteDatabase) -> None:
    store = ConfigStore(database)
    store.set({"a": "1", "b": "2"})
    store.set({"a": "3", "b": None, "c": None})
    assert store.all() == {"localMode": "false", "a": "3"}


def test_a_stored_null_counts_as_unset(database: peewee.SqliteDatabase) -> None:
    Config.insert(key="a", value=None).execute(database)
    assert ConfigStore(database).get("a") is None


def test_equal_values_are_not_written_again(database: peewee.SqliteDatabase) -> None:
    store = ConfigStore(database)
    store.set({"a": "1"})
    before = tuples(Config.select(Config.key, Config.value), database)
    changes = changes_of(database)
    store.set({"a": "1"})
    assert changes_of(database) == changes
    assert tuples(Config.select(Config.key, Config.value), database) == before


def test_damage_that_is_met_is_told_and_has_its_own_error(path: Path) -> None:
    told: list[str] = []
    database = open_database(path, on_damage=told.append)
    database.pragma("wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * (path.stat().st_size - 100))
    with pytest.raises(DatabaseDamaged):
        open_database(path, on_damage=told.append)
    assert len(told) == 1
    assert told[0].startswith(f"cannot open the database {path}: ")
    database.close()


def test_text_that_is_none_is_damage(path: Path) -> None:
    with closing(sqlite3.connect(path)) as by_hand, by_hand:
        by_hand.execute("INSERT INTO config VALUES ('a', CAST(x'ff' AS TEXT))")
    with closing(open_database(path)) as database, pytest.raises(DatabaseDamaged):
        ConfigStore(database).all()

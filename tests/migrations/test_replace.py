"""A damaged database is moved aside and made anew; what can be trusted of it is taken over."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balena_supervisor.db.commit_store import CommitStore
from balena_supervisor.db.config_store import ConfigStore
from balena_supervisor.db.connection import open_database
from balena_supervisor.db.image_store import ImageStore
from balena_supervisor.db.key_store import KeyStore
from balena_supervisor.db.rebuild import MARKS, TARGET_LOST
from balena_supervisor.db.target_store import TargetStore
from balena_supervisor.errors import DatabaseRefused
from balena_supervisor.migrations.replace import prepare
from balena_supervisor.model.image import ImageRef
from balena_supervisor.model.target import TargetApp, TargetService, TargetState
from balena_supervisor.state.target_format import ParsedTarget
from tests.fakes.ports import FakeClock
from tests.migrations.damage import DAMAGES, damaged_index, in_one_file, no_database, torn_app, torn_config
from tests.migrations.databases import query, tables_of
from tests.migrations.test_runner import TABLES

NO_CONFIG_JSON = Path("none")
APPS = tuple(
    TargetApp(
        app_id=app_id, app_uuid=str(app_id), name="shop", commit="c", release_id=1,
        services=(
            TargetService(
                service_name="web", service_id=1, image_id=1, image="web:latest", app_id=app_id, app_uuid=str(app_id),
                release_id=1, commit="c",
            ),
        ),
    )
    for app_id in (7, 8)
)  # fmt: skip


def make_used(path: Path) -> None:
    """A database in use: a target of two apps, keys, images, commits, configuration."""
    prepare(path, NO_CONFIG_JSON)
    with closing(open_database(path)) as database:
        ConfigStore(database).set({**dict.fromkeys(MARKS), "lastConfigJson": '{"uuid":"d00d"}', "delta": "true"})
        TargetStore(database).save(ParsedTarget(name="kiosk", config={}, apps=APPS, force=True), "local")
        KeyStore(database, lambda: "0" * 32).global_key()
        KeyStore(database, lambda: "1" * 32).service_key(7, "web")
        CommitStore(database).set(7, "c")
        ref = {"app_uuid": "7", "service_id": 1, "service_name": "web", "image_id": 1, "release_id": 1, "commit": "c"}
        ImageStore(database).save([(ImageRef(name="web:latest", app_id=7, **ref), "sha256:1")])  # type: ignore[arg-type]  # mixed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "database.sqlite"
    make_used(path)
    in_one_file(path)
    return path


def config(path: Path) -> dict[str, str]:
    with closing(open_database(path)) as database:
        return ConfigStore(database).all()


def target(path: Path) -> TargetState:
    with closing(open_database(path)) as database:
        return TargetStore(database).load("local")


def is_healthy(path: Path) -> None:
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    assert {name: {column for column, _ in columns} for name, columns in tables_of(path).items()} == {
        name: set(columns) for name, columns in TABLES.items()
    }


def asides(path: Path) -> list[str]:
    """Without their logs."""
    found = sorted(file.name for file in path.parent.iterdir() if ".damaged-" in file.name)
    return [name for name in found if not name.endswith(("-wal", "-shm"))]


def test_a_healthy_database_is_left_as_it_is(path: Path) -> None:
    assert prepare(path, NO_CONFIG_JSON) == []
    assert asides(path) == []
    assert target(path).apps == APPS


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_ends_with_a_healthy_database_and_the_damaged_file_beside_it(path: Path, damage: str) -> None:
    DAMAGES[damage](path)
    damaged = path.read_bytes()
    notes = prepare(path, NO_CONFIG_JSON, FakeClock())
    is_healthy(path)
    assert asides(path) == ["database.sqlite.damaged-20260102T030405Z"]
    assert (path.parent / asides(path)[0]).read_bytes()[4096:] == damaged[4096:]
    assert "damaged-20260102T030405Z" in notes[0]
    assert prepare(path, NO_CONFIG_JSON) == []
    assert target(path).apps == (), "half a target would remove apps"
    assert not target(path).is_set
    assert set(MARKS) < config(path).keys()
    assert "damaged and moved to database.sqlite.damaged-" in config(path)[TARGET_LOST]


@pytest.mark.parametrize("damage", [torn_app, damaged_index])
def test_the_rows_of_other_tables_are_taken_over_but_never_the_target(
    path: Path, damage: Callable[[Path], None]
) -> None:
    damage(path)
    notes = prepare(path, NO_CONFIG_JSON)
    assert "config 5, apiSecret 2, image 1, currentCommit 1" in notes[1]
    assert config(path).items() >= {"lastConfigJson": '{"uuid":"d00d"}', "delta": "true", "name": "kiosk"}.items()
    assert target(path).version == 1
    assert not target(path).force
    with closing(open_database(path)) as database:
        assert [key.key for key in KeyStore(database).all()] == ["0" * 32, "1" * 32]
        assert [row.ref.name for row in ImageStore(database).rows()] == ["web:latest"]
        assert CommitStore(database).all() == {7: "c"}


def test_a_table_that_cannot_be_read_does_not_hide_the_others(path: Path) -> None:
    torn_config(path)
    prepare(path, NO_CONFIG_JSON)
    assert config(path).keys() == {"localMode", *MARKS, TARGET_LOST}
    with closing(open_database(path)) as database:
        assert len(KeyStore(database).all()) == 2


def test_rows_that_make_no_sense_are_left_behind(path: Path) -> None:
    for sql in (
        "INSERT INTO apiSecret (appId, key, scopes) VALUES (9, 'short', '[]'), (-1, '" + "2" * 32 + "', '[]')",
        "INSERT INTO apiSecret (appId, key, scopes) VALUES (9, '" + "2" * 32 + "', '{'), (NULL, NULL, NULL)",
        "INSERT INTO currentCommit (appId, `commit`) VALUES ('x', 'c'), (9, x'00'), (0, 'c')",
        "INSERT INTO image (name, appId) VALUES ('web:latest', 'seven'), ('a b', 7), (NULL, NULL)",
        "INSERT INTO config VALUES ('unknown', 'x'), ('deltaVersion', x'ff'), ('hostDiscoverability', NULL)",
    ):
        query(path, sql)
    in_one_file(path)
    torn_app(path)
    assert "config 5, apiSecret 2, image 1, currentCommit 1" in prepare(path, NO_CONFIG_JSON)[1]


def test_what_stands_in_the_log_only_is_taken_over(path: Path) -> None:
    database = open_database(path)
    ConfigStore(database).set({"deltaVersion": "3"})
    content, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    database.close()
    path.write_bytes(content)
    Path(f"{path}-wal").write_bytes(log)
    torn_app(path)
    prepare(path, NO_CONFIG_JSON)
    is_healthy(path)
    assert config(path)["deltaVersion"] == "3"


def test_a_log_with_a_torn_frame_counts_up_to_the_last_whole_transaction(path: Path) -> None:
    database = open_database(path)
    store = ConfigStore(database)
    for number in range(10):
        store.set({"deltaVersion": str(number)})
    log = bytearray(Path(f"{path}-wal").read_bytes())
    content = path.read_bytes()
    database.close()
    log[len(log) // 2] ^= 0xFF
    path.write_bytes(content)
    Path(f"{path}-wal").write_bytes(log)
    assert prepare(path, NO_CONFIG_JSON) == []
    is_healthy(path)
    assert 0 < int(config(path)["deltaVersion"]) < 9
    assert target(path).apps == APPS


@pytest.mark.parametrize("part", ["-wal", "-shm"])
@pytest.mark.parametrize("content", [b"", b"\xff" * 5000, b"\x37\x7f\x06\x82" + bytes(6000)])
def test_a_damaged_log_leaves_an_older_state_but_a_whole_one(path: Path, part: str, content: bytes) -> None:
    Path(f"{path}{part}").write_bytes(content)
    assert prepare(path, NO_CONFIG_JSON) == []
    is_healthy(path)
    assert target(path).apps == APPS


def test_an_empty_file_and_none_at_all_are_new_databases_with_marks(tmp_path: Path) -> None:
    for name in ("empty", "none"):
        path = tmp_path / name
        if name == "empty":
            path.touch()
        assert prepare(path, NO_CONFIG_JSON) == []
        assert config(path) == {"localMode": "false", **dict.fromkeys(MARKS, "true")}


def test_only_the_two_newest_damaged_files_are_kept(path: Path) -> None:
    clock = FakeClock()
    for _ in range(4):
        no_database(path)
        Path(f"{path}-wal").write_bytes(b"x")
        prepare(path, NO_CONFIG_JSON, clock)
        clock.advance(1)
    assert asides(path) == ["database.sqlite.damaged-20260102T030407Z", "database.sqlite.damaged-20260102T030408Z"]


def test_a_clock_that_stands_still_or_goes_back_does_not_overwrite_a_damaged_file(path: Path) -> None:
    clock = FakeClock()
    for _ in range(3):
        path.write_bytes(f"no database {clock.monotonic()}".encode() * 50)
        newest = path.read_bytes()
        prepare(path, NO_CONFIG_JSON, clock)
        clock.jump_wall(-5)
    assert (path.parent / asides(path)[-1]).read_bytes() == newest
    assert len(asides(path)) == 2


def test_a_database_of_a_newer_supervisor_is_refused_even_when_it_is_damaged(path: Path) -> None:
    query(path, "INSERT INTO knex_migrations (name) VALUES ('M00099.js')")
    in_one_file(path)
    damaged_index(path)
    with pytest.raises(DatabaseRefused, match="M00099"):
        prepare(path, NO_CONFIG_JSON)
    assert asides(path) == []


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=True)
    path = folder / "database.sqlite"
    make_used(path)
    in_one_file(path)
    no_database(path)
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.root
def test_a_damaged_database_on_a_read_only_disk_is_refused_in_plain_words(read_only: Path) -> None:
    with pytest.raises(DatabaseRefused, match=r"cannot be written \(read-only"):
        prepare(read_only, NO_CONFIG_JSON)


# --- deaths --------------------------------------------------------------------------------------------------------

KILLED_AT = """
import os, sqlite3, sys
from pathlib import Path
from balena_supervisor.migrations import replace

left = int(sys.argv[2])

def dying(function):
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return function(*arguments, **options)
    return call

class Dying(sqlite3.Connection):
    execute = dying(sqlite3.Connection.execute)
    executemany = dying(sqlite3.Connection.executemany)

connect = sqlite3.connect
sqlite3.connect = lambda path, **options: connect(path, factory=Dying, **options)
Path.rename, Path.unlink, os.fsync = dying(Path.rename), dying(Path.unlink), dying(os.fsync)
replace.prepare(Path(sys.argv[1]), Path("none"))
"""


@pytest.mark.parametrize("damage", ["torn_app", "damaged_index"])
def test_a_death_at_any_moment_of_replacing_ends_the_same(path: Path, tmp_path: Path, damage: str) -> None:
    content = path.read_bytes()
    finished = False
    for moment in (1, 8, 16, 24, 40, 80, 120, 160, 200, 220, 240, 260, 300, 400):
        folder = tmp_path / f"{moment}"
        folder.mkdir()
        copy = folder / path.name
        copy.write_bytes(content)
        DAMAGES[damage](copy)
        Path(f"{copy}-wal").write_bytes(b"of the damaged one")
        killed = subprocess.run([sys.executable, "-c", KILLED_AT, str(copy), str(moment)], check=False, timeout=60)
        assert killed.returncode in {0, -9}
        finished = finished or killed.returncode == 0
        prepare(copy, NO_CONFIG_JSON)
        is_healthy(copy)
        assert len(asides(copy)) == 1
        found = sorted(file.name for file in folder.iterdir() if ".damaged-" not in file.name)
        assert set(found) - {f"{path.name}.ballast"} == {path.name}
        assert config(copy).keys() >= {*MARKS, TARGET_LOST}
    assert finished


# --- any damage ----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    spots=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=600)), min_size=1, max_size=4),
    length=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_whatever_is_overwritten_the_device_starts(spots: list[tuple[float, bytes]], length: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "database.sqlite")
        make_used(path)
        in_one_file(path)
        content = bytearray(path.read_bytes())
        for place, text in spots:
            start = int(place * (len(content) - len(text)))
            content[start : start + len(text)] = text
        path.write_bytes(content[: int(length * len(content))])
        try:
            prepare(path, NO_CONFIG_JSON)
        except DatabaseRefused as error:
            assert error.fields.get("unknown"), "only the books of a newer supervisor stop the start"  # noqa: PT017  # rare
            return
        is_healthy(path)
        target(path)
        with closing(open_database(path)) as database:
            ImageStore(database).rows()
            CommitStore(database).all()
            json.dumps([key.scopes for key in KeyStore(database).all()])


@pytest.mark.parametrize("name", ["M0001", "x'4d30303031ff2e6a73'"], ids=["cut off", "no text"])
def test_a_torn_list_of_migrations_is_damage_and_no_newer_supervisor(path: Path, name: str) -> None:
    value = f"CAST({name} AS TEXT)" if name.startswith("x'") else f"'{name}'"
    query(path, f"UPDATE knex_migrations SET name = {value} WHERE name = 'M00012.js'")
    prepare(path, NO_CONFIG_JSON)
    assert len(asides(path)) == 1
    assert prepare(path, NO_CONFIG_JSON) == []


def test_a_new_database_is_in_the_mode_in_which_the_actors_open_it_at_the_same_time(path: Path) -> None:
    no_database(path)
    prepare(path, NO_CONFIG_JSON)
    assert query(path, "PRAGMA journal_mode") == [("wal",)]

"""A disk that is full at any write: what was accepted stays, readers go on, and the write works once there is room."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import peewee
import pytest

from balena_supervisor.adapters.config_json import ConfigJson
from balena_supervisor.adapters.host_files import write_json
from balena_supervisor.db.ballast import SIZE_BYTES, Ballast
from balena_supervisor.db.commit_store import CommitStore
from balena_supervisor.db.config_store import ConfigStore
from balena_supervisor.db.connection import open_database
from balena_supervisor.db.image_store import ImageStore
from balena_supervisor.db.key_store import KeyStore
from balena_supervisor.db.rebuild import IMAGES, Rebuild
from balena_supervisor.db.target_store import TargetStore
from balena_supervisor.errors import DatabaseRefused
from balena_supervisor.migrations.replace import prepare
from balena_supervisor.model.image import ImageRef
from balena_supervisor.model.target import TargetApp
from balena_supervisor.state.target_format import ParsedTarget
from tests.db.small_disk import SmallDisk, small_disk
from tests.migrations.damage import in_one_file, no_database, torn_app
from tests.migrations.databases import content, make_old, query

pytestmark = pytest.mark.root

NO_CONFIG_JSON = Path("none")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def ref(number: int) -> ImageRef:
    return ImageRef(
        name=f"a{'x' * 2000}:{number}", app_id=1, app_uuid="u", service_id=1, service_name="s", image_id=number,
        release_id=1, commit="c",
    )  # fmt: skip


def save_config(database: peewee.SqliteDatabase, number: int) -> None:
    ConfigStore(database).set({f"key {number}": "x" * 3000})


def save_target(database: peewee.SqliteDatabase, number: int) -> None:
    apps = tuple(TargetApp(app_id=app_id, app_uuid=str(app_id), name=f"{number}" * 900) for app_id in range(1, 4))
    TargetStore(database).save(ParsedTarget(name=f"name {number}", config={}, apps=apps, force=True), "local")


def forget_force(database: peewee.SqliteDatabase, number: int) -> None:
    if number:
        ConfigStore(database).set({"targetForce": "true"})
    TargetStore(database).forget_force()


def make_key(database: peewee.SqliteDatabase, number: int) -> None:
    KeyStore(database).service_key(number + 1, "s" * 1000)


def take_key_back(database: peewee.SqliteDatabase, number: int) -> None:
    KeyStore(database).take_back(number + 1, "s" * 1000, f"{number:032x}")


def save_image(database: peewee.SqliteDatabase, number: int) -> None:
    ImageStore(database).save([(ref(number), "sha256:1")])


def name_engine_image(database: peewee.SqliteDatabase, number: int) -> None:
    ImageStore(database).save([(ref(0), "sha256:1")])
    ImageStore(database).set_docker_id(1, f"sha256:{number}" + "x" * 1000)


def delete_image(database: peewee.SqliteDatabase, number: int) -> None:
    save_image(database, number)
    ImageStore(database).delete([row.id for row in ImageStore(database).rows()])


def save_commit(database: peewee.SqliteDatabase, number: int) -> None:
    CommitStore(database).set(1, f"{number}" * 1000)


def take_images_back(database: peewee.SqliteDatabase, number: int) -> None:
    ConfigStore(database).set({IMAGES: "true"})
    with Rebuild(database, IMAGES).doing():
        save_image(database, number)


WRITES: tuple[Callable[[Any, int], None], ...] = (
    save_config, save_target, forget_force, make_key, take_key_back, save_image, name_engine_image, delete_image,
    save_commit, take_images_back,
)  # fmt: skip


ONE_TRANSACTION = {save_config, save_target, make_key, take_key_back, save_image, save_commit}


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_a_write_on_a_full_disk_is_refused_and_loses_nothing(
    disk: SmallDisk, write: Callable[[Any, int], None]
) -> None:
    prepare(disk.database, NO_CONFIG_JSON)
    with closing(open_database(disk.database)) as database, closing(open_database(disk.database)) as reader:
        write(database, 0)
        save_target(database, 0)
        disk.fill()
        numbers = iter(range(1, 2000))

        def write_until_refused() -> None:
            for number in numbers:
                accepted.append(rows(reader))
                write(database, number)

        accepted: list[Any] = []
        with pytest.raises(DatabaseRefused, match="database or disk is full"):
            write_until_refused()
        if write in ONE_TRANSACTION:
            assert rows(reader) == accepted[-1]
        else:
            assert rows(reader)["app"] == accepted[-1]["app"]
        assert rows(database) == rows(reader)
        disk.free()
        write(database, next(numbers))
        assert TargetStore(reader).load("local").is_set
    assert prepare(disk.database, NO_CONFIG_JSON) == []
    assert query(disk.database, "PRAGMA integrity_check") == [("ok",)]


def rows(database: peewee.SqliteDatabase) -> dict[str, list[Any]]:
    return {
        table: database.execute_sql(f"SELECT * FROM {table}").fetchall()  # type: ignore[no-untyped-call]  # of peewee
        for table in ("config", "app", "image", "apiSecret", "currentCommit", "deviceConfig")
    }


def test_readers_go_on_while_a_writer_is_refused(disk: SmallDisk) -> None:
    prepare(disk.database, NO_CONFIG_JSON)
    with closing(open_database(disk.database)) as database:
        save_target(database, 1)
        disk.fill()
        seen: list[str] = []
        refused = threading.Event()

        def read() -> None:
            own = open_database(disk.database)
            while not refused.is_set() or not seen:
                seen.append(TargetStore(own).load("local").name)
            own.close()

        thread = threading.Thread(target=read)
        thread.start()

        def write() -> None:
            for number in range(2000):
                save_image(database, number)

        with pytest.raises(DatabaseRefused):
            write()
        refused.set()
        thread.join(20)
    assert set(seen) == {"name 1"}


# --- the start -----------------------------------------------------------------------------------------------------


def test_a_start_on_a_full_disk_uses_the_room_that_was_kept_for_it(disk: SmallDisk) -> None:
    prepare(disk.database, NO_CONFIG_JSON)
    with closing(open_database(disk.database)) as database:
        save_target(database, 1)
    assert Ballast(disk.database).is_there()
    disk.fill()
    (note,) = prepare(disk.database, NO_CONFIG_JSON)
    assert note.startswith("the disk is full")
    with closing(open_database(disk.database)) as database, closing(open_database(disk.database)) as other:
        assert TargetStore(database).load("local").name == TargetStore(other).load("local").name == "name 1"
    assert not Ballast(disk.database).put_back()
    disk.free()
    assert prepare(disk.database, NO_CONFIG_JSON) == []
    assert Ballast(disk.database).is_there()


def test_old_data_on_a_full_disk_is_migrated_in_that_room(disk: SmallDisk) -> None:
    make_old(disk.database, "v12")
    assert Ballast(disk.database).put_back()
    disk.fill()
    assert prepare(disk.database, NO_CONFIG_JSON)[0].startswith("the disk is full")
    assert query(disk.database, "SELECT count(*) FROM knex_migrations") == [(19,)]


def test_old_data_that_has_no_room_to_be_migrated_stays_as_it_is(disk: SmallDisk) -> None:
    make_old(disk.database, "v12")
    before = content(disk.database)
    disk.fill()
    with pytest.raises(DatabaseRefused):
        prepare(disk.database, NO_CONFIG_JSON)
    disk.free()
    assert content(disk.database) == before
    prepare(disk.database, NO_CONFIG_JSON)
    assert query(disk.database, "SELECT count(*) FROM knex_migrations") == [(19,)]


@pytest.mark.parametrize("damage", [no_database, torn_app])
def test_a_damaged_database_on_a_full_disk_is_replaced_in_that_room(
    disk: SmallDisk, damage: Callable[[Path], None]
) -> None:
    prepare(disk.database, NO_CONFIG_JSON)
    with closing(open_database(disk.database)) as database:
        make_key(database, 1)
    in_one_file(disk.database)
    damage(disk.database)
    disk.fill()
    notes = prepare(disk.database, NO_CONFIG_JSON)
    assert "is kept as" in notes[1]
    assert query(disk.database, "PRAGMA integrity_check") == [("ok",)]


def test_a_damaged_database_without_any_room_is_left_until_there_is_some(disk: SmallDisk) -> None:
    no_database(disk.database)
    disk.fill()
    before = disk.database.read_bytes()
    with pytest.raises(DatabaseRefused):
        prepare(disk.database, NO_CONFIG_JSON)
    assert disk.database.read_bytes() == before
    disk.free()
    assert "is kept as" in prepare(disk.database, NO_CONFIG_JSON)[0]


# --- files ---------------------------------------------------------------------------------------------------------


def test_config_json_keeps_its_content_when_there_is_no_room(disk: SmallDisk) -> None:
    path = disk.folder / "config.json"
    ConfigJson(path).write({"uuid": "d00d"})
    disk.fill()
    with pytest.raises(OSError, match="No space left"):
        ConfigJson(path).write({"uuid": "x" * 9000})
    assert ConfigJson(path).read().values == {"uuid": "d00d"}
    disk.free()
    ConfigJson(path).write({"uuid": "x" * 9000})
    assert sorted(file.name for file in disk.folder.iterdir()) == ["config.json"]


def test_the_configuration_for_the_host_keeps_its_content_when_there_is_no_room(disk: SmallDisk) -> None:
    path = disk.folder / "tmp/target-state-config"
    write_json(path, {"a": "b"})
    disk.fill()
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"a": "x" * 9000})
    assert json.loads(path.read_text()) == {"a": "b"}
    assert [file.name for file in path.parent.iterdir()] == ["target-state-config"]


def test_the_ballast_is_real_room_and_leaves_some_to_others(disk: SmallDisk) -> None:
    ballast = Ballast(disk.database)
    before = ballast.free_bytes()
    assert ballast.put_back()
    assert before - ballast.free_bytes() == SIZE_BYTES
    assert not ballast.give_up_if_full()
    disk.fill()
    assert ballast.give_up_if_full()
    assert ballast.free_bytes() == SIZE_BYTES
    assert not ballast.give_up_if_full()

"""The owners of keys, images and releases take them back from the containers after the database was made anew."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from balena_supervisor.db.ballast import Ballast
from balena_supervisor.db.config_store import ConfigStore
from balena_supervisor.db.connection import open_database
from balena_supervisor.db.rebuild import COMMITS, IMAGES, KEYS, TARGET_LOST
from balena_supervisor.messages import ImagesChanged, KeysChanged, KeysFound
from balena_supervisor.migrations.replace import prepare
from balena_supervisor.model.state import EngineLink
from balena_supervisor.model.target import ServiceKey
from balena_supervisor.state.world import World
from balena_supervisor.steps import StartService
from tests.actors import test_planner
from tests.actors.test_planner import target, web
from tests.actors.test_target_state import API_LABEL, Device, service
from tests.actors.worker_bench import APP_ID, WorkerBench, bench
from tests.actors.worker_bench import service as composed
from tests.state.test_take_back import KEY, container


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "database.sqlite"
    prepare(path, tmp_path / "config.json")
    return path


@pytest.fixture
def device(path: Path) -> Iterator[Device]:
    device = Device(path)
    yield device
    device.stop()


def marks(path: Path) -> set[str]:
    database = open_database(path)
    found = {KEYS, IMAGES, COMMITS} & ConfigStore(database).all().keys()
    database.close()
    return found


def test_no_key_of_a_service_is_made_before_the_old_ones_are_back(device: Device) -> None:
    device.start()
    assert device.keys.incomplete
    device.post_target(service(labels={API_LABEL: "1"}), service("more", labels={API_LABEL: "1"}))
    assert device.target.is_set
    assert device.keys.services == ()
    device.send(KeysFound(services=(ServiceKey(7, "web", KEY), ServiceKey(8, "gone", "c" * 32))))
    assert not device.keys.incomplete
    keys = {(key.app_id, key.service_name): key.key for key in device.keys.services}
    assert keys.keys() == {(7, "web"), (8, "gone"), (7, "more")}
    assert keys[(7, "web")] == KEY
    assert device.keys.scopes[KEY] == [{"type": "app", "appId": 7}]
    assert KEYS not in marks(device.database)


def test_keys_are_taken_back_once(device: Device) -> None:
    device.start()
    device.send(KeysFound(services=(ServiceKey(7, "web", KEY),)))
    device.send(KeysFound(services=(ServiceKey(7, "web", "d" * 32),)))
    device.stop()
    device.start()
    assert not device.keys.incomplete
    assert [key.key for key in device.keys.services] == [KEY]


def test_a_death_before_the_keys_are_back_leaves_the_mark(device: Device) -> None:
    device.start()
    device.stop()
    assert device.start().keys.incomplete


def test_keys_that_cannot_be_written_are_taken_back_later(device: Device) -> None:
    device.start()
    other = sqlite3.connect(device.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    device.send(KeysFound(services=(ServiceKey(7, "web", KEY),)))
    assert device.keys.incomplete
    other.execute("ROLLBACK")
    other.close()
    device.timers.advance(6)
    device.post.wait_for(KeysChanged, lambda event: not event.incomplete)
    assert [key.key for key in device.keys.services] == [KEY]


def test_a_global_key_that_cannot_be_stored_has_a_stand_in_until_it_can(device: Device) -> None:
    other = sqlite3.connect(device.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    device.start()
    stand_in = device.keys.global_key
    assert device.keys.scopes == {stand_in: [{"type": "global"}]}
    other.execute("ROLLBACK")
    other.close()
    device.timers.advance(6)
    changed = device.post.wait_for(KeysChanged, lambda event: event.global_key != stand_in)
    assert changed.scopes == {changed.global_key: [{"type": "global"}]}


def test_the_ballast_is_put_back_when_there_is_room(device: Device) -> None:
    path = device.database.with_name("database.sqlite.ballast")
    path.unlink()
    device.start()
    device.timers.advance(601)
    device.send(KeysFound(services=()))
    assert Ballast(device.database).is_there()


def test_a_next_target_ends_the_word_that_the_old_one_is_lost(device: Device) -> None:
    database = open_database(device.database)
    ConfigStore(database).set({TARGET_LOST: "the database was damaged"})
    device.start()
    device.post_target(service())
    assert ConfigStore(database).get(TARGET_LOST) is None
    database.close()


# --- images --------------------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> Iterator[WorkerBench]:
    with bench(tmp_path) as made:
        yield made


def test_images_of_containers_get_their_rows_back(images: WorkerBench, path: Path) -> None:
    image = images.engine.add_image("a.io/x:1")
    images.containers()
    images.done(StartService(service=composed(image)))
    images.stop()
    images.images(path.parent)
    shown = images.post.wait_for(ImagesChanged, lambda event: event.engine.up)
    ((row),) = shown.images.rows
    assert (row.ref.name, row.ref.app_id, row.ref.service_name, row.docker_image_id) == (
        "a.io/x:1", APP_ID, "main", image,
    )  # fmt: skip
    assert IMAGES not in marks(path)


# --- planner -------------------------------------------------------------------------------------------------------


@pytest.fixture
def planner(path: Path) -> Iterator[test_planner.Device]:
    database = open_database(path)
    ConfigStore(database).set({TARGET_LOST: "the database was damaged and moved to x"})
    database.close()
    made = test_planner.Device(path, World(containers=(container(),)))
    yield made
    made.ref.stop()


INCOMPLETE = KeysChanged(global_key="", scopes={}, services=(), incomplete=True)
COMPLETE = KeysChanged(global_key="", scopes={}, services=(ServiceKey(7, "web", KEY),))


def test_the_planner_tells_the_keys_that_it_sees_and_waits_until_they_are_taken(planner: test_planner.Device) -> None:
    planner.meet(target(web()), keys=INCOMPLETE)
    assert [wait.reason for wait in planner.state().waiting] == ["the keys of the services are being taken back"]
    assert planner.workers.post.wait_for(KeysFound).services == (ServiceKey(7, "web", KEY),)
    assert planner.state().decisions == ()
    planner.workers.deliver(COMPLETE)
    assert planner.state().decisions != ()
    assert "the keys of the services are being taken back" not in [wait.reason for wait in planner.state().waiting]


def test_without_the_engine_the_planner_tells_no_keys(planner: test_planner.Device) -> None:
    planner.workers.link = EngineLink(up=False, reason="the engine is away")
    planner.meet(target(web()), keys=INCOMPLETE)
    assert [wait.reason for wait in planner.state().waiting] == ["the engine is away"]
    assert planner.workers.post.of(KeysFound) == []
    assert COMMITS in marks(planner.database)


def test_the_releases_of_the_containers_are_stored_once(planner: test_planner.Device) -> None:
    planner.meet(msgspec.structs.replace(target(), is_set=False))
    assert planner.state().commits == {"7": "r1"}
    assert COMMITS not in marks(planner.database)


def test_that_the_target_is_lost_is_said_until_there_is_one(planner: test_planner.Device) -> None:
    planner.meet(msgspec.structs.replace(target(), is_set=False))
    assert [wait.reason for wait in planner.state().waiting] == [
        "there is no target yet: the database was damaged and moved to x"
    ]

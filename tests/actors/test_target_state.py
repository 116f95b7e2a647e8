"""The target-state actor on a real database: what it accepts, refuses, stores and tells."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pykka
import pytest

from balena_supervisor.actors.target_state import TargetPorts, Targets
from balena_supervisor.db.connection import open_database
from balena_supervisor.db.target_store import TargetStore
from balena_supervisor.errors import DatabaseRefused, InvalidTarget, NotInLocalMode, NotReady
from balena_supervisor.messages import (
    ConfigChanged,
    KeysChanged,
    SetLocalTarget,
    TargetAccepted,
    TargetApplied,
    TargetChanged,
)
from balena_supervisor.migrations.runner import migrate
from balena_supervisor.model.device import Configuration
from balena_supervisor.model.target import TargetApp, TargetState
from balena_supervisor.runtime.actor import Deliver
from balena_supervisor.runtime.message import Message
from balena_supervisor.state.target_format import ParsedTarget
from tests.fakes.ports import FakeClock, FakePost, FakeTimers

LOCAL = Configuration(uuid="d00d", name="bench", local_mode=True)
CLOUD = Configuration(uuid="d00d", name="bench", api_endpoint="https://api")
API_LABEL = "io.balena.features.supervisor-api"


class Device:
    """A target-state actor with the database it lives on."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.target_config = database.parent / "tmp/target-state-config"
        self.post = FakePost()
        self.clock = FakeClock()
        self.timers = FakeTimers(self.clock)
        self.ref: pykka.ActorRef[Any] | None = None

    def start(self, configuration: Configuration | None = LOCAL) -> Device:
        self.post = FakePost()
        ports = TargetPorts(
            name="target-state",
            generation=1,
            post=self.post,
            clock=self.clock,
            timers=self.timers,
            database_path=self.database,
            target_config_path=self.target_config,
            busy_timeout_s=0.05,
        )
        self.ref = Targets.start(ports)
        if configuration is not None:
            self.send(ConfigChanged(configuration=configuration))
        return self

    def stop(self) -> None:
        if self.ref is not None:
            self.ref.stop()

    def send(self, message: Message) -> Any:
        assert self.ref is not None
        return self.ref.ask(Deliver(message), timeout=20)

    def post_target(self, *services: dict[str, Any], **fields: Any) -> Any:
        return self.send(SetLocalTarget(body=body(*services, **fields)))

    @property
    def target(self) -> TargetState:
        return self.post.of(TargetChanged)[-1].target

    @property
    def keys(self) -> KeysChanged:
        return self.post.of(KeysChanged)[-1]


def body(*services: dict[str, Any], **fields: Any) -> dict[str, Any]:
    numbered = {str(number): service for number, service in enumerate(services, 1)}
    app = {"name": "shop", "commit": "c", "releaseId": 1, "services": numbered}
    return {"local": {"apps": {"7": app}, **fields.pop("local", {})}, **fields}


def service(name: str = "web", **fields: Any) -> dict[str, Any]:
    return {"serviceName": name, "imageId": 1, "image": "x", "environment": {}, "labels": {}, **fields}


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    path = tmp_path / "database.sqlite"
    migrate(path, tmp_path / "config.json")
    device = Device(path)
    yield device
    device.stop()


@pytest.fixture
def lock(device: Device) -> Iterator[Callable[[], sqlite3.Connection]]:
    """Takes the write lock of the database, as another process would."""
    with closing(sqlite3.connect(device.database, isolation_level=None, check_same_thread=False)) as other:

        def take() -> sqlite3.Connection:
            other.execute("BEGIN IMMEDIATE")
            return other

        yield take


def test_without_configuration_no_target_is_published_or_taken(device: Device) -> None:
    device.start(configuration=None)
    with pytest.raises(NotReady):
        device.post_target(service())
    assert device.post.of(TargetChanged) == []
    assert len(device.keys.global_key) == 32


def test_the_first_configuration_publishes_the_stored_target(device: Device) -> None:
    device.start()
    assert device.target == TargetState(name="local")


def test_an_accepted_target_is_stored_then_published_then_answered(device: Device) -> None:
    device.start()
    assert device.post_target(service(), local={"name": "kiosk"}) == TargetAccepted(version=1)
    assert (device.target.version, device.target.name, device.target.is_set) == (1, "kiosk", True)
    assert [item.service_name for item in device.target.apps[0].services] == ["web"]
    device.stop()
    before = device.target
    device.start()
    assert device.target == before


def test_a_repeated_target_gets_a_new_version(device: Device) -> None:
    device.start()
    assert [device.post_target(service()).version for _ in range(3)] == [1, 2, 3]
    device.stop()
    assert device.start().post_target(service()).version == 4


def test_a_target_without_name_keeps_the_name_that_the_device_has(device: Device) -> None:
    device.start()
    device.post_target(local={"name": "kiosk"})
    device.post_target(local={"name": None})
    assert device.target.name == "kiosk"
    device.post_target(local={"name": ""})
    device.post_target()
    assert device.target.name == ""


def test_a_local_target_is_refused_outside_of_local_mode(device: Device) -> None:
    device.start(CLOUD)
    with pytest.raises(NotInLocalMode):
        device.post_target(service())
    assert device.target.version == 0


@pytest.mark.parametrize(
    ("posted", "line"),
    [
        ({}, "local: expected an object, got undefined"),
        (body(service(environment={"A": 1})), "local.apps.7.services.1.environment.A: expected a text, got 1"),
        (body(service(ports=["abc"])), "local.apps.7.services.1.ports"),
        (body({**service(), "image": ""}), "local.apps.7.services.1.image: expected an image name"),
    ],
)
def test_a_target_that_cannot_be_built_changes_nothing(device: Device, posted: dict[str, Any], line: str) -> None:
    device.start()
    device.post_target(service())
    before, told = device.target, len(device.post.sent)
    with pytest.raises(InvalidTarget) as caught:
        device.send(SetLocalTarget(body=posted))
    assert caught.value.message.startswith("Invalid target state.\n" + line)
    assert len(device.post.sent) == told
    device.stop()
    assert device.start().target == before


def test_an_unmanaged_device_takes_a_local_target(device: Device) -> None:
    device.start(msgspec.structs.replace(LOCAL, api_endpoint=""))
    assert device.post_target(service()).version == 1


def test_changing_the_source_publishes_the_target_of_the_other_source(device: Device) -> None:
    device.start()
    device.post_target(service())
    database = open_database(device.database)
    cloud_app = TargetApp(app_id=9, app_uuid="nine", name="cloud", source="https://api")
    TargetStore(database).save(ParsedTarget(name="n", config={}, apps=(cloud_app,)), "https://api")
    database.close()
    device.send(ConfigChanged(configuration=CLOUD))
    assert [app.app_id for app in device.target.apps] == [9]
    device.send(ConfigChanged(configuration=msgspec.structs.replace(CLOUD, local_mode=True)))
    assert [app.app_id for app in device.target.apps] == [7]


def test_a_configuration_with_the_same_source_publishes_no_target(device: Device) -> None:
    device.start()
    device.send(ConfigChanged(configuration=msgspec.structs.replace(LOCAL, name="other")))
    assert len(device.post.of(TargetChanged)) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": {API_LABEL: "1"}},
        {"labels": {"io.resin.features.supervisor-api": "true"}},
        {"labels": {}},
    ],
)
def test_services_that_use_the_api_get_a_key_before_their_target_is_published(
    device: Device, fields: dict[str, Any]
) -> None:
    device.start()
    wants_key = bool(fields["labels"])
    device.post_target({**service(), **fields}, service("db"))
    names = [key.service_name for key in device.keys.services]
    assert names == (["web"] if wants_key else [])
    kinds = [type(message) for _, message in device.post.sent]
    assert kinds[-1] is TargetChanged
    if wants_key:
        (key,) = device.keys.services
        assert device.keys.scopes[key.key] == [{"type": "app", "appId": 7}]
        assert device.keys.scopes[device.keys.global_key] == [{"type": "global"}]
        assert kinds[-2] is KeysChanged


def test_keys_survive_a_restart_and_are_published_only_when_they_change(device: Device) -> None:
    device.start()
    for _ in range(3):
        device.post_target(service(labels={API_LABEL: "1"}))
    assert len(device.post.of(KeysChanged)) == 2
    before = device.keys
    device.stop()
    assert device.start().keys == before


def test_a_service_of_a_stored_target_without_key_gets_one_at_the_start(device: Device) -> None:
    device.start()
    device.post_target(service(labels={API_LABEL: "1"}))
    device.stop()
    with closing(sqlite3.connect(device.database)) as database, database:
        database.execute("DELETE FROM apiSecret")
    device.start()
    assert [key.service_name for key in device.keys.services] == ["web"]


def test_a_locked_database_is_an_error_to_the_asker_and_changes_nothing(
    device: Device, lock: Callable[[], sqlite3.Connection]
) -> None:
    device.start()
    device.post_target(service())
    told = len(device.post.sent)
    other = lock()
    with pytest.raises(DatabaseRefused):
        device.post_target(service("other", labels={API_LABEL: "1"}))
    assert len(device.post.sent) == told
    other.execute("ROLLBACK")
    assert device.post_target(service("other")).version == 2


def test_a_target_that_cannot_be_loaded_is_tried_again(device: Device, lock: Callable[[], sqlite3.Connection]) -> None:
    device.start()
    device.post_target(service(labels={API_LABEL: "1"}), local={"name": "kiosk"})
    device.stop()
    with closing(sqlite3.connect(device.database)) as database, database:
        database.execute("DELETE FROM apiSecret WHERE appId = 7")
    device.start(configuration=None)
    other = lock()
    device.send(ConfigChanged(configuration=LOCAL))
    assert device.post.of(TargetChanged) == []
    other.execute("ROLLBACK")
    device.timers.advance(5)
    assert device.post.wait_for(TargetChanged).target.name == "kiosk"


def test_force_ends_when_the_target_is_applied(device: Device) -> None:
    device.start()
    version = device.post_target(service(), force="on").version
    assert device.target.force
    device.send(TargetApplied(version=version - 1))
    device.stop()
    assert device.start().target.force
    device.send(TargetApplied(version=version))
    device.stop()
    assert not device.start().target.force


def test_the_configuration_of_the_target_is_shown_to_the_host(device: Device) -> None:
    device.start()
    device.post_target(config={"SUPERVISOR_DELTA": "1"})
    assert json.loads(device.target_config.read_text()) == device.target.config


def test_a_host_without_a_place_for_the_configuration_refuses_no_target(device: Device) -> None:
    device.target_config.parent.write_text("a file where a folder should be")
    device.start()
    assert device.post_target().version == 1

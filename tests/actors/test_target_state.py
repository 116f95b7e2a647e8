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
    SetCloudTarget,
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

LOCAL = Configuration(uuid="d00d", name="bench", local_mode=True, supervisor_version="20.0.0")
CLOUD = Configuration(uuid="d00d", name="bench", api_endpoint="https://api", supervisor_version="20.0.0")
NEWER = {"requires": [{"type": "sw.supervisor", "version": ">=99"}]}
LACKS = "requires sw.supervisor >=99 (the device has sw.supervisor 20.0.0)"
OPTIONAL = {"io.balena.features.optional": "1"}
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

    def send_cloud_target(self, *services: dict[str, Any], **fields: Any) -> Any:
        return self.send(SetCloudTarget(body=cloud_body(*services), **fields))

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


def cloud_body(*services: dict[str, Any]) -> dict[str, Any]:
    """A target of two apps: ``shop`` with these services, and ``other`` with one that lacks nothing."""
    v3 = [
        {"id": number, "image_id": 1, "image": "x", "environment": {}, "labels": {}, **service}
        for number, service in enumerate(services, 1)
    ]
    shop = {"id": 7, "name": "shop", "releases": {"c": {"id": 1, "services": {f"s{one['id']}": one for one in v3}}}}
    web = {"id": 1, "image_id": 1, "image": "x", "environment": {}, "labels": {}}
    other = {"id": 8, "name": "other", "releases": {"d": {"id": 2, "services": {"web": web}}}}
    return {"d00d": {"name": "kiosk", "config": {}, "apps": {"seven": shop, "eight": other}}}


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
        (
            body(service("a", depends_on=["b"]), service("b", network_mode="service:a")),
            "local.apps.7.services.1.depends_on: expected dependencies without a cycle, got a → b → a",
        ),
        (
            body(service(contract={"requires": [{"type": "sw.shop"}]})),
            "local.apps.7.services.1.contract.requires.0.type: expected one of",
        ),
        (
            body(service(contract={"requires": [{"or": [{"type": "arch.sw", "slug": 5}]}]})),
            "local.apps.7.services.1.contract.requires.0.or.0.slug: expected a text, got 5",
        ),
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
    assert device.target.force
    device.send(TargetApplied(version=version))
    assert (device.target.version, device.target.force) == (version, False)
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


# --- contracts and cycles -------------------------------------------------------------------------------------------


def test_an_app_that_requires_too_much_is_stored_as_rejected_with_the_reason(
    device: Device, capfd: pytest.CaptureFixture[str]
) -> None:
    device.start()
    device.post_target(service(contract=NEWER), service("db"))
    (app,) = device.target.apps
    assert (app.rejected, app.rejection) == (True, f"web {LACKS}")
    assert [one.service_name for one in app.services] == ["web", "db"]
    (line,) = [line for line in capfd.readouterr().out.splitlines() if "rejected" in line]
    words = f"target Some releases were rejected due to having unmet requirements: shop: web {LACKS}"
    assert line == f"[error]   {words}"


def test_a_name_of_an_app_cannot_begin_a_log_line(device: Device, capfd: pytest.CaptureFixture[str]) -> None:
    device.start()
    posted = body(service(contract=NEWER))
    posted["local"]["apps"]["7"]["name"] = "shop\n[info] forged"
    device.send(SetLocalTarget(body=posted))
    assert not [line for line in capfd.readouterr().out.splitlines() if line.startswith("[info] forged")]


def test_the_next_target_decides_anew(device: Device) -> None:
    device.start()
    device.post_target(service(contract=NEWER))
    device.post_target(service(contract={"requires": [{"type": "sw.supervisor", "version": ">=12"}]}))
    assert not device.target.apps[0].rejected


def test_optional_services_that_require_too_much_are_left_out(
    device: Device, capfd: pytest.CaptureFixture[str]
) -> None:
    device.start()
    device.post_target(service("gpu", contract=NEWER, labels=OPTIONAL), service("web"))
    (app,) = device.target.apps
    assert (app.rejected, [one.service_name for one in app.services]) == (False, ["web"])
    lines = capfd.readouterr().out.splitlines()
    assert "[warn]    target Not running containers because of contract violations: gpu" in lines


def test_a_stored_rejection_is_kept_and_explained_by_what_the_device_is_now(device: Device) -> None:
    device.start()
    device.post_target(service(contract=NEWER))
    for version, words in (("98.0.0", "(the device has sw.supervisor 98.0.0)"), ("99.0.0", "send it again")):
        device.stop()
        device.start(msgspec.structs.replace(LOCAL, supervisor_version=version))
        (app,) = device.target.apps
        assert app.rejected
        assert app.rejection.endswith(words)


def test_a_target_of_the_cloud_is_stored_under_its_source(device: Device) -> None:
    device.start(CLOUD)
    assert device.send_cloud_target({}, force=True) == TargetAccepted(version=1)
    assert (device.target.name, device.target.force) == ("kiosk", True)
    assert [(app.app_id, app.app_uuid, app.source) for app in device.target.apps] == [
        (7, "seven", "https://api"),
        (8, "eight", "https://api"),
    ]
    before = device.target
    device.stop()
    assert device.start(CLOUD).target == before


def test_a_cycle_rejects_the_app_of_the_cloud_and_no_other(device: Device, capfd: pytest.CaptureFixture[str]) -> None:
    device.start(CLOUD)
    device.send_cloud_target(
        {"composition": {"network_mode": "service:s2"}}, {"composition": {"depends_on": {"s1": {}}}}
    )
    shop, other = device.target.apps
    assert (shop.rejected, shop.rejection) == (True, "its dependencies form a cycle: s1 → s2 → s1")
    assert not other.rejected
    assert "rejected: shop: its dependencies form a cycle: s1 → s2 → s1" in capfd.readouterr().out
    before = device.target
    device.stop()
    assert device.start(CLOUD).target == before


def test_a_contract_that_cannot_be_read_refuses_the_whole_target_of_the_cloud(device: Device) -> None:
    device.start(CLOUD)
    device.send_cloud_target({})
    with pytest.raises(InvalidTarget) as caught:
        device.send_cloud_target({"contract": {"requires": 5}})
    assert caught.value.fields["violations"] == [
        "d00d.apps.seven.releases.c.services.s1.contract.requires: expected a list, got 5"
    ]
    assert device.target.version == 1


@pytest.mark.parametrize("configuration", [None, LOCAL])
def test_a_device_that_belongs_to_no_cloud_takes_no_target_of_one(
    device: Device, configuration: Configuration | None
) -> None:
    device.start(configuration)
    with pytest.raises(NotReady):
        device.send_cloud_target({})


def test_in_local_mode_a_target_of_the_cloud_waits(device: Device) -> None:
    local = msgspec.structs.replace(CLOUD, local_mode=True)
    device.start(local)
    for forced in (True, False):
        device.post_target(service(), force=forced)
        device.send_cloud_target({}, force=not forced)
        assert ([app.app_uuid for app in device.target.apps], device.target.force) == (["7"], forced)
    device.send(ConfigChanged(configuration=CLOUD))
    assert [app.app_uuid for app in device.target.apps] == ["seven", "eight"]

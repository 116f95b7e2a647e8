"""The host-config actor with real files: what it reads, keeps and tells."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pykka
import pytest

from balena_supervisor.actors.host_config import HostConfig, HostConfigPorts, random_uuid
from balena_supervisor.db.connection import open_database
from balena_supervisor.errors import Unavailable
from balena_supervisor.messages import ConfigChanged, GoDown, TargetChanged
from balena_supervisor.migrations.runner import migrate
from balena_supervisor.model.device import Configuration, Kernel
from balena_supervisor.model.target import TargetState
from balena_supervisor.runtime.actor import Deliver, Heartbeat
from tests.db.small_disk import small_disk
from tests.fakes.ports import FakeClock, FakePost, FakeTimers

MANAGED = {
    "apiEndpoint": "https://api",
    "registryEndpoint": "registry2",
    "uuid": "d00d",
    "deviceApiKey": "k",
    "deviceId": 5,
    "registered_at": 1,
}


class Host:
    """The files of a host and the actor that reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.boot = folder / "boot"
        self.boot.mkdir()
        self.config_json = self.boot / "config.json"
        self.database = folder / "database.sqlite"
        migrate(self.database, self.config_json)
        (self.boot / "device-type.json").write_text('{"slug": "raspberrypi4-64", "arch": "aarch64"}')
        (folder / "os-release").write_text(
            'PRETTY_NAME="balenaOS 5"\nVARIANT_ID=prod\nBALENA_BOARD_REV=b1\nID=balena-os\nVERSION="5.1.0"\n'
        )
        (folder / "hostname").write_text("host-name\n")
        self.post = FakePost()
        self.ref: pykka.ActorRef[Any] | None = None
        self.new_uuid: Callable[[], str] = lambda: "fresh"
        self.went_down: list[str] = []
        self.refusal: Exception | None = None
        self.timers = FakeTimers(FakeClock())

    def start(self) -> Configuration:
        clock = FakeClock()
        self.timers = FakeTimers(clock)
        self.post = FakePost()
        ports = HostConfigPorts(
            name="host-config",
            generation=1,
            post=self.post,
            clock=clock,
            timers=self.timers,
            database_path=self.database,
            config_json_path=self.config_json,
            device_type_path=self.boot / "device-type.json",
            os_release_path=self.folder / "os-release",
            host_name_path=self.folder / "hostname",
            version="20.0.0",
            new_uuid=self.new_uuid,
            go_down=self.go_down,
            kernel=lambda: Kernel(name="Linux", release="4.9.253-l4t-r32.7.1"),
        )
        self.ref = HostConfig.start(ports)
        self.ref.ask(Heartbeat(), timeout=20)
        return self.configuration

    def go_down(self, verb: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.went_down.append(verb)

    def stop(self) -> None:
        if self.ref is not None:
            self.ref.stop()

    def restart(self) -> Configuration:
        self.stop()
        return self.start()

    def target(self, **fields: Any) -> None:
        assert self.ref is not None
        self.ref.ask(Deliver(TargetChanged(target=TargetState(**fields))), timeout=20)

    @property
    def configuration(self) -> Configuration:
        return self.post.of(ConfigChanged)[-1].configuration

    def file(self) -> Any:
        return json.loads(self.config_json.read_text())


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.stop()


def test_a_device_without_config_json_is_unmanaged_and_gets_a_uuid_once(host: Host) -> None:
    configuration = host.start()
    assert (configuration.uuid, configuration.api_endpoint) == ("fresh", "")
    assert (configuration.local_mode, configuration.provisioned, configuration.source) == (True, False, "local")
    assert host.file() == {"uuid": "fresh"}
    host.new_uuid = lambda: "another"
    assert host.restart().uuid == "fresh"


def test_the_uuid_survives_where_config_json_cannot_be_written(host: Host) -> None:
    host.config_json = host.folder / "missing" / "config.json"
    assert host.start().uuid == "fresh"
    assert not host.config_json.parent.exists()
    host.new_uuid = lambda: "another"
    assert host.restart().uuid == "fresh"
    host.config_json.parent.mkdir()
    assert host.restart().uuid == "fresh"
    assert host.file() == {"uuid": "fresh"}


def test_a_random_uuid_has_32_hex_digits(host: Host) -> None:
    host.new_uuid = random_uuid
    uuid = host.start().uuid
    assert len(uuid) == 32
    assert int(uuid, 16) >= 0


def test_everything_is_read_from_its_file(host: Host) -> None:
    host.config_json.write_text(json.dumps(MANAGED))
    assert host.start() == Configuration(
        version=1,
        uuid="d00d",
        api_endpoint="https://api",
        device_api_key="k",
        provisioned=True,
        device_type="raspberrypi4-64",
        device_arch="aarch64",
        os_version="balenaOS 5",
        os_variant="prod",
        board_rev="b1",
        host_name="host-name",
        os_slug="balena-os",
        os_release="5.1.0",
        kernel_name="Linux",
        kernel_release="4.9.253-l4t-r32.7.1",
        supervisor_version="20.0.0",
    )


def test_a_complete_config_json_is_not_touched(host: Host) -> None:
    text = json.dumps(MANAGED, indent=2)
    host.config_json.write_text(text)
    host.start()
    assert host.config_json.read_text() == text


def test_other_keys_and_their_order_survive_the_new_uuid(host: Host) -> None:
    host.config_json.write_text('{"z": 1, "apiEndpoint": "https://api", "a": {"ö": null}}')
    host.start()
    assert host.config_json.read_text() == '{"z":1,"apiEndpoint":"https://api","a":{"ö":null},"uuid":"fresh"}'


@pytest.mark.parametrize("damage", ["", "{", "[]", "\x00" * 100, '{"apiEndpoint": "https'])
def test_a_damaged_config_json_is_left_alone_and_the_device_stays_what_it_was(host: Host, damage: str) -> None:
    host.config_json.write_text(json.dumps(MANAGED))
    before = host.start()
    host.config_json.write_text(damage)
    assert host.restart() == before
    assert host.config_json.read_text() == damage


def test_a_config_json_that_was_never_good_is_left_alone_and_the_fields_fall_back(host: Host) -> None:
    host.config_json.write_text("{")
    configuration = host.start()
    assert (configuration.uuid, configuration.local_mode) == ("fresh", True)
    assert host.config_json.read_text() == "{"
    host.new_uuid = lambda: "another"
    assert host.restart().uuid == "fresh"


def test_a_managed_device_whose_config_json_is_gone_stays_managed(host: Host) -> None:
    host.config_json.write_text(json.dumps(MANAGED))
    before = host.start()
    host.config_json.unlink()
    assert host.restart() == before
    assert not host.config_json.exists()


def test_an_edited_config_json_counts_after_a_restart(host: Host) -> None:
    host.config_json.write_text(json.dumps(MANAGED))
    host.start()
    host.config_json.write_text(json.dumps({**MANAGED, "listenPort": 80}))
    assert host.restart().listen_port == 80


def test_a_host_that_says_nothing_of_itself_is_no_obstacle(host: Host) -> None:
    for path in (host.boot / "device-type.json", host.folder / "os-release", host.folder / "hostname"):
        path.unlink()
    configuration = host.start()
    assert (configuration.device_type, configuration.device_arch, configuration.os_version) == (
        "unknown",
        "unknown",
        "",
    )
    assert "device-type.json" in configuration.device_type_problem


def test_a_new_device_name_is_published(host: Host) -> None:
    host.start()
    host.target(name="kiosk", is_set=True)
    assert (host.configuration.name, host.configuration.target_state_set) == ("kiosk", True)
    assert host.configuration.version == 2


def test_a_target_that_changes_nothing_here_publishes_nothing(host: Host) -> None:
    host.start()
    host.target(name="local", version=3)
    assert len(host.post.of(ConfigChanged)) == 1


def test_a_device_type_that_can_be_read_later_is_published_with_the_next_target(host: Host) -> None:
    text = (host.boot / "device-type.json").read_text()
    (host.boot / "device-type.json").write_text("{")
    assert host.start().device_type_problem
    (host.boot / "device-type.json").write_text(text)
    host.target(name="local")
    assert (host.configuration.device_type, host.configuration.device_type_problem) == ("raspberrypi4-64", "")


@pytest.mark.root
def test_a_disk_that_is_full_at_the_start_hides_no_configuration(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        host = Host(disk.folder)
        text = json.dumps({"apiEndpoint": "https://api", "deviceApiKey": "k", "other": "x" * 9000})
        host.config_json.write_text(text)
        before = open_database(host.database)  # its logs have room already
        disk.fill()
        assert host.start().uuid == "fresh"
        assert host.configuration.managed
        assert host.config_json.read_text() == text
        disk.free()
        host.restart()
        assert host.file()["uuid"] == "fresh"
        host.stop()
        before.close()


def test_the_device_goes_down_a_second_after_it_was_asked_to(host: Host) -> None:
    host.start()
    assert host.ref is not None
    pending: Any = host.ref.ask(Deliver(GoDown(verb="reboot")), timeout=5)
    host.timers.advance(0.9)
    host.ref.ask(Heartbeat(), timeout=5)
    assert host.went_down == []
    host.timers.advance(0.1)
    assert pending.future.result(5) is None
    assert host.went_down == ["reboot"]


def test_a_host_that_refuses_to_go_down_is_told_to_who_asked(host: Host) -> None:
    host.start()
    assert host.ref is not None
    host.refusal = Unavailable("cannot shutdown the host: no system bus", what="dbus")
    pending: Any = host.ref.ask(Deliver(GoDown(verb="shutdown")), timeout=5)
    host.timers.advance(1)
    with pytest.raises(Unavailable, match="no system bus"):
        pending.future.result(5)

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balena_supervisor.model.device import Configuration, DeviceType, Kernel
from balena_supervisor.state.configuration import Sources, build_configuration


def sources(name: str, values: dict[str, Any]) -> Sources:
    return msgspec.structs.replace(Sources(), **{name: values})


def test_nothing_at_all_is_an_unmanaged_device_in_local_mode() -> None:
    configuration, problems = build_configuration(Sources())
    assert configuration == Configuration(local_mode=True, os_variant="prod")
    assert problems == []


@pytest.mark.parametrize(
    ("source", "key", "value", "field", "expected"),
    [
        ("config_json", "uuid", "d00d", "uuid", "d00d"),
        ("config_json", "apiEndpoint", "https://api", "api_endpoint", "https://api"),
        ("config_json", "apiEndpoint", "https://api", "local_mode", False),
        ("config_json", "deviceApiKey", "k", "device_api_key", "k"),
        ("config_json", "listenPort", 80, "listen_port", 80),
        ("config_json", "listenPort", "80", "listen_port", 80),
        ("config_json", "listenPort", "80abc", "listen_port", 80),
        ("config_json", "listenPort", None, "listen_port", 48484),
        ("config_json", "appUpdatePollInterval", "5000", "poll_interval_ms", 5000),
        ("config_json", "hostname", "kiosk", "host_name", "kiosk"),
        ("config_json", "developmentMode", True, "os_variant", "dev"),
        ("config_json", "developmentMode", "off", "os_variant", "prod"),
        ("stored", "name", "kiosk", "name", "kiosk"),
        ("stored", "name", "", "name", ""),
        ("stored", "targetStateSet", "true", "target_state_set", True),
        ("stored", "lockOverride", "ON", "lock_override", True),
        ("stored", "delta", "1", "delta", True),
        ("stored", "localMode", "true", "local_mode", True),
        ("os_release", "PRETTY_NAME", "balenaOS 5", "os_version", "balenaOS 5"),
        ("os_release", "VARIANT_ID", "dev", "os_variant", "dev"),
        ("os_release", "ID", "balena-os", "os_slug", "balena-os"),
        ("os_release", "VERSION", "2.98.33", "os_release", "2.98.33"),
        ("os_release", "RESIN_BOARD_REV", "r", "board_rev", "r"),
    ],
)
def test_each_value_comes_from_its_source(source: str, key: str, value: Any, field: str, expected: Any) -> None:
    configuration, problems = build_configuration(sources(source, {key: value}))
    assert getattr(configuration, field) == expected
    assert problems == []


@pytest.mark.parametrize(
    ("source", "key", "value", "field", "expected"),
    [
        ("config_json", "listenPort", "abc", "listen_port", 48484),
        ("config_json", "listenPort", True, "listen_port", 48484),
        ("config_json", "listenPort", 1.5, "listen_port", 48484),
        ("config_json", "apiEndpoint", 5, "api_endpoint", ""),
        ("config_json", "uuid", ["x"], "uuid", ""),
        ("stored", "delta", "maybe", "delta", False),
        ("stored", "localMode", "", "local_mode", True),
    ],
)
def test_a_value_that_cannot_be_read_has_its_default_and_a_line(
    source: str, key: str, value: Any, field: str, expected: Any
) -> None:
    configuration, problems = build_configuration(sources(source, {key: value}))
    assert getattr(configuration, field) == expected
    assert len(problems) == 1
    assert key in problems[0]


@pytest.mark.parametrize("missing", ["uuid", "apiEndpoint", "registered_at", "deviceId"])
def test_a_device_is_provisioned_when_it_has_all_that_registration_gives(missing: str) -> None:
    file: dict[str, Any] = {"uuid": "d", "apiEndpoint": "https://api", "registered_at": 1, "deviceId": 2}
    assert build_configuration(Sources(config_json=file))[0].provisioned
    del file[missing]
    assert not build_configuration(Sources(config_json=file))[0].provisioned


def test_local_mode_can_be_on_for_a_managed_device() -> None:
    sources = Sources(config_json={"apiEndpoint": "https://api"}, stored={"localMode": "true"})
    configuration, _ = build_configuration(sources)
    assert (configuration.local_mode, configuration.source) == (True, "local")


def test_what_the_host_says_is_taken_over() -> None:
    sources = Sources(
        device_type=DeviceType(slug="s", arch="a", problem="p"),
        os_release={"BALENA_BOARD_REV": "b", "RESIN_BOARD_REV": "r"},
        host_name="h",
        kernel=Kernel(name="Linux", release="6.1.2-yocto"),
        supervisor_version="20.0.0+x",
    )
    configuration, _ = build_configuration(sources)
    assert (configuration.device_type, configuration.device_arch, configuration.device_type_problem) == ("s", "a", "p")
    assert (configuration.board_rev, configuration.host_name) == ("b", "h")
    assert (configuration.kernel_name, configuration.kernel_release) == ("Linux", "6.1.2-yocto")
    assert configuration.supervisor_version == "20.0.0+x"

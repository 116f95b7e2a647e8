"""Feature labels: what each adds to the container."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.model.device import Configuration, HostFacts
from balena_supervisor.model.image import ImageDetails
from balena_supervisor.model.service import Endpoint, Mount, ServiceConfig
from tests.state.composing import UUID, composed, config

CONFIGURATION = Configuration(device_api_key="secret", api_endpoint="https://api.test", board_rev="r2", listen_port=5)
HOST = HostFacts(has_kernel_modules=True, has_firmware=True)
AROUND = {"configuration": CONFIGURATION, "host": HOST, "key": "apikey"}


def with_feature(
    name: str, composition: dict[str, Any] | None = None, value: str = "1", **around: Any
) -> ServiceConfig:
    return config(composition, labels={f"io.balena.features.{name}": value}, around={**AROUND, **around})


def both(**values: str) -> dict[str, str]:
    return {f"{prefix}_{name}": value for name, value in values.items() for prefix in ("RESIN", "BALENA")}


BINDS = [
    (
        "journal-logs",
        [
            "/var/log/journal:/var/log/journal:ro",
            "/run/log/journal:/run/log/journal:ro",
            "/etc/machine-id:/etc/machine-id:ro",
        ],
    ),
    ("dbus", ["/run/dbus:/host/run/dbus"]),
    ("kernel-modules", ["/lib/modules:/lib/modules"]),
    ("firmware", ["/lib/firmware:/lib/firmware"]),
    ("sysfs", ["/sys:/sys"]),
    ("procfs", ["/proc:/proc"]),
]


@pytest.mark.parametrize(("name", "binds"), BINDS)
def test_a_feature_appends_its_binds(name: str, binds: list[str]) -> None:
    made, plain = with_feature(name), config(around=AROUND)
    assert made.volumes == (*plain.volumes, *binds)
    assert (made.mounts, made.environment, made.networks) == (plain.mounts, plain.environment, plain.networks)


@pytest.mark.parametrize("name", ["kernel-modules", "firmware"])
def test_what_the_host_does_not_have_is_not_bound(name: str) -> None:
    assert with_feature(name, host=HostFacts()).volumes == config().volumes


@pytest.mark.parametrize("value", ["0", "false", "off", "yes", "2", ""])
def test_a_label_that_does_not_say_yes_switches_nothing_on(value: str) -> None:
    assert with_feature("dbus", value=value).volumes == config().volumes


@pytest.mark.parametrize("value", ["1", "true", "on", "TRUE"])
def test_a_label_of_the_image_or_with_its_old_name_counts(value: str) -> None:
    image = ImageDetails(id="sha256:1", labels={"io.resin.features.dbus": value})
    assert config(around={"image": image}).volumes[-1] == "/run/dbus:/host/run/dbus"


ENVIRONMENTS: list[tuple[str, dict[str, str]]] = [
    ("balena-api", both(API_KEY="secret", API_URL="https://api.test")),
    ("host-os.board-rev", both(HOST_OS_BOARD_REV="r2", HOST_OS_BUILD="r2")),
    (
        "supervisor-api",
        both(
            SUPERVISOR_API_KEY="apikey",
            SUPERVISOR_PORT="5",
            SUPERVISOR_HOST="10.114.104.1",
            SUPERVISOR_ADDRESS="http://10.114.104.1:5",
        ),
    ),
]


@pytest.mark.parametrize(("name", "values"), ENVIRONMENTS)
def test_values_of_a_feature_come_last_in_order_and_win(name: str, values: dict[str, str]) -> None:
    plain = config(around=AROUND).environment
    assert list(with_feature(name).environment.items()) == [*plain.items(), *values.items()]
    overridden = with_feature(name, {"environment": dict.fromkeys(values, "mine")}).environment
    assert {variable: overridden[variable] for variable in values} == values


def test_a_device_without_an_api_sets_empty_text() -> None:
    made = with_feature("balena-api", configuration=Configuration()).environment
    assert {name: made[name] for name in both(API_KEY="", API_URL="")} == both(API_KEY="", API_URL="")


def test_an_unknown_board_revision_sets_nothing() -> None:
    assert with_feature("host-os.board-rev", configuration=Configuration()).environment == config().environment


@pytest.mark.parametrize(
    ("mode", "host", "joins"),
    [
        (None, "10.114.104.1", True),
        ("front", "10.114.104.1", True),
        ("bridge", "10.114.104.1", True),
        ("host", "127.0.0.1", False),
        ("none", "10.114.104.1", False),
        ("service:db", "10.114.104.1", False),
    ],
)
def test_the_api_is_reached_on_its_own_network_where_one_can_be_joined(
    mode: str | None, host: str, joins: bool
) -> None:
    made = with_feature("supervisor-api", {"network_mode": mode})
    assert made.environment["BALENA_SUPERVISOR_HOST"] == host
    assert made.environment["RESIN_SUPERVISOR_ADDRESS"] == f"http://{host}:5"
    assert made.networks.get("supervisor0") == (Endpoint() if joins else None)
    assert made.network_mode != "supervisor0"


def test_the_api_network_is_never_the_main_one() -> None:
    made = with_feature("supervisor-api")
    assert made.network_mode == f"{UUID}_default"
    assert [*made.networks] == [f"{UUID}_default", "supervisor0"]


def test_a_key_that_is_not_there_yet_is_said() -> None:
    labels = {"io.balena.features.supervisor-api": "1"}
    assert composed(labels=labels, around=AROUND).warnings == ()
    assert [warning.partition(": ")[2] for warning in composed(labels=labels).warnings] == [
        "the service has no key to the API yet"
    ]


def test_a_gateway_that_is_not_known_is_the_device_itself() -> None:
    assert with_feature("supervisor-api", gateway="").environment["BALENA_SUPERVISOR_HOST"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("socket", "targets"),
    [
        ("/var/run/docker.sock", ["/host/run/balena-engine.sock", "/var/run/docker.sock", "/var/run/balena.sock"]),
        ("/var/run/balena.sock", ["/host/run/balena-engine.sock", "/var/run/balena.sock"]),
    ],
)
def test_the_engine_socket_is_mounted_where_clients_look_for_it(socket: str, targets: list[str]) -> None:
    made = with_feature("balena-socket", host=HostFacts(docker_socket=socket))
    assert made.mounts == tuple(Mount(type="bind", source=socket, target=target) for target in targets)
    assert made.environment["DOCKER_HOST"] == "unix:///host/run/balena-engine.sock"


@pytest.mark.parametrize("value", ["tcp://x", ""])
def test_a_docker_host_of_user_or_image_is_kept(value: str) -> None:
    image = ImageDetails(id="sha256:1", environment={"DOCKER_HOST": value})
    assert with_feature("balena-socket", image=image).environment["DOCKER_HOST"] == value
    assert with_feature("balena-socket", {"environment": {"DOCKER_HOST": value}}).environment["DOCKER_HOST"] == value


def test_a_gpu_is_requested() -> None:
    request = {"Driver": "", "Count": 1, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}
    assert with_feature("gpu").device_requests == (request,)


def test_extra_firmware_is_a_volume_of_the_device() -> None:
    expected = Mount(type="volume", source="extra-firmware", target="/extra-firmware")
    assert with_feature("extra-firmware").mounts == (expected,)


def test_binds_of_features_are_added_after_those_of_users_were_refused() -> None:
    made = with_feature("dbus", {"volumes": ["/run/dbus:/x"]})
    assert made.volumes[-1] == "/run/dbus:/host/run/dbus"
    assert "/run/dbus:/x" not in made.volumes

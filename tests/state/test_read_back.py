"""Containers, networks, volumes and images as the engine shows them."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.errors import UnreadableObject
from balena_supervisor.model.image import ImageDetails
from balena_supervisor.model.resource import IpamPool, NetworkConfig, VolumeConfig
from balena_supervisor.model.service import Endpoint, Healthcheck, Mount, ServiceConfig
from balena_supervisor.state.read_back import (
    container_from_inspect,
    image_details_from_inspect,
    network_from_inspect,
    volume_from_inspect,
)
from tests.state.composing import CONTAINER_ID, UUID, composed, inspected

LABELS = {"io.balena.app-id": "4711", "io.balena.service-id": "91", "io.balena.service-name": "web"}
EMPTY_LISTS = [
    "Binds", "Mounts", "PortBindings", "CapAdd", "CapDrop", "Devices", "DeviceRequests", "Dns", "DnsOptions",
    "DnsSearch", "ExtraHosts", "GroupAdd", "SecurityOpt", "Sysctls", "Ulimits", "Tmpfs", "Init", "PidsLimit",
]  # fmt: skip


def inspect(**changes: Any) -> dict[str, Any]:
    """The least that inspect can say, with changes by path: ``HostConfig__Memory=5``."""
    found: dict[str, Any] = {
        "Id": CONTAINER_ID,
        "Name": "/web_1_2_abc",
        "State": {"Status": "running"},
        "Config": {"Labels": LABELS},
        "HostConfig": {},
        "NetworkSettings": {"Networks": {}},
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = found
        for parent in parents:
            place[parent] = dict(place[parent])
            place = place[parent]
        place[last] = value
    return found


def read(**changes: Any) -> ServiceConfig:
    return container_from_inspect(inspect(**changes)).config


def test_identity_comes_from_labels_and_name() -> None:
    container = container_from_inspect(inspected(composed()))
    assert (container.container_id, container.name) == (CONTAINER_ID, "web_8080_77_5f0e1d2c")
    assert (container.app_id, container.app_uuid, container.service_id) == (4711, UUID, 91)
    assert (container.service_name, container.image_id, container.release_id) == ("web", 8080, 77)
    assert (container.commit, container.docker_image_id) == ("5f0e1d2c", "sha256:4f1e")
    assert container.created_at == "2026-01-02T03:04:05.6Z"


def test_labels_of_old_versions_are_understood() -> None:
    labels = {name.replace("balena", "resin"): value for name, value in LABELS.items()}
    container = container_from_inspect(inspect(Config__Labels=labels))
    assert (container.app_id, container.service_id, container.service_name) == (4711, 91, "web")
    assert container.config.labels == LABELS


@pytest.mark.parametrize(
    "changes",
    [
        {"Config__Labels": None},
        {"Config__Labels": {**LABELS, "io.balena.app-id": "x"}},
        {"Config__Labels": {**LABELS, "io.balena.app-id": "0"}},
        {"Config__Labels": {**LABELS, "io.balena.service-id": "x"}},
        {"Config__Labels": {"io.balena.app-id": "1"}},
        {"Name": "/foreign"},
        {"Name": None},
    ],
)
def test_a_container_that_does_not_say_whose_it_is_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UnreadableObject):
        container_from_inspect(inspect(**changes))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"Status": "running"}, "Running"),
        ({"Status": "created"}, "Installed"),
        ({"Status": "dead"}, "Dead"),
        ({"Status": "exited"}, "exited"),
        ({"Status": "paused"}, "paused"),
        ({"Status": "restarting"}, "restarting"),
        ({"Status": "removing"}, "removing"),
    ],
)
def test_the_status_is_in_our_words(state: dict[str, Any], expected: str) -> None:
    assert container_from_inspect(inspect(State=state)).status == expected


def test_how_it_ended_is_read_only_when_it_ended() -> None:
    state = {
        "Status": "exited",
        "ExitCode": 137,
        "Error": "boom",
        "StartedAt": "2026-01-02T03:04:05Z",
        "FinishedAt": "2026-01-02T03:05:05Z",
        "Health": {"Status": "unhealthy"},
    }
    ended = container_from_inspect(inspect(State=state))
    assert (ended.exit_code, ended.exit_error, ended.health) == (137, "boom", "unhealthy")
    assert (ended.started_at, ended.finished_at) == ("2026-01-02T03:04:05Z", "2026-01-02T03:05:05Z")
    never = "0001-01-01T00:00:00Z"
    runs = container_from_inspect(inspect(State={"Status": "running", "ExitCode": 0, "FinishedAt": never}))
    assert (runs.exit_code, runs.started_at, runs.finished_at) == (None, "", "")


def test_empty_forms_of_the_engine_mean_empty() -> None:
    nothing = read(**{f"HostConfig__{name}": None for name in EMPTY_LISTS})
    assert nothing == read()
    assert read(Config__Cmd=None, Config__Entrypoint=None, Config__Volumes=None, Config__Env=None) == read()
    assert container_from_inspect({**inspect(), "NetworkSettings": None, "HostConfig": None}).config == read()


# What inspect says, the field of the configuration, and its value.
FIELDS: list[tuple[str, Any, str, Any]] = [
    ("Config__Image", "sha256:1", "image", "sha256:1"),
    ("Config__Cmd", ["a", "b"], "command", ("a", "b")),
    ("Config__Entrypoint", ["a"], "entrypoint", ("a",)),
    ("Config__WorkingDir", "/srv/", "working_dir", "/srv"),
    ("Config__User", "node", "user", "node"),
    ("Config__Hostname", "kiosk", "hostname", "kiosk"),
    ("Config__Hostname", CONTAINER_ID[:12], "hostname", ""),
    ("Config__Hostname", CONTAINER_ID[:11], "hostname", CONTAINER_ID[:11]),
    ("Config__Domainname", "x.test", "domainname", "x.test"),
    ("Config__MacAddress", "02:42", "mac_address", "02:42"),
    ("Config__Tty", True, "tty", True),
    ("Config__StopSignal", "SIGINT", "stop_signal", "SIGINT"),
    ("Config__StopSignal", None, "stop_signal", "SIGTERM"),
    ("Config__StopTimeout", 90, "stop_grace_period_s", 90),
    ("Config__StopTimeout", 0, "stop_grace_period_s", 10),
    ("Config__Env", ["A=b", "RESIN_DEVICE_NAME_AT_INIT=x", "BALENA_DEVICE_NAME_AT_INIT=x"], "environment", {"A": "b"}),
    ("Config__Labels", {**LABELS, "io.balena.supervisor.instance": "x"}, "labels", LABELS),
    ("Config__Healthcheck", {"Test": ["CMD"], "Interval": 5}, "healthcheck", Healthcheck(test=("CMD",), interval_ns=5)),
    ("Config__Volumes", {"/x": {}, "/a:/b": {}}, "volumes", ("/x",)),
    ("HostConfig__Binds", ["a:/a", "b:/b"], "volumes", ("a:/a", "b:/b")),
    ("HostConfig__Mounts", [{"Type": "tmpfs", "Target": "/x"}], "mounts", (Mount(type="tmpfs", target="/x"),)),
    ("HostConfig__NetworkMode", "host", "network_mode", "host"),
    ("HostConfig__RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 0}, "restart", "on-failure"),
    ("HostConfig__RestartPolicy", {"Name": ""}, "restart", "no"),
    ("HostConfig__RestartPolicy", None, "restart", "always"),
    ("HostConfig__Init", False, "init", False),
    ("HostConfig__Init", "yes", "init", None),
    ("HostConfig__Privileged", True, "privileged", True),
    ("HostConfig__ReadonlyRootfs", True, "read_only", True),
    ("HostConfig__CapAdd", ["CAP_CHOWN"], "cap_add", ("CAP_CHOWN",)),
    ("HostConfig__CapDrop", ["ALL"], "cap_drop", ("ALL",)),
    ("HostConfig__CgroupParent", "/x", "cgroup_parent", "/x"),
    ("HostConfig__NanoCpus", 5, "nano_cpus", 5),
    ("HostConfig__CpuShares", 5, "cpu_shares", 5),
    ("HostConfig__CpuQuota", 5, "cpu_quota", 5),
    ("HostConfig__CpusetCpus", "0", "cpuset", "0"),
    ("HostConfig__Memory", 5, "memory_bytes", 5),
    ("HostConfig__MemoryReservation", 5, "memory_reservation_bytes", 5),
    ("HostConfig__ShmSize", 5, "shm_size_bytes", 5),
    ("HostConfig__OomKillDisable", True, "oom_kill_disable", True),
    ("HostConfig__OomKillDisable", None, "oom_kill_disable", None),
    ("HostConfig__OomScoreAdj", -5, "oom_score_adj", -5),
    ("HostConfig__PidsLimit", 5, "pids_limit", 5),
    ("HostConfig__PidsLimit", -1, "pids_limit", 0),
    (
        "HostConfig__Devices",
        [{"PathOnHost": "/a", "PathInContainer": "/b", "CgroupPermissions": "r"}],
        "devices",
        (("/a", "/b", "r"),),
    ),
    (
        "HostConfig__DeviceRequests",
        [{"Driver": "", "Count": 1, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": None}],
        "device_requests",
        ({"Driver": "", "Count": 1, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}},),
    ),
    ("HostConfig__Dns", ["1.1.1.1"], "dns", ("1.1.1.1",)),
    ("HostConfig__DnsOptions", ["x"], "dns_opt", ("x",)),
    ("HostConfig__DnsSearch", ["x"], "dns_search", ("x",)),
    ("HostConfig__ExtraHosts", ["a:1.2.3.4"], "extra_hosts", ("a:1.2.3.4",)),
    ("HostConfig__GroupAdd", ["29"], "group_add", ("29",)),
    ("HostConfig__IpcMode", "host", "ipc", "host"),
    ("HostConfig__PidMode", "host", "pid", "host"),
    ("HostConfig__SecurityOpt", ["label=disable", "no-new-privileges"], "security_opt", ("no-new-privileges",)),
    ("HostConfig__Sysctls", {"a": "1"}, "sysctls", {"a": "1"}),
    ("HostConfig__Tmpfs", {"/a": "size=1m", "/b:size=2m": ""}, "tmpfs", {"/a": "size=1m", "/b": "size=2m"}),
    ("HostConfig__Ulimits", [{"Name": "nofile", "Soft": 1, "Hard": 2}], "ulimits", {"nofile": (1, 2)}),
    ("HostConfig__UsernsMode", "host", "userns_mode", "host"),
    (
        "NetworkSettings__Networks",
        {"x_y": {"Aliases": ["web", CONTAINER_ID[:12]], "IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]}}, "none": None},
        "networks",
        {"x_y": Endpoint(aliases=("web",), link_local_ips=("169.254.1.1",)), "none": Endpoint()},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("path", "said", "field", "expected"), FIELDS)
def test_a_field_is_read_from_where_the_engine_keeps_it(path: str, said: Any, field: str, expected: Any) -> None:
    assert getattr(read(**{path: said}), field) == expected


NETWORK = {"Name": f"{UUID}_front", "Id": "n1", "Created": "2026-01-02T03:04:05Z", "Driver": "bridge"}
SUPERVISED = {"io.balena.supervised": "true", "io.balena.app-id": "4711"}


def test_a_network_is_read_with_everything_that_is_compared() -> None:
    network = network_from_inspect(
        {
            **NETWORK,
            "Labels": {**SUPERVISED, "io.resin.x": "1", "io.balena.supervisor.instance": "i"},
            "Options": {"o": "1"},
            "EnableIPv6": True,
            "Internal": True,
            "ConfigOnly": True,
            "IPAM": {
                "Driver": "custom",
                "Options": {"p": "1"},
                "Config": [
                    {"Subnet": "s", "Gateway": "g", "IPRange": "r", "AuxiliaryAddresses": {"a": "1"}},
                    {"Subnet": "t"},
                ],
            },
        }
    )
    assert (network.app_id, network.app_uuid, network.name) == (4711, UUID, "front")
    assert (network.engine_name, network.engine_id) == (f"{UUID}_front", "n1")
    assert network.config == NetworkConfig(
        options={"o": "1"},
        ipam_driver="custom",
        ipam_options={"p": "1"},
        ipam_config=(IpamPool(subnet="s", gateway="g", ip_range="r", aux_addresses={"a": "1"}), IpamPool(subnet="t")),
        enable_ipv6=True,
        internal=True,
        config_only=True,
        labels={"io.balena.app-id": "4711", "io.balena.x": "1"},
    )


@pytest.mark.parametrize("ipam", [None, {}, {"Driver": None, "Options": None, "Config": None}])
def test_empty_forms_of_a_network_mean_empty(ipam: Any) -> None:
    network = network_from_inspect({**NETWORK, "Name": "4711_x", "Labels": None, "Options": None, "IPAM": ipam})
    assert network.config == NetworkConfig()
    assert (network.app_id, network.app_uuid) == (4711, "")


def test_a_network_that_does_not_say_whose_it_is_is_refused() -> None:
    with pytest.raises(UnreadableObject):
        network_from_inspect({**NETWORK, "Labels": None})


def test_a_volume_is_read_with_everything_that_is_compared() -> None:
    labels = {
        "io.balena.supervised": "true",
        "io.resin.supervised": "true",
        "io.balena.app-uuid": UUID,
        "io.balena.supervisor.instance": "i",
        "io.resin.a": "1",
    }
    volume = volume_from_inspect({"Name": "1_data", "Driver": "nfs", "Labels": labels, "Options": {"o": "1"}})
    assert volume is not None
    assert (volume.app_id, volume.app_uuid, volume.name) == (1, UUID, "data")
    assert volume.config == VolumeConfig(driver="nfs", options={"o": "1"}, labels={"io.balena.a": "1"})


def test_a_volume_without_labels_is_ours_by_its_name() -> None:
    volume = volume_from_inspect({"Name": "1_data", "Driver": "local", "Labels": None, "Options": None})
    assert volume is not None
    assert (volume.app_uuid, volume.config) == ("", VolumeConfig())
    assert volume_from_inspect({"Name": "backup2_data", "Driver": "local", "Labels": {}, "Options": {}}) is None


def test_an_image_is_read_with_everything_that_a_service_takes_over() -> None:
    config = {
        "Cmd": ["a"],
        "Entrypoint": ["b"],
        "Env": ["A=b=c", "broken"],
        "Labels": {"io.resin.x": "1"},
        "Volumes": {"/x": {}},
        "User": "u",
        "WorkingDir": "/w",
        "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["NONE"]},
    }
    assert image_details_from_inspect({"Id": "sha256:1", "Config": config}) == ImageDetails(
        id="sha256:1",
        command=("a",),
        entrypoint=("b",),
        environment={"A": "b=c"},
        labels={"io.resin.x": "1"},
        volumes=("/x",),
        user="u",
        working_dir="/w",
        stop_signal="SIGINT",
        healthcheck={"Test": ["NONE"]},
    )


@pytest.mark.parametrize("config", [None, {}, dict.fromkeys(("Cmd", "Entrypoint", "Env", "Labels", "Volumes"))])
def test_an_image_without_anything_has_only_its_id(config: Any) -> None:
    assert image_details_from_inspect({"Id": "sha256:1", "Config": config}) == ImageDetails(id="sha256:1")


def test_an_image_without_id_is_refused() -> None:
    with pytest.raises(UnreadableObject):
        image_details_from_inspect({})

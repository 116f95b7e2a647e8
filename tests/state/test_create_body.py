"""The create body, and what is connected after it."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.errors import InvalidComposition, InvalidValue
from balena_supervisor.model.image import ImageDetails
from balena_supervisor.state.create_body import connect_endpoints, create_body
from tests.state.composing import UUID, composed

COMPOSITION: dict[str, Any] = {
    "ports": ["8000-8001:80-81", "127.0.0.1:5353:53/udp"],
    "volumes": ["store:/var/lib/app", {"type": "tmpfs", "target": "/scratch", "tmpfs": {"size": 1048576}}],
    "networks": {"front": {"aliases": ["www"], "ipv4_address": "172.28.0.9"}, "back": {}},
    "mem_limit": "256m",
    "stop_grace_period": "1m30s",
    "healthcheck": {"test": "curl -f http://localhost/", "interval": "30s"},
    "restart": "on-failure",
    "labels": {"io.balena.features.dbus": "1"},
    "environment": {"MODE": "fast"},
}
IMAGE = ImageDetails(
    id="sha256:4f1e",
    command=("serve",),
    entrypoint=("/entry.sh",),
    working_dir="/srv",
    labels={"maintainer": "acme"},
    volumes=("/cache",),
)
LOCKS = "/tmp/balena-supervisor/services/4711/web"
HOST_CONFIG = {
    "NetworkMode": f"{UUID}_front",
    "Binds": [
        "4711_store:/var/lib/app",
        f"{LOCKS}:/tmp/resin",
        f"{LOCKS}:/tmp/balena",
        "/run/dbus:/host/run/dbus",
    ],
    "Mounts": [{"Type": "tmpfs", "Target": "/scratch", "TmpfsOptions": {"SizeBytes": 1048576}}],
    "PortBindings": {
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "5353"}],
        "80/tcp": [{"HostIp": "", "HostPort": "8000"}],
        "81/tcp": [{"HostIp": "", "HostPort": "8001"}],
    },
    "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 0},
    "Memory": 268435456,
    "MemoryReservation": 0,
    "ShmSize": 67108864,
    "NanoCpus": 0,
    "CpuShares": 0,
    "CpuQuota": 0,
    "CpusetCpus": "",
    "CapAdd": [],
    "CapDrop": [],
    "Devices": [],
    "DeviceRequests": [],
    "Dns": [],
    "DnsOptions": [],
    "DnsSearch": [],
    "ExtraHosts": [],
    "GroupAdd": [],
    "SecurityOpt": [],
    "Sysctls": {},
    "Ulimits": [],
    "Tmpfs": {},
    "CgroupParent": "",
    "PidMode": "",
    "PidsLimit": 0,
    "OomKillDisable": False,
    "OomScoreAdj": 0,
    "Privileged": False,
    "ReadonlyRootfs": False,
    "UsernsMode": "",
    "IpcMode": "shareable",
}


def body(composition: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return create_body(composed(composition, **changes), device_name="kiosk-7", instance="", container_ids={})


def test_a_whole_service_becomes_a_whole_body() -> None:
    service = composed(COMPOSITION, around={"image": IMAGE})
    made = create_body(service, device_name="kiosk-7", instance="", container_ids={})
    environment = made.pop("Env")
    assert made == {
        "Image": "sha256:4f1e",
        "Tty": True,
        "Cmd": ["serve"],
        "Entrypoint": ["/entry.sh"],
        "WorkingDir": "/srv",
        "User": "",
        "Labels": {
            "maintainer": "acme",
            "io.balena.features.dbus": "1",
            "io.balena.supervised": "true",
            "io.balena.app-id": "4711",
            "io.balena.service-id": "91",
            "io.balena.service-name": "web",
            "io.balena.app-uuid": UUID,
        },
        "Volumes": {"/cache": {}},
        "ExposedPorts": {"53/udp": {}, "80/tcp": {}, "81/tcp": {}},
        "NetworkingConfig": {
            "EndpointsConfig": {
                f"{UUID}_front": {"IPAMConfig": {"IPv4Address": "172.28.0.9"}, "Aliases": ["www", "web"]}
            }
        },
        "StopSignal": "SIGTERM",
        "StopTimeout": 90,
        "Domainname": "",
        "Hostname": "",
        "MacAddress": "",
        "Healthcheck": {"Test": ["CMD-SHELL", "curl -f http://localhost/"], "Interval": 30_000_000_000},
        "HostConfig": HOST_CONFIG,
    }
    assert environment[:4] == [
        "RESIN_DEVICE_NAME_AT_INIT=kiosk-7",
        "BALENA_DEVICE_NAME_AT_INIT=kiosk-7",
        "MODE=fast",
        "BALENA_APP_ID=4711",
    ]
    assert service.container_name == "web_8080_77_5f0e1d2c"
    assert connect_endpoints(service) == {f"{UUID}_back": {"IPAMConfig": {}, "Aliases": ["web"]}}


def test_a_bare_service_sends_every_member_with_its_default() -> None:
    made = body()
    assert made["HostConfig"].keys() == HOST_CONFIG.keys()
    assert (made["Healthcheck"], made["Volumes"], made["Hostname"]) == ({"Test": ["NONE"]}, {}, "")
    assert made["HostConfig"]["Mounts"] == []


@pytest.mark.parametrize(
    ("composition", "member", "expected"),
    [
        ({"init": False}, "Init", False),
        ({"restart": "no"}, "RestartPolicy", {"Name": "no", "MaximumRetryCount": 0}),
        ({"tmpfs": ["/a:size=1m", "/b"]}, "Tmpfs", {"/a": "size=1m", "/b": ""}),
        ({"ulimits": {"nofile": 5}}, "Ulimits", [{"Name": "nofile", "Soft": 5, "Hard": 5}]),
        (
            {"devices": ["/a:/b:r"]},
            "Devices",
            [{"PathOnHost": "/a", "PathInContainer": "/b", "CgroupPermissions": "r"}],
        ),
        ({"sysctls": {"a": 1}}, "Sysctls", {"a": "1"}),
        ({"group_add": [5]}, "GroupAdd", ["5"]),
        ({"cpuset": 0, "cpus": "0.5"}, "CpusetCpus", "0"),
        ({"dns_opt": ["x"]}, "DnsOptions", ["x"]),
        ({"oom_kill_disable": True}, "OomKillDisable", True),
    ],
)
def test_a_field_is_sent_in_the_form_of_the_engine(composition: dict[str, Any], member: str, expected: Any) -> None:
    assert body(composition)["HostConfig"][member] == expected


@pytest.mark.parametrize("mode", ["host", "bridge", "none"])
def test_modes_of_the_engine_have_no_main_network(mode: str) -> None:
    made = body({"network_mode": mode})
    assert made["NetworkingConfig"] == {"EndpointsConfig": {}}
    assert made["HostConfig"]["NetworkMode"] == mode


def test_the_network_of_the_api_is_connected_without_aliases() -> None:
    service = composed({"network_mode": "bridge"}, labels={"io.balena.features.supervisor-api": "1"})
    assert connect_endpoints(service) == {"supervisor0": {"IPAMConfig": {}, "Aliases": []}}


def test_the_network_of_a_service_is_that_of_its_container() -> None:
    service = composed({"network_mode": "service:db"})
    made = create_body(service, device_name="", instance="", container_ids={"db": "abc"})
    assert made["HostConfig"]["NetworkMode"] == "container:abc"
    assert made["NetworkingConfig"] == {"EndpointsConfig": {}}
    assert connect_endpoints(service) == {}


def test_without_a_container_of_that_service_nothing_can_be_created() -> None:
    with pytest.raises(InvalidComposition, match="there is no container of db"):
        body({"network_mode": "service:db"})


def test_without_an_app_uuid_nothing_is_created() -> None:
    with pytest.raises(InvalidComposition, match="has no uuid"):
        body(app_uuid="")


@pytest.mark.parametrize("name", ["two\nlines", "x" * 256])
def test_a_device_name_that_is_none_creates_nothing(name: str) -> None:
    with pytest.raises(InvalidValue):
        create_body(composed(), device_name=name, instance="", container_ids={})


def test_an_instance_becomes_a_label() -> None:
    made = create_body(composed(), device_name="", instance="x", container_ids={})
    assert made["Labels"]["io.balena.supervisor.instance"] == "x"
    assert "io.balena.supervisor.instance" not in body()["Labels"]

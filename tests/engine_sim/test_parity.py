"""The simulated engine answers as the real one: the same calls to both, compared in what the supervisor reads."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine_sim.sides import Json, Side, compare, container_view

pytestmark = pytest.mark.engine

FULL_HOST: Json = {
    "NetworkMode": "{t}_net",
    "Binds": ["{t}_vol:/data", "/etc:/tmp/resin", "/etc:/tmp/balena:ro"],
    "Mounts": [{"Type": "tmpfs", "Target": "/scratch", "TmpfsOptions": {"SizeBytes": 1048576}}],
    "PortBindings": {"81/tcp": [{"HostIp": "127.0.0.1", "HostPort": "{port}"}]},
    "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0},
    **dict.fromkeys(
        ("Memory", "MemoryReservation", "NanoCpus", "CpuShares", "CpuQuota", "PidsLimit", "OomScoreAdj"), 0
    ),
    **dict.fromkeys(("CpusetCpus", "CgroupParent", "PidMode", "UsernsMode"), ""),
    **{
        key: []
        for key in (
            "CapAdd",
            "CapDrop",
            "Devices",
            "DeviceRequests",
            "Dns",
            "DnsOptions",
            "DnsSearch",
            "ExtraHosts",
            "GroupAdd",
            "SecurityOpt",
            "Ulimits",
        )
    },
    **dict.fromkeys(("OomKillDisable", "Privileged", "ReadonlyRootfs"), False),
    "Sysctls": {},
    "Tmpfs": {},
    "ShmSize": 67108864,
    "IpcMode": "shareable",
}
FULL: Json = {
    "Image": "{t}-rich",
    "Tty": True,
    "Cmd": ["/bin/busybox", "sleep", "1000"],
    "Entrypoint": [],
    "WorkingDir": "",
    "User": "",
    "Env": ["A=1", "FOO=own"],
    "Labels": {"a": "b"},
    "Volumes": {},
    "ExposedPorts": {"81/tcp": {}},
    "NetworkingConfig": {"EndpointsConfig": {"{t}_net": {"IPAMConfig": {}, "Aliases": ["www", "web"]}}},
    "StopSignal": "SIGTERM",
    "StopTimeout": 90,
    "Domainname": "",
    "Hostname": "",
    "MacAddress": "",
    "Healthcheck": {"Test": ["NONE"]},
    "HostConfig": FULL_HOST,
}

BODIES: dict[str, Json] = {
    "only an image": {"Image": "{t}-plain"},
    "everything at its default": FULL,
    "the image's values": {"Image": "{t}-rich", "HostConfig": {"NetworkMode": "{t}_net"}},
    "no volumes in the image": {**FULL, "Image": "{t}-plain"},
    "an entrypoint of the image": {"Image": "{t}-entry"},
    "an entrypoint of the image and a command": {
        "Image": "{t}-entry",
        "Cmd": ["/bin/busybox", "sleep", "5"],
        "Entrypoint": [],
    },
    "an entrypoint over the image's": {"Image": "{t}-entry", "Entrypoint": ["/bin/busybox", "sleep"], "Cmd": ["7"]},
    "an entrypoint alone": {"Image": "{t}-entry", "Entrypoint": ["/bin/busybox", "sleep", "9"]},
    "strings for lists": {"Image": "{t}-plain", "Cmd": ["sleep", "5"], "Entrypoint": "/bin/busybox"},
    "empty lists for null": {"Image": "{t}-plain", "Cmd": [], "Entrypoint": [], "Env": [], "Labels": {}, "Volumes": {}},
    "an endpoint with an address": {
        "Image": "{t}-plain",
        "HostConfig": {"NetworkMode": "{t}_net"},
        "NetworkingConfig": {"EndpointsConfig": {"{t}_net": {"IPAMConfig": {"IPv4Address": "{net}.9"}}}},
    },
    "host network": {"Image": "{t}-rich", "HostConfig": {"NetworkMode": "host"}, "ExposedPorts": {"81/tcp": {}}},
    "no network": {"Image": "{t}-plain", "HostConfig": {"NetworkMode": "none"}},
    "the engine's bridge": {"Image": "{t}-plain", "HostConfig": {"NetworkMode": "bridge"}, "Hostname": "own"},
    "limits": {
        "Image": "{t}-plain",
        "HostConfig": {
            "Memory": 33554432,
            "MemoryReservation": 16777216,
            "NanoCpus": 500000000,
            "CpuShares": 512,
            "PidsLimit": 100,
            "ShmSize": 1048576,
            "OomScoreAdj": 5,
            "CpusetCpus": "0",
            "Ulimits": [{"Name": "nofile", "Soft": 512, "Hard": 1024}],
            "OomKillDisable": False,
        },
    },
    "lists": {
        "Image": "{t}-plain",
        "Domainname": "d.example",
        "User": "0:0",
        "WorkingDir": "/w",
        "StopSignal": "9",
        "StopTimeout": 0,
        "HostConfig": {
            "CapAdd": ["NET_ADMIN"],
            "CapDrop": ["CHOWN"],
            "Dns": ["1.1.1.1"],
            "DnsSearch": ["example"],
            "DnsOptions": ["ndots:1"],
            "ExtraHosts": ["a:1.2.3.4"],
            "GroupAdd": ["7"],
            "Init": True,
            "Sysctls": {"net.core.somaxconn": "512"},
            "Tmpfs": {"/t": "", "/u": "size=1m"},
            "ReadonlyRootfs": True,
            "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/n", "CgroupPermissions": "rwm"}],
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 0},
            "IpcMode": "private",
        },
    },
    "restart no": {"Image": "{t}-plain", "HostConfig": {"RestartPolicy": {"Name": "no"}, "Init": False}},
    "restart empty": {"Image": "{t}-plain", "HostConfig": {"RestartPolicy": {"Name": ""}}},
    "anonymous and long-form volumes": {
        "Image": "{t}-rich",
        "Volumes": {"/other": {}},
        "HostConfig": {
            "Mounts": [
                {"Type": "volume", "Target": "/v", "Source": "{t}_long"},
                {
                    "Type": "volume",
                    "Target": "/x",
                    "Source": "{t}_ro",
                    "ReadOnly": True,
                    "VolumeOptions": {"NoCopy": True},
                },
                {"Type": "bind", "Target": "/etc2", "Source": "/etc", "BindOptions": {"Propagation": "rprivate"}},
                {"Type": "volume", "Target": "/anon2"},
            ]
        },
    },
    "a healthcheck over the image's": {
        "Image": "{t}-rich",
        "Healthcheck": {"Test": ["CMD", "/bin/busybox"], "Timeout": 2000000000},
    },
    "a healthcheck with zeros": {
        "Image": "{t}-plain",
        "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 0, "Timeout": 0, "StartPeriod": 0, "Retries": 0},
    },
    "a network that is missing": {"Image": "{t}-plain", "HostConfig": {"NetworkMode": "{t}_missing"}},
}
SUBNET = {"Name": "{t}_net", "IPAM": {"Config": [{"Subnet": "{net}.0/24", "Gateway": "{net}.1"}]}}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_container_reads_back_the_same_created_running_and_stopped(both: tuple[Side, Side], body: Json) -> None:
    def act(side: Side) -> Any:
        assert side.call("POST", "/networks/create", SUBNET)[0] == 201
        status, created = side.call("POST", "/containers/create?name={t}_c", body)
        assert status == 201, created
        views = [(status, side.call("GET", "/containers/{t}_c/json")[1])]
        for order in ("start", "start", "kill", "stop"):
            status, _ = side.call("POST", f"/containers/{{t}}_c/{order}")
            views.append((status, side.call("GET", "/containers/{t}_c/json")[1]))
        ids = {created["Id"]: "ID"}
        return [(code, side.normal(container_view(view), ids)) for code, view in views]

    compare(both, act)


@pytest.mark.parametrize(
    "host",
    [{"Privileged": True}, {"Privileged": True, "SecurityOpt": ["seccomp=unconfined"]}, {"PidMode": "host"}],
    ids=["privileged", "privileged with a security option", "the host's processes"],
)
def test_a_privileged_container_reads_back_the_same(both: tuple[Side, Side], host: Json) -> None:
    def act(side: Side) -> Any:
        status, created = side.call("POST", "/containers/create?name={t}_c", {"Image": "{t}-plain", "HostConfig": host})
        assert status == 201, created
        return side.normal(container_view(side.call("GET", "/containers/{t}_c/json")[1]), {created["Id"]: "ID"})

    compare(both, act)


REFUSED: dict[str, tuple[str, Json]] = {
    "an unknown image": ("/containers/create?name={t}_c", {"Image": "{t}-nothing"}),
    "an unknown image id": ("/containers/create?name={t}_c", {"Image": "sha256:" + "a" * 64}),
    "a number for a text": ("/containers/create?name={t}_c", {"Image": 3}),
    "a number in group_add": ("/containers/create?name={t}_c", {"Image": "{t}-plain", "HostConfig": {"GroupAdd": [7]}}),
    "a bad container name": ("/containers/create?name={t}/c", {"Image": "{t}-plain"}),
    "a bad volume name": (
        "/containers/create?name={t}_c",
        {"Image": "{t}-plain", "HostConfig": {"Binds": ["{t}_./d:/x"]}},
    ),
    "two mounts at one place": (
        "/containers/create?name={t}_c",
        {"Image": "{t}-plain", "HostConfig": {"Binds": ["{t}_a:/x", "{t}_b:/x"]}},
    ),
    "a network without a name": ("/networks/create", {"Name": ""}),
    "a predefined network": ("/networks/create", {"Name": "host"}),
    "an IPAM pool without a subnet": (
        "/networks/create",
        {"Name": "{t}_n", "IPAM": {"Config": [{"Gateway": "10.1.1.1"}]}},
    ),
    "IPv6 without a pool": ("/networks/create", {"Name": "{t}_n", "EnableIPv6": True}),
    "a bad option of a volume": ("/volumes/create", {"Name": "{t}_v", "DriverOpts": {"bad": "x"}}),
    "a bad name of a volume": ("/volumes/create", {"Name": "{t}/v"}),
    "connecting nothing": ("/networks/{t}_nothing/connect", {"Container": "{t}_c"}),
    "starting nothing": ("/containers/{t}_c/start", {}),
    "an unknown filter": ("GET /containers/json?filters=%7B%22no%22%3A%5B%22x%22%5D%7D", {}),
    "an unknown path": ("GET /nothing/here", {}),
    "a version too new": ("GET /v9.9/info", {}),
    "inspecting an image that is missing": ("GET /images/{t}-nothing:1/json", {}),
    "removing an image that is missing": ("DELETE /images/{t}-nothing:1", {}),
    "removing a volume that is missing": ("DELETE /volumes/{t}_nothing", {}),
    "removing a predefined network": ("DELETE /networks/bridge", {}),
}


@pytest.mark.parametrize(("path", "body"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_has_the_same_status_and_text(both: tuple[Side, Side], path: str, body: Json) -> None:
    method, _, rest = path.rpartition(" ")

    def act(side: Side) -> Any:
        status, answer = side.call(method or "POST", rest, body or None)
        return status, side.normal(answer, {})

    compare(both, act)


def test_two_networks_at_once_are_refused_alike_in_whichever_order_they_are_named(both: tuple[Side, Side]) -> None:
    def act(side: Side) -> Any:
        body = {"Image": "{t}-plain", "NetworkingConfig": {"EndpointsConfig": {"{t}_a": {}, "{t}_b": {}}}}
        status, answer = side.call("POST", "/containers/create?name={t}_c", body)
        return status, sorted(side.normal(answer, {})["message"].replace(",", "").split())

    compare(both, act)


def test_a_subnet_in_use_is_refused_with_the_same_status_and_text(both: tuple[Side, Side]) -> None:
    def act(side: Side) -> Any:
        first = {"Name": "{t}_n", "IPAM": {"Config": [{"Subnet": "{net}.0/24"}]}}
        assert side.call("POST", "/networks/create", first)[0] == 201
        second = {"Name": "{t}_m", "IPAM": {"Config": [{"Subnet": "{net}.128/25"}]}}
        return side.call("POST", "/networks/create", second)

    compare(both, act)


NETWORKS: dict[str, Json] = {
    "defaults": {"Name": "{t}_n", "Labels": {"a": "b"}, "CheckDuplicate": True},
    "everything at its default": {
        "Name": "{t}_n", "Driver": "bridge", "Options": {}, "EnableIPv6": False, "Internal": False, "ConfigOnly": False,
        "IPAM": {"Driver": "default", "Config": [], "Options": {}}, "Labels": {},
    },
    "a subnet": {"Name": "{t}_n", "IPAM": {"Config": [{"Subnet": "{net}.0/24"}]}},
    "everything": {
        "Name": "{t}_n", "Internal": True, "Options": {"o": "p"},
        "IPAM": {
            "Driver": "default", "Options": {"a": "b"},
            "Config": [{
                "Subnet": "{net}.0/24", "Gateway": "{net}.9", "IPRange": "{net}.0/28",
                "AuxiliaryAddresses": {"x": "{net}.5"},
            }],
        },
    },
    "config only": {"Name": "{t}_n", "ConfigOnly": True, "Driver": "bridge"},
}  # fmt: skip


@pytest.mark.parametrize("body", NETWORKS.values(), ids=NETWORKS.keys())
def test_a_network_reads_back_the_same(both: tuple[Side, Side], body: Json) -> None:
    def act(side: Side) -> Any:
        status, created = side.call("POST", "/networks/create", body)
        assert status == 201, created
        view = side.call("GET", f"/networks/{created['Id']}")[1]
        listed = side.call("GET", "/networks?filters=%7B%22name%22%3A%5B%22{t}_n%22%5D%7D")[1]
        for entry in (view, *listed):
            del entry["Created"]
            if not (body.get("IPAM") or {}).get("Config"):
                entry["IPAM"]["Config"] = [sorted(pool) for pool in entry["IPAM"]["Config"]]
        return side.normal([view, listed, created["Warning"]], {created["Id"]: "ID"})

    compare(both, act)


@pytest.mark.parametrize(
    "body",
    [{}, {"DriverOpts": {}, "Labels": {}}, {"DriverOpts": {"type": "tmpfs", "device": "tmpfs"}, "Labels": {"a": "b"}}],
    ids=["a name", "empty forms", "options"],
)
def test_a_volume_reads_back_the_same(both: tuple[Side, Side], body: Json) -> None:
    def act(side: Side) -> Any:
        created = side.call("POST", "/volumes/create", {"Name": "{t}_v", **body})[1]
        again = side.call("POST", "/volumes/create", {"Name": "{t}_v", "Labels": {"other": "1"}})[1]
        views = [created, again, side.call("GET", "/volumes/{t}_v")[1]]
        for view in views:
            del view["CreatedAt"], view["Mountpoint"]
        return side.normal(views, {})

    compare(both, act)

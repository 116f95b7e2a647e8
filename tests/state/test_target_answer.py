"""The composed target as JSON."""

from __future__ import annotations

import json

import msgspec
import pytest

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.resource import IpamPool, Network, NetworkConfig, Volume
from balena_supervisor.model.service import STARTED, Endpoint, Healthcheck, Mount, PortBinding, Service, ServiceConfig
from balena_supervisor.state.target_answer import KEY_VARIABLES, local_target, service_config

CONFIG = ServiceConfig(
    image="sha256:aa",
    environment={"MODE": "field", **dict.fromkeys(KEY_VARIABLES, "secret")},
    healthcheck=Healthcheck(test=("CMD", "true"), start_period_ns=5),
    networks={"shop_default": Endpoint(aliases=("web",), ipv4_address="10.0.0.2")},
    ports=(PortBinding(80, "tcp", "", 8080), PortBinding(53, "udp", "127.0.0.1", 5353)),
    volumes=("1_data:/data",),
    mounts=(Mount(type="tmpfs", target="/cache", size_bytes=1024),),
    devices=(("/dev/a", "/dev/b", "rwm"),),
    ulimits={"nofile": (1, 2)},
)


def service(docker_image_id: str | None = "sha256:aa", depends_on: tuple[str, ...] = ()) -> Service:
    return Service(
        app_id=1,
        app_uuid="u1",
        app_name="shop",
        service_id=2,
        service_name="web",
        image_id=3,
        release_id=4,
        commit="c1",
        image_name="repo/web:latest",
        docker_image_id=docker_image_id,
        running=True,
        depends_on=dict.fromkeys(depends_on, STARTED),
        config=CONFIG,
    )


APP = ComposedApp(
    app_id=1,
    app_uuid="u1",
    name="shop",
    commit="c1",
    release_id=4,
    services=(service(),),
    networks=(Network(app_id=1, app_uuid="u1", name="default"),),
    volumes=(Volume(app_id=1, name="data"), Volume(app_id=1, name="more", app_uuid="u1")),
)


def test_an_app_has_exactly_the_measured_keys() -> None:
    shown = local_target(name="bench", config={}, apps=[APP], source="local")["state"]["local"]["apps"]["1"]
    assert shown.keys() == {
        "isTargetState",
        "appId",
        "appUuid",
        "appName",
        "commit",
        "source",
        "isHost",
        "isRejected",
        "services",
        "networks",
        "volumes",
    }
    assert (shown["isTargetState"], shown["source"], shown["appName"]) == (True, "local", "shop")
    assert [n["name"] for n in shown["networks"]] == ["default"]
    assert [v.get("appUuid") for v in shown["volumes"]] == [None, "u1"]


def test_an_app_without_a_release_has_no_commit() -> None:
    app = ComposedApp(app_id=1, app_uuid="u1", name="shop")
    shown = local_target(name="", config={}, apps=[app], source="local")["state"]["local"]["apps"]["1"]
    assert "commit" not in shown


def test_an_app_that_is_left_alone_says_why() -> None:
    app = ComposedApp(app_id=1, app_uuid="u1", name="shop", rejected=True, problem="web requires more")
    shown = local_target(name="", config={}, apps=[app], source="local")["state"]["local"]["apps"]["1"]
    assert (shown["isRejected"], shown["problem"], shown["services"]) == (True, "web requires more", [])


@pytest.mark.parametrize(
    ("docker_image_id", "depends_on", "keys", "shown_depends_on"),
    [("sha256:aa", ("db",), {"dockerImageId"}, ["db"]), (None, (), set(), None)],
)
def test_a_service_has_exactly_the_measured_keys(
    docker_image_id: str | None, depends_on: tuple[str, ...], keys: set[str], shown_depends_on: list[str] | None
) -> None:
    app = msgspec.structs.replace(APP, services=(service(docker_image_id, depends_on),))
    local = local_target(name="", config={}, apps=[app], source="local")["state"]["local"]
    (shown,) = local["apps"]["1"]["services"]
    assert shown.keys() == keys | {
        "appId",
        "appUuid",
        "imageId",
        "config",
        "serviceName",
        "commit",
        "releaseId",
        "serviceId",
        "imageName",
        "dependsOn",
    }
    assert shown["dependsOn"] == shown_depends_on


def test_no_answer_holds_a_key() -> None:
    answer = local_target(name="", config={}, apps=[APP], source="local")
    assert "secret" not in json.dumps(answer)
    (shown,) = answer["state"]["local"]["apps"]["1"]["services"]
    assert shown["config"]["environment"] == {"MODE": "field"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image", "sha256:aa"),
        ("ports", ["8080:80/tcp", "127.0.0.1:5353:53/udp"]),
        ("volumes", ["1_data:/data", {"type": "tmpfs", "target": "/cache", "size": 1024}]),
        ("devices", [{"pathOnHost": "/dev/a", "pathInContainer": "/dev/b", "cgroupPermissions": "rwm"}]),
        ("ulimits", {"nofile": {"soft": 1, "hard": 2}}),
        ("networks", {"shop_default": {"aliases": ["web"], "ipv4Address": "10.0.0.2"}}),
        (
            "healthcheck",
            {"test": ["CMD", "true"], "interval": 0, "timeout": 0, "startPeriod": 5, "retries": 0},
        ),
        ("stopGracePeriod", 10),
        ("shmSize", 64 * 1024 * 1024),
        ("memLimit", 0),
        ("cpus", 0),
        ("capAdd", []),
        ("workingDir", ""),
        ("usernsMode", ""),
        ("readOnly", False),
    ],
)
def test_a_configuration_is_in_camel_case(name: str, value: object) -> None:
    assert json.loads(msgspec.json.encode(service_config(CONFIG)))[name] == value


def test_an_unset_init_and_the_mounts_are_no_keys_of_their_own() -> None:
    assert not {"init", "mounts"} & service_config(CONFIG).keys()
    assert service_config(ServiceConfig(init=True))["init"] is True


def test_a_network_leaves_out_what_its_pools_leave_out() -> None:
    network = Network(
        app_id=1,
        app_uuid="u1",
        name="back",
        config=NetworkConfig(ipam_config=(IpamPool(subnet="10.1.0.0/16"),), enable_ipv6=True),
    )
    app = msgspec.structs.replace(APP, networks=(network,))
    local = local_target(name="", config={}, apps=[app], source="local")["state"]["local"]
    (shown,) = local["apps"]["1"]["networks"]
    assert shown["config"]["ipam"]["config"] == [{"subnet": "10.1.0.0/16"}]
    assert shown["config"]["enableIPv6"] is True

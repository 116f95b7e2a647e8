"""Whether a container, network or volume is what the target wants."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balena_supervisor.model.image import ImageDetails
from balena_supervisor.model.resource import IpamPool, Network, NetworkConfig, Volume, VolumeConfig
from balena_supervisor.model.service import Container, Endpoint, Service, ServiceConfig
from balena_supervisor.state.compare import differences, network_differences, same_release, volume_differences
from tests.state.composing import UUID, composed, created


def changed(container: Container, **fields: Any) -> Container:
    return msgspec.structs.replace(container, config=msgspec.structs.replace(container.config, **fields))


def compare(current: dict[str, Any], target: dict[str, Any], **target_changes: Any) -> tuple[str, ...]:
    return differences(created(composed(current)), composed(target, **target_changes), {"other": "f" * 64})


def shown(value: Any) -> str:
    """A name for a value; sets in order, since all workers of a test run must name a test alike."""
    return str(sorted(value) if isinstance(value, set) else value)


# Two compositions, and the fields in which a container of the first is not what the second wants.
ROWS: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = [
    ({}, {}, set()),
    ({"command": "a"}, {"command": "b"}, {"command"}),
    ({"command": []}, {"entrypoint": ""}, set()),
    ({"cap_add": ["A", "B"]}, {"cap_add": ["B", "A"]}, set()),
    ({"cap_add": ["CAP_CHOWN"]}, {"cap_add": ["chown"]}, set()),
    ({"cap_add": ["A"]}, {"cap_drop": ["A"]}, {"cap_add", "cap_drop"}),
    ({"devices": ["/a", "/b"]}, {"devices": ["/b", "/a"]}, set()),
    ({"devices": ["/a", "/a"]}, {"devices": ["/a"]}, {"devices"}),
    ({"dns": ["1.1.1.1", "8.8.8.8"]}, {"dns": ["8.8.8.8", "1.1.1.1"]}, {"dns"}),
    ({"dns_search": ["a", "b"]}, {"dns_search": ["b", "a"]}, {"dns_search"}),
    ({"dns_opt": ["a", "b"]}, {"dns_opt": ["b", "a"]}, set()),
    ({"extra_hosts": ["a:1.1.1.1", "b:1.1.1.1"]}, {"extra_hosts": ["b=1.1.1.1", "a=1.1.1.1"]}, set()),
    ({"group_add": [1, 2]}, {"group_add": ["2", "1"]}, set()),
    ({"group_add": [1, 1]}, {"group_add": [1]}, {"group_add"}),
    ({"security_opt": ["a", "b"]}, {"security_opt": ["b", "label=x", "a"]}, set()),
    ({"volumes": ["a:/a", "b:/b"]}, {"volumes": ["b:/b", "a:/a"]}, set()),
    ({"volumes": ["a:/a"]}, {"volumes": ["a:/a:ro"]}, {"volumes"}),
    (
        {"volumes": [{"type": "tmpfs", "target": "/a"}, {"type": "tmpfs", "target": "/b"}]},
        {"volumes": [{"type": "tmpfs", "target": "/b"}, {"type": "tmpfs", "target": "/a"}]},
        set(),
    ),
    ({"tmpfs": ["/a", "/b"]}, {"tmpfs": ["/b", "/a"]}, set()),
    ({"tmpfs": ["/a:size=1m"]}, {"tmpfs": ["/a"]}, {"tmpfs"}),
    ({"cpus": 1}, {"cpus": 2}, {"nano_cpus"}),
    ({"mac_address": "02:AA"}, {"mac_address": "02:aa"}, set()),
    ({"ports": ["80", "81"]}, {"ports": ["80-81"]}, set()),
    ({"ports": ["8000-8001:80-81", "9000-9001:80-81"]}, {"ports": ["9000-9001:80-81", "8000-8001:80-81"]}, set()),
    ({"ports": ["80"]}, {"ports": ["81"]}, {"ports"}),
    ({"depends_on": ["x"]}, {}, set()),
    ({"stop_grace_period": "10s"}, {}, set()),
    ({"init": True}, {}, {"init"}),
    ({"init": False}, {}, {"init"}),
    ({"environment": {"A": ""}}, {}, {"environment"}),
    ({"labels": {"a": "b"}}, {"labels": {"a": "c"}}, {"labels"}),
    ({"oom_kill_disable": True}, {}, {"oom_kill_disable"}),
    ({"networks": ["front", "back"]}, {"networks": ["front", "back"]}, set()),
    ({"networks": ["front", "back"]}, {"networks": ["back", "front"]}, {"network_mode"}),
    ({"networks": ["front"]}, {"networks": ["front", "back"]}, {"networks"}),
    ({"networks": ["front", "back"]}, {"networks": ["front"]}, {"networks"}),
    ({"networks": {"front": {"aliases": ["a", "b"]}}}, {"networks": {"front": {"aliases": ["b"]}}}, set()),
    ({"networks": {"front": {"aliases": ["b"]}}}, {"networks": {"front": {"aliases": ["a"]}}}, {"networks"}),
    ({"networks": {"front": {"ipv4_address": "1.1.1.1"}}}, {"networks": ["front"]}, set()),
    ({"networks": ["front"]}, {"networks": {"front": {"ipv4_address": "1.1.1.1"}}}, {"networks"}),
    ({"networks": ["front"]}, {"networks": {"front": {"ipv6_address": "::1"}}}, {"networks"}),
    (
        {"networks": {"front": {"link_local_ips": ["169.254.1.1", "169.254.1.2"]}}},
        {"networks": {"front": {"link_local_ips": ["169.254.1.2", "169.254.1.1"]}}},
        set(),
    ),
    (
        {"networks": {"front": {"link_local_ips": ["169.254.1.1"]}}},
        {"networks": {"front": {"link_local_ips": ["169.254.1.2"]}}},
        {"networks"},
    ),
    ({"network_mode": "service:other"}, {"network_mode": "service:other"}, set()),
    ({"network_mode": "service:other"}, {"network_mode": "service:other", "hostname": "x"}, set()),
    ({"network_mode": "service:other"}, {"network_mode": "service:else"}, {"network_mode"}),
    ({"network_mode": "service:other"}, {}, {"network_mode", "networks"}),
    ({}, {"network_mode": "service:other"}, {"network_mode", "networks"}),
    ({"network_mode": "host"}, {"network_mode": "host"}, set()),
    ({"network_mode": "host", "hostname": "any"}, {"network_mode": "host"}, set()),
    ({"network_mode": "host"}, {"network_mode": "none"}, {"network_mode"}),
    ({"hostname": "a"}, {"hostname": "b"}, {"hostname"}),
    ({"hostname": "a"}, {}, {"hostname"}),
]


@pytest.mark.parametrize(("current", "target", "expected"), ROWS, ids=shown)
def test_exactly_the_fields_that_differ_are_named(
    current: dict[str, Any], target: dict[str, Any], expected: set[str]
) -> None:
    assert set(compare(current, target)) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"service_id": 92}, {"labels"}),
        ({"running": False}, set()),
        ({"commit": "other"}, set()),
        ({"image_id": 1, "release_id": 2}, set()),
        ({"image": "acme/other:latest"}, set()),
        ({"around": {"image": ImageDetails(id="sha256:2")}}, {"image"}),
        ({"around": {"image": None}}, {"image"}),
        ({"labels": {"io.balena.supervisor.instance": "x"}}, set()),
    ],
)
def test_what_is_not_configuration_is_not_compared(change: dict[str, Any], expected: set[str]) -> None:
    assert set(compare({}, {}, **change)) == expected


def test_only_the_commit_makes_a_release() -> None:
    container = created(composed(image_id=1, release_id=2))
    assert same_release(container, composed())
    assert not same_release(container, composed(commit="other"))


@pytest.mark.parametrize("field", [name for name in ServiceConfig.__struct_fields__ if name != "hostname"])
def test_every_field_of_a_container_is_looked_at(field: str) -> None:
    other: dict[type, Any] = {str: "other", int: 77, bool: "neither", dict: {"a": "b"}, tuple: ("a",)}
    service = composed()
    value = getattr(service.config, field)
    foreign: Any = other.get(type(value), "neither")
    if field == "networks":
        foreign = {}
    assert differences(changed(created(service), **{field: foreign}), service, {}) == (field,)


@pytest.mark.parametrize(("given", "expected"), [("02:aa", ()), ("02:bb", ("mac_address",)), ("", ())])
def test_a_mac_address_may_stand_with_the_main_network_only(given: str, expected: tuple[str, ...]) -> None:
    container = created(composed())
    networks = {name: Endpoint(aliases=("web",), mac_address="02:AA") for name in container.config.networks}
    assert differences(changed(container, networks=networks), composed({"mac_address": given}), {}) == expected


def test_a_restart_policy_of_old_versions_is_equal_to_none() -> None:
    assert differences(changed(created(composed({"restart": "no"})), restart=""), composed({"restart": "no"}), {}) == ()


def test_an_engine_that_cannot_spare_a_container_from_the_oom_killer_is_not_asked_again() -> None:
    container = created(composed(), OomKillDisable=None)
    assert differences(container, composed({"oom_kill_disable": True}), {}) == ()
    assert differences(container, composed(), {}) == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"{UUID}_old", ("networks",)),
        ("4711_default", ("networks",)),
        ("supervisor0", ("networks",)),
        ("bridge", ()),
        ("someone-elses", ()),
        ("47_default", ()),
    ],
)
def test_a_network_too_many_counts_only_if_it_is_the_apps_or_the_supervisors(
    name: str, expected: tuple[str, ...]
) -> None:
    container = created(composed())
    networks = {**container.config.networks, name: Endpoint()}
    assert differences(changed(container, networks=networks), composed(), {}) == expected


def test_a_recreated_container_takes_along_those_that_share_its_network() -> None:
    service: Service = composed({"network_mode": "service:other"})
    container = created(service)
    assert differences(container, service, {"other": "f" * 64}) == ()
    assert differences(container, service, {"other": "e" * 64}) == ("network_mode",)
    assert differences(container, service, {}) == ("network_mode",)


def network(**fields: Any) -> Network:
    return Network(app_id=4711, app_uuid=UUID, name="front", config=NetworkConfig(**fields))


POOL = IpamPool(subnet="10.0.0.0/24", gateway="10.0.0.1")
NETWORKS: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = [
    ({}, {}, set()),
    ({"driver": "macvlan"}, {}, {"driver"}),
    ({"driver": "null", "config_only": True}, {"config_only": True}, set()),
    ({"driver": "null", "config_only": True}, {}, {"driver", "config_only"}),
    ({"options": {"a": "1"}}, {}, {"options"}),
    ({"ipam_driver": "x"}, {}, {"ipam_driver"}),
    ({"ipam_options": {"a": "1"}}, {}, {"ipam_options"}),
    ({"enable_ipv6": True}, {}, {"enable_ipv6"}),
    ({"internal": True}, {}, {"internal"}),
    ({"labels": {"a": "1"}}, {}, {"labels"}),
    ({"ipam_config": (POOL,)}, {}, set()),
    ({}, {"ipam_config": (POOL,)}, {"ipam_config"}),
    ({"ipam_config": (POOL,)}, {"ipam_config": (POOL,)}, set()),
    ({"ipam_config": (POOL,)}, {"ipam_config": (IpamPool(subnet="10.0.0.0/24"),)}, {"ipam_config"}),
    ({"ipam_config": (POOL,)}, {"ipam_config": (POOL, POOL)}, {"ipam_config"}),
    ({"ipam_config": (POOL,)}, {"ipam_config": (IpamPool(gateway="10.0.0.1"),)}, set()),
    ({"ipam_config": (POOL,)}, {"ipam_config": (IpamPool(gateway="10.0.0.2"),)}, {"ipam_config"}),
    ({"ipam_config": (POOL,)}, {"ipam_config": (IpamPool(aux_addresses={"a": "10.0.0.9"}),)}, {"ipam_config"}),
]


@pytest.mark.parametrize(("current", "target", "expected"), NETWORKS, ids=shown)
def test_the_fields_in_which_a_network_differs_are_named(
    current: dict[str, Any], target: dict[str, Any], expected: set[str]
) -> None:
    assert set(network_differences(network(**current), network(**target))) == expected


def test_a_network_of_an_old_version_is_never_the_one_wanted() -> None:
    wanted = network(labels={"io.balena.app-id": "4711"})
    assert network_differences(Network(app_id=4711, app_uuid="", name="front"), wanted) == ("labels",)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ()),
        ({"driver": "nfs"}, ("driver",)),
        ({"options": {"a": "1"}}, ("options",)),
        ({"labels": {"a": "1"}}, ("labels",)),
    ],
)
def test_the_fields_in_which_a_volume_differs_are_named(fields: dict[str, Any], expected: tuple[str, ...]) -> None:
    current = Volume(app_id=1, name="data", config=VolumeConfig(**fields))
    assert volume_differences(current, Volume(app_id=4711, app_uuid=UUID, name="data")) == expected

"""Networks: from compose, and as they are sent."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.errors import InvalidComposition
from balena_supervisor.model.resource import IpamPool, NetworkConfig
from balena_supervisor.state.compose_notes import Notes
from balena_supervisor.state.networks import (
    compose_network,
    default_network,
    network_body,
    supervisor_network_body,
    supervisor_network_ready,
)
from tests.state.composing import UUID, composed, target_app

OWN = {"io.balena.app-id": "4711"}
PRIVATE = {**OWN, "io.balena.private.ipam.config": "true"}
POOL = {"subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "ip_range": "10.0.0.128/25", "aux_addresses": {"p": "10.0.0.9"}}

ROWS: list[tuple[dict[str, Any] | None, NetworkConfig]] = [
    ({}, NetworkConfig(labels=OWN)),
    (None, NetworkConfig(labels=OWN)),
    (dict.fromkeys(("driver", "driver_opts", "ipam", "labels", "internal")), NetworkConfig(labels=OWN)),
    ({"ipam": {"driver": None, "config": None, "options": None}}, NetworkConfig(labels=OWN)),
    ({"driver": "macvlan"}, NetworkConfig(driver="macvlan", labels=OWN)),
    ({"driver_opts": {"a": 5, "b": True}}, NetworkConfig(options={"a": "5", "b": "true"}, labels=OWN)),
    ({"enable_ipv6": True}, NetworkConfig(enable_ipv6=True, labels=OWN)),
    ({"enableIpv6": True}, NetworkConfig(labels=OWN)),
    ({"internal": True}, NetworkConfig(internal=True, labels=OWN)),
    ({"config_only": True}, NetworkConfig(config_only=True, labels=OWN)),
    ({"labels": {"a": 1, "io.resin.b": "2"}}, NetworkConfig(labels={"a": "1", "io.balena.b": "2", **OWN})),
    ({"labels": ["a=b=c", "d"]}, NetworkConfig(labels={"a": "b=c", "d": "", **OWN})),
    ({"labels": {**PRIVATE, "io.balena.app-id": "1", "io.resin.supervised": "no"}}, NetworkConfig(labels=OWN)),
    ({"ipam": {"driver": "x"}}, NetworkConfig(ipam_driver="x", labels=OWN)),
    ({"ipam": {"options": {"a": 5}}}, NetworkConfig(ipam_options={"a": "5"}, labels=OWN)),
    (
        {"ipam": {"config": [POOL]}},
        NetworkConfig(
            ipam_config=(
                IpamPool(
                    subnet="10.0.0.0/24",
                    gateway="10.0.0.1",
                    ip_range="10.0.0.128/25",
                    aux_addresses={"p": "10.0.0.9"},
                ),
            ),
            labels=PRIVATE,
        ),
    ),
    ({"ipam": {"config": [{}]}}, NetworkConfig(labels=OWN)),
    ({"external": True, "attachable": True, "name": "x"}, NetworkConfig(labels=OWN)),
]  # fmt: skip


@pytest.mark.parametrize(("definition", "expected"), ROWS, ids=str)
def test_a_definition_becomes_a_configuration(definition: dict[str, Any] | None, expected: NetworkConfig) -> None:
    network = compose_network(target_app(), "front", definition)
    assert network.config == expected
    assert (network.app_id, network.app_uuid, network.name) == (4711, UUID, "front")
    assert network.engine_name == f"{UUID}_front"


@pytest.mark.parametrize("pool", [{"subnet": "10.0.0.0/24"}, {"gateway": "10.0.0.1"}, {}])
def test_a_pool_without_subnet_or_gateway_is_said(pool: dict[str, str]) -> None:
    notes = Notes()
    compose_network(target_app(), "front", {"ipam": {"config": [pool]}}, notes)
    assert [warning.partition(": ")[0] for warning in notes.warnings] == ["networks.front.ipam.config.0"]
    assert notes.violations == []


@pytest.mark.parametrize(
    ("definition", "path"),
    [
        ({"driver": ["x"]}, "networks.front.driver"),
        ({"driver_opts": "x"}, "networks.front.driver_opts"),
        ({"ipam": []}, "networks.front.ipam"),
        ({"ipam": {"config": {}}}, "networks.front.ipam.config"),
        ({"ipam": {"config": ["x"]}}, "networks.front.ipam.config.0"),
        ({"labels": 5}, "networks.front.labels"),
    ],
)
def test_a_definition_of_another_shape_is_named(definition: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidComposition, match=f"{path}: expected"):
        compose_network(target_app(), "front", definition)


def test_a_network_is_sent_whole() -> None:
    network = compose_network(
        target_app(),
        "front",
        {"driver_opts": {"a": "1"}, "internal": True, "ipam": {"config": [POOL, {"subnet": "fd00::/64"}]}},
    )
    assert network_body(network) == {
        "Name": f"{UUID}_front",
        "Driver": "bridge",
        "Options": {"a": "1"},
        "IPAM": {
            "Driver": "default",
            "Config": [
                {
                    "Subnet": "10.0.0.0/24",
                    "Gateway": "10.0.0.1",
                    "IPRange": "10.0.0.128/25",
                    "AuxiliaryAddresses": {"p": "10.0.0.9"},
                },
                {"Subnet": "fd00::/64"},
            ],
            "Options": {},
        },
        "EnableIPv6": False,
        "Internal": True,
        "ConfigOnly": False,
        "Labels": {**PRIVATE, "io.balena.supervised": "true"},
        "CheckDuplicate": True,
    }
    assert network_body(network, "x")["Labels"]["io.balena.supervisor.instance"] == "x"


@pytest.mark.parametrize(
    ("modes", "config_only"),
    [
        ([], True),
        (["host"], True),
        (["host", "host"], True),
        (["host", "none"], False),
        (["bridge"], False),
        ([None], False),
    ],
)
def test_the_default_network_is_a_mere_record_while_all_services_use_the_hosts(
    modes: list[str | None], config_only: bool
) -> None:
    services = [composed({"networkMode": mode}) for mode in modes]
    network = default_network(target_app(), services)
    assert (network.name, network.engine_name) == ("default", f"{UUID}_default")
    assert network.config == NetworkConfig(config_only=config_only, labels=OWN)


def test_the_network_of_the_supervisor_has_fixed_addresses() -> None:
    assert supervisor_network_body() == {
        "Name": "supervisor0",
        "Options": {"com.docker.network.bridge.name": "supervisor0"},
        "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.114.104.0/25", "Gateway": "10.114.104.1"}]},
        "CheckDuplicate": True,
    }


@pytest.mark.parametrize(
    ("change", "ready"),
    [
        ({}, True),
        ({"Options": None}, False),
        ({"Options": {"com.docker.network.bridge.name": "br0"}}, False),
        ({"IPAM": None}, False),
        ({"IPAM": {"Config": None}}, False),
        ({"IPAM": {"Config": [{"Subnet": "10.114.104.0/25"}]}}, False),
        ({"IPAM": {"Config": [{"Subnet": "10.114.105.0/25", "Gateway": "10.114.104.1"}]}}, False),
    ],
)
def test_the_network_of_the_supervisor_is_ready_with_its_bridge_and_addresses(
    change: dict[str, Any], ready: bool
) -> None:
    assert supervisor_network_ready({**supervisor_network_body(), **change}) is ready

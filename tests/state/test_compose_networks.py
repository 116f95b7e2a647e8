"""Network mode and networks of a service."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.model.device import Configuration
from balena_supervisor.model.service import STARTED, Endpoint
from balena_supervisor.state.compose_networks import endpoint_body, read_endpoint
from tests.state.composing import CONTAINER_ID, UUID, composed, config, problem

WEB = Endpoint(aliases=("web",))


def engine(**networks: Endpoint) -> dict[str, Endpoint]:
    return {f"{UUID}_{name}": endpoint for name, endpoint in networks.items()}


ROWS: list[tuple[dict[str, Any], str, dict[str, Endpoint]]] = [
    ({}, f"{UUID}_default", engine(default=WEB)),
    ({"networks": {}}, f"{UUID}_default", engine(default=WEB)),
    ({"networks": []}, f"{UUID}_default", engine(default=WEB)),
    ({"networks": ["back", "front"]}, f"{UUID}_back", engine(back=WEB, front=WEB)),
    ({"networks": {"back": None, "front": {}}}, f"{UUID}_back", engine(back=WEB, front=WEB)),
    (
        {"networks": {"front": {"aliases": ["www"], "ipv4_address": "172.28.0.9", "priority": 5}}},
        f"{UUID}_front",
        engine(front=Endpoint(aliases=("www", "web"), ipv4_address="172.28.0.9")),
    ),
    (
        {"networks": {"front": {"ipv6Address": "fd00::9", "linkLocalIps": ["169.254.1.1"], "aliases": ["web", "a"]}}},
        f"{UUID}_front",
        engine(front=Endpoint(aliases=("web", "a"), ipv6_address="fd00::9", link_local_ips=("169.254.1.1",))),
    ),
    ({"network_mode": "host"}, "host", {}),
    ({"network_mode": "none"}, "none", {}),
    ({"network_mode": "bridge"}, "bridge", {}),
    ({"network_mode": "bridge", "networks": ["front"]}, "bridge", engine(front=WEB)),
    ({"network_mode": "host", "networks": ["front"]}, "host", {}),
    ({"network_mode": "service: db", "networks": ["front"]}, "service:db", {}),
    ({"network_mode": "service:db"}, "service:db", {}),
    ({"network_mode": "container:abc"}, f"{UUID}_default", engine(default=WEB)),
    ({"network_mode": "container:abc", "networks": ["back"]}, f"{UUID}_back", engine(back=WEB)),
    ({"network_mode": "default"}, f"{UUID}_default", engine(default=WEB)),
    ({"network_mode": "front"}, f"{UUID}_front", engine(front=WEB)),
    ({"network_mode": "back", "networks": ["front"]}, f"{UUID}_back", engine(front=WEB, back=WEB)),
    (
        {"network_mode": "front", "networks": {"back": None, "front": {"ipv4_address": "10.0.0.9"}}},
        f"{UUID}_front",
        engine(back=WEB, front=Endpoint(aliases=("web",), ipv4_address="10.0.0.9")),
    ),
]


@pytest.mark.parametrize(("composition", "mode", "networks"), ROWS, ids=str)
def test_mode_and_networks_get_engine_names(
    composition: dict[str, Any], mode: str, networks: dict[str, Endpoint]
) -> None:
    made = config(composition)
    assert (made.network_mode, made.networks) == (mode, networks)


def test_networks_of_one_name_with_the_supervisors_are_the_apps_own() -> None:
    said = problem({"networks": ["supervisor0"]})
    assert 'a network that the release defines, got "supervisor0"' in said


@pytest.mark.parametrize(
    ("composition", "path"),
    [
        ({"networks": ["missing"]}, "networks"),
        ({"network_mode": "missing"}, "networks"),
        ({"network_mode": "bridge", "networks": {"missing": {}}}, "networks"),
        ({"network_mode": "service:"}, "network_mode"),
        ({"network_mode": {}}, "network_mode"),
        ({"networks": "front"}, "networks"),
        ({"networks": {"front": "x"}}, "networks.front"),
        ({"networks": {"front": {"aliases": "www"}}}, "networks.front.aliases"),
        ({"networks": {"front": {"ipv4_address": []}}}, "networks.front.ipv4_address"),
    ],
)
def test_what_would_fail_only_at_the_start_stops_the_app(composition: dict[str, Any], path: str) -> None:
    assert f" {path}: expected " in problem(composition)


def test_sharing_the_network_of_a_service_means_depending_on_it() -> None:
    assert composed({"network_mode": "service:db"}).depends_on == {"db": STARTED}
    assert composed({"network_mode": "service:db", "depends_on": ["db", "x"]}).depends_on == {
        "db": STARTED,
        "x": STARTED,
    }


@pytest.mark.parametrize("mode", ["host", "none", "service:db"])
def test_networks_that_a_mode_cannot_have_are_left_out_with_a_warning(mode: str) -> None:
    assert composed({"network_mode": mode, "networks": ["front"]}).warnings == (
        f"networks: front: left out, network_mode is {mode}",
    )


def test_joining_a_foreign_container_is_left_out_with_a_warning() -> None:
    assert "network_mode: " in composed({"network_mode": "container:abc"}).warnings[0]


@pytest.mark.parametrize("mode", [None, "default", "bridge", "none", "service:db"])
def test_a_host_name_is_only_filled_in_on_the_network_of_the_host(mode: str | None) -> None:
    around = {"configuration": Configuration(host_name="kiosk")}
    assert config({"network_mode": mode}, around=around).hostname == ""
    assert config({"network_mode": "host"}, around=around).hostname == "kiosk"
    assert config({"network_mode": "host", "hostname": "own"}, around=around).hostname == "own"


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (Endpoint(), {"IPAMConfig": {}, "Aliases": []}),
        (
            Endpoint(aliases=("a",), ipv4_address="1.2.3.4", ipv6_address="::1", link_local_ips=("169.254.1.1",)),
            {
                "IPAMConfig": {"IPv4Address": "1.2.3.4", "IPv6Address": "::1", "LinkLocalIPs": ["169.254.1.1"]},
                "Aliases": ["a"],
            },
        ),
    ],
)
def test_an_endpoint_is_sent_without_unset_addresses_and_reads_back(endpoint: Endpoint, body: dict[str, Any]) -> None:
    assert endpoint_body(endpoint) == body
    assert read_endpoint(body, CONTAINER_ID) == endpoint


def test_only_an_alias_as_long_as_a_short_id_is_taken_for_the_container_itself() -> None:
    aliases = ["c", "c0ffee", CONTAINER_ID[:12], CONTAINER_ID, "c0ffee000001"]
    assert read_endpoint({"Aliases": aliases, "IPAMConfig": None}, CONTAINER_ID).aliases == (
        "c",
        "c0ffee",
        "c0ffee000001",
    )


@pytest.mark.parametrize("body", [None, {}, {"Aliases": None, "IPAMConfig": None}, {"IPAMConfig": {"IPv4Address": ""}}])
def test_empty_forms_of_the_engine_mean_empty(body: Any) -> None:
    assert read_endpoint(body, CONTAINER_ID) == Endpoint()

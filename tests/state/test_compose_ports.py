"""Published ports."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.model.service import PortBinding
from balena_supervisor.state.compose_ports import exposed_ports, port_bindings, read_port_bindings
from tests.state.composing import config, problem


def bind(port: int, host: int, protocol: str = "tcp", ip: str = "") -> PortBinding:
    return PortBinding(port, protocol, ip, host)


ROWS: list[tuple[Any, list[PortBinding]]] = [
    ("80", [bind(80, 80)]),
    (80, [bind(80, 80)]),
    ("8080:80", [bind(80, 8080)]),
    ("8080:80/udp", [bind(80, 8080, "udp")]),
    ("80-82", [bind(80, 80), bind(81, 81), bind(82, 82)]),
    ("8000-8001:80-81", [bind(80, 8000), bind(81, 8001)]),
    ("127.0.0.1:5353:53/udp", [bind(53, 5353, "udp", "127.0.0.1")]),
    ("127.0.0.1:8000-8001:80-81", [bind(80, 8000, ip="127.0.0.1"), bind(81, 8001, ip="127.0.0.1")]),
    ("::1:8080:80", [bind(80, 8080, ip="::1")]),
    ("0:80", [bind(80, 0)]),
    ({"target": 80}, [bind(80, 80)]),
    ({"target": 80, "published": 8080}, [bind(80, 8080)]),
    (
        {"target": 80, "published": "8080", "protocol": "udp", "host_ip": "127.0.0.1", "mode": "host"},
        [bind(80, 8080, "udp", "127.0.0.1")],
    ),
]


@pytest.mark.parametrize(("definition", "expected"), ROWS)
def test_a_definition_becomes_single_bindings(definition: Any, expected: list[PortBinding]) -> None:
    assert config({"ports": [definition]}).ports == tuple(expected)


@pytest.mark.parametrize(
    "definition",
    [
        "abc",
        "",
        "80/sctp",
        "80/TCP",
        "127.0.0.1:80",
        ":80",
        "127.0.0.1::80",
        "81-80",
        "3000-3001:4000",
        "[::1]:80:80",
        "80\n",
        "0",
        "65536",
        "99999:80",
        "1:2:3:4x",
        "٨٠",
        True,
        ["80"],
        {"published": 80},
        {"target": 80, "unknown": 1},
        {"target": 80, "host_ip": "127.0.0.1"},
        {"target": [80]},
    ],
)
def test_a_definition_that_cannot_be_read_is_named(definition: Any) -> None:
    assert ": ports.1: expected a port mapping" in problem({"ports": ["1", definition]})


def test_bindings_are_sorted_and_each_stands_once() -> None:
    ports = config({"ports": ["81:81", "80:80", "80", "80:80/udp", "127.0.0.1:80:80"]}).ports
    assert ports == (bind(80, 80), bind(80, 80, ip="127.0.0.1"), bind(80, 80, "udp"), bind(81, 81))


def test_bindings_of_one_container_port_share_a_list() -> None:
    ports = config({"ports": ["8000-8001:80-81", "9000-9001:80-81"]}).ports
    assert port_bindings(ports) == {
        "80/tcp": [{"HostIp": "", "HostPort": "8000"}, {"HostIp": "", "HostPort": "9000"}],
        "81/tcp": [{"HostIp": "", "HostPort": "8001"}, {"HostIp": "", "HostPort": "9001"}],
    }
    assert exposed_ports(ports) == {"80/tcp": {}, "81/tcp": {}}
    assert read_port_bindings(port_bindings(ports)) == ports


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, ()),
        ({}, ()),
        ({"80/tcp": None}, ()),
        ({"80": [{"HostIp": "", "HostPort": "80"}]}, (bind(80, 80),)),
        ({"80/tcp": [{"HostPort": "80"}, {"HostIp": None, "HostPort": "81"}]}, (bind(80, 80), bind(80, 81))),
        ({"80/tcp": [{"HostIp": "", "HostPort": ""}]}, (bind(80, 0),)),
        ({"80-81/tcp": [{"HostIp": "", "HostPort": "80-81"}]}, (bind(0, 0),)),
    ],
)
def test_every_form_of_the_engine_is_understood(body: Any, expected: tuple[PortBinding, ...]) -> None:
    assert read_port_bindings(body) == expected

from __future__ import annotations

import socket
from typing import NoReturn

import pytest

from balena_supervisor.runtime.table import ActorRow, ChildContext, bind_listener, processes


def serve(_: ChildContext) -> NoReturn:
    raise NotImplementedError


def test_servers_start_first_and_the_others_as_listed() -> None:
    rows = [ActorRow(name="b"), ActorRow(name="a", process="p"), ActorRow(name="c", process="p")]
    assert processes([*rows, ActorRow(name="http", serve=serve)]) == ["http", "b", "p"]


@pytest.mark.parametrize(("address", "reached_at"), [("", "127.0.0.1"), ("127.0.0.1", "127.0.0.1")])
def test_the_listener_takes_connections(address: str, reached_at: str) -> None:
    with bind_listener(address, 0) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((reached_at, port), timeout=5):
            connection, _ = listener.accept()
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            connection.close()


def test_a_taken_port_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        bind_listener("127.0.0.1", taken.getsockname()[1])

"""Reading from a client that may be slow."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator

import pytest

from balena_supervisor.http.patience import PatientReader, TooManyUnfinished, TooSlow
from tests.fakes.ports import FakeClock


class Connection:
    def __init__(self, places: int = 1, limit_s: float = 10) -> None:
        self.clock = FakeClock()
        self.client, self.server = socket.socketpair()
        self.places = threading.BoundedSemaphore(places) if places else threading.Semaphore(0)
        self.reader = PatientReader(self.server, self.places, limit_s, self.clock)
        self.reader.begin()

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture
def connection() -> Iterator[Connection]:
    connection = Connection()
    yield connection
    connection.close()


@pytest.fixture
def crowded() -> Iterator[Connection]:
    connection = Connection(places=0)
    yield connection
    connection.close()


def test_what_is_there_is_read_without_a_place(crowded: Connection) -> None:
    crowded.client.sendall(b"GET")
    assert crowded.reader.chunk() == b"GET"


def test_waiting_without_a_place_is_refused(crowded: Connection) -> None:
    with pytest.raises(TooManyUnfinished):
        crowded.reader.chunk()


def test_waiting_ends_with_what_comes_and_gives_the_place_back(connection: Connection) -> None:
    sender = threading.Timer(0.01, connection.client.sendall, [b"late"])
    sender.start()
    assert connection.reader.chunk() == b"late"
    sender.join()
    assert connection.places.acquire(blocking=False)
    assert connection.server.gettimeout() is None


def test_a_client_that_closes_ends_the_request(connection: Connection) -> None:
    connection.client.close()
    assert connection.reader.chunk() == b""


def test_the_limit_counts_from_the_first_byte_to_the_last(connection: Connection) -> None:
    connection.clock.advance(10)
    connection.client.sendall(b"x")
    assert connection.reader.chunk() == b"x"
    with pytest.raises(TooSlow):
        connection.reader.chunk()
    assert connection.places.acquire(blocking=False)


def test_a_wait_that_takes_too_long_is_ended() -> None:
    connection = Connection(limit_s=0.01)
    with pytest.raises(TooSlow) as caught:
        connection.reader.chunk()
    connection.close()
    assert caught.value.errno == errno.ECONNRESET


def test_the_next_request_has_its_own_time(connection: Connection) -> None:
    connection.clock.advance(11)
    connection.reader.begin()
    connection.client.close()
    assert connection.reader.chunk() == b""


def test_a_limit_of_gunicorn_itself_is_kept(connection: Connection) -> None:
    connection.server.settimeout(0.01)
    with pytest.raises(TimeoutError):
        connection.reader.chunk()
    assert connection.server.gettimeout() == 0.01

"""Serving clients that go on at once, by one thread at a time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from balena_supervisor.http.following import BUSY_S, Following, will_wait
from tests.fakes.ports import FakeClock

TIMEOUT_S = 20


class Client:
    """One connection. The server answers each line with the same line; ``wait`` makes it wait, ``end`` closes."""

    def __init__(self) -> None:
        self.client, self.sock = socket.socketpair()
        self.client.settimeout(TIMEOUT_S)

    def says(self, line: str) -> None:
        self.client.sendall(f"{line}\n".encode())

    def hears(self) -> str:
        return self.client.recv(100).decode().strip()


class Server:
    """Keeps what is given back, and the threads that it was told to start."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.go_on = threading.Event()
        self.waits = threading.Event()
        self.back: list[tuple[Client, bool]] = []
        self.served_by: set[threading.Thread] = set()
        self.clients: list[Client] = []
        self.threads: list[threading.Thread] = []
        self.lead = 0
        self.following = Following[Client](
            self.clock, handle=self._handle, give_back=self._give_back, start=self.run, leads=self._count
        )

    def _count(self) -> None:
        self.lead += 1

    def _give_back(self, client: Client, goes_on: bool) -> None:
        self.back.append((client, goes_on))

    def _handle(self, client: Client) -> bool:
        self.served_by.add(threading.current_thread())
        line = client.sock.recv(100)
        if line == b"wait\n":
            self.waits.set()
            assert self.go_on.wait(TIMEOUT_S)
        if line == b"end\n":
            client.sock.close()
            return False
        client.sock.sendall(line)
        return True

    def run(self, task: Callable[[], None]) -> None:
        self.threads.append(threading.Thread(target=task))
        self.threads[-1].start()

    def follow(self, client: Client) -> None:
        self.run(lambda: self.following.follow(client))

    def new_client(self) -> Client:
        self.clients.append(Client())
        return self.clients[-1]

    def waiting_client(self) -> Client:
        """One that is followed, and at whose request the thread waits."""
        client = self.new_client()
        client.says("wait")
        self.follow(client)
        assert self.waits.wait(TIMEOUT_S)
        return client

    def join(self) -> None:
        for thread in self.threads:
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.go_on.set()
    server.join()
    for client in server.clients:
        client.client.close()
        client.sock.close()


def test_one_thread_serves_all_and_gives_them_back_when_all_is_quiet(server: Server) -> None:
    first, second = server.waiting_client(), server.new_client()
    server.following.follow(second)  # returns at once, since a thread serves
    second.says("b")
    server.go_on.set()
    assert (first.hears(), second.hears()) == ("wait", "b")
    server.join()
    assert sorted(goes_on for _, goes_on in server.back) == [True, True]
    assert {client for client, _ in server.back} == {first, second}
    assert (len(server.served_by), server.lead) == (1, 1)
    assert not server.following.active


def test_a_request_that_takes_long_holds_up_nobody_and_comes_back_too(server: Server) -> None:
    slow, quick = server.waiting_client(), server.new_client()
    server.following.follow(quick)
    quick.says("q")
    server.following.relieve()
    assert len(server.threads) == 1  # not for long yet
    server.clock.advance(2 * BUSY_S)
    server.following.relieve()
    assert quick.hears() == "q"
    server.go_on.set()
    assert slow.hears() == "wait"
    server.join()
    assert sorted(server.back, key=lambda back: back[0] is quick) == [(slow, True), (quick, True)]
    assert len(server.served_by) == 2


def test_a_connection_that_ended_is_given_back_as_such_and_the_others_go_on(server: Server) -> None:
    ending, other = server.waiting_client(), server.new_client()
    server.following.follow(other)
    ending.says("end")
    other.says("o")
    server.go_on.set()
    assert ending.hears() == "wait"
    assert other.hears() == "o"
    server.join()
    assert (ending, False) in server.back
    assert (other, True) in server.back


def test_a_client_that_never_rests_is_given_back_after_a_while_too(server: Server) -> None:
    busy = server.waiting_client()
    server.clock.advance(60)
    busy.says("more")
    server.go_on.set()
    server.join()
    assert server.back == [(busy, True)]
    assert busy.hears() == "wait"
    server.follow(busy)
    assert busy.hears() == "more"


def test_a_handler_that_fails_leaves_the_others_to_the_server() -> None:
    given_back = []

    def fail(_: Client) -> bool:
        raise RuntimeError("broken")

    following = Following[Client](
        FakeClock(),
        handle=fail,
        give_back=lambda client, goes_on: given_back.append((client, goes_on)),
        start=lambda _: None,
        leads=lambda: None,
    )
    broken = Client()
    broken.says("x")
    with pytest.raises(RuntimeError):
        following.follow(broken)
    assert not following.active
    for end in (broken.client, broken.sock):
        end.close()


def test_a_request_that_says_it_waits_hands_over_at_once_and_comes_back_when_nobody_serves_any_more() -> None:
    server = Server()
    answered = threading.Event()

    def handle(client: Client) -> bool:
        line = client.sock.recv(100)
        if line == b"asks\n":
            will_wait()
            assert answered.wait(TIMEOUT_S)
        client.sock.sendall(line)
        return True

    following = Following[Client](
        server.clock, handle=handle, give_back=server._give_back, start=server.run, leads=lambda: None
    )
    asking, quick = server.new_client(), server.new_client()
    asking.says("asks")
    server.run(lambda: following.follow(asking))
    following.follow(quick)
    quick.says("q")
    assert quick.hears() == "q"
    server.threads[1].join(TIMEOUT_S)
    assert not following.active
    assert server.back == [(quick, True)]
    answered.set()
    assert asking.hears() == "asks"
    server.join()
    assert server.back == [(quick, True), (asking, True)]
    for client in server.clients:
        client.client.close()
        client.sock.close()

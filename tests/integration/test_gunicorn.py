"""The local API under a real gunicorn: what clients see on the wire, slow clients, and killed processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from balena_supervisor.http.body import LIMIT_BYTES
from balena_supervisor.runtime.process import children_of
from balena_supervisor.runtime.table import bind_listener
from tests.runtime.toy_supervisor import alive, wait_until

JSON = {"Content-Type": "application/json"}


class Server:
    """Gunicorn in a process, its listening socket held by this one, as the nursery does."""

    def __init__(self, stack: ExitStack, *arguments: str, **limits: float) -> None:
        self._stack = stack
        self._arguments = arguments
        self._limits = limits
        self._listener = stack.enter_context(bind_listener("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.start()

    def start(self) -> None:
        fd = self._listener.fileno()
        command = [sys.executable, "-m", "tests.integration.serve_api", str(fd), json.dumps(self._limits)]
        self.arbiter = subprocess.Popen([*command, *self._arguments], pass_fds=[fd])
        self._stack.callback(self._end, self.arbiter)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait(10)

    def get(self, path: str, timeout_s: float = 10) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return self._stack.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=10))

    def send(self, text: str) -> socket.socket:
        connection = self.connect()
        connection.sendall(text.encode())
        return connection

    def worker(self) -> int:
        return int(self.get("/pid")[1].split()[0])

    def open_streams(self, count: int) -> list[socket.socket]:
        streams = [self.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(count)]
        for stream in streams:
            assert read_until(stream, b"first\n")
        return streams


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """What comes until ``end``, or until the server closes."""
    seen = b""
    while end not in seen:
        with suppress(ConnectionResetError):
            piece = connection.recv(65536)
            if piece:
                seen += piece
                continue
        break
    return seen


def took_s(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_an_answer_has_the_headers_of_the_wire(stack: ExitStack) -> None:
    connection = Server(stack).send("GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = read_until(connection, b"\r\n\r\nOK").partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert body == b"OK"
    assert {"connection: keep-alive", "keep-alive: timeout=5", "content-length: 2"} <= set(lines)
    assert not [line for line in lines if line.startswith(("x-powered-by", "transfer-encoding"))]


def test_a_closed_connection_announces_no_keep_alive(stack: ExitStack) -> None:
    connection = Server(stack).send("GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    lines = read_until(connection, b"\r\n\r\nOK").decode().lower().split("\r\n")
    assert "connection: close" in lines
    assert not [line for line in lines if line.startswith("keep-alive")]


def test_head_304_options_and_404_on_the_wire(stack: ExitStack) -> None:
    server = Server(stack)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    stack.callback(connection.close)
    connection.request("GET", "/v2/state/status")
    answer = connection.getresponse()
    answer.read()
    tag = answer.headers["ETag"]
    for method, path, headers, status, length in (
        ("HEAD", "/v2/state/status", {}, 200, answer.headers["Content-Length"]),
        ("GET", "/v2/state/status", {"If-None-Match": tag}, 304, None),
        ("OPTIONS", "/PING/", {}, 200, "8"),
        ("POST", "/ping", {}, 404, "any"),
        ("GET", "//ping", {}, 404, "any"),
    ):
        connection.request(method, path, headers=headers)
        other = connection.getresponse()
        other.read()
        assert other.status == status
        if length != "any":
            assert other.headers["Content-Length"] == length


def test_bodies_whole_chunked_too_large_and_malformed(stack: ExitStack) -> None:
    server = Server(stack)
    target = json.dumps({"local": {"name": "x", "apps": {}, "config": {}}}).encode()
    for body, chunked, status in (
        (target, False, 200),
        (iter([target[:10], target[10:]]), True, 200),
        (b"{", False, 400),
        (b"[" + b" " * LIMIT_BYTES + b"]", False, 413),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        stack.callback(connection.close)
        with suppress(BrokenPipeError, ConnectionResetError):  # the server need not read what is too large
            connection.request("POST", "/v2/local/target-state", body=body, headers=JSON, encode_chunked=chunked)
            assert connection.getresponse().status == status


def test_a_hundred_silent_clients_do_not_stop_ping(stack: ExitStack) -> None:
    server = Server(stack, threads=4)
    for _ in range(100):
        server.connect()
    assert server.get("/ping") == (200, "OK")


def test_requests_that_stay_unfinished_end_and_are_limited_in_number(stack: ExitStack) -> None:
    server = Server(stack, threads=8, unfinished=4, unfinished_s=1.0)
    heads = [server.send("GET /ping HTTP/1.1\r\nHo") for _ in range(8)]
    assert server.get("/ping") == (200, "OK")
    assert [read_until(head, b"never") for head in heads] == [b""] * 8
    assert server.get("/ping") == (200, "OK")


def test_a_client_that_does_not_close_stops_nobody(stack: ExitStack) -> None:
    server = Server(stack)
    server.get("/ping")
    for _ in range(10):
        read_until(server.send("GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), b"\r\n\r\nOK")
    assert took_s(lambda: server.get("/ping")) < 0.9


def test_a_client_that_takes_nothing_of_its_answer_is_dropped(stack: ExitStack) -> None:
    server = Server(stack, threads=1, unread_s=1)
    server.send("GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
    assert server.get("/ping") == (200, "OK")


def test_a_body_that_stays_unfinished_is_408(stack: ExitStack) -> None:
    server = Server(stack, unfinished_s=0.5)
    connection = server.send(
        "POST /v2/local/target-state HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        'Content-Length: 1000\r\n\r\n{"local":'
    )
    assert read_until(connection, b"}").startswith(b"HTTP/1.1 408 ")


def test_a_worker_killed_with_open_streams_is_back_within_a_second(stack: ExitStack) -> None:
    server = Server(stack)
    server.open_streams(20)
    worker = server.worker()
    os.kill(worker, signal.SIGKILL)
    assert took_s(lambda: server.get("/ping")) < 1.5
    assert server.worker() != worker


def test_a_killed_arbiter_takes_its_worker_along_and_nobody_is_refused(stack: ExitStack) -> None:
    server = Server(stack)
    streams = server.open_streams(20)
    worker = server.worker()
    server.arbiter.kill()
    server.arbiter.wait(10)
    waiting = server.send("GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
    for stream in streams:
        read_until(stream, b"never")
    wait_until(lambda: not alive(worker), "the worker ends")
    server.start()
    assert read_until(waiting, b"\r\n\r\nOK").endswith(b"OK")


def test_sigterm_with_open_streams_ends_within_three_seconds(stack: ExitStack) -> None:
    server = Server(stack)
    server.open_streams(20)
    worker = server.worker()
    server.arbiter.terminate()
    assert took_s(lambda: server.arbiter.wait(10)) < 3
    assert server.arbiter.returncode == 0
    assert not alive(worker)


def test_sigterm_without_requests_ends_at_once(stack: ExitStack) -> None:
    server = Server(stack)
    server.get("/ping")
    server.arbiter.terminate()
    assert took_s(lambda: server.arbiter.wait(10)) < 1.5


def test_a_worker_that_cannot_live_ends_the_arbiter(stack: ExitStack) -> None:
    server = Server(stack, "crash")
    assert server.arbiter.wait(20) == 3


def test_signals_that_would_add_workers_reload_or_interrupt_change_nothing(stack: ExitStack) -> None:
    server = Server(stack)
    worker = server.worker()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTTIN, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
        server.arbiter.send_signal(number)
    assert server.worker() == worker
    assert children_of(server.arbiter.pid) == [worker]


def test_clients_that_stop_in_the_middle_of_their_next_request_hold_up_nobody(stack: ExitStack) -> None:
    server = Server(stack, unfinished_s=60)
    ping = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
    clients = [server.connect() for _ in range(16)]
    while len(clients) > 6:
        stopped = clients.pop()
        stopped.sendall(ping)
        assert read_until(stopped, b"\r\n\r\nOK").startswith(b"HTTP/1.1 200 OK")
        stopped.sendall(ping[:10])
        for _ in range(2):
            for client in clients:
                client.sendall(ping)
            for client in clients:
                assert read_until(client, b"\r\n\r\nOK").startswith(b"HTTP/1.1 200 OK")


def test_requests_sent_together_are_answered_in_order(stack: ExitStack) -> None:
    server = Server(stack)
    client = server.connect()
    for _ in range(3):
        client.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        seen = read_until(client, b"</html>\n")
        assert seen.index(b" 200 OK") < seen.index(b" 404 ")

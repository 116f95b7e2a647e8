"""Stands before a registry, counts who fetches which layer, and stops half way through one until the test says so."""

from __future__ import annotations

import http.client
import secrets
import select
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import docker

from balena_supervisor.state import labels
from tests.integration.workshop import root_filesystem
from tests.runtime.toy_supervisor import wait_until

#: what is smaller is a manifest or a configuration
_LAYER_BYTES = 100_000
_LOOK_S = 0.02


class SlowRegistry:
    """Names of images begin with ``address``; ``repository`` is what follows, without the tag."""

    def __init__(self, behind: str) -> None:
        self.behind = behind
        self.address = ""
        self._held: dict[str, threading.Event] = {}
        self._dripping: set[str] = set()
        self._fetches: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self._lock = threading.Lock()

    def image(self, engine: docker.APIClient, instance: str, *, size: int = 300_000, drips: bool = False) -> str:
        """Have a new image of one layer in the registry only, and hold its layer. Returns its name here.

        ``drips``: while it is held, a byte comes now and then. An engine that has given up a download hangs up on
        the next byte only (20.10).
        """
        repository = f"test/{instance}-{secrets.token_hex(4)}"
        behind = f"{self.behind}/{repository}"
        changes = [
            "ENV PATH=/bin",
            f"LABEL {labels.INSTANCE}={instance}",
            """CMD ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]""",
        ]
        engine.import_image_from_data(root_filesystem(size), repository=behind, tag="1", changes=changes)
        for line in engine.push(behind, tag="1", stream=True, decode=True):
            assert "error" not in line, line
        engine.remove_image(f"{behind}:1")
        self._held[repository] = threading.Event()
        if drips:
            self._dripping.add(repository)
        return f"{self.address}/{repository}:1"

    def let_go(self, name: str = "") -> None:
        """Send the rest of this image, or of all, now and from now on."""
        for repository in [self._repository(name)] if name else list(self._held):
            self._held[repository].set()

    def fetches(self, name: str) -> int:
        """How often its layer was asked for."""
        return self._fetches[self._repository(name)]

    def wait_until_half_sent(self, name: str) -> None:
        repository = self._repository(name)
        wait_until(lambda: self._waiting[repository] > 0, f"{name} is half sent")

    def wait_until_left(self, name: str) -> None:
        """Until somebody has hung up before the end."""
        repository = self._repository(name)
        wait_until(lambda: self._left[repository] > 0 and not self._waiting[repository], f"{name} is given up")

    def send_layer(self, repository: str, content: bytes, out: socket.socket) -> None:
        """Half of it, then no more until the test lets it go or the other side hangs up."""
        sent = len(content) // 2
        held = self._held[repository]
        with self._lock:
            self._fetches[repository] += 1
        out.sendall(content[:sent])
        with self._lock:
            self._waiting[repository] += 1
        gone = False
        while not gone and not held.wait(_LOOK_S):
            gone = _hung_up(out)
            if repository in self._dripping and not gone:
                out.sendall(content[sent : sent + 1])
                sent += 1
        with self._lock:
            self._waiting[repository] -= 1
            self._left[repository] += gone
        if not gone:
            out.sendall(content[sent:])

    def holds(self, repository: str) -> bool:
        return repository in self._held

    def _repository(self, name: str) -> str:
        return name.removeprefix(f"{self.address}/").rpartition(":")[0]


def _hung_up(peer: socket.socket) -> bool:
    readable, _, _ = select.select([peer], [], [], 0)
    try:
        return bool(readable) and peer.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


@contextmanager
def slow_registry(behind: str) -> Iterator[SlowRegistry]:
    """``behind`` is the address (``host:port``) of the registry that has the images."""
    made = SlowRegistry(behind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            upstream = http.client.HTTPConnection(behind, timeout=20)
            try:
                kept = {name: value for name, value in self.headers.items() if name in {"Accept", "Range"}}
                upstream.request(self.command, self.path, headers=kept)
                answer = upstream.getresponse()
                content = answer.read()
            finally:
                upstream.close()
            self.send_response(answer.status)
            length = answer.headers.get("Content-Length", str(len(content)))
            for name in ("Content-Type", "Docker-Content-Digest", "Content-Range"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", length)
            self.end_headers()
            repository = self.path.removeprefix("/v2/").partition("/blobs/")[0]
            if len(content) >= _LAYER_BYTES and made.holds(repository):
                self.wfile.flush()
                made.send_layer(repository, content, self.connection)
            else:
                self.wfile.write(content)

        def do_HEAD(self) -> None:
            self.do_GET()

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                """The engine has hung up, as it does when a pull is given up."""

        def log_message(self, *_: object) -> None:
            """Says nothing: an engine that tries TLS first is no news."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    made.address = f"localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        made.let_go()
        server.shutdown()
        thread.join()
        server.server_close()

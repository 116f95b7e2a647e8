"""The raw limit: what an apply needs of the engine, sent straight to it with several threads."""

from __future__ import annotations

import copy
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tools.dev_parts.labelled import LABEL

Json = dict[str, Any]

#: seconds that one call may take; a busy machine needs some for a start
CALL_TIMEOUT_S = 120
#: of a network's inspect; what a create call gave
_NETWORK = ("Driver", "Options", "Internal", "EnableIPv6", "ConfigOnly", "Labels")


class EngineRefused(Exception):
    """The engine answered a call with an error."""


class Caller:
    """Sends calls to an engine; each thread has one lasting connection. No client library takes part."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[http.client.HTTPConnection] = []

    def call(self, method: str, path: str, body: Json | None = None) -> Any:
        """The decoded answer. Raises ``EngineRefused`` for an error and ``OSError`` when the engine is away."""
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"} if content else {})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise EngineRefused(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text) if text.strip() else None

    def _connect(self) -> http.client.HTTPConnection:
        if self._url.scheme == "unix":
            connection: http.client.HTTPConnection = _UnixConnection(self._url.path)
        else:
            connection = http.client.HTTPConnection(self._url.netloc, timeout=CALL_TIMEOUT_S)
        with self._lock:
            self._open.append(connection)
        return connection

    def close(self) -> None:
        for connection in self._open:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=CALL_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class RawApp:
    """An app as the supervisor made it, ready to be made again without it, under another instance label."""

    def __init__(self, containers: Iterable[Json], networks: Iterable[Json], instance: str) -> None:
        """``containers`` and ``networks`` are answers of inspect."""
        self._networks = [network_body(inspect, instance) for inspect in networks]
        self._containers = [(inspect["Name"].strip("/"), create_body(inspect, instance)) for inspect in containers]

    def __len__(self) -> int:
        return len(self._containers)

    @contextmanager
    def calls(self, engine: str, threads: int) -> Iterator[RawCalls]:
        """To make it, and what follows, with so many calls at a time."""
        caller = Caller(engine)
        try:
            with ThreadPoolExecutor(threads) as pool:
                yield RawCalls(caller, pool, self._networks, self._containers)
        finally:
            caller.close()


class RawCalls:
    """What can be done with an app, each in as few calls as the engine needs. All return the seconds that it took."""

    def __init__(
        self, caller: Caller, pool: ThreadPoolExecutor, networks: list[Json], containers: list[tuple[str, Json]]
    ) -> None:
        self._caller = caller
        self._pool = pool
        self._networks = networks
        self._containers = containers
        self._made: dict[str, str] = {}
        self._updates = 0

    def create(self) -> float:
        """Make the networks, then create and start all containers."""
        began = time.monotonic()
        for body in self._networks:
            self._caller.call("POST", "/networks/create", body)
        self._for_each(self._create_and_start)
        return time.monotonic() - began

    def update(self) -> float:
        """Put another in the place of each container, with one variable changed."""
        self._updates += 1
        began = time.monotonic()
        self._for_each(self._replace)
        return time.monotonic() - began

    def remove(self) -> float:
        """Stop and remove all containers, then remove the networks."""
        began = time.monotonic()
        self._for_each(self._stop_and_remove)
        for body in self._networks:
            self._caller.call("DELETE", f"/networks/{body['Name']}")
        return time.monotonic() - began

    def _for_each(self, do: Callable[[str, Json], None]) -> None:
        for done in [self._pool.submit(do, name, body) for name, body in self._containers]:
            done.result()

    def _replace(self, name: str, body: Json) -> None:
        self._stop_and_remove(name, body)
        self._create_and_start(name, {**body, "Env": [*(body.get("Env") or []), f"UPDATE={self._updates}"]})

    def _create_and_start(self, name: str, body: Json) -> None:
        created = self._caller.call("POST", f"/containers/create?name=raw_{name}", body)
        self._made[name] = created["Id"]
        self._caller.call("POST", f"/containers/{created['Id']}/start")

    def _stop_and_remove(self, name: str, _body: Json) -> None:
        self._caller.call("POST", f"/containers/{self._made[name]}/stop")
        self._caller.call("DELETE", f"/containers/{self._made[name]}?v=true")


def create_body(inspect: Json, instance: str) -> Json:
    """The body that makes the same container again, with another instance label."""
    body: Json = copy.deepcopy(inspect["Config"])
    # the engine filled it from the id
    if body.get("Hostname") == inspect["Id"][:12]:
        del body["Hostname"]
    body["Labels"] = {**body["Labels"], LABEL: instance}
    body["HostConfig"] = copy.deepcopy(inspect["HostConfig"])
    mode = body["HostConfig"]["NetworkMode"]
    endpoints = {
        name: {
            "IPAMConfig": endpoint["IPAMConfig"],
            "Aliases": [alias for alias in endpoint["Aliases"] or [] if alias != inspect["Id"][:12]],
        }
        for name, endpoint in inspect["NetworkSettings"]["Networks"].items()
        if name == mode
    }
    body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return body


def network_body(inspect: Json, instance: str) -> Json:
    """The body that makes the same network again, with an address range of the engine's choice."""
    body: Json = {name: inspect[name] for name in _NETWORK}
    body["Labels"] = {**(body["Labels"] or {}), LABEL: instance}
    body |= {"Name": inspect["Name"], "CheckDuplicate": True}
    body["IPAM"] = {"Driver": inspect["IPAM"]["Driver"], "Options": inspect["IPAM"]["Options"], "Config": []}
    return body

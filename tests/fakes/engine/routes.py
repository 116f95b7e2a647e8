"""Which call does what: methods and paths of the engine's API on the parts of the simulated engine."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote

from tests.fakes.engine.basics import ApiError, Json, truthy
from tests.fakes.engine.containers import Containers
from tests.fakes.engine.events import EventLog
from tests.fakes.engine.images import Images
from tests.fakes.engine.networks import Networks
from tests.fakes.engine.pulls import Registry
from tests.fakes.engine.volumes import Volumes

API_VERSION = "1.41"
MIN_API_VERSION = "1.12"
ENGINE_VERSION = "20.10.24"


@dataclass
class Request:
    """``path`` has no version. ``gone`` says that the caller has left or the engine closes."""

    method: str
    path: str
    query_text: str
    headers: dict[str, str]
    body: bytes
    gone: Callable[[], bool]

    def __post_init__(self) -> None:
        self._query = parse_qs(self.query_text, keep_blank_values=True)

    def query(self, name: str, default: str = "") -> str:
        return self._query.get(name, [default])[0]

    def flag(self, name: str) -> bool:
        return truthy(self.query(name))

    def json(self) -> Json:
        """The body. Raises ``ApiError`` 400 for a wrong content type and 500 for no JSON, as the engine does."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip()
        if self.body and kind != "application/json":
            raise ApiError(400, f"Content-Type specified ({kind}) must be 'application/json'")
        if not self.body:
            return {}
        try:
            decoded = json.loads(self.body)
        except ValueError as error:
            raise ApiError(500, f"invalid JSON: {error}") from None
        if not isinstance(decoded, dict):
            raise ApiError(500, "json: cannot unmarshal into Go value of type struct")
        return decoded


@dataclass
class Answer:
    """``stream``, if there is one, is sent in chunks; else ``content`` is: a JSON value, text or nothing."""

    status: int = 200
    content: Json | list[Json] | str | None = None
    stream: Iterator[bytes] | None = None
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Parts:
    """Everything that the engine keeps. ``condition`` guards all of it."""

    condition: threading.Condition
    events: EventLog
    images: Images
    networks: Networks
    volumes: Volumes
    containers: Containers
    registry: Registry


Handler = Callable[[Parts, Request, str], Answer]
_ROUTES: list[tuple[str, re.Pattern[str], Handler]] = []


def route(method: str, pattern: str) -> Callable[[Handler], Handler]:
    """The part of the path in parentheses is given to the handler as its last argument."""

    def register(handler: Handler) -> Handler:
        _ROUTES.append((method, re.compile(pattern), handler))
        return handler

    return register


def handle(parts: Parts, request: Request) -> Answer:
    """Answer a call. Raises ``ApiError``."""
    for method, pattern, handler in _ROUTES:
        match = pattern.fullmatch(request.path)
        if match and method == request.method:
            key = unquote(match.group(1)) if match.groups() else ""
            with parts.condition:
                answer = handler(parts, request, key)
                parts.condition.notify_all()
            return answer
    raise ApiError(404, "page not found")


@route("HEAD", "/_ping")
@route("GET", "/_ping")
def _ping(_: Parts, __: Request, ___: str) -> Answer:
    return Answer(content="OK", content_type="text/plain; charset=utf-8")


@route("GET", "/version")
def _version(_: Parts, __: Request, ___: str) -> Answer:
    versions = {"Version": ENGINE_VERSION, "ApiVersion": API_VERSION, "MinAPIVersion": MIN_API_VERSION}
    return Answer(content={"Platform": {"Name": "simulated"}, **versions, "Os": "linux", "Arch": "amd64"})


@route("GET", "/info")
def _info(parts: Parts, _: Request, __: str) -> Answer:
    states = [container.state.running for container in parts.containers.all()]
    content: Json = {
        "ID": "SIMULATED",
        "Name": socket.gethostname(),
        "Containers": len(states),
        "ContainersRunning": sum(states),
        "ContainersPaused": 0,
        "ContainersStopped": len(states) - sum(states),
        "Images": len(parts.images.listing("")),
        "Driver": "overlay2",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "1",
        "OperatingSystem": "simulated engine",
        "OSType": "linux",
        "Architecture": "x86_64",
        "ServerVersion": ENGINE_VERSION,
        "DockerRootDir": "/var/lib/docker",
        "SecurityOptions": [],
        "Warnings": None,
    }
    return Answer(content=content)


@route("GET", "/events")
def _events(parts: Parts, request: Request, _: str) -> Answer:
    filters = json.loads(request.query("filters") or "{}")
    since, until = (_seconds_to_ns(request.query(name)) for name in ("since", "until"))
    wanted = {name: list(values) for name, values in filters.items()}
    return Answer(stream=parts.events.stream(wanted, since, until, request.gone))


def _seconds_to_ns(text: str) -> int | None:
    """Seconds with up to nine decimals; a float would lose the last of them."""
    if not text:
        return None
    seconds, _, decimals = text.partition(".")
    return int(seconds) * 1_000_000_000 + int(decimals[:9].ljust(9, "0"))


@route("GET", "/containers/json")
def _list_containers(parts: Parts, request: Request, _: str) -> Answer:
    limit = max(int(request.query("limit") or 0), 0)
    rows = parts.containers.listing(request.query("filters"), everything=request.flag("all") or limit > 0, limit=limit)
    return Answer(content=rows)


@route("POST", "/containers/create")
def _create_container(parts: Parts, request: Request, _: str) -> Answer:
    return Answer(201, parts.containers.create(request.query("name"), request.json()))


@route("GET", "/containers/([^/]+)/json")
def _inspect_container(parts: Parts, _: Request, key: str) -> Answer:
    return Answer(content=parts.containers.get(key).view())


@route("POST", "/containers/([^/]+)/start")
def _start(parts: Parts, _: Request, key: str) -> Answer:
    return Answer(204 if parts.containers.start(key) else 304)


@route("POST", "/containers/([^/]+)/stop")
def _stop(parts: Parts, _: Request, key: str) -> Answer:
    return Answer(204 if parts.containers.stop(key) else 304)


@route("POST", "/containers/([^/]+)/restart")
def _restart(parts: Parts, _: Request, key: str) -> Answer:
    parts.containers.stop(key)
    parts.containers.start(key)
    return Answer(204)


@route("POST", "/containers/([^/]+)/kill")
def _kill(parts: Parts, request: Request, key: str) -> Answer:
    parts.containers.kill(key, request.query("signal"))
    return Answer(204)


@route("POST", "/containers/([^/]+)/rename")
def _rename(parts: Parts, request: Request, key: str) -> Answer:
    parts.containers.rename(key, request.query("name"))
    return Answer(204)


@route("POST", "/containers/([^/]+)/update")
def _update(parts: Parts, request: Request, key: str) -> Answer:
    return Answer(content=parts.containers.update(key, request.json()))


@route("POST", "/containers/([^/]+)/wait")
def _wait(parts: Parts, request: Request, key: str) -> Answer:
    container = parts.containers.get(key)
    condition = request.query("condition") or "not-running"
    starts = container.starts

    def met() -> bool:
        if condition == "removed":
            return container not in parts.containers.all()
        ended = not container.state.running
        return (ended and container.starts > starts) or ended if condition == "not-running" else ended

    def lines() -> Iterator[bytes]:
        with parts.condition:
            while not met() and not request.gone():
                parts.condition.wait(0.5)
            answer = {"Error": None, "StatusCode": container.state.exit_code}
        yield json.dumps(answer).encode() + b"\n"

    return Answer(stream=lines())


@route("GET", "/containers/([^/]+)/logs")
def _logs(parts: Parts, request: Request, key: str) -> Answer:
    container = parts.containers.get(key)

    def nothing() -> Iterator[bytes]:
        with parts.condition:
            while request.flag("follow") and container.state.running and not request.gone():
                parts.condition.wait(0.5)
        return iter(())

    return Answer(stream=_from_call(nothing), content_type="application/octet-stream")


def _from_call(make: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    yield from make()


@route("DELETE", "/containers/([^/]+)")
def _remove_container(parts: Parts, request: Request, key: str) -> Answer:
    parts.containers.remove(key, force=request.flag("force"), with_volumes=request.flag("v"))
    return Answer(204)


@route("GET", "/networks")
def _list_networks(parts: Parts, request: Request, _: str) -> Answer:
    return Answer(content=parts.networks.listing(request.query("filters")))


@route("POST", "/networks/create")
def _create_network(parts: Parts, request: Request, _: str) -> Answer:
    return Answer(201, parts.networks.create(request.json()))


@route("GET", "/networks/([^/]+)")
def _inspect_network(parts: Parts, _: Request, key: str) -> Answer:
    return Answer(content=parts.networks.find(key).view(with_containers=True))


@route("POST", "/networks/([^/]+)/connect")
def _connect(parts: Parts, request: Request, key: str) -> Answer:
    parts.containers.connect(key, request.json())
    return Answer(200)


@route("POST", "/networks/([^/]+)/disconnect")
def _disconnect(parts: Parts, request: Request, key: str) -> Answer:
    parts.containers.disconnect(key, request.json())
    return Answer(200)


@route("DELETE", "/networks/([^/]+)")
def _remove_network(parts: Parts, _: Request, key: str) -> Answer:
    parts.networks.remove(key)
    return Answer(204)


@route("GET", "/volumes")
def _list_volumes(parts: Parts, request: Request, _: str) -> Answer:
    return Answer(content=parts.volumes.listing(request.query("filters")))


@route("POST", "/volumes/create")
def _create_volume(parts: Parts, request: Request, _: str) -> Answer:
    return Answer(201, parts.volumes.create(request.json()).view())


@route("GET", "/volumes/([^/]+)")
def _inspect_volume(parts: Parts, _: Request, key: str) -> Answer:
    return Answer(content=parts.volumes.get(key).view())


@route("DELETE", "/volumes/([^/]+)")
def _remove_volume(parts: Parts, _: Request, key: str) -> Answer:
    parts.volumes.remove(key)
    return Answer(204)


@route("GET", "/images/json")
def _list_images(parts: Parts, request: Request, _: str) -> Answer:
    return Answer(content=parts.images.listing(request.query("filters")))


@route("POST", "/images/create")
def _pull(parts: Parts, request: Request, _: str) -> Answer:
    name, tag = request.query("fromImage"), request.query("tag")
    if tag:
        name = f"{name}@{tag}" if tag.startswith("sha256:") else f"{name}:{tag}"
    return Answer(stream=parts.registry.pull(name, request.headers.get("x-registry-auth", "")))


@route("GET", "/images/(.+)/json")
def _inspect_image(parts: Parts, _: Request, key: str) -> Answer:
    return Answer(content=parts.images.inspect(key))


@route("POST", "/images/(.+)/tag")
def _tag(parts: Parts, request: Request, key: str) -> Answer:
    parts.images.tag(key, request.query("repo"), request.query("tag"))
    return Answer(201)


@route("DELETE", "/images/(.+)")
def _remove_image(parts: Parts, request: Request, key: str) -> Answer:
    return Answer(content=parts.images.remove(key, force=request.flag("force")))

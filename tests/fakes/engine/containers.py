"""Containers of the simulated engine: their life from create to remove."""

from __future__ import annotations

import re
import socket
from typing import Any

from tests.fakes.engine import attachments, defaults, mounts
from tests.fakes.engine.basics import (
    NAME_PATTERN,
    ApiError,
    Json,
    has_labels,
    new_id,
    now_ns,
    parse_filters,
    rfc3339_nano,
)
from tests.fakes.engine.container import Behaviour, Container, Endpoint, State
from tests.fakes.engine.events import EventLog
from tests.fakes.engine.images import Images
from tests.fakes.engine.networks import Networks
from tests.fakes.engine.volumes import Volumes

_FILTERS = {"label", "name", "id", "status", "ancestor", "volume", "network", "health", "exited", "before", "since"}
_SIGNALS = {"1": "HUP", "2": "INT", "3": "QUIT", "9": "KILL", "10": "USR1", "12": "USR2", "15": "TERM"}
_NUMBERS = {name: int(number) for number, name in _SIGNALS.items()}
_DEADLY = {"KILL", "TERM", "INT", "QUIT", "HUP"}
_UPDATABLE = {
    "RestartPolicy",
    "Memory",
    "MemoryReservation",
    "MemorySwap",
    "NanoCpus",
    "CpuShares",
    "CpuQuota",
    "PidsLimit",
}


class Containers:
    """All containers. Every method is called with the engine's lock held."""

    def __init__(self, images: Images, networks: Networks, volumes: Volumes, events: EventLog) -> None:
        self._images = images
        self._networks = networks
        self._volumes = volumes
        self._events = events
        self._all: dict[str, Container] = {}
        self._behaviours: list[tuple[re.Pattern[str], Behaviour]] = []
        images.users = self._users_of_image

    def behave(self, name: str, behaviour: Behaviour) -> None:
        """Containers whose name matches act like this, those that exist too. The newest rule wins."""
        pattern = re.compile(name)
        self._behaviours.insert(0, (pattern, behaviour))
        for container in self._all.values():
            if pattern.search(container.name):
                container.behaviour = behaviour

    def all(self) -> list[Container]:
        return list(self._all.values())

    def get(self, key: str) -> Container:
        """By id, name or beginning of an id."""
        if key in self._all:
            return self._all[key]
        by_name = [c for c in self._all.values() if c.name == key.removeprefix("/")]
        found = by_name or [c for c in self._all.values() if key and c.id.startswith(key)]
        if len(found) != 1:
            raise ApiError(404, f"No such container: {key}")
        return found[0]

    def create(self, name: str, body: Json) -> Json:
        """Make a container, with the volumes it names. Raises ``ApiError`` 400, 404, 409, 500."""
        defaults.check_types(body)
        if not body:
            raise ApiError(400, "Config cannot be empty in order to create a container")
        name = name.removeprefix("/") or f"nameless_{new_id()[:8]}"
        if not NAME_PATTERN.fullmatch(name):
            raise ApiError(400, f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
        image = self._images.get(body.get("Image", ""))
        self._refuse_taken(name)
        container_id = new_id()
        config = defaults.container_config(body, image.config, container_id)
        host = defaults.host_config(body.get("HostConfig"))
        if not config["Cmd"] and not config["Entrypoint"]:
            raise ApiError(400, "No command specified")
        self._resolve_modes(config, host, body)
        endpoints = attachments.initial(body, host["NetworkMode"])
        built = mounts.build(config, host, self._volumes, container_id)
        container = Container(container_id, name, image.id, config, host, built, endpoints)
        container.behaviour = next((b for pattern, b in self._behaviours if pattern.search(name)), Behaviour())
        self._all[container_id] = container
        self._tell("create", container)
        return {"Id": container_id, "Warnings": []}

    def _refuse_taken(self, name: str) -> None:
        for other in self._all.values():
            if other.name == name:
                raise ApiError(
                    409,
                    f'Conflict. The container name "/{name}" is already in use by container "{other.id}". '
                    "You have to remove (or rename) that container to be able to reuse that name.",
                )

    def _resolve_modes(self, config: Json, host: Json, body: Json) -> None:
        mode = host["NetworkMode"]
        if mode.startswith("container:"):
            other = next((c for c in self._all.values() if mode[10:] in {c.id, c.name, c.short_id}), None)
            if other:
                host["NetworkMode"] = f"container:{other.id}"
                config["Hostname"] = other.config["Hostname"]
        elif mode == "host" and not body.get("Hostname"):
            config["Hostname"] = socket.gethostname()

    def listing(self, filters: str, *, everything: bool, limit: int = 0) -> list[Json]:
        wanted = parse_filters(filters, _FILTERS)
        found = [
            container.summary()
            for container in sorted(self._all.values(), key=lambda c: -c.created_ns)
            if (everything or "status" in wanted or container.state.running) and self._matches(container, wanted)
        ]
        return found[:limit] if limit else found

    def _matches(self, container: Container, wanted: dict[str, list[str]]) -> bool:
        image = self._images.find
        checks: dict[str, Any] = {
            "label": lambda values: has_labels(values, container.config["Labels"]),
            "name": lambda values: any(
                re.search(v, container.name) or re.search(v, f"/{container.name}") for v in values
            ),
            "id": lambda values: any(container.id.startswith(v) for v in values),
            "status": lambda values: container.state.status in values,
            "ancestor": lambda values: any((i := image(v)) and i.id == container.image_id for v in values),
            "volume": lambda values: any(
                v in {m.get("Name"), m["Destination"]} for v in values for m in container.mounts
            ),
            "network": lambda values: any(
                v in {name, e.network_id} for v in values for name, e in container.endpoints.items()
            ),
            "health": lambda values: (container.state.health or "none") in values,
            "exited": lambda values: container.state.status == "exited" and str(container.state.exit_code) in values,
        }
        return all(checks[name](values) for name, values in wanted.items() if name in checks)

    def start(self, key: str) -> bool:
        """False when it runs already. What goes wrong stays in its state, as the engine keeps it."""
        container = self.get(key)
        if container.state.running:
            return False
        try:
            self._check_joined_container(container)
            attachments.join_all(container, self._networks, [c for c in self.all() if c is not container])
        except ApiError as error:
            container.state.error = error.message
            container.state.exit_code = container.state.exit_code or 128
            raise
        container.starts += 1
        health = (container.config.get("Healthcheck") or {}).get("Test") or ["NONE"]
        container.state = State(
            status="running",
            pid=10_000 + len(self._all),
            started_at=rfc3339_nano(now_ns()),
            finished_at=container.state.finished_at,
            health="" if health[0] == "NONE" else "starting",
        )
        self._tell("start", container)
        return True

    def _check_joined_container(self, container: Container) -> None:
        mode = container.host_config["NetworkMode"]
        if mode.startswith("container:"):
            other = self.get(mode.removeprefix("container:"))
            if not other.state.running:
                raise ApiError(409, f"cannot join network of a non running container: {other.id}")

    def stop(self, key: str) -> bool:
        """False when it does not run. It ends at once: by itself, or killed if it ignores its stop signal."""
        container = self.get(key)
        if not container.state.running:
            return False
        signal = _signal_name(container.config.get("StopSignal") or "SIGTERM")
        self._tell("kill", container, signal=str(_NUMBERS.get(signal, 15)))
        if container.behaviour.ignores_stop:
            self._tell("kill", container, signal="9")
        self._end(container, 137 if container.behaviour.ignores_stop else container.behaviour.exit_code)
        self._tell("stop", container)
        return True

    def kill(self, key: str, signal: str) -> None:
        container = self.get(key)
        if not container.state.running:
            raise ApiError(409, f"Cannot kill container: {key}: Container {container.id} is not running")
        name = _signal_name(signal or "KILL")
        if name not in _NUMBERS:
            raise ApiError(400, f"Invalid signal: {signal}")
        self._tell("kill", container, signal=str(_NUMBERS[name]))
        if name == "KILL":
            self._end(container, 137)
        elif name in _DEADLY and not container.behaviour.ignores_stop:
            self._end(container, container.behaviour.exit_code)

    def health(self, key: str, status: str) -> None:
        """The health check of the image has come to a result."""
        container = self.get(key)
        container.state.health = status
        self._tell(f"health_status: {status}", container)

    def exit(self, key: str, code: int, *, out_of_memory: bool = False) -> None:
        """The program ends by itself; the restart policy decides what follows, without delay."""
        container = self.get(key)
        if not container.state.running:
            raise ApiError(409, f"Container {container.id} is not running")
        if out_of_memory:
            self._tell("oom", container)
        self._end(container, code)
        policy = container.host_config["RestartPolicy"]
        limit = policy["MaximumRetryCount"]
        again = policy["Name"] in {"always", "unless-stopped"} or (
            policy["Name"] == "on-failure" and code != 0 and (not limit or container.restart_count < limit)
        )
        if again:
            container.restart_count += 1
            self.start(container.id)

    def _end(self, container: Container, code: int) -> None:
        attachments.leave_all(container, self._networks)
        health = "unhealthy" if container.state.health else ""
        container.state = State(
            status="exited",
            exit_code=code,
            started_at=container.state.started_at,
            finished_at=rfc3339_nano(now_ns()),
            health=health,
        )
        self._tell("die", container, exitCode=str(code))

    def restart_all(self) -> None:
        """What a restart of the engine does to running containers: all end, those with a policy start again."""
        running = [container for container in self.all() if container.state.running]
        for container in running:
            self._end(container, 137)
        for container in running:
            if container.host_config["RestartPolicy"]["Name"] in {"always", "unless-stopped", "on-failure"}:
                self.start(container.id)

    def rename(self, key: str, name: str) -> None:
        container = self.get(key)
        name = name.removeprefix("/")
        if not name:
            raise ApiError(400, "Neither old nor new names may be empty")
        if name == container.name:
            raise ApiError(400, "Renaming a container with the same name as its current name")
        if not NAME_PATTERN.fullmatch(name):
            raise ApiError(400, f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
        try:
            self._refuse_taken(name)
        except ApiError as error:
            raise ApiError(409, f"Error when allocating new name: {error.message}") from None
        old, container.name = container.name, name
        self._tell("rename", container, oldName=f"/{old}")

    def update(self, key: str, body: Json) -> Json:
        container = self.get(key)
        given = {name: value for name, value in body.items() if name in _UPDATABLE and value}
        if not given.get("RestartPolicy", {}).get("Name"):
            given.pop("RestartPolicy", None)
        container.host_config = defaults.host_config({**container.host_config, **given})
        self._tell("update", container)
        return {"Warnings": None}

    def remove(self, key: str, *, force: bool, with_volumes: bool) -> None:
        container = self.get(key)
        if container.state.running:
            if not force:
                raise ApiError(
                    409,
                    f"You cannot remove a running container {container.id}. "
                    "Stop the container before attempting removal or force remove",
                )
            self.kill(container.id, "KILL")
        del self._all[container.id]
        for mount in container.mounts:
            if mount["Type"] == "volume":
                volume = self._volumes.get(mount["Name"])
                volume.users.discard(container.id)
                if with_volumes and volume.anonymous and not volume.users:
                    self._volumes.remove(volume.name)
        self._tell("destroy", container)

    def connect(self, network_key: str, body: Json) -> None:
        container = self.get(body.get("Container", ""))
        network = self._networks.find(network_key)
        mode = container.host_config["NetworkMode"]
        if mode == "host" or mode.startswith("container:"):
            raise ApiError(
                400,
                "container sharing network namespace with another container or host "
                "cannot be connected to any other network",
            )
        if container.state.running and container.id in network.attached:
            raise ApiError(403, f"endpoint with name {container.name} already exists in network {network.name}")
        endpoint = Endpoint.from_body(body.get("EndpointConfig"))
        attachments.add_short_id(container, network.name, endpoint)
        if container.state.running:
            attachments.join(container, network, endpoint, self._networks)
        container.endpoints[network.name] = endpoint

    def disconnect(self, network_key: str, body: Json) -> None:
        network = self._networks.find(network_key)
        if body.get("Force") and self._networks.forget_stale(network, body.get("Container", "")):
            return
        container = self.get(body.get("Container", ""))
        if network.name not in container.endpoints:
            raise ApiError(403, f"container {container.id} is not connected to network {network.name}")
        del container.endpoints[network.name]
        self._networks.detach(network, container.id)

    def _users_of_image(self, image_id: str) -> list[tuple[str, bool]]:
        return [(c.id, c.state.running) for c in self._all.values() if c.image_id == image_id]

    def _tell(self, action: str, container: Container, **attributes: str) -> None:
        self._events.emit(
            "container", action, container.id, {**container.attributes, **attributes}, container.config["Image"]
        )


def _signal_name(text: str) -> str:
    name = text.upper().removeprefix("SIG")
    return _SIGNALS.get(name, name)

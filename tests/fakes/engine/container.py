"""One container of the simulated engine, and its views."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fakes.engine.basics import ZERO_TIME, Json, now_ns, rfc3339_nano


@dataclass
class Behaviour:
    """How the simulated program acts. One that ignores its stop signal is killed by the engine, without waiting."""

    ignores_stop: bool = False
    exit_code: int = 0


@dataclass
class State:
    """``status`` is created, running, paused, restarting, removing, exited or dead."""

    status: str = "created"
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: str = ZERO_TIME
    finished_at: str = ZERO_TIME
    health: str = ""

    @property
    def running(self) -> bool:
        return self.status in {"running", "paused", "restarting"}

    def view(self) -> Json:
        shown: Json = {
            "Status": self.status,
            "Running": self.running,
            "Paused": self.status == "paused",
            "Restarting": self.status == "restarting",
            "OOMKilled": False,
            "Dead": self.status == "dead",
            "Pid": self.pid,
            "ExitCode": self.exit_code,
            "Error": self.error,
            "StartedAt": self.started_at,
            "FinishedAt": self.finished_at,
        }
        if self.health:
            shown["Health"] = {"Status": self.health, "FailingStreak": 0, "Log": []}
        return shown


@dataclass
class Endpoint:
    """The settings of a container in one network; the rest is filled while it runs."""

    ipam: Json | None = None
    aliases: list[str] | None = None
    links: list[str] | None = None
    driver_options: Json | None = None
    network_id: str = ""
    endpoint_id: str = ""
    gateway: str = ""
    address: str = ""
    prefix_length: int = 0
    mac: str = ""

    @classmethod
    def from_body(cls, body: Json | None) -> Endpoint:
        given = body or {}
        aliases = given.get("Aliases")
        return cls(
            ipam=given.get("IPAMConfig"),
            aliases=None if aliases is None else list(aliases),
            links=given.get("Links"),
            driver_options=given.get("DriverOpts"),
            mac=given.get("MacAddress") or "",
        )

    def release(self) -> None:
        """What stays of an endpoint when the container has stopped."""
        self.endpoint_id = self.gateway = self.address = self.mac = ""
        self.prefix_length = 0

    def view(self, *, listed: bool = False) -> Json:
        return {
            "IPAMConfig": self.ipam,
            "Links": self.links,
            "Aliases": None if listed else self.aliases,
            "NetworkID": self.network_id,
            "EndpointID": self.endpoint_id,
            "Gateway": self.gateway,
            "IPAddress": self.address,
            "IPPrefixLen": self.prefix_length,
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "MacAddress": self.mac,
            "DriverOpts": self.driver_options,
        }


@dataclass
class Container:
    id: str
    name: str
    image_id: str
    config: Json
    host_config: Json
    mounts: list[Json]
    endpoints: dict[str, Endpoint]
    created_ns: int = field(default_factory=now_ns)
    state: State = field(default_factory=State)
    behaviour: Behaviour = field(default_factory=Behaviour)
    restart_count: int = 0
    #: container port -> published addresses, while it runs
    published: dict[str, list[Json] | None] = field(default_factory=dict)
    sandbox: str = ""
    starts: int = 0

    @property
    def short_id(self) -> str:
        return self.id[:12]

    @property
    def program(self) -> list[str]:
        return [*(self.config["Entrypoint"] or []), *(self.config["Cmd"] or [])]

    @property
    def attributes(self) -> dict[str, str]:
        """Of its events: labels, image and name."""
        return {**self.config["Labels"], "image": self.config["Image"], "name": self.name}

    def view(self) -> Json:
        first = self.endpoints.get("bridge", Endpoint())
        return {
            "Id": self.id,
            "Created": rfc3339_nano(self.created_ns),
            "Path": (self.program or [""])[0],
            "Args": self.program[1:],
            "State": self.state.view(),
            "Image": self.image_id,
            "ResolvConfPath": "",
            "HostnamePath": "",
            "HostsPath": "",
            "LogPath": "",
            "Name": f"/{self.name}",
            "RestartCount": self.restart_count,
            "Driver": "overlay2",
            "Platform": "linux",
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": "",
            "ExecIDs": None,
            "HostConfig": self.host_config,
            "GraphDriver": {"Data": None, "Name": "overlay2"},
            "Mounts": self.mounts,
            "Config": self.config,
            "NetworkSettings": {
                "Bridge": "",
                "SandboxID": self.sandbox,
                "HairpinMode": False,
                "LinkLocalIPv6Address": "",
                "LinkLocalIPv6PrefixLen": 0,
                "Ports": self.published,
                "SandboxKey": f"/var/run/docker/netns/{self.sandbox[:12]}" if self.sandbox else "",
                "SecondaryIPAddresses": None,
                "SecondaryIPv6Addresses": None,
                "EndpointID": first.endpoint_id,
                "Gateway": first.gateway,
                "GlobalIPv6Address": "",
                "GlobalIPv6PrefixLen": 0,
                "IPAddress": first.address,
                "IPPrefixLen": first.prefix_length,
                "IPv6Gateway": "",
                "MacAddress": first.mac,
                "Networks": {name: endpoint.view() for name, endpoint in self.endpoints.items()},
            },
        }

    def summary(self) -> Json:
        """A row of the list."""
        image = self.config["Image"]
        networks = {name: endpoint.view(listed=True) for name, endpoint in self.endpoints.items()}
        return {
            "Id": self.id,
            "Names": [f"/{self.name}"],
            "Image": image,
            "ImageID": self.image_id,
            "Command": " ".join(self.program),
            "Created": self.created_ns // 1_000_000_000,
            "Ports": self._listed_ports(),
            "Labels": self.config["Labels"],
            "State": self.state.status,
            "Status": self._words(),
            "HostConfig": {"NetworkMode": self.host_config["NetworkMode"]},
            "NetworkSettings": {"Networks": networks},
            "Mounts": self.mounts,
        }

    def _listed_ports(self) -> list[Json]:
        ports: list[Json] = []
        for key, bindings in self.published.items():
            number, _, protocol = key.partition("/")
            if not bindings:
                ports.append({"PrivatePort": int(number), "Type": protocol})
            ports.extend(
                {"IP": b["HostIp"], "PrivatePort": int(number), "PublicPort": int(b["HostPort"]), "Type": protocol}
                for b in bindings or []
            )
        return ports

    def _words(self) -> str:
        if self.state.status == "exited":
            return f"Exited ({self.state.exit_code}) Less than a second ago"
        if self.state.status == "created":
            return "Created"
        health = f" (health: {self.state.health})" if self.state.health == "starting" else ""
        return f"Up Less than a second{health}"

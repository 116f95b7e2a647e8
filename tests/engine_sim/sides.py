"""Two engines side by side, the real and the simulated one, and what is compared between them."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import tarfile
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

from balena_supervisor.clock import SystemClock

Json = dict[str, Any]
IMAGE_CONFIGS: dict[str, Json] = {
    "plain": {"Cmd": ["/bin/busybox", "sleep", "1000"]},
    "rich": {
        "Cmd": ["/bin/busybox", "sleep", "1000"],
        "Env": ["PATH=/bin", "FOO=image"],
        "Labels": {"from": "image"},
        "Volumes": {"/anon": {}},
        "ExposedPorts": {"80/tcp": {}},
        "WorkingDir": "/srv",
        "StopSignal": "SIGTERM",
        "Healthcheck": {"Test": ["CMD", "/bin/true"], "Interval": 3_600_000_000_000, "Retries": 2},
    },
    "entry": {"Entrypoint": ["/bin/busybox"], "Cmd": ["sleep", "1000"], "User": "0"},
}


class UnixHttp(http.client.HTTPConnection):
    """Speaks plain HTTP to an engine's socket, so that no client library stands between."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self._path)


class Side:
    """One of the two engines. Names of objects contain ``tag``; ``{t}`` in paths and bodies stands for it."""

    def __init__(self, path: str, tag: str) -> None:
        self._path = path
        self._tag = tag

    def named(self, text: str) -> str:
        """The text with what is this run's own: ``{t}`` the tag, ``{net}`` the first three numbers of a subnet,
        ``{port}`` a host port. Others may run the same tests on the same engine."""
        number = zlib.crc32(self._tag.encode())
        subnet = f"10.{200 + number % 50}.{number // 50 % 250}"
        return text.replace("{t}", self._tag).replace("{net}", subnet).replace("{port}", str(20_000 + number % 10_000))

    def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Status and decoded answer, or its text when it is not one JSON value."""
        connection = UnixHttp(self._path)
        try:
            content = raw if raw is not None else None if body is None else self.named(json.dumps(body))
            kind = "application/x-tar" if raw is not None else "application/json"
            connection.request(method, self.named(path), content, {"Content-Type": kind, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text

    def normal(self, value: Any, ids: dict[str, str]) -> Any:
        """Replace ids, own names, times and places by words that are equal on both engines."""
        text = json.dumps(value).replace(self._tag, "TAG")
        for real_id, word in ids.items():
            text = text.replace(real_id, word).replace(real_id[:12], f"{word}-short")
        return json.loads(text)

    def events(self, about: list[str]) -> list[Json]:
        """All remembered events that speak of these objects, by id or name, without times."""
        until = int(SystemClock().now().timestamp()) + 1
        text = self.call("GET", f"/events?since={until - 120}&until={until}")[1]
        lines = [text] if isinstance(text, dict) else [json.loads(line) for line in text.splitlines()]
        words = [word.replace("{t}", self._tag) for word in about]
        found = [event for event in lines if any(word in json.dumps(event["Actor"]) for word in words)]
        for event in found:
            del event["time"], event["timeNano"]
        return found

    def clean(self) -> None:
        label = json.dumps({"name": [self._tag]})
        for container in self.call("GET", f"/containers/json?all=1&filters={label}".replace(" ", ""))[1]:
            self.call("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        for network in self.call("GET", f"/networks?filters={label}".replace(" ", ""))[1]:
            self.call("DELETE", f"/networks/{network['Id']}")
        for volume in self.call("GET", f"/volumes?filters={label}".replace(" ", ""))[1]["Volumes"]:
            self.call("DELETE", f"/volumes/{volume['Name']}")


def real_socket() -> str:
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    assert host.startswith("unix://"), f"these tests need an engine on a Unix socket, DOCKER_HOST is {host}"
    return host.removeprefix("unix://")


def build_context(config: Json) -> bytes:
    busybox = shutil.which("busybox") or "/bin/busybox"
    lines = ["FROM scratch", "COPY busybox /bin/busybox"]
    lines += [f"ENV {entry}" for entry in config.get("Env", [])]
    lines += [f"LABEL {name}={value}" for name, value in config.get("Labels", {}).items()]
    lines += [f"VOLUME {path}" for path in config.get("Volumes", {})]
    lines += [f"EXPOSE {port}" for port in config.get("ExposedPorts", {})]
    lines += [f"{word} {config[key]}" for word, key in (("WORKDIR", "WorkingDir"), ("USER", "User")) if key in config]
    lines += [f"STOPSIGNAL {config['StopSignal']}"] if "StopSignal" in config else []
    if "Healthcheck" in config:
        lines.append("HEALTHCHECK --interval=1h --retries=2 CMD " + json.dumps(config["Healthcheck"]["Test"][1:]))
    lines += [f"ENTRYPOINT {json.dumps(config['Entrypoint'])}"] if "Entrypoint" in config else []
    lines.append(f"CMD {json.dumps(config['Cmd'])}")
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(busybox, "busybox")
        dockerfile = tarfile.TarInfo("Dockerfile")
        content = "\n".join(lines).encode()
        dockerfile.size = len(content)
        archive.addfile(dockerfile, BytesIO(content))
    return packed.getvalue()


def compare(both: tuple[Side, Side], act: Callable[[Side], Any]) -> None:
    """The same acts on both give the same."""
    real, simulated = both
    found = differences(act(simulated), act(real))
    assert not found, "\n".join(found)


def differences(simulated: Any, real: Any, where: str = "") -> list[str]:
    """A line for each leaf that differs."""
    if isinstance(simulated, dict) and isinstance(real, dict):
        keys = sorted({*simulated, *real})
        absent = "(absent)"
        return [d for k in keys for d in differences(simulated.get(k, absent), real.get(k, absent), f"{where}.{k}")]
    if isinstance(simulated, list | tuple) and isinstance(real, list | tuple) and len(simulated) == len(real):
        pairs = enumerate(zip(simulated, real, strict=True))
        return [d for n, (one, other) in pairs for d in differences(one, other, f"{where}[{n}]")]
    return [] if simulated == real else [f"{where}: simulated {simulated!r}, real {real!r}"]


def container_view(inspect: Json) -> Json:
    """What the supervisor reads of an inspected container, without what differs between any two."""
    networks = inspect["NetworkSettings"]["Networks"]
    host = {key: value for key, value in inspect["HostConfig"].items() if key not in {"Runtime", "CgroupnsMode"}}
    return {
        "Name": inspect["Name"],
        "Path": inspect["Path"],
        "Args": inspect["Args"],
        "Config": inspect["Config"],
        "HostConfig": host,
        "State": {k: inspect["State"][k] for k in ("Status", "Running", "ExitCode", "Error")},
        "Started": inspect["State"]["StartedAt"][:4],
        "Health": (inspect["State"].get("Health") or {}).get("Status"),
        "Ports": inspect["NetworkSettings"]["Ports"],
        "Networks": {
            name: {
                "IPAMConfig": e["IPAMConfig"],
                "Aliases": e["Aliases"],
                "attached": bool(e["EndpointID"]),
                "known": bool(e["NetworkID"]),
            }
            for name, e in networks.items()
        },
        "Mounts": sorted(
            (
                m["Type"],
                "" if m.get("Name", "").isalnum() and len(m["Name"]) == 64 else m.get("Name"),
                m["Destination"],
                m["Mode"],
                m["RW"],
                m["Propagation"],
            )
            for m in inspect["Mounts"]
        ),
    }

"""What tests of the workers need of a real engine and registry: tiny images, composed services, and a clean end."""

from __future__ import annotations

import io
import json
import secrets
import socket
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import docker

from balena_supervisor.model.resource import Network, NetworkConfig
from balena_supervisor.model.service import Endpoint, Service, ServiceConfig
from balena_supervisor.state import labels
from tools.dev_parts import labelled

BUSYBOX = Path("/bin/busybox")
#: a shell as first process ignores signals that it does not trap
FOREVER = ("/bin/sh", "-c", 'trap "exit 0" TERM; while :; do sleep 1000 & wait; done')


class Workshop:
    """Makes things on one engine under one random instance label and app id, and removes them all."""

    def __init__(self, host: str, registry: str) -> None:
        self.host = host
        self.registry = registry
        self.instance = f"test-{secrets.token_hex(4)}"
        self.app_id = secrets.randbelow(10**8) + 10**8
        self.app_uuid = secrets.token_hex(16)
        #: part of the names of containers, which the engine has once only
        self.commit = secrets.token_hex(4)
        self.client = docker.APIClient(base_url=host, timeout=60)
        self._images: set[str] = set()

    def image(self, *, size: int = 0, pushed: bool = False) -> str:
        """A new image with a shell, only on the engine or only in the registry. Returns its name."""
        repo, tag = f"{self.registry}/{self.instance}-{secrets.token_hex(3)}", "v1"
        name = f"{repo}:{tag}"
        changes = [f"LABEL {labels.INSTANCE}={self.instance}", "ENV PATH=/bin"]
        self.client.import_image_from_data(root_filesystem(size), repository=repo, tag=tag, changes=changes)
        self._images.add(name)
        if pushed:
            for line in self.client.push(repo, tag=tag, stream=True, decode=True):
                assert "error" not in line, line
            self.client.remove_image(name)
        return name

    def image_by_digest(self) -> str:
        """A new image in the registry only. Returns its name with a digest."""
        name = self.image()
        repo, _, tag = name.rpartition(":")
        answers = list(self.client.push(repo, tag=tag, stream=True, decode=True))
        digest = next(answer["aux"]["Digest"] for answer in answers if "aux" in answer)
        self.client.remove_image(name)
        self._images.add(f"{repo}:latest")  # what a pull by digest is tagged with
        return f"{repo}@{digest}"

    def image_id(self, name: str) -> str:
        return str(self.client.inspect_image(name)["Id"])  # type: ignore[no-untyped-call]  # types-docker lacks it

    def network(self, name: str = "default") -> Network:
        config = NetworkConfig(labels={labels.APP_ID: str(self.app_id)})
        return Network(
            app_id=self.app_id,
            app_uuid=self.app_uuid,
            name=name,
            engine_name=f"{self.app_uuid}_{name}",
            config=config,
        )

    def service(self, image: str, name: str = "main", *, network: str = "none", **config: object) -> Service:
        """A composed service that runs for ever, without a network unless one is given."""
        own = {
            labels.SUPERVISED: "true",
            labels.APP_ID: str(self.app_id),
            labels.APP_UUID: self.app_uuid,
            labels.SERVICE_ID: "7",
            labels.SERVICE_NAME: name,
        }
        settings: dict[str, object] = {
            "image": self.image_id(image),
            "command": FOREVER,
            "labels": own,
            "environment": {"PATH": "/bin"},
            "network_mode": network,
            "networks": {} if network == "none" else {network: Endpoint(aliases=(name,))},
        }
        return Service(
            app_id=self.app_id,
            app_uuid=self.app_uuid,
            app_name="test",
            service_id=7,
            service_name=name,
            image_id=10,
            release_id=20,
            commit=self.commit,
            image_name=image,
            docker_image_id=self.image_id(image),
            running=True,
            depends_on={},
            config=ServiceConfig(**{**settings, **config}),  # type: ignore[arg-type]  # checked by what the engine says
        )

    def abandon(self, path: str, body: Mapping[str, object]) -> None:
        """Send an order to the engine and hang up, as a process does that is killed. The engine goes on with it."""
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\n"
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(self.host.removeprefix("unix://"))
            caller.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)

    def clean_up(self) -> None:
        """Remove everything that carries the label, and the images by name."""
        label = {"label": f"{labels.INSTANCE}={self.instance}"}
        for container in self.client.containers(all=True, filters=label):
            self.client.remove_container(container["Id"], force=True, v=True)
        for network in self.client.networks(filters=label):
            with suppress(docker.errors.APIError):  # engine 20.10 sometimes miscounts what is connected, for ever
                self.client.remove_network(network["Id"])
        for volume in self.client.volumes(filters=label)["Volumes"] or ():
            self.client.remove_volume(volume["Name"])
        for name in self._images:
            with suppress(docker.errors.NotFound):
                self.client.remove_image(name, force=True)
        for image in self.client.images(filters=label):
            with suppress(docker.errors.NotFound):
                self.client.remove_image(image["Id"], force=True)
        self.client.close()
        labelled.remove_lock_folders(self.instance)


def root_filesystem(size: int) -> bytes:
    """A tar file with a shell, the few programs that scripts here use, and as many random bytes as asked for."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for name in ("sh", "sleep", "echo", "cat"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        if size:
            noise = tarfile.TarInfo("noise")
            noise.size = size
            tar.addfile(noise, io.BytesIO(secrets.token_bytes(size)))
    return packed.getvalue()

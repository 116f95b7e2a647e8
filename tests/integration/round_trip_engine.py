"""A piece of the real engine for one test run: images, networks and containers under one label, removed at the end."""

from __future__ import annotations

import io
import json
import os
import secrets
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.device import Configuration, HostFacts
from balena_supervisor.model.image import ImageDetails
from balena_supervisor.model.resource import Network, Volume
from balena_supervisor.model.service import Container, Service
from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state.compose import compose_app
from balena_supervisor.state.create_body import connect_endpoints, create_body
from balena_supervisor.state.labels import INSTANCE
from balena_supervisor.state.names import SUPERVISOR_NETWORK
from balena_supervisor.state.networks import network_body, supervisor_network_body
from balena_supervisor.state.read_back import (
    container_from_inspect,
    image_details_from_inspect,
    network_from_inspect,
    volume_from_inspect,
)
from balena_supervisor.state.volumes import volume_body

PLAIN = """
FROM scratch
COPY busybox /bin/busybox
CMD ["/bin/busybox", "sleep", "1000"]
"""
RICH = """
FROM scratch
COPY busybox /bin/busybox
ENTRYPOINT ["/bin/busybox"]
CMD ["sleep", "1000"]
ENV MODE=image USER=imageuser BALENA_DEVICE_NAME_AT_INIT=image EMPTY=
LABEL io.resin.features.procfs=1 vendor=acme io.resin.twice=image
VOLUME /cache
USER 1000:1000
WORKDIR /srv/app
STOPSIGNAL SIGINT
HEALTHCHECK --interval=30s --timeout=5s --retries=2 CMD ["/bin/busybox", "true"]
"""
FIRMWARE_VOLUME = "extra-firmware"
CONFIGURATION = Configuration(
    uuid="d" * 32, device_api_key="key", api_endpoint="https://api.test", os_version="Test 1", board_rev="r1"
)


class RoundTrip:
    """Composes one service or resource at a time, makes the engine create it, and reads it back."""

    def __init__(self, engine: docker.APIClient, socket: str) -> None:
        self.engine = engine
        self.instance = f"round-trip-{secrets.token_hex(4)}"
        self.app_id = 10**8 + secrets.randbelow(10**8)
        self.app_uuid = secrets.token_hex(16)
        self.images: dict[str, ImageDetails] = {}
        second = 200 + secrets.randbelow(50)
        self.subnet, self.other_subnet = f"10.{second}.{2 * secrets.randbelow(128)}", f"10.{second - 100}.7"
        self.prefix6 = f"fd00:{secrets.token_hex(1)}:{secrets.token_hex(1)}"
        self.networks: dict[str, dict[str, Any]] = {
            "front": {"ipam": {"config": [{"subnet": f"{self.subnet}.0/24", "gateway": f"{self.subnet}.1"}]}},
            "default": {},
            "back": {},
            "six": {"enable_ipv6": True, "ipam": {"config": [{"subnet": f"{self.prefix6}:77::/64"}]}},
        }
        self._host = HostFacts(has_kernel_modules=True, has_firmware=True, docker_socket=socket, instance=self.instance)
        self._made_supervisor_network = False
        self._volumes_before: set[str] = set()
        self._names = iter(range(10**6))

    def compose(self, composition: Mapping[str, Any], *, image: str = "plain", **service: Any) -> Service:
        """One service; a name is made up unless it is given."""
        service.setdefault("service_name", f"s{next(self._names)}")
        target = TargetService(
            service_id=7,
            image_id=8,
            image=image,
            app_id=self.app_id,
            app_uuid=self.app_uuid,
            release_id=9,
            commit=self.instance,
            composition=dict(composition),
            **service,
        )
        composed = self._compose(services=(target,), networks=self.networks)
        assert composed.problem == ""
        return composed.services[0]

    def with_subnet(self, definition: dict[str, Any]) -> dict[str, Any]:
        """A definition with free addresses for ``SUBNET`` (of network ``front``), ``SUBNET2`` and ``PREFIX6``."""
        filled = json.dumps(definition)
        for name, value in (("SUBNET2", self.other_subnet), ("SUBNET", self.subnet), ("PREFIX6", self.prefix6)):
            filled = filled.replace(name, value)
        found: dict[str, Any] = json.loads(filled)
        return found

    def network(self, definition: dict[str, Any]) -> Network:
        return self._compose(networks={f"n{next(self._names)}": definition}).networks[0]

    def volume(self, definition: dict[str, Any]) -> Volume:
        return self._compose(volumes={f"v{next(self._names)}": definition}).volumes[0]

    def create(self, service: Service, container_ids: Mapping[str, str] | None = None) -> Container:
        """Create and connect the container, without starting it, and read it back."""
        body = create_body(service, device_name="kiosk", instance=self.instance, container_ids=container_ids or {})
        answer = self._post(f"/containers/create?name={service.container_name}", body)
        for name, endpoint in connect_endpoints(service).items():
            self.connect(answer["Id"], name, endpoint)
        return self.read(answer["Id"])

    def connect(self, container_id: str, network: str, endpoint: dict[str, Any]) -> None:
        self._post(f"/networks/{network}/connect", {"Container": container_id, "EndpointConfig": endpoint})

    def read(self, container_id: str) -> Container:
        return container_from_inspect(self.engine.inspect_container(container_id))

    def create_network(self, network: Network) -> Network:
        answer = self._post("/networks/create", network_body(network, self.instance))
        return network_from_inspect(self.engine.inspect_network(answer["Id"]))

    def create_volume(self, volume: Volume) -> Volume | None:
        self._post("/volumes/create", volume_body(volume, self.instance))
        return volume_from_inspect(self.engine.inspect_volume(volume.engine_name))

    def set_up(self) -> None:
        self._volumes_before = self._volume_names()
        label = f"LABEL {INSTANCE}={self.instance}\n"
        for name, dockerfile in (("plain", PLAIN), ("rich", RICH)):
            tag = f"{self.instance}-{name}"
            for _ in self.engine.build(fileobj=_context(dockerfile + label), custom_context=True, tag=tag, rm=True):
                pass
            inspect = self.engine.inspect_image(tag)  # type: ignore[no-untyped-call]  # a gap in the stubs
            self.images[name] = image_details_from_inspect(inspect)
        for network in self._compose(networks=self.networks).networks:
            self.create_network(network)
        with suppress(APIError):
            self._post("/networks/create", supervisor_network_body())
            self._made_supervisor_network = True

    def tear_down(self) -> None:
        mine = {"label": f"{INSTANCE}={self.instance}"}
        for container in self.engine.containers(all=True, filters=mine):
            self.engine.remove_container(container["Id"], force=True, v=True)
        for network in self.engine.networks(filters=mine):
            self.engine.remove_network(network["Id"])
        if self._made_supervisor_network:
            with suppress(APIError):  # another supervisor on this engine may use it by now
                self.engine.remove_network(SUPERVISOR_NETWORK)
        for name in self._volume_names() - self._volumes_before:
            if name.startswith(f"{self.app_id}_") or name == FIRMWARE_VOLUME:
                with suppress(APIError):  # another supervisor on this engine may use the volume for firmware by now
                    self.engine.remove_volume(name)
        for name in self.images:
            with suppress(NotFound):
                self.engine.remove_image(f"{self.instance}-{name}")

    def _volume_names(self) -> set[str]:
        return {volume["Name"] for volume in self.engine.volumes()["Volumes"] or ()}

    def _compose(self, **parts: Any) -> ComposedApp:
        app = TargetApp(
            app_id=self.app_id, app_uuid=self.app_uuid, name="round trip", commit="c", release_id=9, **parts
        )
        return compose_app(app, CONFIGURATION, self._host, self.images, {})

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        """The SDK builds bodies of its own from arguments; ours has to arrive as it is."""
        answer = self.engine.post(f"{self.engine.base_url}/v{self.engine.api_version}{path}", json=body)
        if not answer.ok:
            raise APIError(answer.text, answer)
        return answer.json() if answer.content else None


@contextmanager
def round_trip() -> Iterator[RoundTrip]:
    """Everything set up on the engine at ``DOCKER_HOST``, and removed afterwards."""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    engine = docker.APIClient(base_url=address, version="auto")
    trip = RoundTrip(engine, address.removeprefix("unix://"))
    try:
        trip.set_up()
        yield trip
    finally:
        trip.tear_down()
        engine.close()


def _context(dockerfile: str) -> io.BytesIO:
    """A build context with the one program that is at hand without a registry."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        archive.add(Path("/bin/busybox").resolve(), "busybox")
        content = dockerfile.encode()
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    context.seek(0)
    return context

"""What leaving local mode removes, and what stays of the supervisor itself and of others, on a simulated engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from balena_supervisor.actors.resources import ResourcePorts, Resources
from balena_supervisor.messages import GetInventory, RemoveBeside
from balena_supervisor.model.inventory import Inventory
from tests.actors.worker_bench import WorkerBench, bench


class Left:
    """An engine, with a resources actor that the test starts, and things on it by short names."""

    def __init__(self, workers: WorkerBench) -> None:
        self._workers = workers
        self._engine = workers.by_hand
        self.images = {name: workers.engine.add_image(f"a.io/{name}:1") for name in ("own", "other")}

    def start(self, own_container_id: str = "") -> None:
        ports = ResourcePorts(**self._workers.ports("resources"), own_container_id=own_container_id)
        self._workers.start(Resources, ports)

    def container(self, name: str, *, image: str = "other", status: str = "running", **body: Any) -> str:
        made = self._engine.create_container(name, {"Image": self.images[image], **body})
        if status != "created":
            self._engine.start_container(made)
        if status == "exited":
            self._engine.stop_container(made, 1)
        return made

    def supervisor(self, name: str) -> str:
        """A container like that of the supervisor, with a volume and a network."""
        self._engine.create_volume({"Name": "own"})
        self._engine.create_network({"Name": "own"})
        mounts = [{"Type": "volume", "Source": "own", "Target": "/data"}]
        return self.container(name, image="own", HostConfig={"Mounts": mounts, "NetworkMode": "own"})

    def inventory(self) -> Inventory:
        found: Inventory = self._workers.deliver(GetInventory()).future.result(10)
        return found

    def leave(self, kept: Inventory) -> None:
        self._workers.deliver(RemoveBeside(kept=kept)).future.result(10)

    def containers(self) -> dict[str, str]:
        """Name -> state."""
        return {entry["Names"][0].strip("/"): entry["State"] for entry in self._engine.list_containers()}

    def others(self) -> tuple[list[str], list[str], list[str]]:
        """Tags of images, names of volumes, names of networks that the engine did not make itself."""
        tags = [tag for image in self._engine.list_images() for tag in image["RepoTags"]]
        volumes = [volume["Name"] for volume in self._engine.list_volumes()]
        networks = {network["Name"] for network in self._engine.list_networks()} - {"bridge", "host", "none"}
        return tags, volumes, sorted(networks)


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Left]:
    with bench(tmp_path) as made:
        yield Left(made)


def test_a_container_that_did_not_run_before_local_mode_survives_it(left: Left) -> None:
    """Like a tool of the owner that has ended, and an extension of the host that is never started."""
    left.start()
    before = {"extension": "created", "ended": "exited", "stranger": "running"}
    for name, status in before.items():
        left.container(name, status=status)
    kept = left.inventory()
    left.container("tool")
    left.container("tool-ended", status="exited")
    left.container("tool-created", status="created")
    left.leave(kept)
    assert left.containers() == before


def test_a_snapshot_of_the_reference_which_names_running_containers_only_is_read(left: Left) -> None:
    left.start()
    stranger = left.container("stranger")
    left.container("tool")
    images = list(left.images.values())
    stored = msgspec.json.encode({"containers": [stranger], "images": images, "volumes": [], "networks": []})
    left.leave(msgspec.json.decode(stored, type=Inventory))
    assert left.containers() == {"stranger": "running"}


@pytest.mark.parametrize("known_id", ["", "the-id-of-a-container-before"])
@pytest.mark.parametrize("name", ["balena_supervisor", "resin_supervisor"])
def test_the_supervisor_finds_its_container_by_name_where_its_id_is_not_known(
    left: Left, name: str, known_id: str
) -> None:
    left.start(known_id)
    left.supervisor(name)
    left.container("tool")
    left.leave(Inventory())
    assert left.containers() == {name: "running"}
    assert left.others() == (["a.io/own:1"], ["own"], ["own"])


def test_the_known_id_goes_before_the_names(left: Left) -> None:
    left.start(left.supervisor("renamed"))
    left.container("balena_supervisor")
    left.leave(Inventory())
    assert left.containers() == {"renamed": "running"}


def test_the_present_name_goes_before_the_former_one(left: Left) -> None:
    left.start()
    left.container("resin_supervisor")
    left.supervisor("balena_supervisor")
    left.leave(Inventory())
    assert left.containers() == {"balena_supervisor": "running"}


def test_a_supervisor_without_a_container_keeps_nothing_for_itself(left: Left) -> None:
    left.start()
    left.container("tool")
    left.leave(Inventory())
    assert left.containers() == {}
    assert left.others() == ([], [], [])

"""A managed device goes into local mode and comes back: what stays, what goes, on a real engine of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from balena_supervisor.db.config_store import ConfigStore
from balena_supervisor.db.connection import open_database
from balena_supervisor.db.key_store import KeyStore
from balena_supervisor.db.snapshot_store import SnapshotStore
from balena_supervisor.db.target_store import TargetStore
from balena_supervisor.migrations.runner import migrate
from balena_supervisor.model.lock import lock_folder
from balena_supervisor.state.target_v3 import decode_v3
from tests.integration.conftest import TestedSupervisor
from tests.integration.own_engine import OwnEngine, own_engine
from tests.integration.targets import target
from tests.runtime.toy_supervisor import wait_until
from tools.dev_parts.registry import free_port

pytestmark = [pytest.mark.engine, pytest.mark.root]
ENDPOINT = "https://127.0.0.1:9"
UUID = "d00dfeed" * 4
APP_UUID = "c0de" * 8
CLOUD, LOCAL = 77001, 77002


@dataclass
class Managed:
    """A device of a cloud that nobody asks: its targets are put into the database while the supervisor stands."""

    supervisor: TestedSupervisor
    engine: OwnEngine
    client: docker.APIClient

    @property
    def database(self) -> Path:
        return self.supervisor.folder / "database.sqlite"

    def prepare(self) -> None:
        boot = self.supervisor.folder / "boot"
        boot.mkdir(parents=True)
        values = {"apiEndpoint": ENDPOINT, "uuid": UUID, "deviceApiKey": "k", "deviceId": 5, "registered_at": 1}
        (boot / "config.json").write_text(json.dumps(values))
        migrate(self.database, boot / "config.json")
        self.supervisor.api.key = KeyStore(open_database(self.database)).global_key()

    def cloud_target(self, image: str, release: str) -> None:
        service = {"image": image, "image_id": 1, "id": 1, "environment": {}, "labels": {}}
        service["composition"] = {"volumes": ["data:/data"]}
        releases = {release: {"id": 1, "services": {"web": service}, "volumes": {"data": {}}, "networks": {}}}
        app = {"id": CLOUD, "name": "cloud", "class": "fleet", "is_host": False, "releases": releases}
        body = {UUID: {"name": "device", "config": {}, "apps": {APP_UUID: app}}}
        parsed = decode_v3(body, uuid=UUID, source=ENDPOINT)
        TargetStore(open_database(self.database)).save(parsed, ENDPOINT)

    def mode(self, *, local: bool) -> None:
        ConfigStore(open_database(self.database)).set({"localMode": "true" if local else "false"})

    def services(self) -> dict[str, str]:
        """Service -> state of every container on the engine."""
        rows = self.client.containers(all=True)
        return {row["Labels"].get("io.balena.service-name", row["Names"][0].strip("/")): row["State"] for row in rows}

    def volumes(self) -> set[str]:
        return {volume["Name"] for volume in self.client.volumes()["Volumes"] or []}

    def tags(self) -> set[str]:
        return {tag for image in self.client.images() for tag in image["RepoTags"] or []}

    def networks(self) -> set[str]:
        return {network["Name"] for network in self.client.networks()} - {"bridge", "host", "none", "supervisor0"}

    def in_volume(self, command: str) -> str:
        (row,) = self.client.containers(filters={"label": "io.balena.service-name=web"})
        started = self.client.exec_create(row["Id"], ["/bin/busybox", "sh", "-c", command])
        output: bytes = self.client.exec_start(started["Id"])
        return output.decode().strip()


@pytest.fixture(scope="module")
def engine_of_its_own() -> Iterator[OwnEngine]:
    with own_engine() as made:
        yield made


@pytest.fixture
def managed(engine_of_its_own: OwnEngine, tmp_path: Path, run_dir: Path) -> Iterator[Managed]:
    """Without an instance, as on a device: images have no label to be told apart by."""
    engine = engine_of_its_own
    supervisor = TestedSupervisor(
        tmp_path / "supervisor", run_dir, engine_url=engine.url, instance="", port=free_port()
    )
    client = docker.APIClient(base_url=engine.url, timeout=60)
    made = Managed(supervisor, engine, client)
    made.prepare()
    yield made
    supervisor.stop()
    print(supervisor.program.tail(3000))  # noqa: T201  # shown when the test fails
    client.close()
    for app_id in (CLOUD, LOCAL):
        shutil.rmtree(Path(lock_folder("")) / str(app_id), ignore_errors=True)


def test_into_local_mode_and_back(managed: Managed) -> None:
    """Images and volumes of the cloud's app survive; what local mode has made goes, and nothing else."""
    engine, supervisor = managed.engine, managed.supervisor
    cloud_image, local_image = engine.image("cloud"), engine.image("local")
    managed.cloud_target(cloud_image, "r1")
    supervisor.start()
    supervisor.wait_until_running("web")
    managed.in_volume("echo kept > /data/file")
    managed.client.create_volume("somebody_elses")
    stranger = managed.client.create_container(cloud_image, ["/bin/busybox", "sleep", "1000"], name="stranger")
    managed.client.start(stranger)
    idle = managed.client.create_container(cloud_image, ["/bin/busybox", "true"], name="idle")
    supervisor.stop()

    managed.mode(local=True)
    supervisor.start()
    supervisor.post_target(
        target(LOCAL, {"tool": {"image": local_image, "volumes": ["own:/own"]}}, volumes={"own": {}})
    )
    supervisor.wait_until_running("tool")
    others = {"stranger": "running", "idle": "created"}
    assert managed.services() == {"tool": "running", **others}
    assert {f"{CLOUD}_data", f"{LOCAL}_own", "somebody_elses"} <= managed.volumes()
    assert {cloud_image, local_image} <= managed.tags()
    snapshot = SnapshotStore(open_database(managed.database)).load()
    assert snapshot is not None
    assert {stranger["Id"], idle["Id"]} <= set(snapshot.containers)
    supervisor.stop()

    managed.mode(local=False)
    supervisor.start()
    supervisor.wait_until_running("web")
    wait_until(lambda: managed.services() == {"web": "running", **others}, "the local app is gone")
    assert managed.in_volume("cat /data/file") == "kept"
    assert f"{LOCAL}_own" not in managed.volumes()
    assert {f"{CLOUD}_data", "somebody_elses"} <= managed.volumes()
    assert local_image not in managed.tags()
    assert cloud_image in managed.tags()
    assert managed.networks() == {f"{APP_UUID}_default"}
    database = open_database(managed.database)
    assert SnapshotStore(database).load() is None
    assert TargetStore(database).load("local").apps == ()
    for container in (stranger, idle):
        managed.client.remove_container(container, force=True)


def test_outside_local_mode_the_image_before_is_removed_after_an_update(managed: Managed) -> None:
    engine, supervisor = managed.engine, managed.supervisor
    first, second = engine.image("first"), engine.image("second")
    managed.cloud_target(first, "r1")
    supervisor.start()
    supervisor.wait_until_running("web")
    supervisor.stop()
    managed.cloud_target(second, "r2")
    supervisor.start()

    def updated(status: dict[str, Any]) -> bool:
        states = [container["status"] for container in status["containers"]]
        return status["appState"] == "applied" and status.get("release") == "r2" and states == ["Running"]

    supervisor.api.wait_until(updated)
    assert second in managed.tags()
    assert first not in managed.tags()

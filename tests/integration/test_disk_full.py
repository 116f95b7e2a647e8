"""The disk of the database is full: nothing that was accepted is lost, and all goes on by itself once there is room."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from balena_supervisor.db.ballast import Ballast
from tests.db.small_disk import SmallDisk, small_disk
from tests.integration.conftest import TestedSupervisor
from tests.integration.targets import target
from tests.integration.test_deaths import WAITS, actors
from tests.runtime.toy_supervisor import wait_until
from tools.dev_parts.samples import push_image
from tools.dev_parts.supervisor import Refused

pytestmark = [pytest.mark.engine, pytest.mark.root]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
def supervisor(stopped_supervisor: TestedSupervisor, disk: SmallDisk) -> TestedSupervisor:
    stopped_supervisor.start(environment(disk))
    return stopped_supervisor


def environment(disk: SmallDisk) -> dict[str, str]:
    return {"DATABASE_PATH": str(disk.database)}


def fill_until_refused(supervisor: TestedSupervisor, disk: SmallDisk, body: dict[str, Any]) -> Refused:
    """The log of the database may have some room left when the disk has none, and the ballast makes some."""
    for _ in range(200):
        disk.fill()
        try:
            supervisor.post_target(body)
        except Refused as error:
            assert not Ballast(disk.database).is_there()
            return error
    pytest.fail("targets are accepted although the disk is full")


def test_a_target_is_taken_on_a_full_disk_as_long_as_there_is_the_ballast(
    supervisor: TestedSupervisor, disk: SmallDisk, app_id: int, sample_image: str
) -> None:
    supervisor.post_target(target(app_id, {"main": {"image": sample_image}}))
    supervisor.wait_until_running("main")
    disk.fill()
    for number in range(200):
        supervisor.post_target(target(app_id, {f"s{number}": {"image": sample_image}}))
        if not Ballast(disk.database).is_there():
            break
    supervisor.wait_until_running(f"s{number}")


def test_a_target_that_cannot_be_stored_is_refused_and_changes_nothing(
    supervisor: TestedSupervisor, disk: SmallDisk, app_id: int, sample_image: str
) -> None:
    accepted = target(app_id, {"main": {"image": sample_image}})
    supervisor.post_target(accepted)
    before = supervisor.wait_until_running("main")
    refused = fill_until_refused(supervisor, disk, accepted)
    assert refused.status == 503
    assert "database or disk is full" in refused.text
    wanted = target(app_id, {"main": {"image": sample_image}, "more": {"image": sample_image}}, release="next")
    shown = supervisor.api.get("/v2/local/target-state")
    with pytest.raises(Refused):
        supervisor.post_target(wanted)
    assert supervisor.api.get("/v2/local/target-state") == shown
    after = supervisor.wait_until_running("main")
    assert after["containers"] == before["containers"]
    disk.free()
    supervisor.post_target(wanted)
    supervisor.wait_until_running("main", "more")


def test_an_accepted_target_survives_and_is_brought_about_once_there_is_room(
    supervisor: TestedSupervisor, engine: docker.APIClient, disk: SmallDisk, app_id: int, registry: str
) -> None:
    name = f"{registry}/test/{uuid.uuid4().hex}:1"
    accepted = target(app_id, {"main": {"image": name}})
    supervisor.post_target(accepted)
    supervisor.api.wait_until(lambda status: any("failed" in entry["reason"] for entry in status["waiting"]))
    fill_until_refused(supervisor, disk, accepted)
    push_image(engine, name, WAITS)
    supervisor.api.wait_until(
        lambda status: any("database or disk is full" in entry["reason"] for entry in status["waiting"])
    )
    for actor in ("target-state", "planner", "images"):
        pid = actors(supervisor)[actor]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: actors(supervisor)[actor]["pid"] not in {0, pid}, f"{actor} is back")  # noqa: B023
    supervisor.api.get("/v1/healthy")
    disk.free()
    supervisor.wait_until_running("main")
    engine.remove_image(name, force=True)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_start_on_a_full_disk_shows_the_state_and_says_why_no_target_is_taken(
    supervisor: TestedSupervisor, disk: SmallDisk, app_id: int, sample_image: str, how: str
) -> None:
    wanted = target(app_id, {"main": {"image": sample_image}})
    supervisor.post_target(wanted)
    before = supervisor.wait_until_running("main")
    if how == "killed":
        os.kill(actors(supervisor)["nursery"]["pid"], signal.SIGKILL)
        wait_until(lambda: not supervisor.api.pings(), "it is dead")
    supervisor.stop()
    disk.fill()

    supervisor.start(environment(disk))
    after = supervisor.wait_until_running("main")
    assert after["containers"] == before["containers"]
    assert "the disk is full" in supervisor.program.tail(100_000)
    supervisor.api.get("/v1/healthy")
    refused = fill_until_refused(supervisor, disk, wanted)
    assert (refused.status, "database or disk is full" in refused.text) == (503, True)
    restarts = {name: actor["restarts"] for name, actor in actors(supervisor).items() if actor["restarts"]}
    assert restarts == {}
    disk.free()
    supervisor.post_target(target(app_id, {"main": {"image": sample_image}, "more": {"image": sample_image}}))
    supervisor.wait_until_running("main", "more")

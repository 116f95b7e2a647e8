"""The database is damaged or gone: containers run on, and the same target, posted again, touches none of them."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration import test_deaths
from tests.integration.conftest import MakeImage, TestedSupervisor
from tests.integration.targets import commit_of, target
from tests.integration.test_app import containers
from tests.integration.test_deaths import WAITS, running_pid
from tests.migrations.damage import DAMAGES, in_one_file, overwrite
from tests.runtime.toy_supervisor import wait_until
from tools.dev_parts.supervisor import Refused

pytestmark = pytest.mark.engine

USES_API = {"io.balena.features.supervisor-api": "1"}


def gone(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@dataclass(frozen=True)
class Site(test_deaths.Site):
    """And its database."""

    @property
    def database(self) -> Path:
        return self.supervisor.folder / "database.sqlite"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(sql).fetchall()

    def lives(self) -> dict[str, tuple[str, str, int]]:
        """What changes when a container is touched."""
        found = containers(self.engine, self.instance)
        return {name: (one["Id"], one["State"]["StartedAt"], one["State"]["Pid"]) for name, one in found.items()}

    def key(self) -> str:
        environment = containers(self.engine, self.instance)["web"]["Config"]["Env"]
        names = (line.partition("=") for line in environment)
        return next(str(value) for name, _, value in names if name == "BALENA_SUPERVISOR_API_KEY")

    def has_all_back(self) -> bool:
        return self.rows("SELECT 1 FROM config WHERE key LIKE 'rebuild%'") == []


@pytest.fixture
def site(supervisor: TestedSupervisor, engine: docker.APIClient, instance: str, app_id: int) -> Site:
    return Site(supervisor, engine, instance, app_id)


def shop(app_id: int, image: str) -> dict[str, Any]:
    services: dict[str, dict[str, Any]] = {
        "db": {"image": image, "volumes": ["data:/data"]},
        "web": {"image": image, "labels": USES_API, "depends_on": ["db"], "networks": ["front", "default"]},
        "job": {"image": image, "running": False, "labels": USES_API},
    }
    return target(app_id, services, volumes={"data": {}}, networks={"front": {}})


def running(status: dict[str, Any]) -> bool:
    states = {container["serviceName"]: container["status"] for container in status["containers"]}
    return status["appState"] == "applied" and {"db": "Running", "web": "Running"}.items() <= states.items()


def waits_for_a_target(status: dict[str, Any]) -> bool:
    return any("there is no target yet" in entry["reason"] for entry in status["waiting"])


@pytest.mark.parametrize("damage", [*DAMAGES.values(), gone, emptied])
def test_after_any_damage_the_same_target_touches_no_container(
    site: Site, make_image: MakeImage, damage: Callable[[Path], None]
) -> None:
    supervisor, app_id = site.supervisor, site.app_id
    body = shop(app_id, make_image(WAITS))
    supervisor.post_target(body)
    supervisor.api.wait_until(running)
    before, key = site.lives(), site.key()
    stored = "SELECT appId, serviceName, key FROM apiSecret WHERE appId > 0 ORDER BY serviceName"
    keys = site.rows(stored)
    supervisor.stop()
    in_one_file(site.database)
    damage(site.database)

    supervisor.start()
    wait_until(site.has_all_back, "keys, images and releases are taken back")
    assert (app_id, "web", key) in site.rows(stored)
    assert site.rows("SELECT appId, `commit` FROM currentCommit") == [(app_id, commit_of(app_id))]
    assert {name for (name,) in site.rows("SELECT serviceName FROM image")} >= {"db", "web"}
    status = supervisor.api.wait_until(lambda status: waits_for_a_target(status) and len(status["containers"]) == 3)
    assert status["decisions"] == []
    moved = "moved to database.sqlite.damaged-" in str(status["waiting"])
    assert moved or damage in {gone, emptied}
    assert site.lives() == before

    supervisor.post_target(body)
    status = supervisor.api.wait_until(running)
    assert site.lives() == before
    assert all(decision["step"].startswith("register image") for decision in status["decisions"])
    assert site.rows(stored) == keys
    assert site.rows("SELECT 1 FROM config WHERE key = 'targetLost'") == []


def test_damage_found_while_running_is_refused_and_repaired_without_touching_a_container(
    site: Site, sample_image: str
) -> None:
    supervisor = site.supervisor
    body = target(site.app_id, {"web": {"image": sample_image, "labels": USES_API}})
    supervisor.post_target(body)
    supervisor.wait_until_running("web")
    before = site.lives()
    with closing(sqlite3.connect(site.database)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    overwrite(site.database, 100, b"\xff" * (site.database.stat().st_size - 100))

    refused = wait_until(lambda: refusal(supervisor, body), "the damage is found")
    assert refused.status == 503
    supervisor.api.wait_until(waits_for_a_target)
    assert site.lives() == before
    wait_until(lambda: refusal(supervisor, body) is None, "a target is taken again")
    supervisor.wait_until_running("web")
    assert site.lives() == before
    assert any(".damaged-" in file.name for file in site.database.parent.iterdir())


def refusal(supervisor: TestedSupervisor, body: dict[str, Any]) -> Refused | None:
    """How the target was refused; None when it was taken. An API that is just starting again counts as 503."""
    try:
        supervisor.post_target(body)
    except Refused as error:
        return error
    except OSError as error:
        return Refused(503, str(error))
    return None


@pytest.mark.parametrize("victim", ["target-state", "planner", "images", "root"])
def test_whoever_is_killed_while_all_is_taken_back_it_ends_the_same(site: Site, sample_image: str, victim: str) -> None:
    supervisor = site.supervisor
    body = target(site.app_id, {"web": {"image": sample_image, "labels": USES_API}})
    supervisor.post_target(body)
    supervisor.wait_until_running("web")
    before = site.lives()
    supervisor.stop()
    gone(site.database)
    supervisor.start()
    os.kill(running_pid(supervisor, victim), signal.SIGKILL)
    wait_until(lambda: refusal(supervisor, body) is None, "the target is taken")
    supervisor.wait_until_running("web")
    assert site.lives() == before
    assert site.has_all_back()

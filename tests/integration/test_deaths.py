"""Whatever is killed, whenever: the device ends up where the target says, and app containers run on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.integration.conftest import MakeImage, TestedSupervisor
from tests.integration.targets import commit_of, target
from tests.integration.test_app import containers
from tests.runtime.toy_supervisor import alive, wait_until
from tools.dev_parts.supervisor import RUN, Refused, Supervisor

pytestmark = pytest.mark.engine

WAITS = 'trap "exit 0" TERM; while :; do sleep 1000 & wait; done'


def actors(supervisor: Supervisor) -> dict[str, dict[str, Any]]:
    return {actor["name"]: actor for actor in supervisor.api.get("/debug/actors")["actors"]}


def running_pid(supervisor: Supervisor, name: str) -> int:
    """The process of an actor, once it runs: one that is down has none to kill."""

    def pid() -> int:
        found = actors(supervisor)[name]
        return int(found["pid"]) if found["state"] == "running" else 0

    return wait_until(pid, f"{name} runs")


def update(app_id: int, image: str, number: int) -> dict[str, Any]:
    """A release of three services that differs in everything from the one before."""
    changed = {"RELEASE": str(number)}
    services = {
        "db": {"image": image, "environment": changed, "volumes": ["data:/data"], "networks": ["front"]},
        "web": {"image": image, "environment": changed, "depends_on": ["db"], "networks": ["front"]},
        "job": {"image": image, "environment": changed, "networks": [f"net{number}"]},
    }
    networks: dict[str, Any] = {"front": {}, f"net{number}": {}}
    return target(app_id, services, volumes={"data": {}}, networks=networks, release=f"release{number}")


def is_on(engine: docker.APIClient, instance: str, number: int) -> None:
    """Exactly the three containers and the networks of the release, no matter what happened on the way."""
    label = {"label": f"io.balena.supervisor.instance={instance}"}
    found = containers(engine, instance)
    assert len(engine.containers(all=True, filters=label)) == 3
    assert {name: entry["State"]["Running"] for name, entry in found.items()} == {"db": True, "web": True, "job": True}
    assert all(f"RELEASE={number}" in entry["Config"]["Env"] for entry in found.values())
    names = sorted(network["Name"].partition("_")[2] for network in engine.networks(filters=label))
    assert names == ["default", "front", f"net{number}"]


@dataclass(frozen=True)
class Site:
    """A supervisor with all that a test needs to look at what it does."""

    supervisor: TestedSupervisor
    engine: docker.APIClient
    instance: str
    app_id: int


@pytest.fixture
def site(supervisor: TestedSupervisor, engine: docker.APIClient, instance: str, app_id: int) -> Site:
    return Site(supervisor, engine, instance, app_id)


def wait_for_release(site: Site, number: int) -> None:
    commit = commit_of(site.app_id, f"release{number}")

    def settled(status: dict[str, Any]) -> bool:
        states = [container["status"] for container in status["containers"]]
        on_release = status.get("release") == commit
        return status["appState"] == "applied" and on_release and states == ["Running"] * 3

    site.supervisor.api.wait_until(settled, timeout_s=60)


def wait_for_step(supervisor: TestedSupervisor, known: int, verb: str) -> None:
    """Until a step that begins with the verb was sent, or there is none in this update."""

    def begun(status: dict[str, Any]) -> bool:
        fresh = [decision["step"] for decision in status["decisions"] if decision["number"] > known]
        return any(step.startswith(verb) for step in fresh) or status["appState"] == "applied"

    supervisor.api.wait_until(begun)


def test_an_arbiter_killed_in_the_middle_of_an_update_changes_nothing_in_the_outcome(
    site: Site, make_image: MakeImage
) -> None:
    """Of all others that may die in an update, ``test_kills_in_update.py`` sees to it at each step."""
    supervisor = site.supervisor
    images = [make_image(WAITS) for _ in range(2)]
    supervisor.post_target(update(site.app_id, images[0], 1))
    supervisor.wait_until_running("db", "web", "job", timeout_s=60)
    for number, verb in ((2, "kill"), (3, "pull"), (4, "start")):
        known = max((d["number"] for d in supervisor.api.status()["decisions"]), default=0)
        pid = running_pid(supervisor, "http-arbiter")
        supervisor.post_target(update(site.app_id, images[number % 2], number))
        wait_for_step(supervisor, known, verb)
        os.kill(pid, signal.SIGKILL)
        wait_for_release(site, number)
        is_on(site.engine, site.instance, number)
        running_pid(supervisor, "http-arbiter")


def test_without_its_nursery_nothing_survives_and_a_new_start_takes_the_containers_over(
    supervisor: TestedSupervisor, engine: docker.APIClient, instance: str, app_id: int, sample_image: str
) -> None:
    supervisor.post_target(target(app_id, {"main": {"image": sample_image}}))
    supervisor.wait_until_running("main")
    before = containers(engine, instance)["main"]
    pids = [actor["pid"] for actor in actors(supervisor).values()]
    os.kill(running_pid(supervisor, "nursery"), signal.SIGKILL)
    wait_until(lambda: not any(map(alive, pids)), "all processes are gone", timeout_s=5)
    supervisor.stop()
    supervisor.start()
    supervisor.wait_until_running("main")
    after = containers(engine, instance)["main"]
    assert (after["Id"], after["State"]) == (before["Id"], before["State"])


def test_a_planner_that_cannot_start_shows_why_and_the_rest_works(supervisor: TestedSupervisor) -> None:
    database = supervisor.folder / "database.sqlite"
    pid = running_pid(supervisor, "planner")
    database.rename(supervisor.folder / "aside")
    os.kill(pid, signal.SIGKILL)

    def refused() -> bool:
        found = actors(supervisor)["planner"]
        return found["state"] == "back-off" and "cannot open the database" in found["problem"]

    wait_until(refused, "the reason")
    with pytest.raises(Refused, match="500 Unhealthy"):
        supervisor.api.get("/v1/healthy")
    others = {name: actor["state"] for name, actor in actors(supervisor).items() if name != "planner"}
    assert set(others.values()) == {"running"}
    assert supervisor.api.pings()
    (supervisor.folder / "aside").rename(database)
    running_pid(supervisor, "planner")
    assert supervisor.api.get("/v1/healthy") == "OK"


def test_a_second_supervisor_on_one_database_waits_and_says_so(
    supervisor: TestedSupervisor, engine_url: str, instance: str, run_dir: Path
) -> None:
    second = Supervisor(supervisor.folder, run_dir, engine_url=engine_url, instance=instance, port=1)
    process = subprocess.Popen(RUN, env=second._environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "another supervisor holds" in line
        assert process.poll() is None
        assert supervisor.api.pings()
    finally:
        process.terminate()
        process.wait(10)


def test_sigterm_with_open_connections_and_a_pull_under_way_ends_in_five_seconds(
    site: Site, sample_image: str, make_image: MakeImage
) -> None:
    supervisor, app_id = site.supervisor, site.app_id
    supervisor.post_target(target(app_id, {"main": {"image": sample_image}}))
    supervisor.wait_until_running("main")
    large = make_image("# " + os.urandom(40_000_000).hex())
    port = int(supervisor.api.url.rpartition(":")[2])
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    for connection in connections:
        connection.sendall(b"GET /v2/state/status HTTP/1.1\r\nHost: x\r\n\r\n")
    supervisor.post_target(target(app_id, {"main": {"image": sample_image}, "large": {"image": large}}))
    supervisor.api.wait_until(lambda status: any("pull" in d["step"] for d in status["decisions"][3:]))
    pids = [actor["pid"] for actor in actors(supervisor).values()]
    os.kill(running_pid(supervisor, "nursery"), signal.SIGTERM)
    wait_until(lambda: not any(map(alive, pids)), "all processes are gone", timeout_s=5)
    child = supervisor.program._child
    assert child is not None
    assert child.wait(5) == 143
    assert containers(site.engine, site.instance)["main"]["State"]["Running"]
    for connection in connections:
        connection.close()

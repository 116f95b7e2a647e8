"""The engine goes away in the middle of things and comes back: the app is put right and nothing is there twice."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import TestedSupervisor
from tests.integration.own_engine import OwnEngine, expect_each_once, leave_nothing, own_engine
from tests.integration.targets import runs, target
from tests.integration.test_deaths import running_pid
from tools.dev_parts import labelled
from tools.dev_parts.registry import free_port

pytestmark = [pytest.mark.engine, pytest.mark.root]
STOPPED_OR_KILLED = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
_SLOW_STOP = ["/bin/sh", "-c", 'trap "sleep 2; exit 0" TERM; while :; do sleep 1000 & wait; done']
_APP = 77001


@dataclass(frozen=True)
class Site:
    supervisor: TestedSupervisor
    engine: OwnEngine

    def wait_until(self, condition: Callable[[dict[str, Any]], bool], timeout_s: float = 60) -> dict[str, Any]:
        """Until the condition holds of the status; all the time the supervisor must count as healthy."""

        def healthy_and(status: dict[str, Any]) -> bool:
            self.supervisor.api.get("/v1/healthy")
            return condition(status)

        return self.supervisor.api.wait_until(healthy_and, timeout_s)

    def wait_until_running(self, *services: str) -> None:
        self.wait_until(lambda status: runs(status, *services))
        expect_each_once(self.engine.url, "away", services)

    def leave_and_come_back(self, number: signal.Signals) -> None:
        """End the engine, wait until the reason is shown, and start it again."""
        self.engine.end(number)
        self.wait_until(lambda status: any("the engine at" in entry["reason"] for entry in status["waiting"]))
        self.engine.start()

    def wait_for_decision(self, text: str, outcome: str = "running") -> None:
        self.wait_until(lambda status: any(text in d["step"] and d["outcome"] == outcome for d in status["decisions"]))

    def ids(self) -> set[str]:
        return {container["containerId"] for container in self.supervisor.api.status()["containers"]}


@pytest.fixture(scope="module")
def engine_of_our_own() -> Iterator[OwnEngine]:
    with own_engine() as made:
        yield made


@pytest.fixture(scope="module")
def image(engine_of_our_own: OwnEngine) -> str:
    return engine_of_our_own.image("small")


@pytest.fixture
def site(engine_of_our_own: OwnEngine, tmp_path: Path, run_dir: Path) -> Iterator[Site]:
    tested = TestedSupervisor(
        tmp_path / "supervisor", run_dir, engine_url=engine_of_our_own.url, instance="away", port=free_port()
    )
    engine_of_our_own.start()
    tested.start()
    yield Site(tested, engine_of_our_own)
    leave_nothing(engine_of_our_own, tested)
    labelled.remove_lock_folders("away")
    lines = tested.program.tail(2000).splitlines()
    sys.stdout.write("\n".join(line for line in lines if "GET /v" not in line))


@STOPPED_OR_KILLED
def test_an_idle_device_says_why_and_goes_on_with_the_same_containers(
    site: Site, image: str, number: signal.Signals
) -> None:
    site.supervisor.post_target(target(_APP, {"one": {"image": image}, "two": {"image": image}}))
    site.wait_until_running("one", "two")
    before = site.ids()
    site.leave_and_come_back(number)
    site.wait_until_running("one", "two")
    assert site.ids() == before


@STOPPED_OR_KILLED
def test_a_pull_is_begun_again(site: Site, number: signal.Signals) -> None:
    large = site.engine.image(f"large-{number.value}", size=60_000_000)
    site.supervisor.post_target(target(_APP, {"one": {"image": large}}))
    site.wait_for_decision("pull")
    site.leave_and_come_back(number)
    site.wait_until_running("one")


@STOPPED_OR_KILLED
def test_services_that_were_being_created_are_there_once(site: Site, image: str, number: signal.Signals) -> None:
    names = [f"s{index}" for index in range(12)]
    networks: dict[str, Any] = {"front": {}, "back": {}}
    services = {name: {"image": image, "networks": ["front", "back"]} for name in names}
    site.supervisor.post_target(target(_APP, {"one": {"image": image}}))
    site.wait_until_running("one")
    site.supervisor.post_target(target(_APP, services, networks=networks))
    site.wait_for_decision("start s", outcome="done")
    site.leave_and_come_back(number)
    site.wait_until_running(*names)


@STOPPED_OR_KILLED
def test_services_that_were_being_stopped_are_replaced(site: Site, image: str, number: signal.Signals) -> None:
    services: dict[str, dict[str, Any]] = {name: {"image": image, "command": _SLOW_STOP} for name in ("one", "two")}
    site.supervisor.post_target(target(_APP, services))
    site.wait_until_running("one", "two")
    before = site.ids()
    for fields in services.values():
        fields["environment"] = {"A": "1"}
    site.supervisor.post_target(target(_APP, services))
    site.wait_for_decision("kill")
    site.leave_and_come_back(number)
    site.wait_until_running("one", "two")
    assert not before & site.ids()


def test_an_engine_that_comes_after_the_supervisor_is_used_at_once(site: Site, image: str) -> None:
    site.engine.end(signal.SIGTERM)
    site.supervisor.stop()
    site.supervisor.start()
    site.supervisor.post_target(target(_APP, {"one": {"image": image}}))
    site.wait_until(lambda status: any("the engine at" in entry["reason"] for entry in status["waiting"]))
    site.engine.start()
    site.wait_until_running("one")


def test_a_lost_database_is_made_good_when_the_engine_comes_back_whoever_dies_meanwhile(site: Site, image: str) -> None:
    supervisor = site.supervisor
    body = target(_APP, {"one": {"image": image, "labels": {"io.balena.features.supervisor-api": "1"}}})
    supervisor.post_target(body)
    site.wait_until_running("one")
    before = site.ids()
    supervisor.stop()
    site.engine.end(signal.SIGKILL)
    (supervisor.folder / "database.sqlite").unlink()
    supervisor.start()
    supervisor.post_target(body)
    site.wait_until(lambda status: any("the engine at" in entry["reason"] for entry in status["waiting"]))
    for victim in ("target-state", "images", "planner"):
        os.kill(running_pid(supervisor, victim), signal.SIGKILL)
    site.engine.start()
    supervisor.api.wait_until(lambda status: runs(status, "one"), 60)
    assert site.ids() == before

"""A pull goes on whoever dies meanwhile, and only what nobody wants any more is given up."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import docker
import pytest

from balena_supervisor.actors.images import Images
from balena_supervisor.messages import ImagesChanged
from balena_supervisor.steps import PullImage, StepFailed
from tests.integration.conftest import TestedSupervisor
from tests.integration.slow_registry import SlowRegistry, slow_registry
from tests.integration.targets import target
from tests.integration.test_deaths import actors, running_pid
from tests.integration.test_workers import ref
from tests.integration.workers import Workers
from tests.integration.workshop import Workshop
from tests.runtime.toy_supervisor import wait_until

pytestmark = pytest.mark.engine


@pytest.fixture
def slow(registry: str) -> Iterator[SlowRegistry]:
    with slow_registry(registry) as made:
        yield made


class MakeSlow(Protocol):
    def __call__(self, *, drips: bool = False) -> str: ...


@pytest.fixture
def make_slow(engine: docker.APIClient, slow: SlowRegistry, instance: str) -> Iterator[MakeSlow]:
    """Makes images in the slow registry, which leave the engine at the end."""
    made: list[str] = []

    def make(*, drips: bool = False) -> str:
        made.append(slow.image(engine, instance, drips=drips))
        return made[-1]

    yield make
    slow.let_go()
    for name in made:
        with suppress(docker.errors.NotFound):
            engine.remove_image(name, force=True)


def downloading(status: dict[str, Any]) -> set[str]:
    return {image["name"] for image in status["images"] if image["status"] == "Downloading"}


def kill(supervisor: TestedSupervisor, victim: str) -> None:
    """Until another one is there in its place."""
    pid = running_pid(supervisor, victim)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: actors(supervisor)[victim]["pid"] not in {0, pid}, f"{victim} is back")


@pytest.mark.parametrize("victim", ["http", "planner", "target-state"])
def test_a_pull_goes_on_when_somebody_else_dies(
    supervisor: TestedSupervisor, make_slow: MakeSlow, slow: SlowRegistry, app_id: int, victim: str
) -> None:
    name = make_slow()
    supervisor.post_target(target(app_id, {"main": {"image": name}}))
    slow.wait_until_half_sent(name)
    kill(supervisor, victim)
    supervisor.api.wait_until(lambda status: downloading(status) == {name})
    slow.let_go()
    supervisor.wait_until_running("main")
    assert slow.fetches(name) == 1


def test_a_pull_whose_actor_dies_is_taken_up_by_the_next_one(
    supervisor: TestedSupervisor, make_slow: MakeSlow, slow: SlowRegistry, app_id: int
) -> None:
    name = make_slow()
    supervisor.post_target(target(app_id, {"main": {"image": name}}))
    slow.wait_until_half_sent(name)
    kill(supervisor, "images")
    supervisor.api.wait_until(lambda status: downloading(status) == {name})
    slow.let_go()
    supervisor.wait_until_running("main")


def test_a_new_target_gives_up_only_the_pulls_that_it_does_not_need(
    supervisor: TestedSupervisor, make_slow: MakeSlow, slow: SlowRegistry, app_id: int
) -> None:
    kept, left, new = (make_slow(drips=True) for _ in range(3))
    supervisor.post_target(target(app_id, {"kept": {"image": kept}, "left": {"image": left}}))
    for name in (kept, left):
        slow.wait_until_half_sent(name)
    supervisor.post_target(target(app_id, {"kept": {"image": kept}, "new": {"image": new}}, release="next"))
    slow.wait_until_left(left)
    slow.wait_until_half_sent(new)
    supervisor.api.wait_until(lambda status: downloading(status) == {kept, new})
    slow.let_go()
    supervisor.wait_until_running("kept", "new")
    assert [slow.fetches(name) for name in (kept, left, new)] == [1, 1, 1]


@pytest.fixture
def in_process(engine_url: str, registry: str, tmp_path: Path) -> Iterator[Workers]:
    workshop = Workshop(engine_url, registry)
    made = Workers(workshop, tmp_path)
    yield made
    made.stop()
    workshop.clean_up()


def test_a_pull_without_a_byte_for_too_long_fails_and_can_be_begun_again(
    in_process: Workers, make_slow: MakeSlow, slow: SlowRegistry
) -> None:
    name = make_slow()
    images = in_process.start(Images, ImagesChanged, stall_s=3.0)
    step = PullImage(ref=ref(in_process.workshop, name))
    (failed,) = in_process.carry_out(images, step)
    assert isinstance(failed, StepFailed)
    assert failed.error.message == f"cannot pull image {name}: no progress within 3 s"
    slow.let_go()
    in_process.done(images, step)
    assert slow.fetches(name) == 2

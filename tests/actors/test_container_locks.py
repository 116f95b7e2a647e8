"""Update locks as the containers actor takes them, on a simulated engine and real files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from balena_supervisor.adapters.lock_files import NAMES
from balena_supervisor.messages import ContainersChanged
from balena_supervisor.model.service import Service
from balena_supervisor.steps import (
    ReleaseLocks,
    StartService,
    StepDone,
    StepFailed,
    StopService,
    TakeLocks,
    WithdrawSteps,
)
from tests.actors.worker_bench import APP_ID, WorkerBench, bench, service

pytestmark = pytest.mark.root

TAKE = TakeLocks(app_id=APP_ID, services=("main", "side"))
HELD = {APP_ID: ("main", "side")}


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[WorkerBench]:
    with bench(tmp_path) as made:
        yield made


@pytest.fixture
def main(containers: WorkerBench) -> Service:
    return service(containers.engine.add_image("a.io/x:1"))


def shown(containers: WorkerBench) -> dict[int, tuple[str, ...]]:
    return by_app(containers.post.of(ContainersChanged)[-1])


def by_app(picture: ContainersChanged) -> dict[int, tuple[str, ...]]:
    return {lock.app_id: lock.services for lock in picture.locks}


def user_lock(containers: WorkerBench, name: str = "main") -> Path:
    path = containers.lock_folder / str(APP_ID) / name / "updates.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_locks_are_in_the_picture_before_their_step_is_done(containers: WorkerBench) -> None:
    containers.containers()
    done = containers.carry_out(TAKE)
    assert isinstance(done, StepDone)
    picture = next(event for event in containers.post.of(ContainersChanged) if event.seq == done.seen)
    assert by_app(picture) == HELD
    containers.done(TAKE)
    assert shown(containers) == HELD
    for _ in range(2):
        containers.done(ReleaseLocks(app_id=APP_ID))
        assert shown(containers) == {}
    assert [path for path in containers.lock_folder.rglob("*") if path.is_file()] == []


def test_own_locks_need_no_engine(containers: WorkerBench) -> None:
    containers.containers()
    containers.engine.die()
    containers.done(TAKE)
    containers.done(ReleaseLocks(app_id=APP_ID))


def test_a_lock_of_a_running_service_is_a_failed_step_that_names_it(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    containers.done(StartService(service=main))
    path = user_lock(containers)
    error = containers.failed(TAKE).error
    assert error.code == "locked"
    (lock,) = error.fields["locks"]
    where = "/host/services/77/main/updates.lock"
    assert (lock["app_id"], lock["service_name"], lock["path"]) == (APP_ID, "main", where)
    assert shown(containers) == {}
    path.unlink()
    containers.done(TAKE)
    assert shown(containers) == HELD


def test_a_lock_that_is_forced_is_taken(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    containers.done(StartService(service=main))
    user_lock(containers)
    containers.done(structs.replace(TAKE, force=True))
    assert shown(containers) == HELD


def test_a_lock_of_a_service_that_was_stopped_does_not_block(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    containers.done(StartService(service=main))
    (container,) = containers.post.of(ContainersChanged)[-1].containers
    containers.done(StopService(container=container))
    user_lock(containers)
    user_lock(containers, "side")
    containers.done(TAKE)
    assert shown(containers) == HELD


def test_whether_a_service_runs_is_asked_of_the_engine_and_not_of_the_picture(
    containers: WorkerBench, main: Service
) -> None:
    containers.containers()
    containers.engine.lose_events()
    containers.done(StartService(service=structs.replace(main, running=False)))
    containers.by_hand.start_container(main.container_name)
    assert [one.status for one in containers.post.of(ContainersChanged)[-1].containers] == ["Installed"]
    user_lock(containers)
    assert containers.failed(TAKE).error.code == "locked"


def test_an_engine_that_cannot_say_what_runs_keeps_the_lock_of_a_user(containers: WorkerBench) -> None:
    containers.containers()
    path = user_lock(containers)
    containers.engine.die()
    assert containers.failed(TAKE).error.code == "engine-unavailable"
    assert path.exists()
    assert shown(containers) == {}


def test_an_actor_that_was_restarted_knows_its_locks_and_drops_half_ones(containers: WorkerBench) -> None:
    containers.containers()
    containers.done(TAKE)
    containers.stop()
    (containers.lock_folder / str(APP_ID) / "side" / NAMES[1]).unlink()
    containers.containers(generation=2)
    assert shown(containers) == {APP_ID: ("main",)}
    assert list((containers.lock_folder / str(APP_ID) / "side").iterdir()) == []
    containers.done(ReleaseLocks(app_id=APP_ID))
    assert shown(containers) == {}


def test_a_place_for_locks_that_cannot_be_read_does_not_keep_the_actor_from_starting(
    containers: WorkerBench, main: Service
) -> None:
    containers.lock_folder.write_text("in the way")
    containers.containers()
    containers.done(StartService(service=main))
    assert "cannot lock app 77" in containers.failed(TAKE).error.message


def test_a_newer_target_withdraws_locks_that_wait_for_their_turn(containers: WorkerBench) -> None:
    containers.containers()
    user_lock(containers)
    hanging = containers.engine.hang("GET", "/containers/json$")
    first, second = containers.begin(TAKE), containers.begin(ReleaseLocks(app_id=APP_ID))
    hanging.wait_reached()
    containers.deliver(WithdrawSteps())
    outcome = containers.outcome(second)
    assert isinstance(outcome, StepFailed)
    assert outcome.error.code == "withdrawn"
    hanging.release()
    assert isinstance(containers.outcome(first), StepDone)
    assert shown(containers) == HELD

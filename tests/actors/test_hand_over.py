"""Hand-overs on a simulated engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from balena_supervisor.adapters.lock_files import HAND_OVER_NAMES
from balena_supervisor.messages import ContainersChanged
from balena_supervisor.model.service import Container, Healthcheck, Service
from balena_supervisor.model.state import StepId
from balena_supervisor.steps import HandOver, KillService, StartService, StepDone, StepFailed, WithdrawSteps
from tests.actors.worker_bench import APP_ID, WorkerBench, bench, service
from tests.fakes.engine.faults import Phase

CREATE, START, STOP = "^/containers/create$", "/start$", "/stop$"
OLD, ASIDE, NEW = "main_10_20_abc", "old_main_10_20_abc", "main_11_21_def"


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[WorkerBench]:
    with bench(tmp_path) as made:
        made.containers()
        yield made


@pytest.fixture
def image(containers: WorkerBench) -> str:
    return containers.engine.add_image("a.io/x:1")


@pytest.fixture
def old(containers: WorkerBench, image: str) -> Container:
    containers.done(StartService(service=service(image)))
    (container,) = last(containers).containers
    return container


@pytest.fixture
def new(image: str) -> Service:
    return newer(image)


def newer(image: str, **config: Any) -> Service:
    made = service(image, environment={"PATH": "/bin", "NEW": "1"}, **config)
    return structs.replace(made, image_id=11, release_id=21, commit="def")


def last(containers: WorkerBench) -> ContainersChanged:
    return containers.post.of(ContainersChanged)[-1]


def on_engine(containers: WorkerBench) -> dict[str, tuple[str, str]]:
    """Name -> state and restart policy."""
    return {
        name: (container.state.status, container.host_config["RestartPolicy"]["Name"])
        for name, container in containers.engine.containers.items()
    }


def signal(containers: WorkerBench, name: str = HAND_OVER_NAMES[0]) -> Path:
    path = containers.lock_folder / str(APP_ID) / "main" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def both_run(event: ContainersChanged) -> bool:
    return sorted((c.name, c.status) for c in event.containers) == [(NEW, "Running"), (ASIDE, "Running")]


def begun(containers: WorkerBench, step: HandOver) -> StepId:
    """Begin, until both run side by side."""
    number = containers.begin(step)
    containers.post.wait_for(ContainersChanged, both_run)
    return number


def ended(containers: WorkerBench, number: StepId, new: Service) -> None:
    outcome = containers.outcome(number)
    assert isinstance(outcome, StepDone), outcome
    assert on_engine(containers) == {new.container_name: ("running", "always")}
    assert [(c.name, c.status) for c in last(containers).containers] == [(new.container_name, "Running")]
    assert last(containers).tasks == ()


@pytest.mark.parametrize("name", HAND_OVER_NAMES)
def test_the_new_container_takes_over_by_a_file(
    containers: WorkerBench, old: Container, new: Service, name: str
) -> None:
    containers.engine.faults.clear_calls()
    number = begun(containers, HandOver(container=old, service=new, timeout_s=60))
    shown = containers.post.wait_for(ContainersChanged, lambda event: both_run(event) and bool(event.tasks))
    assert [(task.status, task.container_id) for task in shown.tasks] == [("Handing over", old.container_id)]
    assert on_engine(containers)[ASIDE] == ("running", "no")
    path = signal(containers, name)
    ended(containers, number, new)
    assert not path.exists()
    changes = [(c.method, c.path.rpartition("/")[2]) for c in containers.engine.calls if c.method != "GET"]
    order = ["update", "rename", "create", "start", "stop"]
    assert changes == [*(("POST", word) for word in order), ("DELETE", old.container_id)]


def test_a_file_that_was_there_before_the_new_container_does_not_count(
    containers: WorkerBench, old: Container, new: Service
) -> None:
    stale = [signal(containers, name) for name in HAND_OVER_NAMES]
    hanging = containers.engine.hang("POST", START)
    number = containers.begin(HandOver(container=old, service=new, timeout_s=60))
    hanging.wait_reached()
    assert [path.exists() for path in stale] == [False, False]
    hanging.release()
    containers.post.wait_for(ContainersChanged, both_run)
    assert containers.engine.calls_of("POST", STOP) == []
    signal(containers)
    ended(containers, number, new)


def test_a_healthy_new_container_takes_over(containers: WorkerBench, old: Container, image: str) -> None:
    new = newer(image, healthcheck=Healthcheck(test=("CMD", "/bin/true")))
    number = begun(containers, HandOver(container=old, service=new, timeout_s=60))
    containers.engine.health(NEW, "unhealthy")
    containers.post.wait_for(ContainersChanged, lambda event: "unhealthy" in [c.health for c in event.containers])
    assert containers.engine.calls_of("POST", STOP) == []
    containers.engine.health(NEW, "healthy")
    ended(containers, number, new)


def test_a_time_limit_counts_as_a_take_over(containers: WorkerBench, old: Container, new: Service) -> None:
    number = begun(containers, HandOver(container=old, service=new, timeout_s=60))
    containers.clock.jump_wall(366 * 86400)
    containers.clock.advance(59)
    for _ in range(2):  # the clock is looked at ten times between two looks at the containers
        hanging = containers.engine.hang("GET", f"/{old.container_id}/json$")
        hanging.wait_reached()
        hanging.release()
    assert containers.engine.calls_of("POST", STOP) == []
    containers.clock.advance(1)
    ended(containers, number, new)


def test_a_new_container_that_ends_is_removed_and_the_old_one_is_as_before(
    containers: WorkerBench, old: Container, image: str
) -> None:
    number = begun(containers, HandOver(container=old, service=newer(image, restart="no"), timeout_s=60))
    containers.engine.exit(NEW, 3)
    outcome = containers.outcome(number)
    assert isinstance(outcome, StepFailed)
    assert outcome.error.message == "cannot hand over service main: the new container ended with exit code 3"
    assert on_engine(containers) == {OLD: ("running", "always")}
    assert [(c.name, c.status) for c in last(containers).containers] == [(OLD, "Running")]


def test_a_new_container_that_somebody_removes_fails_the_step(
    containers: WorkerBench, old: Container, new: Service
) -> None:
    number = begun(containers, HandOver(container=old, service=new, timeout_s=60))
    containers.by_hand.remove_container(NEW, force=True)
    outcome = containers.outcome(number)
    assert isinstance(outcome, StepFailed)
    assert outcome.error.message == "cannot hand over service main: the new container is gone"
    assert on_engine(containers) == {OLD: ("running", "always")}


def test_a_new_container_that_has_done_its_work_takes_over(containers: WorkerBench, old: Container, image: str) -> None:
    number = begun(containers, HandOver(container=old, service=newer(image, restart="no"), timeout_s=60))
    containers.engine.exit(NEW, 0)
    assert isinstance(containers.outcome(number), StepDone)
    assert on_engine(containers) == {NEW: ("exited", "no")}


def test_a_new_container_that_is_started_again_by_its_policy_is_waited_for(
    containers: WorkerBench, old: Container, new: Service
) -> None:
    number = begun(containers, HandOver(container=old, service=new, timeout_s=60))
    containers.engine.exit(NEW, 3)
    containers.post.wait_for(ContainersChanged, lambda event: 3 in [end.exit_code for end in event.exits])
    signal(containers)
    ended(containers, number, new)


@pytest.mark.parametrize("path", [CREATE, START])
def test_a_new_container_that_cannot_be_started_leaves_the_old_one_as_it_was(
    containers: WorkerBench, old: Container, new: Service, path: str
) -> None:
    containers.engine.fail("POST", path, message="port is already allocated")
    error = containers.failed(HandOver(container=old, service=new, timeout_s=60)).error
    assert "port is already allocated" in error.message
    assert on_engine(containers) == {OLD: ("running", "always")}
    assert [(c.name, c.status) for c in last(containers).containers] == [(OLD, "Running")]


def test_an_old_container_that_ended_meanwhile_is_started_again_when_the_new_one_cannot_be(
    containers: WorkerBench, old: Container, new: Service
) -> None:
    hanging = containers.engine.hang("POST", CREATE)
    number = containers.begin(HandOver(container=old, service=new, timeout_s=60))
    hanging.wait_reached()
    containers.engine.exit(ASIDE, 1)
    containers.engine.fail("POST", START)
    hanging.release()
    assert isinstance(containers.outcome(number), StepFailed)
    assert on_engine(containers) == {OLD: ("running", "always")}


def test_an_old_container_that_could_not_be_put_back_is_put_back_by_the_next_try(
    containers: WorkerBench, old: Container, new: Service
) -> None:
    containers.engine.fail("POST", "/update$", nth=2)
    containers.engine.fail("POST", "/rename$", nth=2)
    containers.engine.fail("POST", START, times=2)
    containers.failed(HandOver(container=old, service=new, timeout_s=60))
    assert on_engine(containers) == {ASIDE: ("running", "no")}
    (aside,) = last(containers).containers
    assert (aside.name, aside.config.restart) == (ASIDE, "no")
    again = HandOver(container=aside, service=new, timeout_s=0)
    containers.failed(again)
    assert on_engine(containers) == {OLD: ("running", "always")}
    ended(containers, containers.begin(again), new)


def test_releases_with_equal_names_are_handed_over_too(containers: WorkerBench, old: Container, image: str) -> None:
    new = service(image, environment={"PATH": "/bin", "NEW": "1"})
    assert new.container_name == OLD
    ended(containers, containers.begin(HandOver(container=old, service=new, timeout_s=0)), new)


def test_an_old_container_that_is_gone_is_not_waited_for(containers: WorkerBench, old: Container, new: Service) -> None:
    containers.done(KillService(container=old))
    ended(containers, containers.begin(HandOver(container=old, service=new, timeout_s=60)), new)


def test_a_newer_target_ends_the_wait_and_both_stay(containers: WorkerBench, old: Container, new: Service) -> None:
    number = begun(containers, HandOver(container=old, service=new, timeout_s=60))
    containers.deliver(WithdrawSteps())
    outcome = containers.outcome(number)
    assert isinstance(outcome, StepFailed)
    assert outcome.error.code == "withdrawn"
    assert on_engine(containers) == {ASIDE: ("running", "no"), NEW: ("running", "always")}
    assert both_run(last(containers))
    again = begun(containers, HandOver(container=old, service=new, timeout_s=60))
    signal(containers)
    ended(containers, again, new)


def test_a_newer_target_that_leaves_the_app_as_it_was_does_not_end_the_wait(
    containers: WorkerBench, old: Container, new: Service
) -> None:
    number = begun(containers, HandOver(container=old, service=new, timeout_s=60))
    containers.deliver(WithdrawSteps(unchanged=(APP_ID,)))
    signal(containers)
    ended(containers, number, new)


def test_a_restarted_actor_goes_on_with_a_hand_over_and_heeds_a_file_that_came_meanwhile(
    containers: WorkerBench, old: Container, new: Service
) -> None:
    step = HandOver(container=old, service=new, timeout_s=60)
    begun(containers, step)
    containers.stop()
    signal(containers)
    containers.containers(generation=2)
    ended(containers, containers.begin(step), new)


@pytest.mark.parametrize("call", [f"POST {STOP}", "DELETE /containers/"])
@pytest.mark.parametrize("phase", ["before", "after"])
def test_a_hand_over_that_was_cut_off_at_its_end_waits_for_no_second_file(
    containers: WorkerBench, old: Container, new: Service, call: str, phase: Phase
) -> None:
    step = HandOver(container=old, service=new, timeout_s=60)
    method, _, path = call.partition(" ")
    containers.engine.die_at(method, path, phase=phase)
    number = begun(containers, step)
    signal(containers)
    assert isinstance(containers.outcome(number), StepFailed)
    down = containers.post.wait_for(ContainersChanged, lambda event: not event.engine.up)
    containers.engine.revive()
    containers.post.wait_for(ContainersChanged, lambda event: event.engine.up and event.seq > down.seq)
    ended(containers, containers.begin(step), new)


CALLS = ["POST /update$", "POST /rename$", f"POST {CREATE}", f"POST {START}", f"POST {STOP}", "DELETE /containers/"]
PHASES: list[Phase] = ["before", "after"]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("call", CALLS)
def test_a_hand_over_that_was_cut_off_at_any_call_is_repeated(
    containers: WorkerBench, old: Container, new: Service, call: str, phase: Phase
) -> None:
    step = HandOver(container=old, service=new, timeout_s=0)
    method, _, path = call.partition(" ")
    containers.engine.die_at(method, path, phase=phase)
    assert containers.failed(step).error.code == "engine-unavailable"
    down = containers.post.wait_for(ContainersChanged, lambda event: not event.engine.up)
    containers.engine.revive()
    containers.post.wait_for(ContainersChanged, lambda event: event.engine.up and event.seq > down.seq)
    ended(containers, containers.begin(step), new)


def test_an_engine_that_is_away_for_a_while_does_not_end_the_wait(
    containers: WorkerBench, old: Container, new: Service
) -> None:
    number = begun(containers, HandOver(container=old, service=new, timeout_s=60))
    containers.engine.die()
    down = containers.post.wait_for(ContainersChanged, lambda event: not event.engine.up)
    containers.engine.revive()
    containers.post.wait_for(ContainersChanged, lambda event: event.engine.up and event.seq > down.seq)
    signal(containers)
    ended(containers, number, new)


def test_other_services_are_started_while_many_hand_overs_wait(containers: WorkerBench, image: str) -> None:
    names = [f"s{number}" for number in range(12)]
    olds = [service(image, name) for name in names]
    for one in olds:
        containers.done(StartService(service=one))
    running = {container.service_name: container for container in last(containers).containers}
    waiting = [
        containers.begin(
            HandOver(
                container=running[name],
                service=structs.replace(service(image, name, environment={"NEW": "1"}), commit="def"),
                timeout_s=60,
            )
        )
        for name in names
    ]
    containers.post.wait_for(
        ContainersChanged, lambda event: [c.status for c in event.containers].count("Running") == 2 * len(names)
    )
    containers.done(StartService(service=service(image, "other")))
    containers.clock.advance(60)
    assert all(isinstance(containers.outcome(number), StepDone) for number in waiting)
    assert len(containers.engine.containers) == len(names) + 1

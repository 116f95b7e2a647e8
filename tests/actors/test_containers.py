"""The containers actor on a simulated engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from balena_supervisor.messages import ContainersChanged, GetSeq
from balena_supervisor.model.service import Container, Service
from balena_supervisor.model.state import EngineLink
from balena_supervisor.state.create_body import create_body
from balena_supervisor.state.networks import network_body
from balena_supervisor.steps import (
    KillService,
    RemoveContainer,
    StartService,
    StepDone,
    StepFailed,
    StopService,
    UpdateMetadata,
    WithdrawSteps,
)
from tests.actors.worker_bench import WorkerBench, bench, network, service

CREATE, START, STOP = "^/containers/create$", "/start$", "/stop$"


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[WorkerBench]:
    with bench(tmp_path) as made:
        yield made


@pytest.fixture
def main(containers: WorkerBench) -> Service:
    return service(containers.engine.add_image("a.io/x:1"))


def last(containers: WorkerBench) -> ContainersChanged:
    return containers.post.of(ContainersChanged)[-1]


def present(containers: WorkerBench) -> dict[str, str]:
    return {container.name: container.status for container in last(containers).containers}


def only(containers: WorkerBench) -> Container:
    (container,) = last(containers).containers
    return container


def test_a_started_service_is_in_the_picture_before_its_step_is_done(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    done = containers.carry_out(StartService(service=main, device_name="name"))
    assert isinstance(done, StepDone)
    shown = next(event for event in containers.post.of(ContainersChanged) if event.seq == done.seen)
    assert [(one.name, one.status) for one in shown.containers] == [("main_10_20_abc", "Running")]
    assert shown.tasks == ()
    assert shown.busy == ()


def test_a_step_under_way_shows_as_busy_and_as_a_task(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    hanging = containers.engine.hang("POST", START)
    number = containers.begin(StartService(service=main))
    shown = containers.post.wait_for(
        ContainersChanged, lambda event: [task.status for task in event.tasks] == ["Starting"]
    )
    assert shown.busy == ("service:77:main",)
    hanging.release()
    assert isinstance(containers.outcome(number), StepDone)


def test_steps_that_have_not_begun_are_given_back_when_a_newer_target_comes(
    containers: WorkerBench, main: Service
) -> None:
    containers.containers()
    hanging = containers.engine.hang("POST", CREATE, times=8)
    numbers = [containers.begin(StartService(service=service(main.config.image, f"s{index}"))) for index in range(10)]
    hanging.wait_reached()
    containers.deliver(WithdrawSteps())
    for number in numbers[8:]:
        outcome = containers.outcome(number)
        assert isinstance(outcome, StepFailed)
        assert outcome.error.code == "withdrawn"
    hanging.release()
    for number in numbers[:8]:
        assert isinstance(containers.outcome(number), StepDone)
    assert len(present(containers)) == 8
    assert last(containers).busy == ()


def test_starting_again_uses_the_equal_container(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    containers.done(StartService(service=main))
    containers.done(StartService(service=main))
    assert len(containers.engine.calls_of("POST", CREATE)) == 1


def test_a_service_that_shall_not_run_is_only_created(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    containers.done(StartService(service=structs.replace(main, running=False)))
    assert present(containers) == {"main_10_20_abc": "Installed"}


def test_a_container_that_a_killed_predecessor_created_is_adopted(containers: WorkerBench, main: Service) -> None:
    containers.engine.lose_events()
    containers.containers()
    body = create_body(main, device_name="name", instance="", container_ids={})
    left_behind = containers.by_hand.create_container(main.container_name, body)
    containers.done(StartService(service=main, device_name="name"))
    assert only(containers).container_id == left_behind
    assert present(containers) == {"main_10_20_abc": "Running"}


def test_a_name_in_use_by_a_container_that_is_still_being_created_is_waited_for(
    containers: WorkerBench, main: Service
) -> None:
    containers.containers()
    containers.engine.fail("POST", CREATE, status=409, times=2, message="Conflict")
    containers.done(StartService(service=main))
    assert len(containers.engine.calls_of("POST", CREATE)) == 3


def test_a_left_over_container_that_differs_is_replaced_when_it_does_not_run(
    containers: WorkerBench, main: Service
) -> None:
    containers.containers()
    containers.done(StartService(service=structs.replace(main, running=False)))
    before = only(containers).container_id
    other = structs.replace(main, config=structs.replace(main.config, hostname="other"))
    containers.done(StartService(service=other))
    assert only(containers).container_id != before
    assert only(containers).config.hostname == "other"


def test_a_strangers_container_of_the_same_name_is_left_alone(containers: WorkerBench, main: Service) -> None:
    containers.by_hand.create_container(main.container_name, {"Image": main.config.image, "Cmd": ["/bin/sh"]})
    containers.containers()
    assert containers.failed(StartService(service=main)).error.fields["status"] == 409
    assert main.container_name in containers.engine.containers


def test_a_container_whose_start_fails_is_kept_and_started_by_the_next_try(
    containers: WorkerBench, main: Service
) -> None:
    containers.containers()
    containers.engine.fail("POST", START, message="no such device")
    error = containers.failed(StartService(service=main)).error
    assert "no such device" in error.message
    assert present(containers) == {"main_10_20_abc": "Installed"}
    containers.done(StartService(service=main))
    assert len(containers.engine.calls_of("POST", CREATE)) == 1


def test_a_container_that_never_ran_is_created_anew_when_it_cannot_be_started(
    containers: WorkerBench, main: Service
) -> None:
    containers.containers()
    containers.engine.fail("POST", START, message="id already in use")
    containers.failed(StartService(service=main))
    before = only(containers).container_id
    containers.done(StartService(service=main, renew=True))
    assert only(containers).container_id != before
    running = only(containers)
    assert running.status == "Running"
    containers.done(StartService(service=main, renew=True))
    assert only(containers) == running


@pytest.mark.parametrize("end", ["exec format error", "exec /x: exec format error: unknown"])
def test_an_image_for_another_architecture_is_named_as_the_cause(
    containers: WorkerBench, main: Service, end: str
) -> None:
    containers.containers()
    containers.engine.fail("POST", START, message=f"OCI runtime create failed: {end}")
    error = containers.failed(StartService(service=main)).error
    assert error.message.startswith("cannot start service main: its image was built for another architecture")


@pytest.mark.parametrize("path", [CREATE, START])
@pytest.mark.parametrize(
    "cause",
    [
        "layer does not exist",
        "failed to get layer sha256:4f1e: layer does not exist",
        "open /var/lib/docker/overlay2/4f1e/committed: no such file or directory",
        "error creating overlay mount to /var/lib/docker/overlay2/4f1e-init/merged: no such file or directory",
        "error creating overlay: unknown blob sha256:4f1e",
    ],
)
def test_an_image_that_lost_a_layer_is_named_by_its_id(
    containers: WorkerBench, main: Service, cause: str, path: str
) -> None:
    containers.containers()
    containers.engine.fail("POST", path, message=cause)
    error = containers.failed(StartService(service=main)).error
    assert (error.code, error.fields["image"], error.fields["status"]) == ("image-broken", main.docker_image_id, 500)
    assert error.message.startswith("cannot start service main: the engine has lost a part of its image a.io/x:1 (")


def test_a_refusal_of_another_kind_does_not_blame_the_image(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    containers.engine.fail("POST", CREATE, message="no space left on device")
    assert containers.failed(StartService(service=main)).error.code == "engine-error"


def test_a_container_that_cannot_be_connected_to_all_networks_is_not_kept(
    containers: WorkerBench, main: Service
) -> None:
    containers.by_hand.create_network(network_body(network(), ""))
    name = network().engine_name
    both = service(main.config.image, network_mode=name)
    endpoint = both.config.networks[name]
    both = structs.replace(both, config=structs.replace(both.config, networks={name: endpoint, "missing": endpoint}))
    containers.containers()
    assert "missing" in containers.failed(StartService(service=both)).error.message
    assert containers.engine.containers == {}


def test_stopping_keeps_the_container_and_a_repeat_is_done(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    containers.done(StartService(service=main))
    step = StopService(container=only(containers))
    containers.done(step)
    assert present(containers) == {"main_10_20_abc": "exited"}
    containers.done(step)


def test_killing_removes_the_container_and_a_repeat_is_done(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    containers.done(StartService(service=main))
    step = KillService(container=only(containers))
    containers.done(step)
    assert present(containers) == {}
    containers.done(step)


@pytest.mark.parametrize("status", [409, 500])
def test_a_kill_that_the_engine_refuses_is_a_failed_step(containers: WorkerBench, main: Service, status: int) -> None:
    containers.containers()
    containers.done(StartService(service=main))
    containers.engine.fail("POST", STOP, status=status, message="busy")
    error = containers.failed(KillService(container=only(containers))).error
    assert (error.code, error.fields["status"]) == ("engine-error", status)
    assert present(containers) == {"main_10_20_abc": "Running"}


def test_removing_a_container_that_is_gone_is_done(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    containers.done(StartService(service=structs.replace(main, running=False)))
    step = RemoveContainer(container=only(containers))
    containers.done(step)
    containers.done(step)
    assert containers.engine.containers == {}


def test_renaming_keeps_the_process_and_a_repeat_is_done(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    containers.done(StartService(service=main))
    before = only(containers)
    step = UpdateMetadata(container=before, name="main_11_21_def")
    containers.done(step)
    containers.done(step)
    after = only(containers)
    assert (after.container_id, after.commit, after.status) == (before.container_id, "def", "Running")


def test_a_container_that_cannot_be_found_for_a_rename_is_removed_by_force(
    containers: WorkerBench, main: Service
) -> None:
    containers.containers()
    containers.done(StartService(service=main))
    containers.engine.fail("POST", "/rename$", status=404)
    containers.done(UpdateMetadata(container=only(containers), name="main_11_21_def"))
    assert present(containers) == {}


def test_a_container_removed_by_hand_leaves_the_picture(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    containers.done(StartService(service=main))
    before = last(containers).seq
    containers.by_hand.remove_container(main.container_name, force=True)
    containers.post.wait_for(ContainersChanged, lambda event: event.seq > before and not event.containers)


def test_a_container_that_exits_is_looked_at_again(containers: WorkerBench, main: Service) -> None:
    once = structs.replace(main, config=structs.replace(main.config, restart="no"))
    containers.containers()
    containers.done(StartService(service=once))
    containers.engine.exit(once.container_name, 3)
    shown = containers.post.wait_for(ContainersChanged, lambda event: [c.exit_code for c in event.containers] == [3])
    assert shown.containers[0].status == "exited"


def test_the_picture_outlives_the_engine_and_is_right_again_when_it_is_back(
    containers: WorkerBench, main: Service
) -> None:
    containers.containers()
    containers.done(StartService(service=main))
    before = last(containers).seq
    containers.engine.die()
    down = containers.post.wait_for(ContainersChanged, lambda event: event.seq > before and not event.engine.up)
    assert "cannot be reached" in down.engine.reason
    assert [container.status for container in down.containers] == ["Running"]
    containers.engine.exit(main.container_name, 0)
    containers.engine.revive()
    containers.post.wait_for(ContainersChanged, lambda event: event.seq > down.seq and event.engine.up)


def test_events_that_the_engine_lost_are_made_up_for_when_the_stream_ends(
    containers: WorkerBench, main: Service
) -> None:
    containers.containers()
    containers.done(StartService(service=main))
    before = last(containers).seq
    containers.engine.lose_events()
    containers.by_hand.remove_container(main.container_name, force=True)
    containers.engine.hang_up_events()
    containers.post.wait_for(ContainersChanged, lambda event: event.seq > before and not event.containers)


def test_a_step_fails_when_the_engine_dies_while_it_is_carried_out(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    containers.engine.die_at("POST", CREATE, phase="after")
    assert containers.failed(StartService(service=main)).error.code == "engine-unavailable"
    containers.engine.revive()
    containers.post.wait_for(ContainersChanged, lambda event: bool(event.containers))
    containers.done(StartService(service=main))
    assert len(containers.engine.containers) == 1


def test_containers_of_other_people_are_not_shown(containers: WorkerBench, main: Service) -> None:
    containers.by_hand.create_container("foreign", {"Image": main.config.image, "Cmd": ["/bin/sh"]})
    containers.containers()
    containers.by_hand.start_container("foreign")
    containers.done(StartService(service=main))
    assert list(present(containers)) == ["main_10_20_abc"]


def test_an_unreadable_container_is_left_out_and_the_others_are_shown(containers: WorkerBench, main: Service) -> None:
    body = {"Image": main.config.image, "Cmd": ["/bin/sh"], "Labels": {"io.balena.supervised": "true"}}
    containers.by_hand.create_container("no_numbers_here", body)
    containers.containers()
    containers.done(StartService(service=main))
    assert list(present(containers)) == ["main_10_20_abc"]


def test_a_container_that_the_engine_refuses_to_show_hides_no_other(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    for one in (main, service(main.config.image, "other")):
        containers.done(StartService(service=one))
    refused = next(one for one in last(containers).containers if one.service_name == "other")
    containers.stop()
    containers.engine.fail("GET", f"^/containers/{refused.container_id}/json$", message="bad parameter", times=1000)
    containers.containers(generation=2)
    assert list(present(containers)) == ["main_10_20_abc"]


def test_a_container_that_the_engine_refuses_to_show_for_once_stays_as_it_was_known(
    containers: WorkerBench, main: Service
) -> None:
    containers.containers()
    containers.done(StartService(service=main))
    before = only(containers)
    containers.engine.fail("GET", f"^/containers/{before.container_id}/json$", message="bad parameter", times=1000)
    containers.engine.die()
    down = containers.post.wait_for(
        ContainersChanged, lambda event: event.engine not in {EngineLink(), EngineLink(up=True, reason="")}
    )
    containers.engine.revive(restart_containers=True)
    containers.post.wait_for(ContainersChanged, lambda event: event.engine.up and event.seq > down.seq)
    assert only(containers) == before


def test_the_place_of_the_picture_covers_steps_that_were_sent_before(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    hanging = containers.engine.hang("POST", START)
    number = containers.begin(StartService(service=main))
    place = containers.deliver(GetSeq())
    shown = next(event for event in containers.post.of(ContainersChanged) if event.seq == place)
    assert shown.busy == ("service:77:main",)
    hanging.release()
    containers.outcome(number)


def test_steps_of_one_service_run_one_after_the_other(containers: WorkerBench, main: Service) -> None:
    containers.containers()
    containers.done(StartService(service=main))
    hanging = containers.engine.hang("POST", STOP)
    first = containers.begin(StopService(container=only(containers)))
    second = containers.begin(StartService(service=main))
    hanging.wait_reached()
    assert len(containers.engine.calls_of("POST", START)) == 1
    hanging.release()
    assert isinstance(containers.outcome(first), StepDone)
    assert isinstance(containers.outcome(second), StepDone)
    assert present(containers) == {"main_10_20_abc": "Running"}

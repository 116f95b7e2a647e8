"""Which ends of processes are remembered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from balena_supervisor.actors.service_exits import KEPT, ServiceExits
from balena_supervisor.adapters.engine_events import EngineEvent
from balena_supervisor.messages import ContainersChanged
from balena_supervisor.model.service import Container, ServiceExit
from balena_supervisor.state import labels
from balena_supervisor.steps import KillService, StartService, StopService
from tests.actors.worker_bench import WorkerBench, bench, service

OWNER = {labels.APP_ID: "77", labels.SERVICE_NAME: "main"}


def died(at: str, code: int = 1, container: str = "c1", **more: str) -> EngineEvent:
    attributes = {**OWNER, "exitCode": str(code), **more}
    return EngineEvent("container", "die", container, attributes, f"2026-01-01T00:00:{at}Z")


def happened(action: str, container: str = "c1") -> EngineEvent:
    return EngineEvent("container", action, container, OWNER, "2026-01-01T00:00:00.5Z")


def listed(finished: str = "", code: int | None = None, container: str = "c1", name: str = "main") -> Container:
    return Container(
        container_id=container,
        name=f"{name}_1_2_c",
        app_id=77,
        app_uuid="",
        service_id=1,
        service_name=name,
        image_id=1,
        release_id=2,
        commit="c",
        status="exited",
        created_at="",
        finished_at=f"2026-01-01T00:00:{finished}Z" if finished else "",
        exit_code=code,
    )


def codes(exits: ServiceExits) -> list[int | None]:
    return [end.exit_code for end in exits.shown()]


def test_the_last_ends_of_a_service_are_kept() -> None:
    exits = ServiceExits()
    for number in range(KEPT + 2):
        assert exits.heard(died(f"0{number}", number))
    assert codes(exits) == [2, 3, 4, 5, 6]


def test_an_end_says_what_the_event_said() -> None:
    exits = ServiceExits()
    exits.heard(died("01.123456789", 3))
    at = "2026-01-01T00:00:01.123456789Z"
    assert exits.shown() == (ServiceExit(app_id=77, service_name="main", container_id="c1", at=at, exit_code=3),)


def test_an_end_that_the_supervisor_asked_for_is_marked_until_the_next_start() -> None:
    exits = ServiceExits()
    exits.asked("c1")
    exits.heard(died("01"))
    exits.heard(happened("start"))
    exits.heard(died("02"))
    exits.asked("c1")
    exits.not_asked("c1")
    exits.heard(died("03"))
    assert [end.asked for end in exits.shown()] == [True, False, False]


def test_an_end_for_lack_of_memory_is_marked_once() -> None:
    exits = ServiceExits()
    exits.heard(happened("oom"))
    exits.heard(died("01", 137))
    exits.heard(died("02", 137))
    assert [end.out_of_memory for end in exits.shown()] == [True, False]


def test_an_event_that_is_heard_twice_counts_once() -> None:
    exits = ServiceExits()
    assert [exits.heard(died("01")), exits.heard(died("01")), exits.heard(died("02"))] == [True, False, True]
    assert len(exits.shown()) == 2


@pytest.mark.parametrize("finished", ["01", "01.4999", "01.5"])
def test_a_look_adds_nothing_to_an_end_that_was_heard(finished: str) -> None:
    exits = ServiceExits()
    exits.heard(died("01.5", 3))
    assert not exits.seen([listed(finished, 3)])
    assert codes(exits) == [3]


def test_a_look_makes_up_for_an_event_that_was_not_heard() -> None:
    exits = ServiceExits()
    exits.heard(died("01", 3))
    assert exits.seen([listed("02.5", 4)])
    assert not exits.seen([listed("02.5", 4)])
    assert codes(exits) == [3, 4]


def test_an_event_behind_a_look_that_showed_the_same_end_takes_its_place() -> None:
    exits = ServiceExits()
    exits.asked("c1")
    exits.seen([listed("02.5", None)])  # started again already, so its code is not known any more
    assert exits.heard(died("02.7", 4))
    assert [(end.exit_code, end.asked) for end in exits.shown()] == [(4, True)]
    exits.heard(died("02.9", 5))
    assert codes(exits) == [4, 5]


def test_a_later_event_is_another_end_than_the_one_a_look_showed() -> None:
    exits = ServiceExits()
    exits.seen([listed("02", 1)])
    exits.heard(died("30", 1))
    assert codes(exits) == [1, 1]


def test_a_service_that_two_listings_lack_is_forgotten() -> None:
    exits = ServiceExits()
    exits.heard(died("01"))
    assert not exits.seen([listed(container="s1", name="side")])
    exits.seen([listed()])
    assert not exits.seen([])
    assert codes(exits) == [1]
    assert exits.seen([])
    assert codes(exits) == []


@pytest.mark.parametrize(
    "event",
    [
        EngineEvent("container", "die", "c1", {"exitCode": "1"}, "2026-01-01T00:00:01Z"),
        EngineEvent("container", "die", "c1", {**OWNER, labels.APP_ID: "x"}, "2026-01-01T00:00:01Z"),
        EngineEvent("container", "die", "c1", OWNER, ""),
    ],
)
def test_an_event_that_does_not_say_whose_or_when_is_left_out(event: EngineEvent) -> None:
    exits = ServiceExits()
    assert not exits.heard(event)
    assert exits.shown() == ()


def test_a_time_that_cannot_be_read_breaks_nothing() -> None:
    exits = ServiceExits()
    exits.heard(died("no time", 1))
    exits.seen([listed("no time either", 2)])
    exits.heard(died("01", 3))
    assert codes(exits)[0] == 1
    assert codes(exits)[-1] == 3


# --- in the actor ------------------------------------------------------------------------------------------------


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[WorkerBench]:
    with bench(tmp_path) as made:
        yield made


def test_crashes_and_stops_are_told_apart(containers: WorkerBench) -> None:
    main = service(containers.engine.add_image("a.io/x:1"))
    containers.containers()
    containers.done(StartService(service=main))
    containers.engine.exit(main.container_name, 3)
    containers.engine.exit(main.container_name, 137, out_of_memory=True)
    shown = containers.post.wait_for(ContainersChanged, lambda event: len(event.exits) == 2)
    (container,) = shown.containers
    containers.done(StopService(container=container))
    shown = containers.post.wait_for(ContainersChanged, lambda event: len(event.exits) == 3)
    assert [(end.exit_code, end.out_of_memory, end.asked) for end in shown.exits] == [
        (3, False, False),
        (137, True, False),
        (0, False, True),
    ]
    assert {(end.app_id, end.service_name, end.container_id) for end in shown.exits} == {
        (77, "main", container.container_id)
    }


def test_a_stop_that_the_engine_refused_does_not_explain_a_later_crash(containers: WorkerBench) -> None:
    main = service(containers.engine.add_image("a.io/x:1"), restart="no")
    containers.containers()
    containers.done(StartService(service=main))
    (container,) = containers.post.of(ContainersChanged)[-1].containers
    containers.engine.fail("POST", "/stop$")
    containers.failed(KillService(container=container))
    containers.engine.exit(main.container_name, 5)
    shown = containers.post.wait_for(ContainersChanged, lambda event: bool(event.exits))
    assert [(end.exit_code, end.asked) for end in shown.exits] == [(5, False)]


def test_a_restarted_actor_knows_the_last_end(containers: WorkerBench) -> None:
    main = service(containers.engine.add_image("a.io/x:1"), restart="no")
    containers.containers()
    containers.done(StartService(service=main))
    containers.stop()
    containers.engine.exit(main.container_name, 4)
    finished = containers.engine.containers[main.container_name].state.finished_at
    containers.containers(generation=2)
    shown = containers.post.of(ContainersChanged)[-1]
    assert [(end.exit_code, end.at) for end in shown.exits] == [(4, finished)]


def test_an_end_whose_event_was_lost_is_found_when_the_stream_is_opened_again(containers: WorkerBench) -> None:
    main = service(containers.engine.add_image("a.io/x:1"), restart="no")
    containers.containers()
    containers.done(StartService(service=main))
    containers.engine.lose_events()
    containers.engine.exit(main.container_name, 4)
    containers.engine.hang_up_events()
    shown = containers.post.wait_for(ContainersChanged, lambda event: bool(event.exits))
    assert [end.exit_code for end in shown.exits] == [4]

"""Services that are replaced again and again: when that is a loop, and when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from balena_supervisor.messages import ApplyNow
from balena_supervisor.migrations.runner import migrate
from balena_supervisor.steps import HandOver, KillService, StartService, Step
from tests.actors.test_planner import Device, target, web, with_environment


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    database = tmp_path / "database.sqlite"
    migrate(database, tmp_path / "config.json")
    made = Device(database)
    yield made
    made.ref.stop()


def test_a_service_that_never_reads_back_equal_is_replaced_three_times_and_then_left(device: Device) -> None:
    device.meet(target(web()))
    device.workers.work()

    def forget_environment(step: Step) -> Step:
        if not isinstance(step, StartService):
            return step
        config = msgspec.structs.replace(step.service.config, environment={})
        return msgspec.structs.replace(step, service=msgspec.structs.replace(step.service, config=config))

    device.workers.alters = forget_environment
    device.change(target(web(environment={"A": "1"}), version=2))
    kills = [step for step in device.workers.work() if isinstance(step, KillService)]
    assert len(kills) == 3
    state = device.state()
    said = "web was replaced 3 times because the target differs in environment, and is left as it is until the target"
    assert [entry.reason for entry in state.waiting if entry.service_name == "web"] == [f"{said} changes"]
    assert state.last_error is not None
    assert state.last_error.code == "replaced-again"
    device.advance(3600)
    assert [step for step in device.workers.work() if isinstance(step, KillService)] == []
    device.change(target(web(environment={"A": "2"}), version=3))
    assert len([step for step in device.workers.work() if isinstance(step, KillService)]) == 3


def test_three_replacements_for_the_same_field_that_lie_far_apart_are_no_loop(device: Device) -> None:
    device.meet(target(web(environment={"A": "1"})))
    device.workers.work()
    for _ in range(5):
        device.advance(301)
        device.workers.world = with_environment(device.workers.world, {"A": "of somebody else"})
        device.workers.publish()
        assert len([step for step in device.workers.work() if isinstance(step, KillService)]) == 1


@pytest.mark.parametrize("kind", [KillService, HandOver])
def test_a_replacement_that_the_engine_refuses_is_tried_until_it_works(device: Device, kind: type[Step]) -> None:
    labels = {"io.balena.update.strategy": "hand-over"} if kind is HandOver else {}
    device.meet(target(web(labels=labels)))
    device.workers.work()
    device.workers.fails = lambda step: "500" if isinstance(step, kind) else ""
    device.change(target(web(labels=labels, environment={"A": "1"}), version=2))
    device.workers.work()
    for _ in range(5):
        device.advance(16)
        assert [step for step in device.workers.work() if isinstance(step, kind)]
    device.workers.fails = lambda _: ""
    device.advance(64)
    device.workers.work()
    assert not device.state().applying


def test_an_update_call_tries_a_service_again_that_was_replaced_too_often(device: Device) -> None:
    device.meet(target(web(environment={"A": "1"})))
    device.workers.work()
    for kills in (1, 1, 1, 0):
        device.workers.world = with_environment(device.workers.world, {"A": "of somebody else"})
        device.workers.publish()
        assert len([step for step in device.workers.work() if isinstance(step, KillService)]) == kills
    device.workers.deliver(ApplyNow())
    assert len([step for step in device.workers.work() if isinstance(step, KillService)]) == 1
    assert not device.state().applying

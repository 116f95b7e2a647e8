"""What is done again and again: when that is a loop, what becomes of it, and when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from balena_supervisor.errors import ErrorRecord
from balena_supervisor.messages import ApplyNow
from balena_supervisor.steps import CreateNetwork, CreateVolume, HandOver, KillService, PullImage, StartService, Step
from tests.actors.test_planner import Device, target, web, with_environment, words


@pytest.fixture
def device(database: Path) -> Iterator[Device]:
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


def test_a_failure_does_not_use_up_the_one_pull_of_an_image_that_lost_a_part(device: Device) -> None:
    left = ["start", "pull"]

    def fails(step: Step) -> str | ErrorRecord:
        if isinstance(step, StartService) and "start" in left:
            return ErrorRecord("image-broken", "layer does not exist")
        if isinstance(step, PullImage) and step.anew:
            failed = left.pop()
            return "cannot list the images" if failed == "pull" else ""
        return ""

    device.workers.fails = fails
    device.meet(target(web()))
    assert words(device.workers.work())[-2:] == ["start web", "pull web:latest"]
    (wait,) = [entry for entry in device.state().waiting if entry.subject == "image:web:latest"]
    assert wait.reason == "failed once, last: cannot list the images"
    device.advance(1.1)
    assert words(device.workers.work()) == ["pull web:latest", "start web"]
    assert not device.state().applying


def without_options(step: Step) -> Step:
    """An engine that forgets them."""
    if isinstance(step, CreateNetwork):
        network = step.network
        config = msgspec.structs.replace(network.config, options={})
        return msgspec.structs.replace(step, network=msgspec.structs.replace(network, config=config))
    if isinstance(step, CreateVolume):
        volume = step.volume
        options = msgspec.structs.replace(volume.config, options={})
        return msgspec.structs.replace(step, volume=msgspec.structs.replace(volume, config=options))
    return step


@pytest.mark.parametrize("kind", ["network", "volume"])
def test_what_never_reads_back_equal_is_replaced_three_times_and_then_used_as_it_is(device: Device, kind: str) -> None:
    user = web(composition={"networks": ["x"]} if kind == "network" else {"volumes": ["x:/x"]})
    plain = target(user)
    made = msgspec.structs.replace(plain.apps[0], **{f"{kind}s": {"x": {"driver_opts": {"a": "b"}}}})
    device.workers.alters = without_options
    device.meet(msgspec.structs.replace(plain, apps=(made,)))
    taken = words(device.workers.work())
    assert taken.count(f"remove {kind} x") == 3
    assert taken[-1] == "start web"
    (reason,) = [entry.reason for entry in device.state().waiting if entry.subject == f"{kind}:7:x"]
    said = "it was replaced 3 times because its definition differs in options, and is used as it is until the target"
    assert reason == f"{said} changes"
    device.advance(86400)
    assert device.workers.work() == []
    device.change(msgspec.structs.replace(plain, apps=(made,), version=2))
    assert words(device.workers.work()).count(f"remove {kind} x") == 3

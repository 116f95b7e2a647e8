"""What the planner does again, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from balena_supervisor.errors import ErrorRecord
from balena_supervisor.migrations.runner import migrate
from balena_supervisor.steps import CreateNetwork, CreateVolume, PullImage, StartService, Step
from tests.actors.test_planner import Device, target, web, words


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    database = tmp_path / "database.sqlite"
    migrate(database, tmp_path / "config.json")
    made = Device(database)
    yield made
    made.ref.stop()


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

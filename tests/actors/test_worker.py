"""What all workers share, on the resources actor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from balena_supervisor.actors.resources import ResourcePorts, Resources
from balena_supervisor.actors.worker import RECONCILE_S, act_and_look
from balena_supervisor.errors import EngineError, EngineUnavailable
from balena_supervisor.messages import GetSeq, ResourcesChanged
from balena_supervisor.model.resource import Volume
from balena_supervisor.model.state import Seq
from balena_supervisor.runtime.actor import Pending
from balena_supervisor.steps import CreateVolume, StepDone
from tests.actors.worker_bench import APP_ID, APP_UUID, WorkerBench, bench
from tests.fakes.ports import FakeTimers

DATA = Volume(app_id=APP_ID, app_uuid=APP_UUID, name="data")


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerBench]:
    with bench(tmp_path) as made:
        yield made


def test_picture_then_step_done_then_the_command_is_settled(worker: WorkerBench) -> None:
    worker.resources()
    pending: Pending[None] = worker.deliver(CreateVolume(volume=DATA))
    told: list[list[object]] = []
    pending.future.add_done_callback(lambda _: told.append([message for _, message in worker.post.sent]))
    pending.future.result(10)
    *_, picture, done = told[0]
    assert isinstance(picture, ResourcesChanged)
    assert isinstance(done, StepDone)
    assert done.seen == picture.seq


def test_an_unchanged_picture_is_not_published_again(worker: WorkerBench) -> None:
    worker.resources()
    first = worker.deliver(GetSeq())
    assert worker.deliver(GetSeq()) == first


def test_places_of_a_later_generation_are_greater(worker: WorkerBench) -> None:
    worker.start(Resources, ResourcePorts(**worker.ports("resources", generation=2)))
    worker.post.wait_for(ResourcesChanged, lambda event: event.engine.up)
    assert worker.deliver(GetSeq()) > Seq(1, 10_000)


def test_a_restarted_worker_looks_again_until_nothing_changes_by_itself(worker: WorkerBench) -> None:
    """The call of its killed predecessor is carried out after the first look, and its event is lost."""
    late = worker.engine.hang("GET", "^/volumes$", nth=2)
    worker.engine.lose_events()
    worker.start(Resources, ResourcePorts(**worker.ports("resources", generation=2)))
    worker.post.wait_for(ResourcesChanged, lambda event: event.engine.up)
    late.wait_reached()
    worker.by_hand.create_volume({"Name": "77_late"})
    late.release()
    worker.post.wait_for(ResourcesChanged, lambda event: [one.name for one in event.volumes] == ["late"])


def test_a_look_that_fails_while_the_engine_is_there_is_made_again(worker: WorkerBench) -> None:
    worker.resources()
    failing = worker.engine.fail("GET", "^/volumes$", status=500)
    worker.by_hand.create_volume({"Name": "77_x"})
    failing.wait_reached()
    worker.post.wait_for(ResourcesChanged, lambda event: [one.name for one in event.volumes] == ["x"])


def test_what_lost_events_told_of_is_seen_within_five_minutes(worker: WorkerBench) -> None:
    timers = FakeTimers(worker.clock)
    worker.engine.lose_events()
    worker.start(Resources, ResourcePorts(**{**worker.ports("resources"), "timers": timers}))
    worker.post.wait_for(ResourcesChanged, lambda event: event.engine.up)
    worker.by_hand.create_volume({"Name": "77_unheard"})
    for minute in range(1, 6):
        assert not any(event.volumes for event in worker.post.of(ResourcesChanged)), minute
        timers.advance(60)
    seen = worker.post.wait_for(ResourcesChanged, lambda event: [one.name for one in event.volumes] == ["unheard"])
    worker.by_hand.remove_volume("77_unheard")
    timers.advance(RECONCILE_S)
    worker.post.wait_for(ResourcesChanged, lambda event: event.seq > seen.seq and not event.volumes)


def test_the_error_of_the_act_counts_more_than_that_of_the_look() -> None:
    def fail() -> None:
        raise EngineError("cannot act", status=500, cause="x")

    def cannot_see() -> None:
        raise EngineUnavailable("cannot look")

    with pytest.raises(EngineError):
        act_and_look(fail, cannot_see)
    with pytest.raises(EngineUnavailable):
        act_and_look(lambda: None, cannot_see)

"""The mailbox of the local API hands over what it gets."""

from __future__ import annotations

from balena_supervisor.actors.http_api import SUBSCRIPTIONS, HttpApi, HttpPorts
from balena_supervisor.http.snapshots import Snapshots
from balena_supervisor.messages import ConfigChanged, DeviceStateChanged, TargetChanged
from balena_supervisor.model.device import Configuration
from balena_supervisor.model.state import DeviceState
from balena_supervisor.model.target import TargetState
from balena_supervisor.runtime.actor import Deliver
from tests.fakes.ports import FakeClock, FakePost, FakeTimers
from tests.http.support import KEYS


def test_every_event_that_it_subscribes_to_reaches_the_snapshots() -> None:
    clock = FakeClock()
    snapshots = Snapshots(clock)
    actor = HttpApi.start(
        HttpPorts(
            name="http", generation=1, post=FakePost(), clock=clock, timers=FakeTimers(clock), keep=snapshots.keep
        )
    )
    try:
        for event in (
            ConfigChanged(configuration=Configuration(uuid="abc")),
            KEYS,
            TargetChanged(target=TargetState(version=3)),
            DeviceStateChanged(state=DeviceState(target_version=2)),
        ):
            assert isinstance(event, SUBSCRIPTIONS)
            actor.ask(Deliver(event), timeout=10)
    finally:
        actor.stop(timeout=10)
    assert snapshots.picture.complete
    assert snapshots.picture.applying


def test_it_handles_what_it_subscribes_to_and_nothing_else() -> None:
    assert set(HttpApi.handlers) == set(SUBSCRIPTIONS)

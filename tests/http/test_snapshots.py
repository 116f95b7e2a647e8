"""The holder of the snapshots: what it keeps, what it computes once, and how others wait for it."""

from __future__ import annotations

import threading

import pytest

from balena_supervisor.errors import NotReady
from balena_supervisor.http.snapshots import Picture, Snapshots
from balena_supervisor.messages import ConfigChanged, DeviceStateChanged, ImagesChanged, TargetChanged
from balena_supervisor.model.device import Configuration
from balena_supervisor.model.image import ImageState
from balena_supervisor.model.state import DeviceState, Seq
from balena_supervisor.model.target import TargetState
from tests.fakes.ports import FakeClock
from tests.http.support import KEYS


@pytest.fixture
def snapshots() -> Snapshots:
    return Snapshots(FakeClock())


def test_a_picture_is_complete_when_every_snapshot_is_there(snapshots: Snapshots) -> None:
    for event in (
        ConfigChanged(configuration=Configuration()),
        KEYS,
        TargetChanged(target=TargetState()),
        DeviceStateChanged(state=DeviceState()),
    ):
        assert not snapshots.picture.complete
        snapshots.keep(event)
    assert snapshots.picture.complete


def test_another_event_changes_nothing(snapshots: Snapshots) -> None:
    before = snapshots.picture
    snapshots.keep(ImagesChanged(seq=Seq(), images=ImageState()))
    assert snapshots.picture is before


def test_what_is_missing_is_told(snapshots: Snapshots) -> None:
    with pytest.raises(NotReady, match="configuration"):
        snapshots.picture.need_configuration()
    with pytest.raises(NotReady, match="planner"):
        snapshots.picture.need_state()


def test_a_derived_value_lives_as_long_as_its_picture(snapshots: Snapshots) -> None:
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    assert [snapshots.picture.derived("x", make) for _ in range(3)] == [1, 1, 1]
    snapshots.keep(ConfigChanged(configuration=Configuration()))
    assert snapshots.picture.derived("x", make) == 2


def test_an_older_accepted_version_is_forgotten(snapshots: Snapshots) -> None:
    snapshots.accept(3)
    snapshots.accept(2)
    assert snapshots.picture.accepted_version == 3


@pytest.mark.parametrize(
    ("accepted", "target", "planner", "applying"),
    [(0, 0, 0, False), (1, 0, 0, True), (0, 1, 0, True), (1, 1, 1, False), (1, 1, 2, False), (3, 2, 2, True)],
)
def test_a_version_that_the_planner_has_not_seen_is_applying(
    *, accepted: int, target: int, planner: int, applying: bool
) -> None:
    picture = Picture(
        accepted_version=accepted,
        target=TargetState(version=target),
        state=DeviceState(target_version=planner),
    )
    assert picture.applying is applying


def test_waiting_ends_with_the_picture_that_was_waited_for(snapshots: Snapshots) -> None:
    assert not snapshots.wait_for(lambda picture: picture.accepted_version > 0, 0.001)
    found: list[bool] = []
    waiter = threading.Thread(
        target=lambda: found.append(snapshots.wait_for(lambda picture: picture.accepted_version > 0, 10))
    )
    waiter.start()
    snapshots.accept(1)
    waiter.join(10)
    assert found == [True]

"""A target that comes when the disk of the database is full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from balena_supervisor.actors.target_state import BALLAST_S
from balena_supervisor.db.ballast import Ballast
from balena_supervisor.errors import DatabaseRefused
from balena_supervisor.messages import KeysFound, TargetChanged
from balena_supervisor.migrations.replace import prepare
from tests.actors.test_target_state import API_LABEL, Device, service
from tests.db.small_disk import SmallDisk, small_disk

pytestmark = pytest.mark.root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as disk:
        prepare(disk.database, tmp_path / "config.json")
        yield disk


@pytest.fixture
def device(disk: SmallDisk) -> Iterator[Device]:
    device = Device(disk.database).start()
    device.send(KeysFound(services=()))  # none are to be taken back
    yield device
    device.stop()


def post_until(device: Device, *, ballast: bool) -> None:
    """New targets, each with a key more, until the ballast is as it should be; the log has some room left at first."""
    for number in range(500):
        device.post_target(service(f"s{number}", labels={API_LABEL: "1"}))
        if Ballast(device.database).is_there() == ballast:
            return
    pytest.fail("the disk does not become full")


def test_a_target_without_room_is_stored_in_place_of_the_ballast(device: Device, disk: SmallDisk) -> None:
    disk.fill()
    post_until(device, ballast=False)
    before = device.target
    assert before.apps[0].services[0].service_name in {key.service_name for key in device.keys.services}
    device.stop()
    assert device.start().target == before


def test_a_target_without_room_and_ballast_is_refused_and_changes_nothing(device: Device, disk: SmallDisk) -> None:
    disk.fill()
    post_until(device, ballast=False)
    disk.fill()
    with pytest.raises(DatabaseRefused, match="database or disk is full"):
        post_until(device, ballast=True)
    told = device.post.of(TargetChanged)[-1].target
    device.stop()
    assert device.start().target == told


def test_the_ballast_that_a_target_has_used_is_put_back_when_there_is_room(device: Device, disk: SmallDisk) -> None:
    disk.fill()
    post_until(device, ballast=False)
    device.timers.advance(BALLAST_S)
    device.post_target(service("before"))
    assert not Ballast(disk.database).is_there()
    disk.free()
    device.timers.advance(BALLAST_S)
    device.post_target(service("after"))
    assert Ballast(disk.database).is_there()

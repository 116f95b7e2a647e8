"""Services that start after a reboot only: the planner reboots the device for them, once, when nothing else is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from balena_supervisor.errors import SupervisorError
from balena_supervisor.messages import DeviceStateChanged, GoDown
from balena_supervisor.model.device import HostFacts
from balena_supervisor.model.state import DeviceState
from balena_supervisor.steps import ReleaseLocks, StartService, Step, TakeLocks
from tests.actors.test_orders import LOCKED
from tests.actors.test_planner import Device, target, web, words

LABEL = {"io.balena.update.requires-reboot": "true"}


class Booted(Device):
    """A device in a boot of its own."""

    def __init__(self, database: Path, before: Booted | None = None, boot: str = "first") -> None:
        self.boot = boot
        super().__init__(
            database,
            before.workers.world if before else None,
            generation=2 if before else 1,
            host=lambda: HostFacts(boot_id=boot),
        )

    def go_downs(self) -> list[GoDown]:
        return [message for _, message, _ in self.workers.post.asked if isinstance(message, GoDown)]

    def told(self) -> DeviceState:
        self.advance(0.1)
        return self.workers.post.of(DeviceStateChanged)[-1].state


@pytest.fixture
def device(database: Path) -> Iterator[Booted]:
    made = Booted(database)
    yield made
    made.ref.stop()


def settle(device: Booted) -> list[Step]:
    device.meet(target(web(labels=LABEL), web(service_name="db", service_id=2)))
    return device.workers.work()


def test_the_device_is_rebooted_when_nothing_else_is_left_and_the_service_starts_in_the_next_boot(
    device: Booted, tmp_path: Path
) -> None:
    taken = settle(device)
    started = {s.service.service_name: s.service.running for s in taken if isinstance(s, StartService)}
    assert started == {"web": False, "db": True}
    assert isinstance(taken[-1], TakeLocks)
    assert device.go_downs() == [GoDown(verb="reboot")]
    device.ref.stop()
    later = Booted(tmp_path / "database.sqlite", device, boot="second")
    world = later.workers.world
    later.workers.world = msgspec.structs.replace(world, locks={})
    later.meet(target(web(labels=LABEL), web(service_name="db", service_id=2)))
    assert words(later.workers.work()) == ["start web"]
    assert later.go_downs() == []
    assert not later.told().applying
    later.ref.stop()


def test_a_restart_of_the_supervisor_is_no_reboot(device: Booted, tmp_path: Path) -> None:
    settle(device)
    device.ref.stop()
    later = Booted(tmp_path / "database.sqlite", device, boot="first")
    later.meet(target(web(labels=LABEL), web(service_name="db", service_id=2)))
    assert not [step for step in later.workers.work() if isinstance(step, StartService)]
    assert later.go_downs() == [GoDown(verb="reboot")]
    later.ref.stop()


def test_without_an_id_of_the_boot_nothing_waits(database: Path) -> None:
    unknown = Booted(database, boot="")
    settle(unknown)
    assert {c.status for c in unknown.workers.world.containers} == {"Running"}
    assert unknown.go_downs() == []
    unknown.ref.stop()


def test_a_reboot_that_the_host_refuses_is_tried_again_later_and_later(device: Booted) -> None:
    settle(device)
    for number, seconds in enumerate((1, 2, 4), 1):
        (*_, future) = [future for _, message, future in device.workers.post.asked if isinstance(message, GoDown)]
        future.set_exception(SupervisorError("the host has no login manager"))
        assert [type(step) for step in device.workers.work()] == [ReleaseLocks]
        assert any("after a reboot" in wait.reason and wait.retry_at for wait in device.told().waiting)
        device.advance(seconds - 0.5)
        device.workers.work()
        assert len(device.go_downs()) == number
        device.advance(0.5)
        device.workers.work()
        assert len(device.go_downs()) == number + 1


def test_a_device_is_rebooted_three_times_for_one_target_and_then_stays_reachable(
    device: Booted, tmp_path: Path
) -> None:
    """A container that is replaced again and again would have it rebooted for ever."""
    settle(device)
    last = device
    for number in range(2, 7):
        last.ref.stop()
        last = Booted(tmp_path / "database.sqlite", last, boot=f"boot{number}")
        last.workers.world = msgspec.structs.replace(last.workers.world, containers=(), locks={})
        settle(last)
        assert len(last.go_downs()) == (1 if number <= 3 else 0)
    waits = [wait.reason for wait in last.told().waiting]
    assert waits == ["web: the device was rebooted 3 times for this target, and is not again"]
    last.ref.stop()


def test_a_lock_of_a_user_holds_up_the_reboot(device: Booted) -> None:
    device.workers.fails = lambda step: LOCKED if isinstance(step, TakeLocks) else ""
    settle(device)
    assert device.go_downs() == []
    assert device.told().applying
    device.workers.fails = lambda _: ""
    device.advance(2)
    device.workers.work()
    assert device.go_downs() == [GoDown(verb="reboot")]

"""What waits for its next try, and what breaks a lock or a wait at once (spec apply-loop 11, loop)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from balena_supervisor.actors.planner import OUTSTANDING, Planner, PlannerPorts
from balena_supervisor.errors import Locked
from balena_supervisor.messages import ApplyNow, CancelOrder, ConfigChanged, DeviceOrder
from balena_supervisor.model.device import HostFacts
from balena_supervisor.model.state import EngineLink
from balena_supervisor.model.target import TargetApp, TargetState
from balena_supervisor.steps import KillService, PullImage, ReleaseLocks, StartService, Step, TakeLocks
from tests.actors.test_orders import LOCKED
from tests.actors.test_planner import DEVICE, Device, target, web, words

CHANGED = target(web(environment={"A": "1"}), version=2)


def refused(step: Step) -> object:
    """A user holds the lock of the app; force takes it."""
    return LOCKED if isinstance(step, TakeLocks) and not step.force else ""


class Locked7(Device):
    """A device whose app 7 runs and is locked by a user, with a newer target that waits for the lock."""

    def settle(self) -> None:
        self.meet(target(web()))
        self.workers.work()
        self.workers.fails = refused  # type: ignore[assignment]
        self.change(CHANGED)
        self.workers.work()
        for _ in range(4):
            self.advance(20)
            self.workers.work()

    def environment(self) -> list[dict[str, str]]:
        return [{k: v for k, v in c.config.environment.items() if k == "A"} for c in self.workers.world.containers]


@pytest.fixture
def device(database: Path) -> Iterator[Locked7]:
    made = Locked7(database)
    yield made
    made.ref.stop()


def test_five_failures_wait_one_two_four_eight_and_sixteen_seconds(device: Device) -> None:
    device.workers.fails = lambda step: "no such image" if isinstance(step, PullImage) else ""
    device.meet(target(web()))
    device.workers.work()
    for delay_s in (1, 2, 4, 8, 16):
        device.advance(delay_s - 0.01)
        assert device.workers.work() == []
        device.advance(0.02)
        assert words(device.workers.work()) == ["pull web:latest"]
    state = device.state()
    assert (state.update_failed, state.failures) == (True, 6)
    device.workers.fails = lambda _: ""
    device.advance(32)
    device.workers.work()
    state = device.state()
    assert (state.update_failed, state.update_pending, state.update_downloaded, state.failures) == (
        (False, False, False, 0)
    )


def test_a_lock_is_told_with_its_holder_and_the_next_try(device: Locked7, capfd: pytest.CaptureFixture[str]) -> None:
    device.settle()
    printed = "".join(capfd.readouterr())
    for seconds in (1, 2, 4, 8, 16):
        assert f"Updates are locked, retrying in {seconds}s. Reason: " in printed
    state = device.state()
    assert [(lock.holder, lock.service_name, lock.since) for lock in state.locks] == [
        ("user", "web", "2026-01-01T00:00:00Z")
    ]
    assert state.applying
    assert state.update_failed


def by_target(device: Device) -> None:
    device.change(msgspec.structs.replace(CHANGED, version=3, force=True))


def by_update_call(device: Device) -> None:
    device.workers.deliver(ApplyNow(force=True))


def by_configuration(device: Device) -> None:
    device.workers.deliver(ConfigChanged(configuration=msgspec.structs.replace(DEVICE, version=2, lock_override=True)))


@pytest.mark.parametrize("force", [by_target, by_update_call, by_configuration])
def test_force_breaks_a_lock_and_its_back_off_at_once(device: Locked7, force: Callable[[Device], None]) -> None:
    device.settle()
    assert device.environment() == [{}]
    force(device)
    taken = device.workers.work()
    assert isinstance(taken[-1], ReleaseLocks)
    assert device.environment() == [{"A": "1"}]
    state = device.state()
    assert (device.workers.world.locks, state.locks, state.applying) == ({}, (), False)


def test_the_force_of_an_update_call_ends_with_the_update(device: Locked7) -> None:
    device.settle()
    by_update_call(device)
    device.workers.work()
    device.change(target(web(environment={"A": "2"}), version=3))
    (take,) = device.workers.work()
    assert isinstance(take, TakeLocks)
    assert not take.force


def test_an_update_call_without_force_tries_at_once_and_breaks_nothing(device: Locked7) -> None:
    device.settle()
    device.workers.deliver(ApplyNow())
    (take,) = device.workers.work()
    assert isinstance(take, TakeLocks)
    assert not take.force
    assert device.environment() == [{}]


def test_a_new_target_is_tried_at_once(device: Locked7) -> None:
    device.settle()
    device.change(target(web(environment={"A": "2"}), version=3))
    assert [type(step) for step in device.workers.work()] == [TakeLocks]


def test_an_app_that_comes_back_after_its_removal_takes_its_locks_anew(device: Locked7) -> None:
    device.meet(target(web()))
    device.workers.work()
    device.change(msgspec.structs.replace(target(), version=2, apps=()))
    taken = [type(step) for step in device.workers.work()]
    assert (taken[0], taken[1], taken[-1]) == (TakeLocks, KillService, ReleaseLocks)
    assert device.workers.world.locks == {}
    device.change(target(web(), version=3))
    device.workers.work()
    device.change(target(web(environment={"A": "1"}), version=4))
    assert isinstance(device.workers.work()[0], TakeLocks)


def test_to_cancel_what_is_not_there_disturbs_nothing(device: Locked7) -> None:
    device.workers.deliver(CancelOrder(number=5))
    device.meet(target(web()))
    device.workers.work()
    assert device.environment() == [{}]


@pytest.mark.parametrize("force", [False, True])
def test_an_update_of_the_host_that_waits_to_be_found_healthy_keeps_the_device_up(
    database: Path, *, force: bool
) -> None:
    device = Device(database)
    device.ref.stop()
    device.ref = Planner.start(
        PlannerPorts(
            name="planner",
            generation=1,
            post=device.workers.post,
            clock=device.clock,
            timers=device.timers,
            database_path=database,
            host=HostFacts,
            host_update_pending=lambda: True,
        )
    )
    device.workers.attach(device.ref)
    device.meet(target(web()))
    device.workers.work()
    if force:
        assert device.workers.deliver(DeviceOrder(verb="reboot", force=True)) is not None
        device.workers.work()
        assert device.state().waiting[0].reason == "it is about to go down"
    else:
        with pytest.raises(Locked, match="Waiting for Host OS update to finish"):
            device.workers.deliver(DeviceOrder(verb="reboot"))
    device.ref.stop()


def test_the_engine_away_in_a_back_off_and_a_clock_that_jumps_change_no_delay(device: Device) -> None:
    device.workers.fails = lambda step: "port in use" if isinstance(step, StartService) else ""
    device.meet(target(web()))
    device.workers.work()
    device.clock.jump_wall(365 * 86400)
    device.advance(0.9)
    assert device.workers.work() == []
    device.clock.jump_wall(-2 * 365 * 86400)
    device.workers.link = EngineLink(up=False, reason="the engine does not answer")
    device.workers.publish()
    device.advance(0.2)
    assert device.workers.work() == []
    device.workers.fails = lambda _: ""
    device.workers.link = EngineLink(up=True, reason="")
    device.workers.publish()
    assert words(device.workers.work())[0] == "start web"


def test_a_configuration_that_overrides_locks_does_so_for_a_reboot(device: Locked7) -> None:
    device.settle()
    by_configuration(device)
    device.workers.work()
    device.workers.deliver(DeviceOrder(verb="reboot"))
    (take,) = device.workers.work()
    assert isinstance(take, TakeLocks)
    assert take.force


def test_a_worker_holds_no_more_than_its_share_of_steps(device: Locked7) -> None:
    device.workers.held = lambda step: isinstance(step, StartService)
    names = [f"s{number}" for number in range(20)]
    device.meet(target(*(web(service_name=name, service_id=n, image_id=n) for n, name in enumerate(names, 1))))
    taken = [step for step in device.workers.work() if isinstance(step, StartService)]
    assert len(taken) == OUTSTANDING["containers"]
    device.workers.held = lambda _: False
    device.workers.release()
    device.workers.work()
    assert len(device.workers.world.containers) == len(names)


def two_apps() -> TargetState:
    """App 7 has twelve images, app 8 one."""
    many = tuple(web(service_name=f"s{n}", service_id=n, image_id=n, image=f"s{n}:1") for n in range(1, 13))
    one = web(service_name="one", image="one:1", app_id=8, app_uuid="8")
    (first,) = target(*many).apps
    second = TargetApp(app_id=8, app_uuid="8", name="other", commit="r1", release_id=1, services=(one,))
    return TargetState(version=1, is_set=True, name="bench", apps=(first, second))


def test_an_app_whose_image_is_there_does_not_wait_for_the_slow_downloads_of_another(device: Locked7) -> None:
    device.workers.held = lambda step: isinstance(step, PullImage)
    device.workers.has_image("one:1")
    device.meet(two_apps())
    taken = words(device.workers.work())
    assert "start one" in taken
    assert len([text for text in taken if text.startswith("pull")]) == OUTSTANDING["pulls"]


def test_the_download_of_one_app_is_begun_before_all_of_another(device: Locked7) -> None:
    device.workers.held = lambda step: isinstance(step, PullImage)
    device.meet(two_apps())
    assert "pull one:1" in words(device.workers.work())

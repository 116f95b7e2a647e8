"""The wall clock jumps a year forward or back in the middle of things: nothing ends early, or waits for longer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from balena_supervisor.errors import ErrorRecord, Locked
from balena_supervisor.messages import ContainersChanged
from balena_supervisor.state.why import Now, why
from balena_supervisor.steps import (
    HandOver,
    KillService,
    PullImage,
    StartService,
    Step,
    StepDone,
    StepFailed,
    TakeLocks,
)
from tests.actors import test_rollback
from tests.actors.test_hand_over import STOP, begun, ended, last, newer, signal
from tests.actors.test_planner import Device, target, web, with_environment, words
from tests.actors.worker_bench import APP_ID, WorkerBench, bench, service

YEAR_S = 366 * 86400.0
JUMPS = pytest.mark.parametrize("jump_s", [YEAR_S, -YEAR_S], ids=["forward", "back"])
LIMIT_S = 60


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[WorkerBench]:
    with bench(tmp_path) as made:
        made.containers()
        yield made


@pytest.fixture
def device(database: Path) -> Iterator[Device]:
    made = Device(database)
    yield made
    made.ref.stop()


# --- hand-over -----------------------------------------------------------------------------------------------------


class Handing:
    """A hand-over that waits for its new container."""

    def __init__(self, containers: WorkerBench) -> None:
        self.containers = containers
        image = containers.engine.add_image("a.io/x:1")
        containers.done(StartService(service=service(image)))
        (self.old,) = last(containers).containers
        self.new = newer(image)
        self.number = begun(containers, HandOver(container=self.old, service=self.new, timeout_s=LIMIT_S))

    def waits_on(self) -> None:
        """The clock is looked at ten times between two looks at the containers."""
        for _ in range(2):
            hanging = self.containers.engine.hang("GET", f"/{self.old.container_id}/json$")
            hanging.wait_reached()
            hanging.release()
        assert self.containers.engine.calls_of("POST", STOP) == []


@JUMPS
def test_a_hand_over_waits_as_long_as_it_should(containers: WorkerBench, jump_s: float) -> None:
    handing = Handing(containers)
    containers.clock.advance(LIMIT_S / 2)
    containers.clock.jump_wall(jump_s)
    handing.waits_on()
    containers.clock.advance(LIMIT_S / 2 - 1)
    containers.clock.jump_wall(-jump_s)
    handing.waits_on()
    containers.clock.advance(1)
    ended(containers, handing.number, handing.new)


@JUMPS
def test_a_hand_over_ends_by_its_file_whatever_its_date(containers: WorkerBench, jump_s: float) -> None:
    handing = Handing(containers)
    containers.clock.jump_wall(jump_s)
    path = signal(containers)
    at = (containers.clock.now() - timedelta(seconds=2 * jump_s)).timestamp()
    os.utime(path, (at, at))
    ended(containers, handing.number, handing.new)


# --- back-off ------------------------------------------------------------------------------------------------------


def shown(device: Device) -> dict[str, Any]:
    now = Now(device.clock.now(), device.clock.monotonic())
    (app,) = why(device.state(), lambda _: True, now, applying=True, target_version=1)["apps"]
    return dict(app)


def retries(device: Device, kind: type[Step]) -> int:
    return len(device.workers.post.of(kind))


@JUMPS
def test_what_has_failed_is_tried_again_when_it_should_be(device: Device, jump_s: float) -> None:
    device.workers.fails = lambda step: "refused" if isinstance(step, PullImage) else ""
    device.meet(target(web()))
    for delay_s in (1, 2, 4, 8):
        device.workers.work()
        device.clock.jump_wall(jump_s)
        tried = retries(device, PullImage)
        left_s = [wait.retry_at - device.clock.monotonic() for wait in device.state().waiting if wait.retry_at]
        assert left_s
        assert all(0 < left <= delay_s for left in left_s)
        device.advance(delay_s - 0.5)
        assert retries(device, PullImage) == tried
        device.advance(0.5)
        assert retries(device, PullImage) == tried + 1
    device.workers.fails = lambda _: ""
    device.workers.work()
    device.advance(20)
    device.workers.work()
    assert not device.state().applying


@JUMPS
def test_a_lock_is_asked_for_again_when_it_should_be_and_its_age_stays_sane(device: Device, jump_s: float) -> None:
    device.meet(target(web()))
    device.workers.work()
    since = device.clock.now().isoformat()
    lock = {"app_id": 7, "service_name": "web", "path": "/host/updates.lock", "since": since}
    refusal = ErrorRecord(Locked.code, "cannot lock app 7", {"locks": [lock]})
    device.workers.fails = lambda step: refusal if isinstance(step, TakeLocks) else ""
    device.change(target(web(environment={"A": "1"}), version=2))
    device.workers.work()
    tried = retries(device, TakeLocks)
    assert [entry["ageSeconds"] for entry in shown(device)["locks"]] == [0]
    device.clock.jump_wall(jump_s)
    answer = shown(device)
    assert [entry["ageSeconds"] for entry in answer["locks"]] == [YEAR_S if jump_s > 0 else 0]
    assert all(0 < wait["retryInSeconds"] <= 1 for wait in answer["waitsFor"] if "retryInSeconds" in wait)
    assert retries(device, TakeLocks) == tried
    device.advance(1)
    assert retries(device, TakeLocks) == tried + 1
    device.workers.fails = lambda _: ""
    assert "kill web" in words(device.workers.work())
    assert shown(device)["locks"] == []


@JUMPS
def test_replacements_within_ten_minutes_are_a_loop_on_whatever_day(device: Device, jump_s: float) -> None:
    device.meet(target(web(environment={"A": "1"})))
    device.workers.work()
    kills = []
    for _ in range(4):
        device.advance(100)
        device.clock.jump_wall(jump_s)
        device.workers.world = with_environment(device.workers.world, {"A": "of somebody else"})
        device.workers.publish()
        kills.append([isinstance(step, KillService) for step in device.workers.work()].count(True))
    assert kills == [1, 1, 1, 0]


@JUMPS
def test_a_release_is_on_trial_as_long_as_it_should_be(database: Path, jump_s: float) -> None:
    trying = test_rollback.Trying(database)
    try:
        trying.settle()
        trying.try_release(2)
        trying.clock.jump_wall(jump_s)
        trying.advance(test_rollback.SECONDS - 1)
        trying.workers.work()
        assert [app.trial for app in trying.state().apps] == ["release r2 is on trial"]
        trying.clock.jump_wall(-jump_s)
        trying.advance(1)
        trying.workers.work()
        state = trying.state()
        assert (state.commits, state.apps[0].trial) == ({"7": "r2"}, "")
    finally:
        trying.ref.stop()


# --- locks as files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [-YEAR_S, 0.0, 4e9])
def test_a_lock_from_another_time_is_a_lock(containers: WorkerBench, at: float) -> None:
    """A device without a battery for its clock begins in 1970; a lock made then, or later than now, counts."""
    image = containers.engine.add_image("a.io/x:1")
    containers.done(StartService(service=service(image)))
    path = containers.lock_folder / str(APP_ID) / "main/updates.lock"
    path.parent.mkdir(parents=True)
    path.touch()
    os.utime(path, (at, at))
    outcome = containers.failed(TakeLocks(app_id=APP_ID, services=("main",)))
    assert isinstance(outcome, StepFailed)
    assert outcome.error.code == Locked.code
    path.unlink()
    assert isinstance(containers.outcome(containers.begin(TakeLocks(app_id=APP_ID, services=("main",)))), StepDone)
    assert containers.post.wait_for(ContainersChanged, lambda event: bool(event.locks))

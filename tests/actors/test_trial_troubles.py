"""A release on trial is not blamed for what the engine, the device or a user does meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from balena_supervisor.errors import ErrorRecord, Locked, SupervisorError
from balena_supervisor.messages import AppOrder, DeviceOrder, GoDown, ServiceOrder
from balena_supervisor.migrations.runner import migrate
from balena_supervisor.model.device import HostFacts
from balena_supervisor.model.state import EngineLink
from balena_supervisor.model.target import TargetState
from balena_supervisor.steps import HandOver, KillService, Step, TakeLocks
from tests.actors.test_planner import target, web
from tests.actors.test_rollback import LABELS, SECONDS, Trying, after, release

API = {**LABELS, "io.balena.features.supervisor-api": "1"}


def device_at(database: Path, **facts: Any) -> Trying:
    migrate(database, database.with_name("config.json"))
    made = Trying(database, **facts)
    made.settle()
    return made


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Trying]:
    made = device_at(tmp_path / "database.sqlite")
    yield made
    made.ref.stop()


def passes(device: Trying) -> bool:
    """Whether the release is settled after a whole trial from now, and was not before."""
    device.workers.work()
    device.advance(SECONDS - 1)
    device.workers.work()
    assert device.state().commits == {"7": "r1"}
    assert device.web.commit == "r2", [app.bad_release for app in device.state().apps]
    device.advance(1)
    device.workers.work()
    return device.state().commits == {"7": "r2"}


def test_an_engine_that_is_restarted_begins_the_trial_anew(device: Trying) -> None:
    device.try_release(2)
    device.advance(SECONDS / 2)
    device.workers.link = EngineLink(up=False, reason="the engine does not answer")
    device.workers.publish()
    device.advance(SECONDS)
    device.workers.link = EngineLink(up=True, reason="")
    device.becomes(started_at="2026-11-28T00:00:00Z")
    assert passes(device)


@pytest.mark.parametrize(
    "order",
    [
        AppOrder(verb="restart", app_id=7),
        AppOrder(verb="purge", app_id=7),
        ServiceOrder(verb="restart", app_id=7, service_name="web"),
    ],
)
def test_a_user_who_restarts_begins_the_trial_anew(device: Trying, order: AppOrder | ServiceOrder) -> None:
    device.try_release(2)
    device.advance(SECONDS / 2)
    done = device.workers.deliver(order).future
    device.workers.work()
    assert done.result(5) is None
    assert passes(device)


def test_a_service_that_a_user_stops_on_trial_has_not_failed(device: Trying) -> None:
    device.try_release(2)
    device.workers.deliver(ServiceOrder(verb="stop", app_id=7, service_name="web"))
    device.workers.work()
    assert passes(device)
    assert device.web.status == "exited"


def test_a_reboot_that_is_refused_while_a_service_is_not_there_yet_fails_no_trial(device: Trying) -> None:
    device.workers.held = lambda step: isinstance(step, KillService)
    device.try_release(2)
    device.workers.deliver(DeviceOrder(verb="reboot"))
    device.workers.work()
    device.workers.held = lambda _: False
    device.workers.release()
    device.workers.work()
    (future,) = [future for _, message, future in device.workers.post.asked if isinstance(message, GoDown)]
    assert device.workers.world.containers == ()
    future.set_exception(SupervisorError("the host has no login manager"))
    assert passes(device)


def test_a_supervisor0_that_is_made_anew_fails_no_trial(device: Trying) -> None:
    device.try_release(2, labels=API)
    device.advance(SECONDS / 2)
    device.workers.world = msgspec.structs.replace(device.workers.world, supervisor_network_ready=False)
    device.workers.publish()
    taken = device.workers.work()
    assert any(isinstance(step, KillService) for step in taken)
    assert passes(device)


@pytest.mark.parametrize(
    ("labels", "step"),
    [
        ({}, KillService),
        ({"io.balena.update.strategy": "hand-over", "io.balena.update.handover-timeout": "900000"}, HandOver),
    ],
)
def test_the_old_container_may_take_its_time(device: Trying, labels: dict[str, str], step: type[Step]) -> None:
    device.workers.held = lambda one: isinstance(one, step)
    device.try_release(2, labels={**LABELS, **labels})
    device.advance(600)
    device.workers.held = lambda _: False
    device.workers.release()
    assert passes(device)


def test_a_lock_of_a_user_only_delays_the_trial(device: Trying) -> None:
    """Services that need nothing to be stopped start meanwhile."""
    refusal = ErrorRecord(Locked.code, "cannot lock app 7", {"locks": []})
    device.workers.fails = lambda step: refusal if isinstance(step, TakeLocks) else ""
    device.change(after(with_job(), release(1)))
    device.workers.work()
    assert {container.service_name for container in device.workers.world.containers} == {"web", "job"}
    for _ in range(20):
        device.advance(60)
        device.workers.work()
    assert device.state().apps[0].trial
    device.workers.fails = lambda _: ""
    device.advance(900)
    device.workers.work()
    assert {container.commit for container in device.workers.world.containers} == {"r2"}
    assert not device.state().apps[0].bad_release


def test_a_service_that_waits_for_a_reboot_fails_no_trial(tmp_path: Path) -> None:
    device = device_at(tmp_path / "database.sqlite", host=lambda: HostFacts(boot_id="boot-1"))
    device.try_release(2, labels={**LABELS, "io.balena.update.requires-reboot": "1"})
    device.advance(600)
    device.workers.work()
    assert (device.web.commit, device.web.status) == ("r2", "Installed")
    state = device.state()
    assert (state.apps[0].bad_release, state.commits) == ("", {"7": "r1"})
    device.ref.stop()


def test_a_target_that_changes_another_app_lets_the_trial_go_on(device: Trying) -> None:
    device.try_release(2)
    device.advance(SECONDS - 1)
    device.change(msgspec.structs.replace(after(release(2), release(1)), version=3, config={"SUPERVISOR_DELTA": "1"}))
    device.advance(1)
    device.workers.work()
    assert device.state().commits == {"7": "r2"}


def with_job() -> TargetState:
    both = [
        web(service_name=name, service_id=number, image=f"{name}:2", commit="r2", release_id=2, labels=LABELS)
        for number, name in enumerate(("web", "job"), 1)
    ]
    return target(*both, version=2, commit="r2")

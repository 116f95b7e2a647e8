"""A release on trial is not blamed for what the engine, the device or a user does meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from balena_supervisor.errors import SupervisorError
from balena_supervisor.messages import AppOrder, DeviceOrder, GoDown, ServiceOrder
from balena_supervisor.migrations.runner import migrate
from balena_supervisor.model.state import EngineLink
from balena_supervisor.steps import KillService
from tests.actors.test_rollback import LABELS, SECONDS, Trying

API = {**LABELS, "io.balena.features.supervisor-api": "1"}


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Trying]:
    database = tmp_path / "database.sqlite"
    migrate(database, tmp_path / "config.json")
    made = Trying(database)
    made.settle()
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

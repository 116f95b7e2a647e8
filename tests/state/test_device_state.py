"""What the API shows of containers and work under way."""

from __future__ import annotations

import pytest

from balena_supervisor.model.lock import AppLock
from balena_supervisor.model.service import ContainerTask
from balena_supervisor.state.device_state import container_summaries, lock_summaries
from tests.state.worlds import APP, container, service, world

WEB = service("web")
CURRENT = container(WEB)


def task(status: str, container_id: str = "") -> ContainerTask:
    return ContainerTask(app_id=APP, service_name="web", status=status, container_id=container_id)


@pytest.mark.parametrize("container_id", ["", "just-created"])
def test_a_service_in_the_making_is_shown_although_its_container_is_not_seen_yet(container_id: str) -> None:
    (shown,) = container_summaries(world(tasks=(task("Starting", container_id),)))
    assert (shown.service_name, shown.status, shown.container_id) == ("web", "Starting", container_id)


def test_a_transient_status_overrides_that_of_the_engine() -> None:
    (shown,) = container_summaries(world(CURRENT, tasks=(task("Stopping", CURRENT.container_id),), of=[WEB]))
    assert shown.status == "Stopping"


def test_a_service_is_shown_once_while_its_successor_is_made() -> None:
    (shown,) = container_summaries(world(CURRENT, tasks=(task("Installing"),), of=[WEB]))
    assert (shown.status, shown.container_id) == ("Running", CURRENT.container_id)


def test_a_container_shows_the_name_of_its_image() -> None:
    (shown,) = container_summaries(world(CURRENT, of=[WEB]))
    assert shown.image_name == "img:latest"


def test_locks_of_the_supervisor_are_shown_with_folder_and_age() -> None:
    held = AppLock(app_id=7, services=("db", "web"), path="/tmp/x/7", since="2026-01-01T00:00:00.000Z")
    shown = [(lock.service_name, lock.holder, lock.path, lock.since) for lock in lock_summaries([held])]
    assert shown == [
        ("db", "supervisor", "/tmp/x/7/db", "2026-01-01T00:00:00.000Z"),
        ("web", "supervisor", "/tmp/x/7/web", "2026-01-01T00:00:00.000Z"),
    ]

"""A release that does not prove itself: the one before it comes back, and the bad one is not tried again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from balena_supervisor.db.commit_store import CommitStore
from balena_supervisor.db.connection import open_database
from balena_supervisor.db.trial_store import TrialStore
from balena_supervisor.messages import ConfigChanged
from balena_supervisor.model.service import Container
from balena_supervisor.model.target import TargetState
from balena_supervisor.state.report import v3_report
from balena_supervisor.state.why import Now, why
from balena_supervisor.steps import RemoveImage, StartService, Step, TakeLocks
from tests.actors.test_planner import DEVICE, Device, target, web, words

SECONDS = 30
LABELS = {"io.balena.update.rollback": str(SECONDS)}


def release(number: int, **fields: Any) -> TargetState:
    commit = f"r{number}"
    one = web(image=f"web:{number}", commit=commit, release_id=number, **{"labels": LABELS, **fields})
    return target(one, version=number, commit=commit)


def after(newer: TargetState, older: TargetState) -> TargetState:
    return msgspec.structs.replace(newer, previous=older.apps)


class Trying(Device):
    def settle(self) -> None:
        """Without the local mode, in which no image goes."""
        self.meet(release(1))
        self.workers.deliver(managed())
        self.workers.work()

    def try_release(self, number: int, **fields: Any) -> list[Step]:
        self.change(after(release(number, **fields), release(1)))
        return self.workers.work()

    def becomes(self, **fields: Any) -> list[Step]:
        """The container of the service changes by itself."""
        world = self.workers.world
        changed = tuple(msgspec.structs.replace(c, **fields) for c in world.containers)
        self.workers.world = msgspec.structs.replace(world, containers=changed)
        self.workers.publish()
        return self.workers.work()

    @property
    def web(self) -> Container:
        (one,) = self.workers.world.containers
        return one

    def images(self) -> set[str]:
        return {row.ref.name for row in self.workers.world.images.rows}


def managed() -> ConfigChanged:
    return ConfigChanged(configuration=msgspec.structs.replace(DEVICE, version=2, local_mode=False))


@pytest.fixture
def device(database: Path) -> Iterator[Trying]:
    made = Trying(database)
    made.settle()
    assert made.web.commit == "r1"
    yield made
    made.ref.stop()


def test_a_release_that_proves_itself_is_settled_and_the_images_before_it_go(device: Trying) -> None:
    taken = device.try_release(2)
    assert device.web.commit == "r2"
    assert not [step for step in taken if isinstance(step, RemoveImage)]
    state = device.state()
    assert state.applying
    assert state.commits == {"7": "r1"}
    assert [app.trial for app in state.apps] == ["release r2 is on trial"]
    device.advance(SECONDS)
    assert "remove image web:1" in words(device.workers.work())
    state = device.state()
    assert (state.commits, state.applying, state.apps[0].trial) == ({"7": "r2"}, False, "")
    assert device.images() == {"web:2"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "exited", "exit_code": 3}, "web has ended with exit code 3"),
        ({"started_at": "2026-11-28T00:00:00Z"}, "web has ended and was started again"),
        ({"health": "unhealthy"}, "web is unhealthy"),
        ({"status": "restarting", "exit_code": 3}, "web has ended with exit code 3"),
    ],
)
def test_a_release_that_fails_on_trial_is_given_up_at_once(device: Trying, change: dict[str, Any], reason: str) -> None:
    device.try_release(2)
    device.advance(SECONDS / 2)
    device.becomes(**change)
    assert device.web.commit == "r1"
    assert device.web.status == "Running"
    state = device.state()
    assert [app.bad_release for app in state.apps] == [f"release r2 was given up: {reason}"]
    assert not state.applying
    device.advance(3600)
    assert device.workers.work() == []


def test_a_release_has_to_be_healthy_for_the_whole_time(device: Trying) -> None:
    device.try_release(2)
    device.becomes(health="starting")
    device.advance(SECONDS - 1)
    device.becomes(health="healthy")
    device.advance(SECONDS - 1)
    assert device.state().commits == {"7": "r1"}
    device.advance(1)
    device.workers.work()
    assert device.state().commits == {"7": "r2"}


def test_a_bad_release_is_never_settled_and_never_the_one_to_go_back_to(device: Trying) -> None:
    device.try_release(2)
    device.workers.held = lambda step: isinstance(step, TakeLocks)
    device.becomes(health="unhealthy")
    state = device.state()
    assert (device.web.commit, state.commits) == ("r2", {"7": "r1"})
    assert state.apps[0].bad_release
    assert CommitStore(open_database(device.database)).all() == {7: "r1"}


def test_a_release_that_was_given_up_is_reported_and_explained(device: Trying) -> None:
    device.try_release(2)
    device.becomes(health="unhealthy")
    state = device.state()
    releases = v3_report(state, {}, uuid="d", local_mode=False)["d"]["apps"]["7"]["releases"]
    assert releases["r2"] == {"update_status": "aborted", "services": {"web": {"image": "web:2", "status": "Aborted"}}}
    assert releases["r1"]["update_status"] == "done"
    now = Now(wall=device.clock.now(), monotonic=device.clock.monotonic())
    (app,) = why(state, lambda _: True, now, applying=False, target_version=2)["apps"]
    assert app["badRelease"] == "release r2 was given up: web is unhealthy"
    assert app["services"]["web"]["shouldBe"]["image"] == "web:1"
    assert app["services"]["web"]["shouldBe"]["release"] == "r1"


def test_a_release_whose_service_cannot_be_started_is_given_up(device: Trying) -> None:
    device.workers.fails = lambda step: (
        "exec format error" if isinstance(step, StartService) and step.service.commit == "r2" else ""
    )
    device.try_release(2)
    for _ in range(10):
        device.advance(10)
        device.workers.work()
    assert (device.web.commit, device.web.status) == ("r1", "Running")
    assert "not started after 60 s: cannot start web: exec format error" in device.state().apps[0].bad_release


def test_the_old_image_is_kept_also_when_the_strategy_would_delete_it_first(device: Trying) -> None:
    labels = {**LABELS, "io.balena.update.strategy": "delete-then-download"}
    taken = device.try_release(2, labels=labels)
    assert device.web.commit == "r2"
    assert not [step for step in taken if isinstance(step, RemoveImage)]
    assert device.images() == {"web:1", "web:2"}


def test_a_one_shot_service_that_succeeds_is_no_failure(device: Trying) -> None:
    device.try_release(2, composition={"restart": "no"})
    device.becomes(status="exited", exit_code=0)
    device.advance(SECONDS)
    device.workers.work()
    assert device.state().commits == {"7": "r2"}


def test_a_bad_release_is_not_tried_again_by_the_next_planner_until_the_target_changes(device: Trying) -> None:
    device.try_release(2)
    device.becomes(health="unhealthy")
    device.ref.stop()
    later = Trying(device.database, device.workers.world, generation=2)
    later.workers.deliver(managed())
    later.meet(after(release(2), release(1)))
    later.workers.deliver(managed())
    later.workers.work()
    assert later.web.commit == "r1"
    later.becomes(health="")
    later.try_release(3)
    assert later.web.commit == "r3"
    assert TrialStore(open_database(device.database)).bad() == {}
    later.ref.stop()


def test_the_same_target_posted_again_is_still_bad(device: Trying) -> None:
    device.try_release(2)
    device.becomes(health="unhealthy")
    again = msgspec.structs.replace(after(release(2), release(1)), version=9)
    device.change(again)
    device.workers.work()
    assert device.web.commit == "r1"
    assert device.state().apps[0].bad_release


def test_a_trial_begins_anew_with_another_planner(device: Trying) -> None:
    device.try_release(2)
    device.advance(SECONDS - 1)
    device.ref.stop()
    later = Trying(device.database, device.workers.world, generation=2)
    later.meet(after(release(2), release(1)))
    later.workers.deliver(managed())
    assert not [step for step in later.workers.work() if isinstance(step, RemoveImage)]
    later.advance(SECONDS - 1)
    assert later.state().commits == {"7": "r1"}
    later.advance(1)
    later.workers.work()
    assert later.state().commits == {"7": "r2"}
    later.ref.stop()


def test_without_label_or_setting_nothing_is_tried(device: Trying) -> None:
    device.try_release(2, labels={})
    assert device.state().commits == {"7": "r2"}


def test_the_setting_holds_for_all_services(device: Trying) -> None:
    wanted = after(release(2, labels={}), release(1))
    device.change(msgspec.structs.replace(wanted, config={"SUPERVISOR_ROLLBACK": "20"}))
    device.workers.work()
    assert device.state().apps[0].trial == "release r2 is on trial"


def test_a_clock_that_jumps_a_year_changes_nothing(device: Trying) -> None:
    device.try_release(2)
    device.clock.jump_wall(365 * 86400)
    device.advance(SECONDS - 1)
    assert device.state().commits == {"7": "r1"}
    device.clock.jump_wall(-2 * 365 * 86400)
    device.advance(1)
    device.workers.work()
    assert device.state().commits == {"7": "r2"}

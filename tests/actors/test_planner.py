"""The planner actor with model workers: what it sends, when it waits, what it tells."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from balena_supervisor.actors.apply import cause_of
from balena_supervisor.actors.planner import Planner, PlannerPorts
from balena_supervisor.db.commit_store import CommitStore
from balena_supervisor.db.connection import open_database
from balena_supervisor.errors import ErrorRecord
from balena_supervisor.messages import (
    ApplyNow,
    ConfigChanged,
    ContainersChanged,
    DeviceStateChanged,
    ImagesChanged,
    KeysChanged,
    ResourcesChanged,
    TargetChanged,
)
from balena_supervisor.model.device import Configuration, HostFacts
from balena_supervisor.model.image import ImageState
from balena_supervisor.model.state import DeviceState, EngineLink, Seq
from balena_supervisor.model.target import TargetApp, TargetService, TargetState
from balena_supervisor.runtime.message import DeliveryFailed
from balena_supervisor.state.words import words_of
from balena_supervisor.state.world import World
from balena_supervisor.steps import (
    HandOver,
    KillService,
    PullImage,
    ReleaseLocks,
    StartService,
    Step,
    StopService,
    TakeLocks,
    WithdrawSteps,
)
from tests.fakes.ports import FakeClock, FakeTimers
from tests.fakes.workers import FakeWorkers

DEVICE = Configuration(version=1, uuid="d00d", name="bench", local_mode=True)
NO_KEYS = KeysChanged(global_key="", scopes={}, services=())


def web(**fields: Any) -> TargetService:
    defaults: dict[str, Any] = {"service_name": "web", "service_id": 1, "image_id": 1, "image": "web:latest"}
    return TargetService(**{**defaults, "app_id": 7, "app_uuid": "7", "release_id": 1, "commit": "r1", **fields})


def target(*services: TargetService, version: int = 1, commit: str = "r1") -> TargetState:
    app = TargetApp(app_id=7, app_uuid="7", name="app", commit=commit, release_id=1, services=services)
    return TargetState(version=version, is_set=True, name="bench", apps=(app,))


class Device:
    """A planner with model workers around it."""

    def __init__(
        self,
        database: Path,
        world: World | None = None,
        *,
        generation: int = 1,
        host: Callable[[], HostFacts] = HostFacts,
    ) -> None:
        self.clock = FakeClock()
        self.timers = FakeTimers(self.clock)
        self.workers = FakeWorkers(world)
        self.database = database
        self.ref = Planner.start(
            PlannerPorts(
                name="planner",
                generation=generation,
                post=self.workers.post,
                clock=self.clock,
                timers=self.timers,
                database_path=database,
                host=host,
            )
        )
        self.workers.attach(self.ref)

    def meet(self, wanted: TargetState, *, keys: KeysChanged = NO_KEYS) -> None:
        """Everything that a planner needs before it plans."""
        self.workers.target_version = wanted.version
        self.workers.deliver(ConfigChanged(configuration=DEVICE))
        self.workers.deliver(keys)
        self.workers.deliver(TargetChanged(target=wanted))
        self.workers.publish()
        self.workers.answer_seqs()

    def change(self, wanted: TargetState) -> None:
        self.workers.target_version = wanted.version
        self.workers.deliver(TargetChanged(target=wanted))
        self.workers.publish()

    def advance(self, seconds: float) -> None:
        self.workers.settle()
        self.timers.advance(seconds)
        self.workers.settle()

    def state(self) -> DeviceState:
        self.advance(0.1)
        return self.workers.post.of(DeviceStateChanged)[-1].state


@pytest.fixture
def device(database: Path) -> Iterator[Device]:
    made = Device(database)
    yield made
    made.ref.stop()


def words(steps: list[Step]) -> list[str]:
    return [words_of(step) for step in steps]


def test_a_target_is_brought_about_from_nothing(device: Device) -> None:
    device.workers.world = msgspec.structs.replace(device.workers.world, supervisor_network_ready=False)
    device.meet(target(web()))
    taken = device.workers.work()
    assert words(taken) == [
        "pull web:latest",
        "make network supervisor0",
        "create network default",
        "start web",
    ]
    state = device.state()
    assert not state.applying
    assert state.commits == {"7": "r1"}
    assert [decision.outcome for decision in state.decisions] == ["done"] * 4


def test_nothing_is_planned_before_every_worker_has_answered(device: Device) -> None:
    device.workers.deliver(ConfigChanged(configuration=DEVICE))
    device.workers.deliver(KeysChanged(global_key="", scopes={}, services=()))
    device.workers.deliver(TargetChanged(target=target(web())))
    device.workers.target_version = 1
    device.workers.publish()
    assert device.workers.work() == []
    device.workers.answer_seqs()
    assert device.workers.work() != []


def test_nothing_is_planned_before_the_images_of_the_target_are_looked_up(device: Device) -> None:
    device.meet(target(web()))
    device.workers.work()
    device.workers.deliver(TargetChanged(target=target(web(image="other:latest"), version=2)))
    assert device.workers.work() == []
    assert device.state().applying


def test_without_a_target_nothing_is_touched(device: Device) -> None:
    device.meet(TargetState())
    assert device.workers.work() == []
    assert not device.state().applying


def test_the_same_target_again_sends_no_step(device: Device) -> None:
    device.meet(target(web()))
    device.workers.work()
    device.change(target(web(), version=2))
    assert device.workers.work() == []
    state = device.state()
    assert (state.applying, state.target_version) == (False, 2)


def test_a_container_removed_by_hand_is_put_right_at_once(device: Device) -> None:
    device.meet(target(web()))
    device.workers.work()
    device.workers.world = msgspec.structs.replace(device.workers.world, containers=())
    device.workers.publish()
    assert words(device.workers.work()) == ["start web"]


def test_a_failed_step_is_tried_again_after_one_two_and_four_seconds(device: Device) -> None:
    device.workers.fails = lambda step: "port is taken" if isinstance(step, StartService) else ""
    device.meet(target(web()))
    assert words(device.workers.work())[-1] == "start web"
    for delay in (1, 2, 4):
        device.advance(delay - 0.1)
        assert device.workers.work() == []
        device.advance(0.2)
        assert words(device.workers.work()) == ["start web"]
    state = device.state()
    assert state.update_failed
    assert state.applying
    assert "failed 4 times, last: port is taken" in [entry.reason for entry in state.waiting]
    assert state.last_error is not None
    assert state.last_error.message == "cannot start web: port is taken"


def test_a_service_that_is_being_worked_on_says_what_is_done(device: Device) -> None:
    device.workers.held = lambda step: isinstance(step, StartService)
    device.meet(target(web()))
    device.workers.work()
    assert [(entry.service_name, entry.reason) for entry in device.state().waiting] == [
        ("web", "start web is under way")
    ]


def test_what_a_person_is_told_of_an_error_is_its_cause() -> None:
    message = "cannot start container 0123456789abcdef: no such device"
    assert cause_of(ErrorRecord("engine-error", message, {"cause": "no such device"})) == "no such device"
    assert cause_of(ErrorRecord("database-refused", "cannot write")) == "cannot write"


def test_a_service_that_failed_three_times_gets_a_new_container(device: Device) -> None:
    device.workers.fails = lambda step: "id already in use" if isinstance(step, StartService) else ""
    device.meet(target(web()))
    device.workers.work()
    for delay in (1, 2, 4):
        device.advance(delay + 0.1)
        device.workers.work()
    starts = device.workers.post.of(StartService)
    assert [step.renew for step in starts] == [False, False, False, True]
    assert "created anew after 3 failures" in starts[-1].reason


def test_a_failing_service_does_not_hold_up_another(device: Device) -> None:
    other = web(service_name="other", service_id=2, image="other:latest")
    device.workers.fails = lambda step: "no" if words_of(step) == "start other" else ""
    device.meet(target(web(), other))
    assert {"start web", "start other"} <= set(words(device.workers.work()))
    assert [c.service_name for c in device.workers.world.containers] == ["web"]


def test_a_new_target_forgets_the_back_off(device: Device) -> None:
    device.workers.fails = lambda step: "no" if isinstance(step, PullImage) else ""
    device.meet(target(web()))
    device.workers.work()
    device.workers.fails = lambda _step: ""
    device.change(target(web(), version=2))
    assert "pull web:latest" in words(device.workers.work())


def test_a_step_whose_delivery_failed_is_planned_again_after_a_back_off(device: Device) -> None:
    device.workers.held = lambda step: isinstance(step, PullImage)
    device.meet(target(web()))
    (pull,) = [step for step in device.workers.work() if isinstance(step, PullImage)]
    body = msgspec.to_builtins(pull)
    device.workers.deliver(
        DeliveryFailed(recipient="images", message_type="PullImage", code="too-many-deaths", reason="died", body=body)
    )
    device.workers.held = lambda _step: False
    device.workers.drop()
    device.advance(1.1)
    assert "pull web:latest" in words(device.workers.work())


def test_what_an_older_planner_had_sent_is_waited_for(device: Device) -> None:
    device.workers.held = lambda step: isinstance(step, PullImage)
    device.meet(target(web()))
    device.workers.work()
    successor = Device(device.database, device.workers.world)
    try:
        successor.workers.take_over(device.workers)
        successor.meet(target(web()))
        assert "pull web:latest" not in words(successor.workers.work())
    finally:
        successor.ref.stop()


def test_stopping_for_running_false_and_starting_again(device: Device) -> None:
    device.meet(target(web()))
    device.workers.work()
    device.change(target(web(running=False), version=2))
    assert [type(step) for step in device.workers.work()] == [TakeLocks, StopService, ReleaseLocks]
    device.change(target(web(), version=3))
    assert words(device.workers.work()) == ["start web"]


def test_nothing_is_stopped_while_the_locks_are_being_released(device: Device) -> None:
    device.meet(target(web()))
    device.workers.work()
    device.workers.held = lambda step: isinstance(step, ReleaseLocks)
    device.change(target(web(environment={"A": "1"}), version=2))
    device.workers.work()
    device.change(target(web(environment={"A": "2"}), version=3))
    assert device.workers.work() == []
    device.workers.held = lambda _: False
    device.workers.release()
    kinds = [type(step) for step in device.workers.work()]
    assert kinds == [TakeLocks, KillService, StartService, ReleaseLocks]


def with_environment(world: World, environment: dict[str, str]) -> World:
    """All containers as if somebody had made them otherwise."""
    containers = tuple(
        msgspec.structs.replace(c, config=msgspec.structs.replace(c.config, environment=environment))
        for c in world.containers
    )
    return msgspec.structs.replace(world, containers=containers)


def test_a_hand_over_that_waits_is_no_attempt_that_hangs(device: Device) -> None:
    labels = {"io.balena.update.strategy": "hand-over"}
    device.meet(target(web(labels=labels)))
    device.workers.work()
    device.workers.held = lambda step: isinstance(step, HandOver)
    device.change(target(web(labels=labels, environment={"A": "1"}), version=2))
    assert [type(step) for step in device.workers.work()] == [TakeLocks, HandOver]
    state = device.state()
    assert state.applying
    assert state.attempt_started_at is None


def test_an_image_that_lost_a_part_is_pulled_anew_once_before_the_next_start(device: Device) -> None:
    broken = ErrorRecord("image-broken", "cannot start service web: layer does not exist")
    device.workers.fails = lambda step: broken if isinstance(step, StartService) else ""
    device.workers.held = lambda step: isinstance(step, PullImage) and step.anew
    device.meet(target(web()))
    taken = device.workers.work()
    assert isinstance(taken[-2], StartService)
    assert isinstance(taken[-1], PullImage)
    assert taken[-1].anew
    device.advance(60)
    assert device.workers.work() == []
    device.workers.held = lambda _: False
    device.workers.release()
    assert words(device.workers.work()) == ["start web"]
    device.advance(60)
    assert words(device.workers.work()) == ["start web"], "once is enough"


def test_a_step_that_is_done_again_and_again_without_effect_is_slowed_down(device: Device) -> None:
    device.meet(target(web()))
    device.workers.work()
    lost = TakeLocks(app_id=7, services=())
    device.workers.alters = lambda step: lost if isinstance(step, TakeLocks) else step
    device.change(target(web(environment={"A": "1"}), version=2))
    taken = device.workers.work()
    assert words(taken) == ["take the update locks of app 7"] * 10
    waits = [entry.reason for entry in device.state().waiting if entry.subject == "lock:7"]
    assert waits == ["take the update locks of app 7 was done 10 times in a minute and has to be done again"]
    device.advance(59.9)
    assert len(device.workers.work()) > 0


def test_an_unreachable_engine_is_a_wait_with_its_reason(device: Device) -> None:
    device.workers.link = EngineLink(up=False, reason="cannot reach the engine: no such file")
    device.meet(target(web()))
    assert device.workers.work() == []
    assert [entry.reason for entry in device.state().waiting] == ["cannot reach the engine: no such file"]
    device.workers.link = EngineLink(up=True, reason="")
    device.workers.publish()
    assert device.workers.work() != []


def test_a_database_that_cannot_be_written_is_a_wait_that_is_tried_again(device: Device) -> None:
    with sqlite3.connect(device.database) as by_hand:
        by_hand.execute(
            "CREATE TRIGGER full BEFORE INSERT ON currentCommit"
            " BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
        )
    device.meet(target(web()))
    device.workers.work()
    state = device.state()
    assert state.applying
    assert state.commits == {}
    (wait,) = state.waiting
    assert wait.subject == "commit:7"
    assert "database or disk is full" in wait.reason
    assert state.last_error is not None
    assert state.last_error.code == "database-refused"
    with sqlite3.connect(device.database) as by_hand:
        by_hand.execute("DROP TRIGGER full")
    device.advance(1.1)
    assert device.workers.work() == []
    state = device.state()
    assert not state.applying
    assert state.commits == {"7": "r1"}
    assert (state.failures, state.last_error) == (0, None)


def test_a_newer_target_takes_back_what_has_not_begun(device: Device) -> None:
    device.workers.held = lambda step: isinstance(step, StartService)
    device.meet(target(web()))
    (start,) = [step for step in device.workers.work() if isinstance(step, StartService)]
    device.change(target(web(environment={"A": "1"}), version=2))
    assert len(device.workers.post.of(WithdrawSteps)) == 1
    device.workers.held = lambda _step: False
    device.workers.withdraw()
    assert words(device.workers.work()) == ["start web"]
    state = device.state()
    outcomes = {decision.number: decision.outcome for decision in state.decisions if decision.step == "start web"}
    assert outcomes == {start.step.number: "withdrawn", start.step.number + 1: "done"}
    assert not state.update_failed


def test_a_newer_target_says_which_apps_it_has_as_they_were(device: Device) -> None:
    labels = {"io.balena.update.strategy": "hand-over"}
    device.meet(target(web(labels=labels)))
    device.workers.work()
    device.workers.held = lambda step: isinstance(step, HandOver)
    wanted = target(web(labels=labels, environment={"A": "1"}), version=2)
    device.change(wanted)
    device.workers.work()
    other = TargetApp(app_id=8, app_uuid="8", name="other", commit="r1", release_id=1, services=(web(app_id=8),))
    device.change(msgspec.structs.replace(wanted, version=3, apps=(*wanted.apps, other)))
    device.change(target(web(labels=labels, environment={"A": "2"}), version=4))
    told = dict.fromkeys(message.unchanged for message in device.workers.post.of(WithdrawSteps))
    assert list(told) == [(7,), ()]


def test_a_step_of_an_older_target_that_fails_delays_nothing(device: Device) -> None:
    device.workers.held = lambda step: isinstance(step, StartService)
    device.meet(target(web()))
    device.workers.work()
    device.change(target(web(environment={"A": "1"}), version=2))
    device.workers.held = lambda _step: False
    device.workers.fails = lambda step: "no" if step.step.number < 4 else ""
    device.workers.release()
    assert words(device.workers.work()) == ["start web"]
    assert not device.state().update_failed


def test_a_picture_that_covers_a_newer_target_is_waited_out(device: Device) -> None:
    """Images has heard of the next target before the planner: a pull of the old one would be refused."""
    device.workers.target_version = 2
    device.workers.deliver(ConfigChanged(configuration=DEVICE))
    device.workers.deliver(KeysChanged(global_key="", scopes={}, services=()))
    device.workers.deliver(TargetChanged(target=target(web())))
    device.workers.publish()
    device.workers.answer_seqs()
    assert device.workers.work() == []
    device.workers.deliver(TargetChanged(target=target(web(), version=2)))
    assert device.workers.work() != []


def test_an_engine_that_is_away_for_long_is_no_long_attempt(device: Device) -> None:
    device.workers.held = lambda step: isinstance(step, StartService)
    device.meet(target(web()))
    device.workers.work()
    assert device.state().attempt_started_at is not None
    device.workers.link = EngineLink(up=False, reason="away")
    device.workers.publish()
    assert device.state().attempt_started_at is None
    device.advance(10_000)
    device.workers.link = EngineLink(up=True, reason="")
    device.workers.publish()
    device.workers.settle()
    started = device.state().attempt_started_at
    assert started is not None
    assert started > 10_000


def test_a_wait_is_no_attempt_that_takes_too_long(device: Device) -> None:
    one, other = (
        web(composition={"depends_on": ["other"]}),
        web(service_name="other", service_id=2, composition={"depends_on": ["web"]}),
    )
    device.meet(target(one, other))
    device.workers.work()
    state = device.state()
    assert state.applying
    assert any("cycle" in entry.reason for entry in state.waiting)
    assert state.attempt_started_at is None


def test_what_a_restarted_worker_has_not_looked_at_yet_stays_as_it_was(device: Device) -> None:
    device.meet(target(web()))
    device.workers.work()
    before = device.state()
    assert before.containers
    assert before.images
    for event in (
        ContainersChanged(seq=Seq(2, 1)),
        ImagesChanged(seq=Seq(2, 1), images=ImageState()),
        ResourcesChanged(seq=Seq(2, 1)),
    ):
        device.workers.deliver(event)
    after = device.state()
    assert (after.containers, after.images) == (before.containers, before.images)
    assert not after.engine.up


def test_a_restarted_planner_says_nothing_before_it_knows_all(device: Device) -> None:
    device.meet(target(web()))
    device.workers.work()
    successor = Device(device.database, device.workers.world, generation=2)
    try:
        successor.workers.deliver(ConfigChanged(configuration=DEVICE))
        successor.workers.deliver(KeysChanged(global_key="", scopes={}, services=()))
        successor.advance(1)
        assert successor.workers.post.of(DeviceStateChanged) == []
        successor.meet(target(web()))
        assert successor.workers.work() == []
        assert successor.state().containers
        assert all(event.state.containers for event in successor.workers.post.of(DeviceStateChanged))
    finally:
        successor.ref.stop()


def test_commits_survive_a_restart_of_the_planner(device: Device) -> None:
    device.meet(target(web()))
    device.workers.work()
    assert CommitStore(open_database(device.database)).all() == {7: "r1"}


def test_the_decision_log_keeps_the_last_two_hundred(device: Device) -> None:
    device.meet(target(web()))
    taken = device.workers.work()
    while len(taken) < 210:
        device.workers.world = msgspec.structs.replace(device.workers.world, containers=())
        device.advance(10)  # what is done again and again within a minute is slowed down
        device.workers.publish()
        taken += device.workers.work()
    kept = [decision.number for decision in device.state().decisions]
    assert kept == [step.step.number for step in taken[-200:]]


def locked_device(device: Device) -> None:
    """A device whose update a user's lock holds up."""
    device.meet(target(web()))
    device.workers.work()
    refusal = ErrorRecord("locked", "cannot take the update locks of app 7: web is locked", {"locks": [LOCK]})
    device.workers.fails = lambda step: refusal if isinstance(step, TakeLocks) and not step.force else ""
    device.change(target(web(environment={"A": "1"}), version=2))
    assert words(device.workers.work()) == ["take the update locks of app 7"]


LOCK = {"app_id": 7, "service_name": "web", "path": "/x/updates.lock", "since": "2026-01-01T00:00:00Z"}


def test_a_lock_of_a_user_is_shown_with_its_path_and_tried_again_later_and_later(device: Device) -> None:
    locked_device(device)
    state = device.state()
    assert [(lock.holder, lock.path, lock.since) for lock in state.locks] == [
        ("user", "/x/updates.lock", "2026-01-01T00:00:00Z")
    ]
    assert (state.update_failed, state.update_pending) == (True, True)
    for seconds in (2, 4, 8):
        device.advance(seconds)
        assert words(device.workers.work()) == ["take the update locks of app 7"]
    device.workers.fails = lambda _: ""
    device.advance(16)
    assert words(device.workers.work())[1] == "kill web"
    state = device.state()
    assert (state.locks, state.update_failed) == ((), False)


@pytest.mark.parametrize("how", ["target", "override", "now"])
def test_force_breaks_the_lock_at_once_and_only_until_the_target_is_applied(device: Device, how: str) -> None:
    locked_device(device)
    if how == "target":
        device.change(msgspec.structs.replace(target(web(environment={"A": "1"}), version=3), force=True))
    elif how == "override":
        configuration = msgspec.structs.replace(DEVICE, version=2, lock_override=True)
        device.workers.deliver(ConfigChanged(configuration=configuration))
    else:
        device.workers.deliver(ApplyNow(force=True))
    taken = device.workers.work()
    assert isinstance(taken[0], TakeLocks)
    assert taken[0].force
    assert not device.state().applying
    if how != "override":
        device.workers.world = with_environment(device.workers.world, {"A": "of somebody else"})
        device.workers.publish()
        (take,) = device.workers.work()
        assert isinstance(take, TakeLocks)
        assert not take.force
        device.change(target(web(environment={"A": "2"}), version=4))
        (take,) = device.workers.work()
        assert isinstance(take, TakeLocks)
        assert not take.force

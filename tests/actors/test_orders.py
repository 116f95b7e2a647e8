"""Orders of users: restart, purge, start, stop, reboot and shutdown, as messages to the planner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest

from balena_supervisor.db.connection import open_database
from balena_supervisor.db.order_store import OrderStore
from balena_supervisor.errors import ErrorRecord, SupervisorError
from balena_supervisor.messages import (
    AppOrder,
    CancelOrder,
    DeviceOrder,
    GoDown,
    Order,
    ServiceOrder,
)
from balena_supervisor.model.state import ActionSummary, EngineLink
from balena_supervisor.model.target import TargetState
from balena_supervisor.state.effects import effect
from balena_supervisor.state.orders import service_name_of, words_of_order
from balena_supervisor.state.strategies import STRATEGIES, STRATEGY
from balena_supervisor.steps import (
    CreateVolume,
    KillService,
    PullImage,
    ReleaseLocks,
    RemoveNetwork,
    RemoveVolume,
    StartService,
    Step,
    StopService,
    TakeLocks,
)
from tests.actors.test_planner import Device, target, web, words

DB = {"service_name": "db", "service_id": 2, "image_id": 2, "image": "db:latest"}


def services() -> tuple[Any, Any]:
    return web(composition={"depends_on": ["db"], "volumes": ["data:/data"]}), web(**DB)


def wanted_with_volume() -> TargetState:
    wanted = target(*services())
    volumes: dict[str, dict[str, Any]] = {"data": {}}
    return msgspec.structs.replace(wanted, apps=(msgspec.structs.replace(wanted.apps[0], volumes=volumes),))


class Ordered(Device):
    """A device on which two services run, one of which has a volume."""

    def settle(self) -> None:
        self.meet(wanted_with_volume())
        self.workers.work()

    def order(self, order: Order) -> Future[None]:
        self.workers.settle()
        return self.workers.deliver(order).future  # type: ignore[no-any-return]

    def ids(self) -> dict[str, str]:
        return {c.service_name: c.container_id for c in self.workers.world.containers}

    def statuses(self) -> dict[str, str]:
        return {c.service_name: c.status for c in self.workers.world.containers}

    def again(self) -> Ordered:
        """Another planner after the death of this one: same database, same workers."""
        self.ref.stop()
        made = Ordered(self.database, self.workers.world, generation=2)
        made.workers.take_over(self.workers)
        return made


#: orders that stop something of an app
STOPPING: tuple[Order, ...] = (
    AppOrder(verb="restart", app_id=7),
    AppOrder(verb="purge", app_id=7),
    ServiceOrder(verb="restart", app_id=7, service_name="web"),
    ServiceOrder(verb="stop", app_id=7, service_name="web"),
)


@pytest.fixture
def device(database: Path) -> Iterator[Ordered]:
    made = Ordered(database)
    made.settle()
    assert made.statuses() == {"web": "Running", "db": "Running"}
    yield made
    made.ref.stop()


def outcome(device: Device) -> list[tuple[str, str]]:
    return [(action.verb, action.outcome) for action in device.state().actions]


def test_an_app_is_restarted_in_order_under_one_lock(device: Ordered) -> None:
    done = device.order(AppOrder(verb="restart", app_id=7))
    taken = device.workers.work()
    assert [words([step])[0].partition(" of app")[0] for step in taken] == [
        "take the update locks",
        "kill web",
        "kill db",
        "start db",
        "start web",
        "release the update locks",
    ]
    assert done.result(5) is None
    assert outcome(device) == [("restart", "done")]
    assert not device.state().applying


def test_one_service_is_restarted_and_the_other_left(device: Ordered) -> None:
    before = device.ids()
    done = device.order(ServiceOrder(verb="restart", app_id=7, service_name="db"))
    taken = [step for step in device.workers.work() if not isinstance(step, TakeLocks | ReleaseLocks)]
    assert words(taken) == ["kill db", "start db"]
    assert done.result(5) is None
    assert device.ids()["web"] == before["web"]
    assert device.ids()["db"] != before["db"]


def test_a_purge_empties_the_volumes_and_brings_all_back(device: Ordered) -> None:
    done = device.order(AppOrder(verb="purge", app_id=7))
    taken = device.workers.work()
    kinds = [type(step) for step in taken]
    assert kinds.index(KillService) < kinds.index(RemoveNetwork)
    assert kinds.index(KillService) < kinds.index(RemoveVolume) < kinds.index(CreateVolume) < kinds.index(StartService)
    assert [kinds.count(TakeLocks), kinds.count(ReleaseLocks)] == [1, 1]
    assert done.result(5) is None
    assert device.statuses() == {"web": "Running", "db": "Running"}
    assert outcome(device) == [("purge", "done")]


def test_a_restart_brings_back_what_was_there_while_the_next_release_is_still_on_its_way(device: Ordered) -> None:
    old = {c.service_name: c.config.image for c in device.workers.world.containers}
    device.workers.held = lambda step: isinstance(step, PullImage)
    device.change(target(web(image="new:latest"), web(**DB), version=2))
    device.workers.work()
    done = device.order(AppOrder(verb="restart", app_id=7))
    device.workers.work()
    assert done.result(5) is None
    assert {c.service_name: c.config.image for c in device.workers.world.containers} == old
    device.workers.held = lambda _: False
    device.workers.release()
    device.workers.work()
    assert device.statuses() == {"web": "Running", "db": "Running"}
    assert {c.service_name: c.config.image for c in device.workers.world.containers} != old


def test_a_stopped_service_stays_stopped_until_it_is_started(device: Ordered) -> None:
    done = device.order(ServiceOrder(verb="stop", app_id=7, service_name="web"))
    kinds = [type(step) for step in device.workers.work()]
    assert kinds == [TakeLocks, StopService, ReleaseLocks]
    assert done.result(5) is None
    assert device.statuses()["web"] == "exited"
    (app,) = device.state().apps
    assert [service.stopped_by_user for service in app.services] == [True, False]
    device.change(msgspec.structs.replace(target(*services()), version=2))
    device.workers.work()
    assert device.statuses()["web"] == "exited"
    assert device.order(ServiceOrder(verb="start", app_id=7, service_name="web")) is not None
    assert words(device.workers.work()) == ["start web"]
    assert device.statuses()["web"] == "Running"


def test_what_a_user_has_stopped_is_stopped_again_after_a_restart_of_supervisor_and_engine(device: Ordered) -> None:
    device.order(ServiceOrder(verb="stop", app_id=7, service_name="web"))
    device.workers.work()
    later = device.again()
    running = tuple(msgspec.structs.replace(c, status="Running") for c in later.workers.world.containers)
    later.workers.world = msgspec.structs.replace(later.workers.world, containers=running)
    later.settle()
    assert later.statuses() == {"web": "exited", "db": "Running"}
    later.ref.stop()


def test_a_service_that_was_stopped_runs_again_when_the_target_defines_it_otherwise(device: Ordered) -> None:
    device.order(ServiceOrder(verb="stop", app_id=7, service_name="web"))
    device.workers.work()
    device.change(target(web(environment={"A": "1"}), web(**DB), version=2))
    device.workers.work()
    assert device.statuses() == {"web": "Running", "db": "Running"}
    assert OrderStore(open_database(device.database)).stopped() == frozenset()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_service_that_was_stopped_runs_again_with_a_new_image(device: Ordered, strategy: str) -> None:
    labels = {STRATEGY: strategy}
    device.change(target(web(labels=labels), web(**DB), version=2))
    device.workers.work()
    device.order(ServiceOrder(verb="stop", app_id=7, service_name="web"))
    device.workers.work()
    device.change(target(web(labels=labels), web(**DB), version=3))
    device.workers.work()
    assert device.statuses() == {"web": "exited", "db": "Running"}
    device.change(target(web(labels=labels, image="new:latest"), web(**DB), version=4))
    device.workers.work()
    assert device.statuses() == {"web": "Running", "db": "Running"}


def test_a_stopped_service_whose_container_somebody_removed_is_made_and_not_started(device: Ordered) -> None:
    device.order(ServiceOrder(verb="stop", app_id=7, service_name="web"))
    device.workers.work()
    left = tuple(c for c in device.workers.world.containers if c.service_name != "web")
    device.workers.world = msgspec.structs.replace(device.workers.world, containers=left)
    device.workers.publish()
    device.workers.work()
    assert device.statuses() == {"web": "Installed", "db": "Running"}


LOCKED = ErrorRecord(
    "locked",
    "cannot take the update locks of app 7: web is locked",
    {"locks": [{"app_id": 7, "service_name": "web", "path": "/tmp/x/updates.lock", "since": "2026-01-01T00:00:00Z"}]},
)


@pytest.mark.parametrize(
    "order",
    [*STOPPING, DeviceOrder(verb="reboot")],
)
def test_a_lock_of_a_user_ends_an_order_and_leaves_everything_as_it_was(device: Ordered, order: Order) -> None:
    before = device.workers.world.containers
    device.workers.fails = lambda step: LOCKED if isinstance(step, TakeLocks) else ""
    done = device.order(order)
    assert [type(step) for step in device.workers.work()] == [TakeLocks]
    with pytest.raises(SupervisorError, match="web is locked") as raised:
        done.result(5)
    assert raised.value.code == "locked"
    assert device.workers.world.containers == before
    state = device.state()
    assert not state.applying
    assert not state.update_failed
    assert [action.outcome for action in state.actions] == ["failed"]


def test_a_lock_that_has_refused_an_order_is_not_shown_after_it(device: Ordered) -> None:
    device.workers.fails = lambda step: "no such image" if isinstance(step, PullImage) else ""
    device.change(target(web(image="new:latest"), web(**DB), version=2))
    device.workers.work()
    device.workers.fails = lambda step: LOCKED if isinstance(step, TakeLocks) else ""
    done = device.order(AppOrder(verb="restart", app_id=7))
    device.workers.held = lambda step: isinstance(step, PullImage)
    device.workers.work()
    assert isinstance(done.exception(5), SupervisorError)
    assert device.state().locks == ()


def test_force_goes_with_the_step_that_takes_the_locks(device: Ordered) -> None:
    device.order(AppOrder(verb="restart", app_id=7, force=True))
    (take,) = [step for step in device.workers.work() if isinstance(step, TakeLocks)]
    assert take.force


def test_orders_for_one_app_wait_for_each_other_and_each_is_answered(device: Ordered) -> None:
    device.workers.held = lambda step: isinstance(step, KillService)
    first = device.order(AppOrder(verb="restart", app_id=7))
    second = device.order(ServiceOrder(verb="stop", app_id=7, service_name="web"))
    device.workers.work()
    assert outcome(device) == [("restart", "running"), ("stop", "queued")]
    device.workers.held = lambda _: False
    device.workers.release()
    device.workers.work()
    assert (first.result(5), second.result(5)) == (None, None)
    assert device.statuses() == {"web": "exited", "db": "Running"}


@pytest.mark.parametrize("number", [1, 2])
def test_a_cancelled_order_ends_with_its_error_and_the_apply_puts_things_right(device: Ordered, number: int) -> None:
    device.workers.held = lambda step: isinstance(step, StartService)
    orders = [device.order(AppOrder(verb="restart", app_id=7)) for _ in range(2)]
    device.workers.work()
    device.workers.deliver(CancelOrder(number=number))
    with pytest.raises(SupervisorError, match="it was cancelled"):
        orders[number - 1].result(5)
    device.workers.held = lambda _: False
    device.workers.release()
    device.workers.work()
    assert orders[2 - number].result(5) is None
    assert device.statuses() == {"web": "Running", "db": "Running"}
    assert sorted(entry[1] for entry in outcome(device)) == ["cancelled", "done"]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (AppOrder(verb="restart", app_id=8), "there is no app 8 on the device"),
        (ServiceOrder(verb="stop", app_id=7, service_name="nobody"), "app 7 has no service nobody"),
    ],
)
def test_an_order_for_what_is_not_there_is_refused_in_words(device: Ordered, order: Order, reason: str) -> None:
    done = device.order(order)
    assert device.workers.work() == []
    with pytest.raises(SupervisorError, match=reason) as raised:
        done.result(5)
    assert raised.value.code == "not-found"


def test_a_step_that_fails_ends_the_order_and_the_apply_repairs_the_app(device: Ordered) -> None:
    broken: Callable[[Step], str] = lambda step: "no such thing" if isinstance(step, StartService) else ""  # noqa: E731
    device.workers.fails = broken
    done = device.order(AppOrder(verb="restart", app_id=7))
    device.workers.work()
    with pytest.raises(SupervisorError, match="no such thing"):
        done.result(5)
    device.workers.fails = lambda _: ""
    device.advance(10)
    device.workers.work()
    assert device.statuses() == {"web": "Running", "db": "Running"}


@pytest.mark.parametrize(
    "order",
    STOPPING,
    ids=words_of_order,
)
def test_an_order_that_the_planner_did_not_live_to_end_is_reported_and_not_repeated(
    device: Ordered, order: AppOrder | ServiceOrder
) -> None:
    device.workers.held = lambda step: isinstance(step, KillService | StopService)
    device.order(order)
    device.workers.work()
    later = device.again()
    later.meet(wanted_with_volume())
    later.workers.release()
    later.workers.work()
    assert later.statuses() == {"web": "Running", "db": "Running"}
    assert [(a.verb, a.service_name, a.outcome, a.error) for a in later.state().actions] == [
        (order.verb, service_name_of(order), "interrupted", "the planner was restarted")
    ]
    assert OrderStore(open_database(device.database)).running() == []
    later.ref.stop()


@pytest.mark.parametrize("restart", ["no", "on-failure", "always"])
@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_a_service_that_an_interrupted_order_had_stopped_runs_again_once(
    device: Ordered, verb: Any, restart: str
) -> None:
    wanted = target(web(composition={"restart": restart}), web(**DB), version=2)
    device.change(wanted)
    device.workers.work()
    device.workers.held = lambda step: isinstance(step, KillService | StopService)
    device.order(ServiceOrder(verb=verb, app_id=7, service_name="web"))
    device.workers.work()
    (one,) = [c for c in device.workers.world.containers if c.service_name == "web"]
    device.workers.drop()
    device.workers.world = effect(StopService(container=one), device.workers.world)
    later = device.again()
    later.workers.alters = lambda step: StopService(container=one) if isinstance(step, StartService) else step
    later.meet(wanted)
    starts = [text for text in words(later.workers.work()) if text.startswith("start")]
    assert starts == ["start web"]
    assert outcome(later) == [(verb, "interrupted")]
    later.ref.stop()


@pytest.mark.parametrize("verb", ["stop", "start"])
def test_a_job_that_had_ended_by_itself_is_not_run_again_by_an_interrupted_order(device: Ordered, verb: Any) -> None:
    wanted = target(web(composition={"restart": "no"}), web(**DB), version=2)
    device.change(wanted)
    device.workers.work()
    (one,) = [c for c in device.workers.world.containers if c.service_name == "web"]
    device.workers.world = effect(StopService(container=one), device.workers.world)
    summary = ActionSummary(number=1, at="", verb=verb, app_id=7, service_name="web", outcome="running")
    OrderStore(open_database(device.database)).set_running([summary])
    later = device.again()
    later.meet(wanted)
    assert later.workers.work() == []
    later.ref.stop()


@pytest.mark.parametrize(
    ("locked", "restart", "started"), [(True, "always", ["start web"]), (False, "always", []), (True, "no", [])]
)
def test_what_a_killed_supervisor_had_stopped_and_not_removed_yet_runs_again(
    device: Ordered, locked: bool, restart: str, started: list[str]
) -> None:
    """By the locks that it left. Others may have stopped what has none, and what is not always up may have ended."""
    device.change(
        target(*(msgspec.structs.replace(s, composition={"restart": restart}) for s in services()), version=2)
    )
    device.workers.work()
    world = device.workers.world
    changed = tuple(
        msgspec.structs.replace(c, status="exited") if c.service_name == "web" else c for c in world.containers
    )
    device.workers.world = msgspec.structs.replace(
        world, containers=changed, locks={7: frozenset({"web", "db"})} if locked else {}
    )
    later = device.again()
    later.meet(target(*(msgspec.structs.replace(s, composition={"restart": restart}) for s in services()), version=2))
    taken = words(later.workers.work())
    assert [text for text in taken if "locks" not in text] == started
    assert [text for text in taken if "release" in text] == (["release the update locks of app 7"] if locked else [])
    later.ref.stop()


def test_a_reboot_takes_the_locks_of_all_apps_and_then_asks_the_host(device: Ordered) -> None:
    done = device.order(DeviceOrder(verb="reboot"))
    taken = device.workers.work()
    assert [(type(step), getattr(step, "services", ())) for step in taken] == [(TakeLocks, ("db", "web"))]
    assert done.result(5) is None
    asked = [(to, message) for to, message, _ in device.workers.post.asked if isinstance(message, GoDown)]
    assert asked == [("host-config", GoDown(verb="reboot"))]
    device.workers.world = msgspec.structs.replace(device.workers.world, containers=())
    device.workers.publish()
    assert device.workers.work() == [], "no step is taken any more"


def test_a_host_that_refuses_to_go_down_leaves_everything_at_work(device: Ordered) -> None:
    device.order(DeviceOrder(verb="shutdown"))
    device.workers.work()
    (future,) = [future for _, message, future in device.workers.post.asked if isinstance(message, GoDown)]
    future.set_exception(SupervisorError("the host has no login manager"))
    assert words(device.workers.work()) == ["release the update locks of app 7"]
    assert outcome(device) == [("shutdown", "failed")]
    device.change(target(web(**DB), version=2))
    device.workers.work()
    assert device.statuses() == {"db": "Running"}


def test_a_reboot_waits_ten_seconds_for_steps_under_way_and_then_says_what_they_are(device: Ordered) -> None:
    device.workers.held = lambda step: isinstance(step, KillService)
    device.change(target(web(environment={"A": "1"}), web(**DB), version=2))
    device.workers.work()
    done = device.order(DeviceOrder(verb="reboot"))
    device.workers.work()
    device.advance(9.9)
    assert not done.done()
    device.advance(0.1)
    with pytest.raises(SupervisorError, match="at work on service:7:web"):
        done.result(5)


def test_while_the_engine_is_away_an_order_ends_after_ten_seconds_with_the_reason(device: Ordered) -> None:
    device.workers.link = EngineLink(up=False, reason="cannot reach the engine: refused")
    device.workers.publish()
    orders = [device.order(AppOrder(verb="restart", app_id=7)), device.order(DeviceOrder(verb="reboot"))]
    device.advance(9)
    assert not any(order.done() for order in orders)
    device.advance(1.1)
    for order in orders:
        with pytest.raises(SupervisorError, match="cannot reach the engine: refused"):
            order.result(5)


def test_a_reboot_by_force_needs_no_engine(device: Ordered) -> None:
    device.workers.link = EngineLink(up=False, reason="cannot reach the engine: refused")
    device.workers.publish()
    done = device.order(DeviceOrder(verb="reboot", force=True))
    device.advance(10.1)
    assert done.result(5) is None
    assert [m for _, m, _ in device.workers.post.asked if isinstance(m, GoDown)] == [GoDown(verb="reboot")]


@pytest.mark.parametrize("verb", ["start", "restart"])
def test_what_the_target_lets_rest_is_not_started(device: Ordered, verb: Any) -> None:
    device.change(target(web(running=False), web(**DB), version=2))
    device.workers.work()
    done = device.order(ServiceOrder(verb=verb, app_id=7, service_name="web"))
    assert device.workers.work() == []
    with pytest.raises(SupervisorError, match="the target says that service web of app 7 shall not run"):
        done.result(5)


def test_an_order_for_the_device_tries_locks_again_that_were_refused_before(device: Ordered) -> None:
    device.workers.fails = lambda step: LOCKED if isinstance(step, TakeLocks) else ""
    device.change(target(web(environment={"A": "1"}), web(**DB), version=2))
    device.workers.work()
    device.workers.fails = lambda _: ""
    done = device.order(DeviceOrder(verb="reboot"))
    assert [type(step) for step in device.workers.work()] == [TakeLocks]
    assert done.result(5) is None


def test_the_last_orders_are_remembered(device: Ordered) -> None:
    for _ in range(25):
        device.order(AppOrder(verb="restart", app_id=8))
        device.workers.work()
    actions: tuple[ActionSummary, ...] = device.state().actions
    assert [action.number for action in actions] == list(range(6, 26))

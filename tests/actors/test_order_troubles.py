"""Orders of users that meet trouble: they are answered, and nothing is left waiting that could go on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from balena_supervisor.actors.order_taker import BEGIN_WITHIN_S
from balena_supervisor.actors.orders import STANDSTILL_S, Orders
from balena_supervisor.db.connection import open_database
from balena_supervisor.db.order_store import OrderStore
from balena_supervisor.errors import SupervisorError
from balena_supervisor.messages import AppOrder, CancelOrder, DeviceOrder, GoDown, Order, ServiceOrder
from balena_supervisor.model.state import EngineLink
from balena_supervisor.state.orders import verb_of
from balena_supervisor.state.strategies import HAND_OVER, STRATEGY
from balena_supervisor.state.words import words_of
from balena_supervisor.steps import (
    EnsureSupervisorNetwork,
    HandOver,
    KillService,
    PullImage,
    ReleaseLocks,
    RemoveImage,
    RemoveVolume,
    StartService,
    Step,
    StopService,
    TakeLocks,
)
from tests.actors.test_orders import DB, LOCKED, Ordered, outcome, services
from tests.actors.test_planner import target, web
from tests.actors.test_rollback import managed
from tests.state import worlds

STOP_WEB = ServiceOrder(verb="stop", app_id=7, service_name="web")


@pytest.fixture
def device(database: Path) -> Iterator[Ordered]:
    made = Ordered(database)
    made.settle()
    yield made
    made.ref.stop()


def depending(**fields: Any) -> tuple[Any, Any]:
    """``web`` and ``db``, without a volume."""
    return web(composition=fields), web(**DB)


def test_what_a_user_has_stopped_is_kept_while_a_new_supervisor_does_not_know_the_target_yet(device: Ordered) -> None:
    device.order(STOP_WEB)
    device.workers.work()
    device.ref.stop()
    later = Ordered(device.database, device.workers.world, generation=1)
    later.workers.publish()
    later.state()
    later.settle()
    assert later.statuses() == {"web": "exited", "db": "Running"}
    assert OrderStore(open_database(device.database)).stopped() == frozenset({(7, "web")})
    later.ref.stop()


def test_an_order_begins_in_the_look_in_which_the_one_before_it_is_refused() -> None:
    one = worlds.service("web")
    world, app = worlds.world(worlds.container(one), of=[one]), worlds.app(one)
    orders = Orders()
    orders.add(ServiceOrder(verb="stop", app_id=worlds.APP, service_name="nobody"), "", 1)
    orders.add(ServiceOrder(verb="stop", app_id=worlds.APP, service_name="web"), "", 1)
    orders.add(ServiceOrder(verb="start", app_id=worlds.APP, service_name="web"), "", 1)
    begun = orders.begin(world, [app], (), 0)
    assert [entry.summary.verb for entry in begun] == ["stop"]
    assert [verb_of(order) for order in orders.active()] == ["stop", "start"]


def test_no_order_counts_as_done_while_supervisor0_is_wrong_and_nothing_else_is_planned(device: Ordered) -> None:
    device.workers.held = lambda step: step.subject == "network:supervisor0"
    device.workers.world = msgspec.structs.replace(device.workers.world, supervisor_network_ready=False)
    device.workers.publish()
    device.workers.work()
    done = device.order(AppOrder(verb="restart", app_id=7))
    device.workers.work()
    assert not done.done()
    device.workers.held = lambda _: False
    device.workers.release()
    taken = [words_of(step) for step in device.workers.work()]
    assert done.result(5) is None
    assert {"kill web", "kill db", "start db", "start web"} <= set(taken)


def test_a_device_whose_supervisor0_cannot_be_made_can_be_rebooted(device: Ordered) -> None:
    device.workers.world = msgspec.structs.replace(device.workers.world, supervisor_network_ready=False)
    device.workers.fails = lambda step: "no address is left" if isinstance(step, EnsureSupervisorNetwork) else ""
    device.workers.publish()
    device.workers.work()
    device.workers.held = lambda step: isinstance(step, TakeLocks)
    done = device.order(DeviceOrder(verb="reboot"))
    device.workers.work()
    device.advance(5)
    device.workers.work()
    device.workers.held = lambda _: False
    device.workers.release()
    device.workers.work()
    assert done.result(5) is None


@pytest.mark.parametrize("queued", [False, True], ids=["beside a hand-over", "behind an order"])
def test_an_order_that_could_not_begin_in_time_ends_and_never_runs(device: Ordered, *, queued: bool) -> None:
    device.workers.held = lambda step: isinstance(step, HandOver | KillService)
    if queued:
        device.order(ServiceOrder(verb="restart", app_id=7, service_name="db"))
        work = "restart service db of app 7"
    else:
        labels = {STRATEGY: HAND_OVER}
        device.change(target(web(environment={"A": "1"}, labels=labels), web(**DB), version=2))
        work = "service:7:web"
    device.workers.work()
    done = device.order(AppOrder(verb="purge", app_id=7))
    device.workers.work()
    device.advance(BEGIN_WITHIN_S - 1)
    assert not done.done()
    device.advance(1.1)
    device.workers.work()
    with pytest.raises(SupervisorError, match=f"cannot purge app 7: the supervisor is at work on {work}"):
        done.result(5)
    device.workers.held = lambda _: False
    device.workers.release()
    assert not [step for step in device.workers.work() if isinstance(step, RemoveVolume)]
    assert device.statuses() == {"web": "Running", "db": "Running"}


def test_a_service_is_restarted_although_another_shares_its_network(device: Ordered) -> None:
    device.change(target(*depending(network_mode="service:db"), version=2))
    device.workers.work()
    done = device.order(ServiceOrder(verb="restart", app_id=7, service_name="db"))
    device.workers.work()
    assert done.result(5) is None
    assert device.statuses() == {"web": "Running", "db": "Running"}
    assert not device.state().applying


@pytest.mark.parametrize("force", [False, True])
def test_a_reboot_does_not_wait_for_the_back_off_of_a_lock(device: Ordered, *, force: bool) -> None:
    device.workers.fails = lambda step: LOCKED if isinstance(step, TakeLocks) and not step.force else ""
    device.change(target(web(environment={"A": "1"}), web(**DB), version=2))
    device.workers.work()
    device.advance(1)
    assert [type(step) for step in device.workers.work()] == [TakeLocks]
    done = device.order(DeviceOrder(verb="reboot", force=force))
    take, *_ = device.workers.work()
    assert isinstance(take, TakeLocks)
    if force:
        assert done.result(5) is None
    else:
        with pytest.raises(SupervisorError, match="web is locked"):
            done.result(5)


def gone(device: Ordered) -> None:
    device.workers.link = EngineLink(up=False, reason="the engine does not answer")
    device.workers.publish()
    device.workers.work()


@pytest.mark.parametrize("order", [AppOrder(verb="restart", app_id=7), STOP_WEB, DeviceOrder(verb="reboot")])
def test_without_an_engine_an_order_is_answered_with_the_reason(device: Ordered, order: Order) -> None:
    gone(device)
    done = device.order(order)
    device.advance(10.1)
    with pytest.raises(SupervisorError, match="the engine does not answer"):
        done.result(5)
    device.workers.link = EngineLink(up=True, reason="")
    device.workers.publish()
    assert device.workers.work() == []


def test_an_order_under_way_ends_when_the_engine_stays_away_and_the_apply_repairs_the_app(device: Ordered) -> None:
    device.workers.held = lambda step: isinstance(step, StartService)
    done = device.order(AppOrder(verb="restart", app_id=7))
    device.workers.work()
    gone(device)
    device.advance(10.1)
    with pytest.raises(SupervisorError, match="the engine does not answer"):
        done.result(5)
    device.workers.held = lambda _: False
    device.workers.link = EngineLink(up=True, reason="")
    device.workers.release()
    device.workers.work()
    assert device.statuses() == {"web": "Running", "db": "Running"}


def test_a_moment_without_the_engine_ends_no_order(device: Ordered) -> None:
    device.advance(100)
    gone(device)
    done = device.order(AppOrder(verb="restart", app_id=7))
    device.advance(1)
    device.workers.link = EngineLink(up=True, reason="")
    device.workers.publish()
    device.workers.work()
    assert done.result(5) is None


def went_down(device: Ordered) -> list[GoDown]:
    return [message for _, message, _ in device.workers.post.asked if isinstance(message, GoDown)]


def test_a_reboot_by_force_needs_no_engine(device: Ordered) -> None:
    gone(device)
    done = device.order(DeviceOrder(verb="reboot", force=True))
    device.workers.work()
    assert done.result(5) is None
    assert went_down(device) == [GoDown(verb="reboot")]


def test_a_device_without_a_target_can_be_rebooted(database: Path) -> None:
    fresh = Ordered(database)
    wanted = msgspec.structs.replace(target(), version=0, is_set=False, apps=())
    fresh.meet(wanted)
    done = fresh.order(DeviceOrder(verb="reboot"))
    fresh.workers.work()
    assert done.result(5) is None
    assert went_down(fresh) == [GoDown(verb="reboot")]
    fresh.ref.stop()


def migrated(version: int) -> Any:
    """A target in which ``web`` waits for the end of ``db``."""
    depends_on = {"db": {"condition": "service_completed_successfully"}}
    wanted = target(web(composition={"depends_on": depends_on, "volumes": ["data:/data"]}), web(**DB), version=version)
    app = msgspec.structs.replace(wanted.apps[0], volumes={"data": {}})
    return msgspec.structs.replace(wanted, apps=(app,))


def waits_for_an_end(device: Ordered) -> Any:
    """A restart in whose second half ``web`` is not started."""
    device.change(migrated(2))
    device.workers.work()
    done = device.order(AppOrder(verb="restart", app_id=7))
    device.workers.work()
    device.advance(STANDSTILL_S - 1)
    assert not done.done()
    assert device.statuses() == {"db": "Running"}
    return done


def test_an_order_that_cannot_go_on_for_long_ends_with_what_it_waits_for(device: Ordered) -> None:
    done = waits_for_an_end(device)
    device.advance(1)
    with pytest.raises(SupervisorError, match="depends on db, which has not completed"):
        done.result(5)
    device.change(target(web(), web(**DB), version=3))
    device.workers.work()
    assert device.statuses() == {"web": "Running", "db": "Running"}


def test_a_new_target_is_not_held_up_by_an_order_that_only_waits(device: Ordered) -> None:
    done = waits_for_an_end(device)
    device.change(target(web(), web(**DB), version=3))
    device.workers.work()
    with pytest.raises(SupervisorError, match="depends on db, which has not completed"):
        done.result(5)
    assert device.statuses() == {"web": "Running", "db": "Running"}


def test_a_service_that_was_stopped_while_the_disk_was_full_is_noted_when_it_is_stopped_again(device: Ordered) -> None:
    with sqlite3.connect(device.database) as by_hand:
        by_hand.execute(
            "CREATE TRIGGER full BEFORE INSERT ON config WHEN NEW.key = 'stoppedServices' "
            "BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    refused = device.order(STOP_WEB)
    device.workers.work()
    with pytest.raises(SupervisorError, match="disk is full"):
        refused.result(5)
    with sqlite3.connect(device.database) as by_hand:
        by_hand.execute("DROP TRIGGER full")
    done = device.order(STOP_WEB)
    device.workers.work()
    assert done.result(5) is None
    assert OrderStore(open_database(device.database)).stopped() == frozenset({(7, "web")})


def test_a_reboot_that_the_host_was_asked_for_cannot_be_cancelled(device: Ordered) -> None:
    device.order(DeviceOrder(verb="reboot"))
    device.workers.work()
    device.workers.deliver(CancelOrder(number=1))
    assert device.workers.work() == []
    assert outcome(device) == [("reboot", "running")]


@pytest.mark.parametrize("verb", ["restart", "stop"])
def test_an_interrupted_order_for_a_service_is_reported_too(device: Ordered, verb: Any) -> None:
    device.workers.held = lambda step: isinstance(step, KillService | StopService)
    device.order(ServiceOrder(verb=verb, app_id=7, service_name="web"))
    device.workers.work()
    later = device.again()
    later.workers.release()
    later.settle()
    assert [(a.verb, a.service_name, a.outcome) for a in later.state().actions] == [(verb, "web", "interrupted")]
    later.ref.stop()


def test_a_target_that_changes_during_an_order_takes_its_steps_back_and_the_order_goes_on(device: Ordered) -> None:
    device.workers.held = lambda step: isinstance(step, KillService)
    done = device.order(AppOrder(verb="restart", app_id=7))
    device.workers.work()
    device.workers.has_image("new:latest")
    device.change(target(web(image="new:latest"), web(**DB), version=2))
    device.workers.held = lambda _: False
    device.workers.withdraw()
    taken = [words_of(step) for step in device.workers.work()]
    assert done.result(5) is None
    assert taken.count("release the update locks of app 7") == 1
    images = {c.service_name: c.config.image for c in device.workers.world.containers}
    assert images == {"web": "sha256:new:latest", "db": "sha256:db:latest"} or "new:latest" in images["web"]
    assert not device.state().applying


def test_an_app_that_leaves_the_target_during_a_purge_is_removed_after_it(device: Ordered) -> None:
    device.workers.held = lambda step: isinstance(step, StartService)
    done = device.order(AppOrder(verb="purge", app_id=7))
    device.workers.work()
    device.change(msgspec.structs.replace(target(), version=2, apps=()))
    device.workers.held = lambda _: False
    device.workers.release()
    taken = device.workers.work()
    assert done.result(5) is None
    world = device.workers.world
    assert (world.containers, world.networks, world.locks) == ((), (), {})
    assert isinstance(taken[-1], ReleaseLocks)
    assert not device.state().applying


def test_the_image_of_what_is_restarted_is_kept_although_the_next_release_does_not_need_it(device: Ordered) -> None:
    device.workers.deliver(managed())
    device.workers.work()
    device.workers.held = lambda step: isinstance(step, PullImage)
    device.change(target(web(image="new:latest"), version=2))
    device.workers.work()
    done = device.order(AppOrder(verb="restart", app_id=7))
    taken = device.workers.work()
    assert done.result(5) is None
    assert not [step for step in taken if isinstance(step, RemoveImage)]
    assert device.statuses() == {"web": "Running", "db": "Running"}


@pytest.mark.parametrize("verb", ["restart", "purge"])
def test_a_rejected_app_gets_back_what_an_order_that_failed_has_taken(device: Ordered, verb: Any) -> None:
    wanted = target(*services(), version=2)
    app = msgspec.structs.replace(wanted.apps[0], rejected=True)
    device.change(msgspec.structs.replace(wanted, apps=(app,)))
    device.workers.work()
    device.workers.fails = lambda step: "no memory" if isinstance(step, StartService) else ""
    done = device.order(AppOrder(verb=verb, app_id=7))
    device.workers.work()
    with pytest.raises(SupervisorError, match="no memory"):
        done.result(5)
    device.workers.fails = lambda _: ""
    device.advance(10)
    device.workers.work()
    assert device.statuses() == {"web": "Running", "db": "Running"}
    assert device.workers.world.locks == {}
    assert not device.state().applying
    left = tuple(c for c in device.workers.world.containers if c.service_name == "db")
    device.workers.world = msgspec.structs.replace(device.workers.world, containers=left)
    device.workers.publish()
    assert device.workers.work() == [], "it is left alone again"


def test_an_app_runs_on_as_it_was_when_an_order_fails_while_the_next_release_cannot_be_pulled(device: Ordered) -> None:
    def no_network(step: Step) -> str:
        return "no network" if isinstance(step, PullImage) else ""

    device.workers.fails = no_network
    device.change(target(web(image="new:latest"), web(**DB), version=2))
    device.workers.work()
    device.workers.fails = lambda step: "no memory" if isinstance(step, StartService) else no_network(step)
    done = device.order(AppOrder(verb="restart", app_id=7))
    device.workers.work()
    with pytest.raises(SupervisorError, match="no memory"):
        done.result(5)
    device.workers.fails = no_network
    device.advance(10)
    device.workers.work()
    assert device.statuses() == {"web": "Running", "db": "Running"}
    device.workers.fails = lambda _: ""
    device.advance(1000)
    device.workers.work()
    assert not device.state().applying
    assert "pulled:new:latest" in {container.config.image for container in device.workers.world.containers}


def test_an_app_gets_no_further_steps_while_an_order_waits_for_those_under_way(device: Ordered) -> None:
    device.workers.held = lambda step: isinstance(step, KillService)
    device.change(target(web(environment={"A": "1"}), web(**DB), version=2))
    device.workers.work()
    done = device.order(AppOrder(verb="restart", app_id=7))
    left = tuple(c for c in device.workers.world.containers if c.service_name == "web")
    device.workers.world = msgspec.structs.replace(device.workers.world, containers=left)
    device.workers.publish()
    assert device.workers.work() == []
    device.workers.held = lambda _: False
    device.workers.release()
    device.workers.work()
    assert done.result(5) is None
    assert device.statuses() == {"web": "Running", "db": "Running"}


def test_only_an_order_with_force_breaks_a_lock(device: Ordered) -> None:
    device.workers.fails = lambda step: LOCKED if isinstance(step, TakeLocks) and not step.force else ""
    refused = device.order(AppOrder(verb="restart", app_id=7))
    device.workers.work()
    with pytest.raises(SupervisorError, match="web is locked"):
        refused.result(5)
    forced = device.order(AppOrder(verb="restart", app_id=7, force=True))
    device.workers.work()
    assert forced.result(5) is None


def test_a_device_that_does_not_go_down_goes_on_with_its_work_after_ten_minutes(device: Ordered) -> None:
    device.order(DeviceOrder(verb="reboot"))
    device.workers.work()
    (future,) = [future for _, message, future in device.workers.post.asked if isinstance(message, GoDown)]
    future.set_result(None)
    device.advance(599)
    assert device.workers.work() == []
    device.advance(1)
    device.workers.work()
    assert outcome(device) == [("reboot", "failed")]
    assert device.workers.world.locks == {}
    device.change(target(web(**DB), version=2))
    device.workers.work()
    assert device.statuses() == {"db": "Running"}


def test_a_new_target_hurries_no_order_that_has_not_begun(device: Ordered) -> None:
    device.change(migrated(2))
    device.workers.held = lambda step: isinstance(step, TakeLocks)
    device.order(ServiceOrder(verb="restart", app_id=7, service_name="db"))
    done = device.order(AppOrder(verb="restart", app_id=7))
    device.workers.work()
    device.change(migrated(3))
    device.workers.held = lambda _: False
    device.workers.release()
    device.workers.work()
    assert outcome(device) == [("restart", "done"), ("restart", "running")]
    device.advance(STANDSTILL_S)
    assert isinstance(done.exception(5), SupervisorError)


def test_a_reboot_by_force_gives_steps_under_way_ten_seconds_when_the_engine_is_away(device: Ordered) -> None:
    device.workers.held = lambda step: isinstance(step, KillService)
    device.change(target(web(environment={"A": "1"}), web(**DB), version=2))
    device.workers.work()
    gone(device)
    done = device.order(DeviceOrder(verb="reboot", force=True))
    device.workers.work()
    assert not done.done()
    device.advance(10.1)
    assert done.result(5) is None


def test_a_service_that_ends_as_soon_as_it_is_started_is_started_once(device: Ordered) -> None:
    device.order(STOP_WEB)
    device.workers.work()
    (one,) = [c for c in device.workers.world.containers if c.service_name == "web"]
    device.workers.alters = lambda step: StopService(container=one) if isinstance(step, StartService) else step
    done = device.order(ServiceOrder(verb="start", app_id=7, service_name="web"))
    assert [words_of(step) for step in device.workers.work()] == ["start web"]
    assert done.result(5) is None


def test_a_pull_that_fails_neither_ends_nor_holds_up_an_order(device: Ordered) -> None:
    device.workers.held = lambda step: isinstance(step, PullImage | KillService)
    device.change(target(web(image="new:latest"), web(**DB), version=2))
    device.workers.work()
    done = device.order(AppOrder(verb="restart", app_id=7))
    device.workers.work()
    device.workers.held = lambda _: False
    device.workers.fails = lambda step: "no such image" if isinstance(step, PullImage) else ""
    device.workers.release()
    device.workers.work()
    assert done.result(5) is None
    assert device.statuses() == {"web": "Running", "db": "Running"}

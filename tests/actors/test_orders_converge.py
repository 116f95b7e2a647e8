"""Orders of users at any moment, in any state, with steps that fail: each ends, none breaks a promise, and what is left
is the target."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import peewee
import pytest
from hypothesis import event, given, settings

from balena_supervisor.actors.order_desk import OrderDesk
from balena_supervisor.actors.orders import STANDSTILL_S, Entry
from balena_supervisor.db.models import Config
from balena_supervisor.db.order_store import OrderStore
from balena_supervisor.errors import OrderEnded
from balena_supervisor.messages import AppOrder, DeviceOrder, Order, ServiceOrder
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.state.names import SUPERVISOR_NETWORK
from balena_supervisor.state.orders import DOWN, app_of, service_name_of, verb_of
from balena_supervisor.state.plan import Plan, plan
from balena_supervisor.state.world import Memory, World
from balena_supervisor.steps import KillService, RemoveContainer, RemoveVolume, Step, TakeLocks
from tests.state.any_world import APPS, NAMES, Case, cases, network
from tests.state.outcome import bound
from tests.state.test_plan_faults import Troubled, settled

pytestmark = pytest.mark.timeout(900)

ROUNDS = 10
LEFT = OrderEnded("a step has failed")


class Ordered(Troubled):
    """A device whose users give orders while steps are slow and fail."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.world = _with_their_networks(self.world)
        database = peewee.SqliteDatabase(":memory:")
        database.bind([Config], bind_refs=False, bind_backrefs=False)
        database.create_tables([Config])
        self.store = OrderStore(database)
        self.desk = OrderDesk(self.store)
        self.now = 1000.0
        self.taken: list[Entry] = []
        #: whether a step that the engine would refuse is a mistake; else it fails, and with it the order
        self.strict = False
        self._refused: Step | None = None
        #: number of an order -> what it has to remove, as far as it is still there
        self._to_go: dict[int, set[str]] = {}
        self._locks: list[Step] = []

    def order(self) -> None:
        # what a failed order has taken of an app that is left alone is given back: a test of its own
        alone = {app.app_id for app in self.target if app.rejected or app.problem}
        app_id = self.random.choice([app_id for app_id in APPS if app_id not in alone] or [404])
        force = self.random.randint(0, 2) == 0
        orders: Sequence[Order] = (
            AppOrder(verb="restart", app_id=app_id, force=force),
            AppOrder(verb="purge", app_id=app_id, force=force),
            *(
                ServiceOrder(verb=verb, app_id=app_id, service_name=self.random.choice(NAMES), force=force)
                for verb in ("restart", "stop", "start")
            ),
            DeviceOrder(verb="reboot", force=force),
        )
        self.taken.append(self.desk.orders.add(self.random.choice(orders), "", self.now + 10))

    def cancel(self) -> None:
        for entry in self.taken:
            if self.random.randint(0, 5) == 0:
                self.desk.orders.cancel(entry.number)
        self.desk.finish()

    def composed(self) -> list[ComposedApp]:
        return list(self.desk.adjusted(super().composed()))

    def plan(self) -> Plan:
        """As the planner plans; nothing while the device is about to go down."""
        orders, target = self.desk.orders, self.composed()
        if orders.leaving() is not None:
            return Plan(gated=True)
        for entry in orders.begin(self.world, target, self.busy, self.now):
            self._to_go[entry.number] = self._due_to_go(entry.order)
        self._locks = orders.lock_steps(self.world, self.busy, lock_override=False)
        return plan(
            self.world,
            target,
            rules=orders.rules(self.rules, self.world, target),
            busy=self.busy,
            memory=Memory(stopped=self.stopped | orders.stopped(self.world)),
        )

    def round(self) -> None:
        self.desk.forget_void(super().composed(), self.world)
        self.now += 1
        super().round()

    def sent(self, steps: Sequence[Step]) -> None:
        super().sent([*steps, *self._locks])
        planned = Plan(steps=tuple(steps), waiting=self.plan().waiting, gated=self.plan().gated)
        busy = self.busy | {step.subject for step in self._under_way}
        self.desk.orders.looked(planned, self._locks, busy, self.now)
        self.desk.finish()
        for entry in self.taken:
            assert entry.summary.outcome != "done" or not self._to_go.get(entry.number), entry

    def _due_to_go(self, order: Order) -> set[str]:
        """Containers and volumes that an order has to remove before it is done."""
        world, name = self.world, service_name_of(order)
        mine = {c.container_id for c in world.containers if c.app_id == app_of(order) and name in {"", c.service_name}}
        volumes = {volume.engine_name for volume in world.volumes if volume.app_id == app_of(order)}
        going = {"restart": mine, "purge": mine | volumes}
        return going.get(verb_of(order), set())

    def carry_out(self, step: Step) -> None:
        self._refused = None
        if self.refusal(step) and not self.strict:
            self._refused = step
        else:
            super().carry_out(step)
            gone = {step.container.container_id} if isinstance(step, KillService | RemoveContainer) else set()
            gone |= {step.volume.engine_name} if isinstance(step, RemoveVolume) else set()
            self._to_go = {number: left - gone for number, left in self._to_go.items()}

    def ended(self, step: Step, end: str) -> None:
        refused = step == self._refused or (
            isinstance(step, TakeLocks) and step.app_id in self.user_locks and not step.force
        )
        mine = self.desk.orders.of_step(step)
        if end == "done" and not refused:
            self.desk.orders.step_done(step)
        elif mine is not None:
            self.desk.orders.end(mine, LEFT)
            self.desk.finish()

    def check_promises(self, step: Step) -> None:
        """Volumes go by the order of a user only."""
        if isinstance(step, RemoveVolume) and self._is_purged(step.volume.app_id):
            return
        super().check_promises(step)

    def _is_purged(self, app_id: int) -> bool:
        mine = [entry for entry in self.taken if entry.stage.name == DOWN and verb_of(entry.order) == "purge"]
        return any(entry.summary.app_id == app_id for entry in mine)

    def refuse_to_go_down(self) -> None:
        leaving = self.desk.orders.leaving()
        if leaving is not None:
            self.desk.orders.end(leaving, LEFT)
            self.desk.finish()


def _with_their_networks(world: World) -> World:
    """With the networks that its containers are on: what an order brings back needs them."""
    there = {one.engine_name for one in world.networks}
    missing = {
        name: network(container.app_id, name.partition("_")[0], name.partition("_")[2])
        for container in world.containers
        for name in container.config.networks
        if name not in {SUPERVISOR_NETWORK, *there}
    }
    return msgspec.structs.replace(world, networks=(*world.networks, *missing.values()))


@settings(max_examples=80)
@given(cases())
def test_orders_end_and_leave_the_target_behind_them(case: Case) -> None:
    device = Ordered(case)
    device.end_of_what_was_under_way()
    device.ends = device.random.choice((("done",), ("done", "done", "done", "failed"), ("done", "done", "half")))
    device.user_locks = {app.app_id for app in case.target if device.random.randint(0, 5) == 0}
    for _ in range(ROUNDS):
        if device.random.randint(0, 1):
            device.order()
        if device.random.randint(0, 4) == 0:
            device.cancel()
        device.round()
        device.refuse_to_go_down()
    device.ends, device.user_locks = ("done",), set()
    for number in range((1 + len(device.taken)) * 2 * bound(device.world, device.target)):
        if not device.desk.orders.active():
            event(f"{number} rounds")
            break
        device.round()
        device.end_all()
        device.refuse_to_go_down()
        device.now += STANDSTILL_S / 4
    assert not device.desk.orders.active(), device.desk.orders.summaries()
    assert all(entry.answer.done() for entry in device.taken)
    device.end_all()
    # another planner, which does not put back what failed orders have taken of apps that no target puts right
    device.desk = OrderDesk(device.store)
    device.strict = True
    settled(device)

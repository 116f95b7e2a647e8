"""What the planner aims at: the target with what users, locks and earlier failures change in it."""

from __future__ import annotations

from collections.abc import Iterable

from balena_supervisor.actors.apply import Apply
from balena_supervisor.actors.order_desk import OrderDesk
from balena_supervisor.actors.picture import Picture
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.state.orders import app_of
from balena_supervisor.state.plan import Plan, plan
from balena_supervisor.state.world import Memory, Rules, World
from balena_supervisor.steps import Step


class Aim:
    """Plans with all that this planner knows. ``force_now`` is an order to remove locks of others, until the target is
    applied."""

    def __init__(self, picture: Picture, apply: Apply, desk: OrderDesk) -> None:
        self.force_now = False
        self._picture = picture
        self._apply = apply
        self._desk = desk
        #: app id and service name -> what it depended on when it was last in a target
        self._depended: dict[tuple[int, str], frozenset[str]] = {}

    def target(self) -> tuple[ComposedApp, ...]:
        """The target as it is in force now."""
        return self._desk.adjusted(self._picture.compose(), self._picture.world())

    def plan(self, now: float) -> tuple[Plan, list[Step], frozenset[str]]:
        """The plan, the steps of orders for the device, and what is under way."""
        picture, orders = self._picture, self._desk.orders
        world, configuration = picture.world(), picture.configuration_or_default
        target = self.target()
        busy = picture.busy() | self._apply.subjects()
        for entry in orders.begin(world, target, busy, now):
            self._apply.forget_failures(app_of(entry.order))
            self._desk.note_under_way()
        rules = Rules(
            keep_images=configuration.local_mode,
            keep_volumes=configuration.local_mode,
            force=picture.target.force or configuration.lock_override or self.force_now,
        )
        self._remember_dependencies(target, world)
        memory = Memory(
            stopped=self._apply.stopped(world, target) | orders.stopped(world),
            broken=self._apply.broken(),
            depended=self._depended,
        )
        planned = plan(world, target, rules=orders.rules(rules, world, target), busy=busy, memory=memory)
        return planned, orders.lock_steps(world, busy, lock_override=configuration.lock_override), busy

    def _remember_dependencies(self, target: Iterable[ComposedApp], world: World) -> None:
        there = {(container.app_id, container.service_name) for container in world.containers}
        self._depended = {key: others for key, others in self._depended.items() if key in there}
        for app in target:
            for service in app.services:
                self._depended[app.app_id, service.service_name] = frozenset(service.depends_on)

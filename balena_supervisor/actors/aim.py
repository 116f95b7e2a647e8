"""What the planner aims at: the target with what users, locks and earlier failures change in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from balena_supervisor.actors.apply import Apply
from balena_supervisor.actors.order_desk import OrderDesk
from balena_supervisor.actors.picture import Picture
from balena_supervisor.actors.reboots import Reboots
from balena_supervisor.actors.trials import Trials
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.state import Waiting
from balena_supervisor.state.orders import app_of
from balena_supervisor.state.plan import CommitUpdate, Plan, plan
from balena_supervisor.state.reboots import waiting_containers
from balena_supervisor.state.subjects import DEVICE
from balena_supervisor.state.world import Memory, Rules, World
from balena_supervisor.steps import Step


@dataclass(frozen=True)
class Look:
    """What one look has found. ``locks`` are steps of orders for the device; ``commits`` are of apps that have settled;
    ``waiting`` is what waits besides the plan; ``again`` asks for another look at once; ``reboots`` are services that
    wait for a reboot."""

    plan: Plan
    locks: list[Step]
    busy: frozenset[str]
    commits: list[CommitUpdate]
    waiting: list[Waiting]
    again: bool
    reboots: tuple[str, ...] = ()


class Aim:
    """Plans with all that this planner knows. ``force_now`` is an order to remove locks of others, until the target is
    applied."""

    def __init__(self, picture: Picture, apply: Apply, desk: OrderDesk, trials: Trials, reboots: Reboots) -> None:
        self.force_now = False
        self._picture = picture
        self._apply = apply
        self._desk = desk
        self._trials = trials
        self._reboots = reboots
        #: app id and service name -> what it depended on when it was last in a target
        self._depended: dict[tuple[int, str], frozenset[str]] = {}

    def target(self) -> tuple[ComposedApp, ...]:
        """The target as it is in force now."""
        return self._desk.adjusted(self._picture.compose(self._trials.apps()))

    def plan(self, now: float, at: str) -> Look:
        """One look. ``at`` is ISO wall time."""
        picture, orders = self._picture, self._desk.orders
        world, configuration = picture.world(), picture.configuration_or_default
        self._desk.forget_void(picture.compose(self._trials.apps()), world)
        target = self.target()
        busy = picture.busy() | self._apply.subjects()
        self._trials.before(target, world, now)
        for entry in orders.begin(world, target, busy, now):
            self._apply.forget_failures(app_of(entry.order))
            self._desk.note_under_way()
        rules = Rules(
            keep_images=configuration.local_mode,
            keep_volumes=configuration.local_mode,
            kept=self._trials.kept(),
            force=picture.target.force or configuration.lock_override or self.force_now,
        )
        self._remember_dependencies(target, world)
        there = [container.container_id for container in world.containers]
        rebooted = self._reboots.rebooted(there)
        reboots = waiting_containers(world, target, rebooted)
        noted = self._reboots.note(reboots, there)
        memory = Memory(
            stopped=self._apply.stopped(world, target) | orders.stopped(world),
            broken=self._apply.broken(),
            depended=self._depended,
            rebooted=rebooted,
            reboot_wanted=bool(reboots),
            left=self._apply.left(),
        )
        planned = plan(world, target, rules=orders.rules(rules, world, target), busy=busy, memory=memory)
        disturbed = frozenset(app_of(order) for order in orders.active()) | ({DEVICE} if planned.gated else set())
        disturbed |= {container.app_id for container in world.containers if container.container_id in reboots}
        waiting, again = self._trials.looked(target, world, planned, disturbed, busy, self._apply, now=now, at=at)
        return Look(
            plan=planned,
            locks=orders.lock_steps(world, busy, lock_override=configuration.lock_override),
            busy=busy,
            commits=[one for one in planned.commits if self._trials.may_settle(one.app_id, one.commit)],
            waiting=waiting,
            again=again,
            reboots=tuple(sorted(reboots.values())) if noted else (),
        )

    def _remember_dependencies(self, target: Iterable[ComposedApp], world: World) -> None:
        there = {(container.app_id, container.service_name) for container in world.containers}
        self._depended = {key: others for key, others in self._depended.items() if key in there}
        for app in target:
            for service in app.services:
                self._depended[app.app_id, service.service_name] = frozenset(service.depends_on)

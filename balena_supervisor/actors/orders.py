"""The orders of users that the planner is carrying out: restart, purge, start, stop, reboot and shutdown.

Those that overlap wait for each other. Each changes what the plan aims at for a while (``state/orders.py``). This is
the book of them, which the planner asks before and tells after each look.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

import msgspec

from balena_supervisor.errors import NotFound, OrderEnded, SupervisorError
from balena_supervisor.messages import DeviceOrder, Order
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.state import ActionSummary
from balena_supervisor.state.orders import (
    DOWN,
    LEAVING,
    QUEUED,
    UP,
    WAITING,
    Stage,
    app_of,
    complaint,
    first_stage,
    overlaps,
    service_name_of,
    to_start,
    verb_of,
    wanted_now,
    words_of_order,
)
from balena_supervisor.state.plan import Plan
from balena_supervisor.state.subjects import is_of_app
from balena_supervisor.state.words import app_and_service_of
from balena_supervisor.state.world import Rules, World
from balena_supervisor.steps import ImageStep, StartService, Step, TakeLocks

KEPT = 20
#: how long an order may wait for others than the supervisor before it ends: a dependency that does not become healthy
STANDSTILL_S = 300.0


@dataclass
class Entry:
    """An order under way. ``started`` says that the container it was to start has been started; ``error`` is why it has
    ended, if it did not succeed."""

    order: Order
    summary: ActionSummary
    answer: Future[None]
    stage: Stage = field(default_factory=Stage)
    started: bool = False
    error: SupervisorError | None = None
    #: monotonic second until which it may begin
    until: float = 0.0
    #: monotonic second at which it ends if nothing of it is under way until then
    stands_until: float | None = None
    #: a newer target has come: it does not wait for others any more
    hurries: bool = False

    @property
    def number(self) -> int:
        return self.summary.number


class Orders:
    """All orders that are queued or under way, and the last ones that have ended."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._ended: deque[ActionSummary] = deque(maxlen=KEPT)
        self._count = 0
        #: entries that have ended since the last call of :meth:`take_ended`
        self._fresh: list[Entry] = []
        #: apps of which a restart or purge that failed may have taken something: as they were
        self._taken: dict[int, ComposedApp] = {}
        #: app id and name of services that an order was to stop when the planner before this one ended
        self._cut_off: set[tuple[int, str]] = set()

    # --- orders come and go -----------------------------------------------------------------------------------

    def add(self, order: Order, at: str, until: float) -> Entry:
        self._count += 1
        summary = ActionSummary(
            number=self._count,
            at=at,
            verb=verb_of(order),
            app_id=app_of(order),
            service_name=service_name_of(order),
            outcome=QUEUED,
        )
        entry = Entry(order, summary, Future(), until=until)
        self._entries.append(entry)
        return entry

    def note_interrupted(self, summary: ActionSummary) -> None:
        """An order that a planner before this one had begun."""
        self._count = max(self._count, summary.number)
        self._ended.append(msgspec.structs.replace(summary, outcome="interrupted", error="the planner was restarted"))
        if summary.verb in {"stop", "restart"} and summary.service_name:
            self._cut_off.add((summary.app_id, summary.service_name))

    def cancel(self, number: int) -> None:
        """Nothing when it has ended, or when the host was asked to go down already."""
        for entry in [e for e in self._entries if e.number == number and e.stage.name != LEAVING]:
            words = words_of_order(entry.order)
            self.end(entry, OrderEnded(f"cannot {words}: it was cancelled", number=number), outcome="cancelled")

    def end(self, entry: Entry, error: SupervisorError | None = None, *, outcome: str = "") -> None:
        """An order is done, or has failed. Whoever asked is told with :meth:`take_ended`."""
        if entry not in self._entries:
            return
        self._entries.remove(entry)
        entry.error = error
        entry.summary = msgspec.structs.replace(entry.summary, outcome=outcome or ("failed" if error else "done"))
        self._fresh.append(entry)
        if error is not None and entry.stage.former is not None and verb_of(entry.order) in {"restart", "purge"}:
            self._taken.setdefault(app_of(entry.order), entry.stage.former)

    def take_ended(self) -> list[Entry]:
        """Those that have ended since the last call; each is to be given to :meth:`answer`."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def answer(self, entry: Entry, error: SupervisorError | None) -> None:
        """Tell whoever asked how it ended."""
        self._ended.append(msgspec.structs.replace(entry.summary, error=error.message if error else ""))
        if entry.answer.done():  # a device that was to go down, and stays
            return
        if error is None:
            entry.answer.set_result(None)
        else:
            entry.answer.set_exception(error)

    def under_way(self) -> list[ActionSummary]:
        """What has begun and would be left half done by the end of this process."""
        return [e.summary for e in self._entries if e.stage.name in {DOWN, UP} and app_of(e.order)]

    # --- before a look ----------------------------------------------------------------------------------------

    def begin(self, world: World, target: Iterable[ComposedApp], busy: Iterable[str], now: float) -> list[Entry]:
        """Let those begin that can. Returns the entries whose first steps come now."""
        apps, at_work = tuple(target), tuple(busy)
        begun: list[Entry] = []
        for entry in list(self._entries):
            before = [e for e in self._entries[: self._entries.index(entry)] if overlaps(entry.order, e.order)]
            if entry.stage.name == QUEUED and not before:
                self._enter(entry, world, apps)
            if entry.stage.name == WAITING and not _is_busy(app_of(entry.order), at_work):
                entry.stage = first_stage(entry.order, world, apps)
                begun.append(entry)
            if entry.stage.name in {QUEUED, WAITING} and now >= entry.until:
                words = words_of_order(entry.order)
                others = [words_of_order(e.order) for e in before] or _subjects(app_of(entry.order), at_work)
                self.end(entry, OrderEnded(f"cannot {words}: the supervisor is at work on {', '.join(others)}"))
        return begun

    def _enter(self, entry: Entry, world: World, target: tuple[ComposedApp, ...]) -> None:
        reason = complaint(entry.order, world, target)
        if reason:
            self.end(entry, NotFound(f"cannot {words_of_order(entry.order)}: {reason}"))
            return
        entry.stage = Stage(name=WAITING)
        entry.summary = msgspec.structs.replace(entry.summary, outcome="running")

    def rules(self, given: Rules, world: World, target: Iterable[ComposedApp]) -> Rules:
        """What the orders under way change in the plan."""
        active = [entry for entry in self._entries if entry.stage.name != QUEUED]
        out_of_reach = {app.app_id for app in target if _is_out_of_reach(app)}
        self._taken = {app_id: former for app_id, former in self._taken.items() if app_id in out_of_reach}
        if not active and not self._taken:
            return given
        known = {app.app_id for app in target} | {c.app_id for c in world.containers} | world.locks.keys()
        frozen: set[int] = set()
        # no target puts right what was taken of these, or not soon
        instead: dict[int, ComposedApp | None] = dict(self._taken)
        for entry in active:
            app_id = app_of(entry.order)
            if app_id == 0:
                frozen |= known
            elif entry.stage.name == WAITING:
                frozen.add(app_id)
            elif entry.stage.former is not None:
                instead[app_id] = wanted_now(entry.order, entry.stage)
        down = [e for e in active if e.stage.name == DOWN]
        return msgspec.structs.replace(
            given,
            keep_images=given.keep_images or bool(instead),
            forced=given.forced | {app_of(e.order) for e in active if e.order.force},
            frozen=given.frozen | frozen,
            held=given.held | {app_of(e.order) for e in active},
            purged=given.purged | {app_of(e.order) for e in down if verb_of(e.order) == "purge"},
            instead={**given.instead, **instead},
            why={**given.why, **{app_of(e.order): f"a user asked to {words_of_order(e.order)}" for e in active}},
        )

    def stopped(self, world: World) -> frozenset[str]:
        """Containers that stand still and are to be started: by order, or as an interrupted order had stopped them. Its
        locks are still there then: without them it had stopped nothing."""
        self._cut_off = {mine for mine in self._cut_off if mine[0] in world.locks}
        ids = frozenset(
            c.container_id
            for c in world.containers
            if c.status == "exited" and (c.app_id, c.service_name) in self._cut_off
        )
        for entry in self._entries:
            if not entry.started:
                ids |= to_start(entry.order, entry.stage, world)
        return ids

    def active(self) -> list[Order]:
        """Those that are queued or under way."""
        return [entry.order for entry in self._entries]

    def lock_steps(self, world: World, busy: frozenset[str], *, lock_override: bool) -> list[Step]:
        """The locks of all apps, for an order for the device."""
        entry = self._for_device(DOWN)
        if entry is None:
            return []
        names: dict[int, set[str]] = {}
        for container in world.containers:
            names.setdefault(container.app_id, set()).add(container.service_name)
        return [
            TakeLocks(
                app_id=app_id,
                services=tuple(sorted(services)),
                force=entry.order.force or lock_override,
                reason=words_of_order(entry.order),
            )
            for app_id, services in names.items()
            if not services <= world.locks.get(app_id, frozenset()) and f"lock:{app_id}" not in busy
        ]

    # --- after a look -----------------------------------------------------------------------------------------

    def looked(self, planned: Plan, locks: list[Step], busy: Iterable[str], now: float) -> bool:
        """Go on with those that have nothing left to do in their stage, and end those that only wait for too long.
        ``busy`` knows the steps that were just sent. True when another look is due at once."""
        at_work = tuple(busy)
        # an order brings back what was there: no image that is still to come holds it up
        left = {app_and_service_of(step) for step in planned.steps if not isinstance(step, ImageStep)}
        left |= {(wait.app_id, wait.service_name) for wait in planned.waiting if not wait.settled}
        moved = False
        open_apps = {app_id for app_id, _ in left}
        for app_id in list(self._taken):
            if not planned.gated and app_id not in open_apps and not _is_busy(app_id, at_work):
                del self._taken[app_id]
        for entry in list(self._entries):
            app_id = app_of(entry.order)
            if entry.stage.name not in {DOWN, UP}:
                continue
            if _is_busy(app_id, at_work):
                entry.stands_until = None
                continue
            # one for the device waits for nothing but the locks
            if locks if app_id == 0 else (_is_open(entry, left) or planned.gated):
                moved |= self._stand_still(entry, planned, now)
                continue
            moved = True
            if app_id == 0:
                entry.stage = Stage(name=LEAVING)
            elif entry.stage.name == DOWN:
                entry.stage = msgspec.structs.replace(entry.stage, name=UP)
            else:
                self.end(entry)
        return moved

    def _stand_still(self, entry: Entry, planned: Plan, now: float) -> bool:
        if entry.stands_until is None:
            entry.stands_until = now + STANDSTILL_S
        if now < entry.stands_until and not entry.hurries:
            return False
        waits = (wait for wait in planned.waiting if wait.app_id in {app_of(entry.order), 0} and not wait.settled)
        reasons = "; ".join(f"{wait.service_name or wait.subject}: {wait.reason}" for wait in waits)
        error = OrderEnded(f"cannot {words_of_order(entry.order)} any further: {reasons or 'a step cannot be taken'}")
        self.end(entry, error)
        return True

    def hurry(self) -> None:
        """A newer target has come. What only waits gives way to it."""
        for entry in self._entries:
            entry.hurries = entry.stage.name in {DOWN, UP}

    def next_due(self, now: float) -> float | None:
        """The monotonic second at which the next one has waited for too long."""
        times = [entry.stands_until for entry in self._entries if entry.stands_until is not None]
        times += [entry.until for entry in self._entries if entry.stage.name in {QUEUED, WAITING}]
        return min((at for at in times if at > now), default=None)

    # --- steps ------------------------------------------------------------------------------------------------

    def step_done(self, step: Step) -> None:
        for entry in self._entries:
            mine = app_and_service_of(step) == (app_of(entry.order), service_name_of(entry.order))
            if isinstance(step, StartService) and mine:
                entry.started = True
        if isinstance(step, StartService):
            self._cut_off.discard(app_and_service_of(step))

    def of_step(self, step: Step) -> Entry | None:
        """The order that a step belongs to; its failure ends it."""
        app_id = app_and_service_of(step)[0]
        for entry in self._entries if not isinstance(step, ImageStep) else ():
            mine = isinstance(step, TakeLocks) if app_of(entry.order) == 0 else app_of(entry.order) == app_id
            if mine and entry.stage.name in {DOWN, UP}:
                return entry
        return None

    def leaving(self) -> Entry | None:
        """The order by which the device is about to go down."""
        return self._for_device(LEAVING)

    def held_up(self, reason: str, busy: Iterable[str], *, free: bool, late: bool) -> None:
        """Nothing can be planned, for ``reason``; when that has lasted (``late``), orders end with it. But the device
        goes down when no lock counts: by force, or when it is ``free`` of containers."""
        at_work = tuple(busy)
        for entry in [entry for entry in self._entries if entry.stage.name != LEAVING]:
            first = isinstance(entry.order, DeviceOrder) and entry is self._entries[0]
            if first and (entry.order.force or free) and (late or not _is_busy(0, at_work)):
                entry.stage = Stage(name=LEAVING)
                entry.summary = msgspec.structs.replace(entry.summary, outcome="running")
            elif late:
                self.end(entry, OrderEnded(f"cannot {words_of_order(entry.order)}: {reason}"))

    def summaries(self) -> tuple[ActionSummary, ...]:
        return (*self._ended, *(entry.summary for entry in self._entries))

    def _for_device(self, stage: str) -> Entry | None:
        return next((e for e in self._entries if app_of(e.order) == 0 and e.stage.name == stage), None)


def _is_open(entry: Entry, left: Iterable[tuple[int, str]]) -> bool:
    """Whether anything is left to do in the stage of an order, of what is left for apps and services. While one service
    goes, others may come to wait for it: they get it back in the next stage."""
    mine = service_name_of(entry.order) if entry.stage.name == DOWN else ""
    return any(app_id == app_of(entry.order) and (not mine or name in {mine, ""}) for app_id, name in left)


def _is_out_of_reach(app: ComposedApp) -> bool:
    """Whether an app cannot be made what its target says, at least until more images are there."""
    return app.rejected or bool(app.problem) or any(service.docker_image_id is None for service in app.services)


def _is_busy(app_id: int, busy: Iterable[str]) -> bool:
    """Whether a step on the app is under way; for the device, on any."""
    return bool(_subjects(app_id, busy))


def _subjects(app_id: int, busy: Iterable[str]) -> list[str]:
    return [subject for subject in busy if is_of_app(subject, app_id)]

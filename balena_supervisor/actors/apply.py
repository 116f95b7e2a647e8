"""The books of the apply loop: steps under way, back-off, the decision log, and whether the target is applied."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from balena_supervisor.actors.picture import worker_of
from balena_supervisor.errors import ErrorRecord, ImageBroken, Locked, NoSpace, Withdrawn
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.lock import ForeignLock
from balena_supervisor.model.state import (
    Decision,
    DeviceState,
    LockSummary,
    Seq,
    StepId,
    Waiting,
)
from balena_supervisor.state.backoff import BackOff, Failure
from balena_supervisor.state.plan import CommitUpdate, Plan
from balena_supervisor.state.pull_turns import in_turn
from balena_supervisor.state.subjects import DEVICE, is_lock, is_of_app, is_resource
from balena_supervisor.state.words import app_and_service_of, words_of
from balena_supervisor.state.world import World
from balena_supervisor.steps import HandOver, KillService, PullImage, StartService, Step, StopService, TakeLocks

DECISIONS_KEPT = 200
#: a service replaced so often within this time for the same fields is left as it is until the target changes
REPLACEMENTS_LIMIT = 3
REPLACEMENTS_S = 600.0
#: a step done so often within this time has no effect, and waits
REPEATS_LIMIT = 10
REPEATS_S = 60.0
#: with these, an engine leaves nothing standing still that was not stopped
_ALWAYS_UP = {"always", "unless-stopped"}
#: how soon room on the disk is looked for again, at most
NO_SPACE_RETRY_S = 30.0


@dataclass
class InFlight:
    """A step that was sent for a version of the target. ``done_at`` is the place of the worker's picture that shows
    its end, once it ended."""

    step: Step
    words: str
    decision: int
    version: int
    done_at: Seq | None = None


class Apply:
    """What the loop remembers between two looks."""

    def __init__(self) -> None:
        self.back_off = BackOff()
        self.applying = False
        self.waiting: tuple[Waiting, ...] = ()
        self._in_flight: dict[StepId, InFlight] = {}
        self._decisions: deque[Decision] = deque(maxlen=DECISIONS_KEPT)
        #: kind of step and subject -> when it was sent last, for this target
        self._sent: dict[tuple[str, str], deque[float]] = {}
        #: subject and differing fields -> the monotonic seconds at which it was replaced for them
        self._replacements: dict[tuple[str, tuple[str, ...]], deque[float]] = {}
        #: containers that were stopped by order -> app id and service name
        self._stopped: dict[str, tuple[int, str]] = {}
        #: services that were started since they were stopped last: what stands still of them has ended by itself
        self._started: set[tuple[int, str]] = set()
        #: apps whose locks a planner before this one had taken, as long as they are held; None before the first look
        self._taken_over: set[int] | None = None
        self._version = 0
        self._loops: dict[tuple[str, tuple[str, ...]], str] = {}
        #: locks of users that have stood in the way, by app
        self._foreign_locks: dict[int, tuple[LockSummary, ...]] = {}
        #: images that have lost a part: name -> whether it was pulled anew already
        self._broken: dict[str, bool] = {}
        self._attempt_started_at: float | None = None
        self._update_failed = False
        self._update_downloaded = False
        self._last_error: ErrorRecord | None = None

    # --- steps ------------------------------------------------------------------------------------------------------

    def subjects(self) -> frozenset[str]:
        """What is being worked on, as far as this planner knows."""
        return frozenset(entry.step.subject for entry in self._in_flight.values())

    def workers(self) -> set[str]:
        """Those that have steps which have not ended."""
        return {worker_of(entry.step) for entry in self._in_flight.values() if entry.done_at is None}

    def admit(self, planned: Plan, outstanding: Mapping[str, int], *, now: float) -> tuple[list[Step], list[Waiting]]:
        """The planned steps that may be sent: not backing off, not looping, and within the limit of their pool."""
        under_way = {entry.step.subject: entry.words for entry in self._in_flight.values()}
        waiting = [_told_apart(entry, under_way) for entry in planned.waiting]
        steps: list[Step] = []
        sent = [entry.step for entry in self._in_flight.values()]
        load = Counter(_pool_of(step) for step in sent)
        wanted = {step.subject for step in planned.steps} | {update.subject for update in planned.commits}
        self.back_off.keep_only(wanted | self.subjects())
        for step in in_turn(planned.steps, sent, self.back_off.failures):
            pool, hindrance = _pool_of(step), self.hindrance(step, now)
            if hindrance is not None:
                waiting.append(hindrance)
            elif load[pool] < outstanding[pool]:
                load[pool] += 1
                steps.append(step)
        return steps, waiting

    def hindrance(self, step: Step, now: float) -> Waiting | None:
        """Why a step is not to be sent now: because it failed, or because it was done too often."""
        failure = self.back_off.blocking(step.subject, now)
        if failure is not None:
            return backing_off(step.subject, failure)
        return self._looping(step, now) or self._repeated(step, now)

    def sent(self, step: Step, number: int, at: str, now: float) -> str:
        """Note a step that is being sent; returns its words."""
        words = words_of(step)
        app_id, service_name = app_and_service_of(step)
        self._sent.setdefault((type(step).__name__, step.subject), deque(maxlen=REPEATS_LIMIT)).append(now)
        self._in_flight[step.step] = InFlight(step=step, words=words, decision=number, version=self._version)
        self._decisions.append(
            Decision(
                number=number,
                at=at,
                step=words,
                subject=step.subject,
                reason=step.reason,
                app_id=app_id,
                service_name=service_name,
            )
        )
        return words

    def finish(self, step: StepId, seen: Seq) -> InFlight | None:
        """A step has ended. None for one of another planner, or one that is known to have ended."""
        entry = self._in_flight.get(step)
        if entry is None or entry.done_at is not None:
            return None
        entry.done_at = seen
        return entry

    def seen(self, worker: str, seq: Seq) -> None:
        """A worker's picture has come: steps that it shows the end of leave the books."""
        for entry in list(self._in_flight.values()):
            if worker_of(entry.step) == worker and entry.done_at is not None and entry.done_at <= seq:
                self.forget(entry)

    def forget(self, entry: InFlight) -> None:
        self._in_flight.pop(entry.step.step, None)

    def succeeded(self, entry: InFlight, now: float) -> None:
        step = entry.step
        self.back_off.succeeded(step.subject)
        self._note(entry, "done", "")
        if step.fields and entry.version == self._version:
            times = self._replacements.setdefault((step.subject, step.fields), deque(maxlen=REPLACEMENTS_LIMIT))
            times.append(now)
        if isinstance(step, PullImage):
            self._update_downloaded = True
            if step.ref.name in self._broken:
                self._broken[step.ref.name] = True
        if isinstance(step, StopService):
            self._stopped[step.container.container_id] = app_and_service_of(step)
            self._started.discard(app_and_service_of(step))
        if isinstance(step, StartService) and step.service.running:
            # also one that has ended before anybody saw it run
            mine = app_and_service_of(step)
            self._stopped = {one: service for one, service in self._stopped.items() if service != mine}
            self._started.add(mine)
        if isinstance(step, TakeLocks):
            self._foreign_locks.pop(step.app_id, None)

    def failed(
        self, entry: InFlight, error: ErrorRecord, *, now: float, limit_s: float, ordered: bool = False
    ) -> Failure | None:
        """None when it does not count: it was withdrawn, or belonged to an older target, or to an order of a user."""
        if error.code == Withdrawn.code:
            self._note(entry, "withdrawn", error.message)
            return None
        cause = cause_of(error)
        self._note(entry, "failed", cause)
        step = entry.step
        if ordered or entry.version != self._version:
            return None
        if error.code == Locked.code and isinstance(step, TakeLocks):
            self._foreign_locks[step.app_id] = _foreign_locks(error)
        if error.code == ImageBroken.code and isinstance(step, StartService | HandOver):
            self._broken.setdefault(step.service.image_name, False)
        if error.code == NoSpace.code:
            limit_s = min(limit_s, NO_SPACE_RETRY_S)
        self._blame(ErrorRecord(error.code, f"cannot {entry.words}: {cause}", error.fields), now)
        app_id, service_name = app_and_service_of(step)
        return self.back_off.failed(
            step.subject, cause, now=now, limit_s=limit_s, app_id=app_id, service_name=service_name
        )

    def commit_failed(self, update: CommitUpdate, error: ErrorRecord, *, now: float, limit_s: float) -> Failure:
        """The release on which an app has settled could not be stored."""
        self._blame(error, now)
        return self.back_off.failed(update.subject, error.message, now=now, limit_s=limit_s, app_id=update.app_id)

    def _blame(self, error: ErrorRecord, now: float) -> None:
        self._update_failed = True
        self._last_error = error
        self._attempt_started_at = now

    def next_retry(self, now: float) -> float | None:
        """The nearest monotonic second at which something that waits may be tried again."""
        times = [wait.retry_at for wait in self.waiting if wait.retry_at is not None and wait.retry_at > now]
        return min(times, default=None)

    def broken(self) -> frozenset[str]:
        """Names of images that are to be pulled anew; each once in an apply."""
        return frozenset(name for name, done in self._broken.items() if not done)

    def foreign_locks(self) -> tuple[LockSummary, ...]:
        return tuple(lock for locks in self._foreign_locks.values() for lock in locks)

    def _looping(self, step: Step, now: float) -> Waiting | None:
        """A service that was replaced again and again for the same fields is left as it is."""
        if not isinstance(step, KillService | HandOver) or not step.fields:
            return None
        key = (step.subject, step.fields)
        if key not in self._loops:
            times = tuple(self._replacements.get(key, ()))
            if len(times) < REPLACEMENTS_LIMIT or now - times[0] > REPLACEMENTS_S:
                return None
            name = step.container.service_name
            self._loops[key] = f"{name} was replaced {REPLACEMENTS_LIMIT} times because {step.reason}"
            self._blame(ErrorRecord("replaced-again", f"cannot settle {name}: {self._loops[key]}"), now)
        text = f"{self._loops[key]}, and is left as it is until the target changes"
        app_id, service_name = app_and_service_of(step)
        return Waiting(subject=step.subject, app_id=app_id, service_name=service_name, reason=text)

    def left(self) -> dict[str, str]:
        """Networks and volumes that were replaced again and again for the same fields and are used as they are: why."""
        text = f"it was replaced {REPLACEMENTS_LIMIT} times because its definition differs in"
        return {
            subject: f"{text} {', '.join(fields)}, and is used as it is until the target changes"
            for (subject, fields), times in self._replacements.items()
            if is_resource(subject) and len(times) == REPLACEMENTS_LIMIT and times[-1] - times[0] <= REPLACEMENTS_S
        }

    def _repeated(self, step: Step, now: float) -> Waiting | None:
        """A step that is done, and is there to be done again at once, has no effect: whatever the reason, it must not
        keep the device busy."""
        times = tuple(self._sent.get((type(step).__name__, step.subject), ()))
        if len(times) < REPEATS_LIMIT or now >= times[0] + REPEATS_S:
            return None
        words = words_of(step)
        text = f"{words} was done {REPEATS_LIMIT} times in a minute and has to be done again"
        app_id, service_name = app_and_service_of(step)
        return Waiting(
            subject=step.subject,
            app_id=app_id,
            service_name=service_name,
            reason=text,
            retry_at=times[0] + REPEATS_S,
        )

    def stopped(self, world: World, target: Iterable[ComposedApp]) -> frozenset[str]:
        """Containers that stand still because the target or a user says or said so; forgotten when they run or are
        gone. Those that were stopped by order of a planner before this one and not removed count too: it held the locks
        of their apps."""
        exited = {container.container_id for container in world.containers if container.status == "exited"}
        locked = set(world.locks)
        self._taken_over = locked if self._taken_over is None else self._taken_over & locked
        resting = {
            (app.app_id, service.service_name) for app in target for service in app.services if not service.running
        }
        for container in world.containers:
            mine = (container.app_id, container.service_name)
            cut_off = container.app_id in self._taken_over and container.config.restart in _ALWAYS_UP
            if (mine in resting or cut_off) and mine not in self._started:
                self._stopped[container.container_id] = mine
        self._stopped = {one: service for one, service in self._stopped.items() if one in exited}
        self._started &= {(container.app_id, container.service_name) for container in world.containers}
        return frozenset(self._stopped)

    def forget_failures(self, app_id: int) -> None:
        """What has failed for an app, or was done too often, may be tried at once; for the device all locks."""
        self._sent.clear()
        self.back_off.forget(is_lock if app_id == DEVICE else lambda subject: is_of_app(subject, app_id))

    # --- the apply as a whole ---------------------------------------------------------------------------------------

    def try_anew(self) -> None:
        """Nothing waits because of what has failed, or was done too often, so far."""
        self.back_off.clear()
        self._sent.clear()
        self._replacements.clear()
        self._loops.clear()

    def new_target(self, version: int, now: float) -> None:
        self._version = version
        self.try_anew()
        self._foreign_locks.clear()
        self._broken.clear()
        self.applying = True
        self._attempt_started_at = now

    def blocked(self, waiting: tuple[Waiting, ...]) -> None:
        """Nothing can be planned. That is no attempt: however long the engine is away, the supervisor is healthy."""
        self.waiting = waiting
        self._attempt_started_at = None

    def settle(self, *, applied: bool, under_way: bool, waiting: list[Waiting], now: float) -> None:
        """Take note of what a look has found. Only while steps are under way is there an attempt that may hang; a
        hand-over has a time limit of its own, as long as its user likes."""
        if self._in_flight and all(isinstance(entry.step, HandOver) for entry in self._in_flight.values()):
            under_way = False
        self.waiting = tuple(waiting)
        if applied:
            self.applying = False
            self._attempt_started_at = None
            self._update_failed = False
            self._update_downloaded = False
            self._last_error = None
            self._foreign_locks.clear()
            self._broken.clear()
            self.back_off.clear()
        else:
            self.applying = True
            if not under_way:
                self._attempt_started_at = None
            elif self._attempt_started_at is None:
                self._attempt_started_at = now

    def describe(self, **seen: Any) -> DeviceState:
        """The state of the device: ``seen`` are the fields of which this book knows nothing."""
        return DeviceState(
            applying=self.applying,
            update_pending=self.applying,
            update_failed=self._update_failed,
            update_downloaded=self._update_downloaded,
            attempt_started_at=self._attempt_started_at,
            failures=max((failure.count for failure in self.back_off.failures.values()), default=0),
            last_error=self._last_error,
            waiting=self.waiting,
            decisions=tuple(self._decisions),
            **seen,
        )

    def _note(self, entry: InFlight, outcome: str, error: str) -> None:
        for index, decision in enumerate(self._decisions):
            if decision.number == entry.decision:
                self._decisions[index] = msgspec.structs.replace(decision, outcome=outcome, error=error)
                return


def _foreign_locks(error: ErrorRecord) -> tuple[LockSummary, ...]:
    """The locks that an error tells of."""
    try:
        found = msgspec.convert(error.fields.get("locks", []), list[ForeignLock])
    except msgspec.ValidationError:
        return ()
    return tuple(
        LockSummary(app_id=lock.app_id, service_name=lock.service_name, holder="user", path=lock.path, since=lock.since)
        for lock in found
    )


def cause_of(error: ErrorRecord) -> str:
    """What a person has to know of an error of a step: what was to be done stands before it, and ids say nothing."""
    return str(error.fields.get("cause") or error.message)


def _pool_of(step: Step) -> str:
    """What carries it out beside others: downloads hold up nothing else of the images."""
    return "pulls" if isinstance(step, PullImage) else worker_of(step)


def _told_apart(waiting: Waiting, under_way: Mapping[str, str]) -> Waiting:
    """A service that waits for the end of a step: which one."""
    words = under_way.get(waiting.subject)
    return waiting if words is None else msgspec.structs.replace(waiting, reason=f"{words} is under way")


def backing_off(subject: str, failure: Failure) -> Waiting:
    """The wait of something that has failed."""
    times = "once" if failure.count == 1 else f"{failure.count} times"
    reason = f"failed {times}, last: {failure.message}"
    return Waiting(
        subject=subject,
        app_id=failure.app_id,
        service_name=failure.service_name,
        reason=reason,
        retry_at=failure.retry_at,
    )

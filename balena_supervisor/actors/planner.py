"""The planner actor: the apply loop.

It keeps the newest picture of every worker, plans whenever one of them changes, and sends the steps. Nothing here
waits: the next look is taken on the message that makes progress possible, or on the timer of a back-off.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import msgspec

from balena_supervisor.actors.aim import Aim
from balena_supervisor.actors.apply import Apply, InFlight, backing_off, cause_of
from balena_supervisor.actors.damage import restarting_root
from balena_supervisor.actors.local_mode import LocalMode
from balena_supervisor.actors.order_desk import OrderDesk
from balena_supervisor.actors.order_taker import OrderTaker
from balena_supervisor.actors.picture import WORKERS, Picture, worker_of
from balena_supervisor.actors.reboots import Reboots
from balena_supervisor.actors.taking_back import TakingBack
from balena_supervisor.actors.telling import Telling
from balena_supervisor.actors.trials import Trials
from balena_supervisor.clock import iso
from balena_supervisor.db.commit_store import CommitStore
from balena_supervisor.db.config_store import ConfigStore
from balena_supervisor.db.connection import open_database
from balena_supervisor.db.order_store import OrderStore
from balena_supervisor.db.reboot_store import RebootStore
from balena_supervisor.db.rebuild import COMMITS, TARGET_LOST, Rebuild
from balena_supervisor.db.snapshot_store import SnapshotStore
from balena_supervisor.db.trial_store import TrialStore
from balena_supervisor.errors import (
    DatabaseRefused,
    ErrorRecord,
    Locked,
    NoSpace,
    RemoteError,
    Withdrawn,
)
from balena_supervisor.messages import (
    ApplyNow,
    ConfigChanged,
    ContainersChanged,
    GetComposedTarget,
    GetSeq,
    ImagesChanged,
    KeysChanged,
    ResourcesChanged,
    TargetApplied,
    TargetChanged,
)
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.device import HostFacts
from balena_supervisor.model.state import DeviceState, Seq, StepId, Waiting
from balena_supervisor.runtime.actor import Ports, Timer, handles
from balena_supervisor.runtime.message import DeliveryFailed
from balena_supervisor.runtime.output import Level, log
from balena_supervisor.state.device_state import app_summaries, container_summaries, image_summaries, lock_summaries
from balena_supervisor.state.plan import CommitUpdate
from balena_supervisor.state.reboots import requires_reboot
from balena_supervisor.state.subjects import is_lock
from balena_supervisor.state.words import app_and_service_of
from balena_supervisor.steps import HandOver, StartService, Step, StepDone, StepFailed, WithdrawSteps

#: commands that a pool of a worker holds at most: twice its size; few downloads, since what comes later waits for them
OUTSTANDING = {"containers": 16, "images": 4, "pulls": 4, "resources": 8}
SEQ_TIMEOUT_S = 20.0
#: An engine that is killed while it starts a container may never be able to start that one again ("id already in use",
#: seen with 20.10). It never ran, so it has nothing to lose.
RENEW_AFTER = 3


@dataclass(frozen=True, kw_only=True)
class PlannerPorts(Ports):
    database_path: Path
    host: Callable[[], HostFacts]
    #: whether an update of the host OS waits to be found healthy; then the device stays
    host_update_pending: Callable[[], bool] = lambda: False


class Planner(OrderTaker):
    """Compares target and current state and has the workers make them equal."""

    def __init__(self, ports: PlannerPorts) -> None:
        super().__init__(ports)
        self._database_path = ports.database_path
        self._read_host = ports.host
        self.host_update_pending = ports.host_update_pending
        self._picture = Picture()
        self._apply = Apply()
        self._step_number = 0
        self._look_is_due = False
        self._retry: Timer | None = None
        self._telling = Telling(ports.post, ports.clock, self.after, self._device_state)

    def on_start(self) -> None:
        database = open_database(self._database_path, on_damage=restarting_root(self.post))
        self._picture.host = self._read_host()
        self._commit_store = CommitStore(database)
        self.desk = OrderDesk(OrderStore(database))
        self._local_mode = LocalMode(
            SnapshotStore(database), self.post, self.clock, self.when_done, self.after, self.look_soon
        )
        self._trials = Trials(TrialStore(database))
        self.reboots = Reboots(RebootStore(database), self._picture.host.boot_id)
        self._aim = Aim(self._picture, self._apply, self.desk, self._trials, self.reboots)
        self._taking_back = TakingBack(self.post, self._commit_store, Rebuild(database, COMMITS))
        self._picture.target_lost = ConfigStore(database).get(TARGET_LOST) or ""
        self._picture.commits = self._commit_store.all()
        for worker in WORKERS:
            self._ask_seq(worker)

    # --- what it is told --------------------------------------------------------------------------------------------

    @handles(ConfigChanged)
    def config_changed(self, event: ConfigChanged) -> None:
        if event.configuration.lock_override:
            self._apply.back_off.forget(is_lock)
        self._picture.configuration = event.configuration
        self.look_soon()

    @handles(KeysChanged)
    def keys_changed(self, event: KeysChanged) -> None:
        self._picture.keys = {(key.app_id, key.service_name): key.key for key in event.services}
        self._picture.keys_incomplete = event.incomplete
        self._taking_back.keys_changed()
        self.look_soon()

    @handles(TargetChanged)
    def target_changed(self, event: TargetChanged) -> None:
        if event.target.version > self._picture.target.version:
            unchanged = tuple(app.app_id for app in event.target.apps if app in self._picture.target.apps)
            for worker in sorted(self._apply.workers()):
                self.post.tell(worker, WithdrawSteps(unchanged=unchanged))
            self._apply.new_target(event.target.version, self.clock.monotonic())
            self._aim.force_now = False
            self.desk.orders.hurry()
        self._trials.new_target(event.target)
        self._picture.target, self._picture.target_told = event.target, True
        self.look_soon()

    @handles(ImagesChanged)
    def images_changed(self, event: ImagesChanged) -> None:
        self._picture.take_images(event)
        self._worker_changed("images", event.seq)

    @handles(ContainersChanged)
    def containers_changed(self, event: ContainersChanged) -> None:
        self._picture.take_containers(event)
        self._worker_changed("containers", event.seq)

    @handles(ResourcesChanged)
    def resources_changed(self, event: ResourcesChanged) -> None:
        self._picture.take_resources(event)
        self._worker_changed("resources", event.seq)

    @handles(StepDone)
    def step_done(self, notice: StepDone) -> None:
        entry = self._apply.finish(notice.step, notice.seen)
        if entry is not None:
            self._apply.succeeded(entry, self.clock.monotonic())
            self.desk.orders.step_done(entry.step)
            self._settle(entry)
        self.look_soon()

    @handles(StepFailed)
    def step_failed(self, notice: StepFailed) -> None:
        entry = self._apply.finish(notice.step, notice.seen)
        if entry is not None:
            self._failed(entry, notice.error)
            self._settle(entry)
        self.look_soon()

    @handles(DeliveryFailed)
    def delivery_failed(self, notice: DeliveryFailed) -> None:
        """The worker never carried it out; it is planned again after a back-off."""
        try:
            step = msgspec.convert(notice.body.get("step"), StepId)
        except msgspec.ValidationError:
            log("error", "planner", "a message came back that is no step", type=notice.message_type, why=notice.reason)
            return
        entry = self._apply.finish(step, Seq())
        if entry is not None:
            self._failed(entry, ErrorRecord(notice.code, notice.reason))
            self._apply.forget(entry)
        self.look_soon()

    @handles(GetComposedTarget)
    def composed_target(self, _: GetComposedTarget) -> tuple[ComposedApp, ...]:
        return self._picture.compose(self._picture.target.apps)

    @handles(ApplyNow)
    def apply_now(self, command: ApplyNow) -> None:
        self._apply.try_anew()
        self._aim.force_now = self._aim.force_now or command.force
        self.look_soon()

    # --- looking ----------------------------------------------------------------------------------------------------

    def _ask_seq(self, worker: str) -> None:
        """A new planner waits until every worker's picture shows all that an older planner had commanded."""
        future = self.post.ask(worker, GetSeq(), timeout_s=SEQ_TIMEOUT_S)
        self.when_done(future, lambda done: self._seq_came(worker, done))

    def _seq_came(self, worker: str, done: Future[Seq]) -> None:
        if done.exception() is not None:
            self.after(1.0, lambda: self._ask_seq(worker))
            return
        self._picture.needed[worker] = done.result()
        self.look_soon()

    def _worker_changed(self, worker: str, seq: Seq) -> None:
        self._apply.seen(worker, seq)
        self.look_soon()

    def look_soon(self) -> None:
        """One look for all messages that are in the inbox already."""
        if not self._look_is_due:
            self._look_is_due = True
            self.defer(self._look)

    def _look(self) -> None:
        self._look_is_due = False
        self._taking_back.look(self._picture)
        waiting_for = self._local_mode_wait() or self._picture.incomplete()
        if waiting_for:
            busy = self._picture.busy() | self._apply.subjects()
            if not self._picture.engine().up:
                self._trials.begin_anew(self.clock.monotonic())
            self.hold_up(waiting_for[0].reason, busy, free=self._picture.seen_containers() == ())
            self._blocked(waiting_for)
            return
        self.go_on()
        if self.goes_down():
            self._blocked((Waiting(subject="device", reason="it is about to go down"),))
            return
        now = self.clock.monotonic()
        look = self._aim.plan(now, iso(self.clock.now()))
        planned = look.plan
        steps, waiting = self._apply.admit(
            msgspec.structs.replace(planned, steps=(*planned.steps, *look.locks)), OUTSTANDING, now=now
        )
        waiting.extend(look.waiting)
        for update in look.commits:
            waiting.extend(self._store_commit(update, now))
        for step in steps:
            self._send(step, now)
        if self.desk.orders.looked(planned, look.locks, look.busy | self._apply.subjects(), now) or look.again:
            self.look_soon()
        self.desk.finish()
        under_way = bool(self._apply.subjects() or self._picture.busy())
        applied = planned.empty and not under_way and not self.desk.orders.active()
        if look.reboots:
            waiting.append(self.reboot_for(look.reboots, self._picture.target.version, now, ready=applied))
            applied = False
        if applied and self._apply.applying:
            log("success", "device state", "target is applied", version=self._picture.target.version)
            self.post.publish(TargetApplied(version=self._picture.target.version))
        if applied:  # what is to be done from now on may meet a lock that is younger than the force
            self._aim.force_now = False
            self._picture.target = msgspec.structs.replace(self._picture.target, force=False)
        self._apply.settle(applied=applied, under_way=under_way, waiting=waiting, now=now)
        self._arm_retry(now)
        self._tell_waits()
        self._publish_soon()

    def _blocked(self, waiting: tuple[Waiting, ...]) -> None:
        self._apply.blocked(waiting)
        self._tell_waits()
        self._publish_soon()

    def _local_mode_wait(self) -> tuple[Waiting, ...]:
        """Before anything is planned, the switch into or out of local mode is finished."""
        if self._picture.configuration is None or not self._picture.engine().up:
            return ()
        reason = self._local_mode.hindrance(local_mode=self._picture.configuration.local_mode)
        return (Waiting(subject="device", reason=reason),) if reason else ()

    def _send(self, step: Step, now: float) -> None:
        self._step_number += 1
        numbered = msgspec.structs.replace(step, step=StepId(self.generation, self._step_number))
        if isinstance(numbered, StartService):
            numbered = self._completed(numbered)
        elif isinstance(numbered, HandOver):
            numbered = msgspec.structs.replace(numbered, device_name=self._picture.configuration_or_default.name)
        words = self._apply.sent(numbered, self._step_number, iso(self.clock.now()), now)
        app_id, _ = app_and_service_of(step)
        log("info", "step", words, reason=numbered.reason, **({"app": app_id} if app_id else {}))
        self.post.tell(worker_of(step), numbered)

    def _completed(self, step: StartService) -> StartService:
        """With what the plan does not know: the name of the device, and how often it has failed."""
        step = msgspec.structs.replace(step, device_name=self._picture.configuration_or_default.name)
        failure = self._apply.back_off.failures.get(step.subject)
        if failure is None or failure.count < RENEW_AFTER or requires_reboot(step.service):
            return step
        reason = f"{step.reason}; it is created anew after {failure.count} failures"
        return msgspec.structs.replace(step, renew=True, reason=reason)

    def _store_commit(self, update: CommitUpdate, now: float) -> list[Waiting]:
        """A database that cannot be written is waited for."""
        failure = self._apply.back_off.blocking(update.subject, now)
        if failure is None:
            try:
                self._commit_store.set(update.app_id, update.commit)
            except DatabaseRefused as error:
                failure = self._apply.commit_failed(update, error.record(), now=now, limit_s=self.retry_limit_s())
                log("error", "planner", error.message, tries=failure.count)
        if failure is not None:
            return [backing_off(update.subject, failure)]
        log("info", "app", "has settled on its release", app=update.app_id, release=update.commit)
        self._picture.commits = {**self._picture.commits, update.app_id: update.commit}
        self.look_soon()
        return []

    def _settle(self, entry: InFlight) -> None:
        """A step leaves the books once its worker's picture shows what it did."""
        seq = self._picture.seq(worker_of(entry.step))
        if seq is not None:
            self._apply.seen(worker_of(entry.step), seq)

    def _failed(self, entry: InFlight, error: ErrorRecord) -> None:
        order = self.desk.orders.of_step(entry.step) if error.code != Withdrawn.code else None
        now = self.clock.monotonic()
        failure = self._apply.failed(entry, error, now=now, limit_s=self.retry_limit_s(), ordered=order is not None)
        text = f"cannot {entry.words}: {cause_of(error)}"
        if order is not None:
            self.desk.orders.end(order, RemoteError(error))
            self.desk.finish()
        elif failure is None:
            log("info", "step", f"{entry.words} was left", reason=error.message)
        elif error.code == Locked.code:
            again_s = max(1, round(failure.retry_at - now))
            log("warn", "lock", f"Updates are locked, retrying in {again_s}s. Reason: {cause_of(error)}")
        else:
            level: Level = "warn" if error.code == NoSpace.code else "error"
            log(level, "step", text, tries=failure.count, again_in_s=round(failure.retry_at - now))

    def retry_limit_s(self) -> float:
        return self._picture.configuration_or_default.poll_interval_ms / 1000

    def _arm_retry(self, now: float) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        times = (self._apply.next_retry(now), self.desk.orders.next_due(now))
        at = min((at for at in times if at is not None), default=None)
        if at is not None:
            self._retry = self.after(at - now, self.look_soon)

    # --- telling ----------------------------------------------------------------------------------------------------

    def _tell_waits(self) -> None:
        self._telling.tell_waits(self._apply.waiting)

    def _publish_soon(self) -> None:
        """A new planner says nothing before it knows as much as the one before it."""
        if self.generation == 1 or self._picture.everyone_has_told:
            self._telling.publish_soon()

    def _device_state(self) -> DeviceState:
        picture = self._picture
        world = picture.world()
        return self._apply.describe(
            target_version=picture.target.version,
            engine=picture.engine(),
            apps=app_summaries(
                picture.target,
                self._aim.target(),
                world,
                aimed=self._trials.apps(),
                bad=self._trials.bad(),
                trials=self._trials.trials(),
            ),
            commits={str(app_id): commit for app_id, commit in picture.commits.items()},
            containers=container_summaries(world),
            images=image_summaries(world.images),
            locks=(
                *lock_summaries(picture.containers.locks if picture.containers else ()),
                *self._apply.foreign_locks(),
            ),
            exits=picture.containers.exits if picture.containers else (),
            actions=self.desk.orders.summaries(),
        )

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

from balena_supervisor.actors.apply import Apply, InFlight, backing_off, cause_of
from balena_supervisor.actors.damage import restarting_root
from balena_supervisor.actors.picture import WORKERS, Picture, worker_of
from balena_supervisor.actors.waits import LastingWaits
from balena_supervisor.clock import iso
from balena_supervisor.db.commit_store import CommitStore
from balena_supervisor.db.config_store import ConfigStore
from balena_supervisor.db.connection import open_database
from balena_supervisor.db.rebuild import COMMITS, TARGET_LOST, Rebuild
from balena_supervisor.errors import DatabaseRefused, ErrorRecord
from balena_supervisor.messages import (
    ConfigChanged,
    ContainersChanged,
    DeviceStateChanged,
    GetComposedTarget,
    GetSeq,
    ImagesChanged,
    KeysChanged,
    KeysFound,
    ResourcesChanged,
    TargetApplied,
    TargetChanged,
)
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.device import HostFacts
from balena_supervisor.model.state import DeviceState, Seq, StepId, Waiting
from balena_supervisor.runtime.actor import Actor, Ports, Timer, handles
from balena_supervisor.runtime.message import DeliveryFailed
from balena_supervisor.runtime.output import log
from balena_supervisor.state.device_state import app_summaries, container_summaries, image_summaries
from balena_supervisor.state.plan import CommitUpdate, plan
from balena_supervisor.state.take_back import commits_of, keys_of
from balena_supervisor.state.words import app_and_service_of
from balena_supervisor.state.world import Memory, Rules
from balena_supervisor.steps import StartService, Step, StepDone, StepFailed, WithdrawSteps

#: commands that a worker holds at most: twice its pool
OUTSTANDING = {"containers": 16, "images": 6, "resources": 8}
SEQ_TIMEOUT_S = 20.0
#: An engine that is killed while it starts a container may never be able to start that one again ("id already in use",
#: seen with 20.10). It never ran, so it has nothing to lose.
RENEW_AFTER = 3
PUBLISH_INTERVAL_S = 0.05


@dataclass(frozen=True, kw_only=True)
class PlannerPorts(Ports):
    database_path: Path
    host: Callable[[], HostFacts]


class Planner(Actor):
    """Compares target and current state and has the workers make them equal."""

    def __init__(self, ports: PlannerPorts) -> None:
        super().__init__(ports)
        self._database_path = ports.database_path
        self._read_host = ports.host
        self._picture = Picture()
        self._apply = Apply()
        self._step_number = 0
        self._look_is_due = False
        self._retry: Timer | None = None
        self._lasting = LastingWaits()
        self._wait_timer: Timer | None = None
        self._publish_timer: Timer | None = None
        self._published = DeviceState()
        self._published_at = float("-inf")
        #: what target-state was told last of keys, since it began to ask
        self._keys_found: KeysFound | None = None

    def on_start(self) -> None:
        database = open_database(self._database_path, on_damage=restarting_root(self.post))
        self._commit_store = CommitStore(database)
        self._rebuild = Rebuild(database, COMMITS)
        self._commits_incomplete = self._rebuild.is_wanted()
        self._picture.target_lost = ConfigStore(database).get(TARGET_LOST) or ""
        self._picture.host = self._read_host()
        self._picture.commits = self._commit_store.all()
        for worker in WORKERS:
            self._ask_seq(worker)

    # --- what it is told --------------------------------------------------------------------------------------------

    @handles(ConfigChanged)
    def config_changed(self, event: ConfigChanged) -> None:
        self._picture.configuration = event.configuration
        self._look_soon()

    @handles(KeysChanged)
    def keys_changed(self, event: KeysChanged) -> None:
        self._picture.keys = {(key.app_id, key.service_name): key.key for key in event.services}
        self._picture.keys_incomplete = event.incomplete
        self._keys_found = None
        self._look_soon()

    @handles(TargetChanged)
    def target_changed(self, event: TargetChanged) -> None:
        if event.target.version > self._picture.target.version:
            for worker in sorted(self._apply.workers()):
                self.post.tell(worker, WithdrawSteps())
            self._apply.new_target(event.target.version, self.clock.monotonic())
        self._picture.target, self._picture.target_told = event.target, True
        self._look_soon()

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
            self._apply.succeeded(entry)
            self._settle(entry)
        self._look_soon()

    @handles(StepFailed)
    def step_failed(self, notice: StepFailed) -> None:
        entry = self._apply.finish(notice.step, notice.seen)
        if entry is not None:
            self._failed(entry, notice.error)
            self._settle(entry)
        self._look_soon()

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
        self._look_soon()

    @handles(GetComposedTarget)
    def composed_target(self, _: GetComposedTarget) -> tuple[ComposedApp, ...]:
        return self._picture.compose()

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
        self._look_soon()

    def _worker_changed(self, worker: str, seq: Seq) -> None:
        self._apply.seen(worker, seq)
        self._look_soon()

    def _look_soon(self) -> None:
        """One look for all messages that are in the inbox already."""
        if not self._look_is_due:
            self._look_is_due = True
            self.defer(self._look)

    def _look(self) -> None:
        self._look_is_due = False
        self._take_back()
        waiting_for = self._picture.incomplete()
        if waiting_for:
            self._apply.blocked(waiting_for)
            self._tell_waits()
            self._publish_soon()
            return
        picture = self._picture
        planned = plan(
            picture.world(),
            picture.compose(),
            rules=Rules(
                keep_images=picture.configuration_or_default.local_mode,
                keep_volumes=picture.configuration_or_default.local_mode,
            ),
            busy=picture.busy() | self._apply.subjects(),
            memory=Memory(stopped=self._apply.stopped(picture)),
        )
        now = self.clock.monotonic()
        steps, waiting = self._apply.admit(planned, OUTSTANDING, now=now, limit_s=self._retry_limit_s())
        for loop in self._apply.new_loops():
            log("error", "planner", loop)
        for update in planned.commits:
            waiting.extend(self._store_commit(update, now))
        for step in steps:
            self._send(step)
        under_way = bool(self._apply.subjects() or picture.busy())
        applied = planned.empty and not under_way
        if applied and self._apply.applying:
            log("success", "device state", "target is applied", version=picture.target.version)
            self.post.publish(TargetApplied(version=picture.target.version))
        self._apply.settle(applied=applied, under_way=under_way, waiting=waiting, now=now)
        self._arm_retry(now)
        self._tell_waits()
        self._publish_soon()

    def _take_back(self) -> None:
        """After the database was made anew: what the containers tell of keys and releases."""
        containers = self._picture.seen_containers()
        if containers is None:
            return
        if self._picture.keys_incomplete:
            found = KeysFound(services=keys_of(containers))
            if found != self._keys_found:
                self._keys_found = found
                self.post.publish(found)
        if self._commits_incomplete:
            try:
                with self._rebuild.doing():
                    for app_id, commit in commits_of(containers).items():
                        self._commit_store.set(app_id, commit)
            except DatabaseRefused:
                return  # the next look tries again; nothing depends on it
            self._commits_incomplete = False
            self._picture.commits = self._commit_store.all()

    def _send(self, step: Step) -> None:
        self._step_number += 1
        numbered = msgspec.structs.replace(step, step=StepId(self.generation, self._step_number))
        if isinstance(numbered, StartService):
            numbered = self._completed(numbered)
        words = self._apply.sent(numbered, self._step_number, iso(self.clock.now()))
        app_id, _ = app_and_service_of(step)
        log("info", "step", words, reason=numbered.reason, **({"app": app_id} if app_id else {}))
        self.post.tell(worker_of(step), numbered)

    def _completed(self, step: StartService) -> StartService:
        """With what the plan does not know: the name of the device, and how often it has failed."""
        step = msgspec.structs.replace(step, device_name=self._picture.configuration_or_default.name)
        failure = self._apply.back_off.failures.get(step.subject)
        if failure is None or failure.count < RENEW_AFTER:
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
                failure = self._apply.commit_failed(update, error.record(), now=now, limit_s=self._retry_limit_s())
                log("error", "planner", error.message, tries=failure.count)
        if failure is not None:
            return [backing_off(update.subject, failure)]
        log("info", "app", "has settled on its release", app=update.app_id, release=update.commit)
        self._picture.commits = {**self._picture.commits, update.app_id: update.commit}
        self._look_soon()
        return []

    def _settle(self, entry: InFlight) -> None:
        """A step leaves the books once its worker's picture shows what it did."""
        seq = self._picture.seq(worker_of(entry.step))
        if seq is not None:
            self._apply.seen(worker_of(entry.step), seq)

    def _failed(self, entry: InFlight, error: ErrorRecord) -> None:
        failure = self._apply.failed(entry, error, now=self.clock.monotonic(), limit_s=self._retry_limit_s())
        if failure is not None:
            again_s = round(failure.retry_at - self.clock.monotonic())
            text = f"cannot {entry.words}: {cause_of(error)}"
            log("error", "step", text, tries=failure.count, again_in_s=again_s)
        else:
            log("info", "step", f"{entry.words} was left", reason=error.message)

    def _retry_limit_s(self) -> float:
        return self._picture.configuration_or_default.poll_interval_ms / 1000

    def _arm_retry(self, now: float) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        at = self._apply.back_off.next_retry(now)
        if at is not None:
            self._retry = self.after(at - now, self._look_soon)

    def _tell_waits(self) -> None:
        now = self.clock.monotonic()
        for wait in self._lasting.to_tell(self._apply.waiting, now):
            log(
                "warn" if wait.settled and wait.app_id else "info",
                "wait",
                wait.service_name or wait.subject,
                reason=wait.reason,
            )
        if self._wait_timer is not None:
            self._wait_timer.cancel()
        at = self._lasting.next_due()
        self._wait_timer = None if at is None else self.after(at - now, self._tell_waits)

    # --- telling ----------------------------------------------------------------------------------------------------

    def _publish_soon(self) -> None:
        """At once when the last one is old enough, else when it will be: at most 20 a second."""
        if self._publish_timer is not None or (self.generation > 1 and not self._picture.everyone_has_told):
            return
        rest = self._published_at + PUBLISH_INTERVAL_S - self.clock.monotonic()
        if rest <= 0:
            self._publish()
        else:
            self._publish_timer = self.after(rest, self._publish_late)

    def _publish_late(self) -> None:
        self._publish_timer = None
        self._publish()

    def _publish(self) -> None:
        state = self._device_state()
        if state != self._published:
            self._published = state
            self._published_at = self.clock.monotonic()
            self.post.publish(DeviceStateChanged(state=state))

    def _device_state(self) -> DeviceState:
        picture = self._picture
        world = picture.world()
        return self._apply.describe(
            target_version=picture.target.version,
            engine=picture.engine(),
            apps=app_summaries(picture.target, picture.compose(), picture.commits),
            commits={str(app_id): commit for app_id, commit in picture.commits.items()},
            containers=container_summaries(world),
            images=image_summaries(world.images),
        )

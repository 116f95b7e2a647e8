"""The containers actor: creates, starts, stops and removes containers, and knows which there are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

from msgspec import structs

from balena_supervisor.actors.container_jobs import ContainerJobs, ContainerReport
from balena_supervisor.actors.container_picture import ContainerPicture
from balena_supervisor.actors.engine_listing import is_ours, read_container, read_containers, running_services
from balena_supervisor.actors.hand_over import HandOvers
from balena_supervisor.actors.service_exits import ServiceExits
from balena_supervisor.actors.worker import Worker, WorkerPorts, act_and_look
from balena_supervisor.adapters.engine_events import EngineEvent
from balena_supervisor.adapters.lock_files import LockFiles
from balena_supervisor.errors import EngineError, SupervisorError
from balena_supervisor.messages import ContainersChanged
from balena_supervisor.model.lock import AppLock
from balena_supervisor.model.service import Container, ContainerTask, Service
from balena_supervisor.model.state import Seq
from balena_supervisor.runtime import output
from balena_supervisor.runtime.actor import Pending, handles
from balena_supervisor.state.labels import APP_ID, SERVICE_NAME, rewritten
from balena_supervisor.steps import (
    HandOver,
    KillService,
    LockStep,
    ReleaseLocks,
    RemoveContainer,
    ServiceStep,
    StartService,
    StopService,
    TakeLocks,
    UpdateMetadata,
    WithdrawSteps,
)

#: what changes a container; exec and attach, of which there are many, do not
_EVENTS = [
    "create", "start", "restart", "stop", "kill", "die", "oom", "pause", "unpause", "rename", "update", "destroy",
    "health_status",
]  # fmt: skip


#: how many hand-overs may wait at a time; each takes a thread
_HAND_OVERS = 32


@dataclass(frozen=True, kw_only=True)
class ContainerPorts(WorkerPorts):
    locks: LockFiles


class Containers(Worker[tuple[Container, ...]]):
    """Carries out :class:`ServiceStep` and publishes :class:`ContainersChanged`."""

    pool_size = 8
    event_filters: ClassVar[dict[str, list[str]]] = {
        "type": ["container"],
        "event": _EVENTS,
    }

    def __init__(self, ports: ContainerPorts) -> None:
        super().__init__(ports)
        self._locks = ports.locks
        self._picture = ContainerPicture()
        self._exits = ServiceExits()
        #: by app id
        self._own_locks: dict[int, AppLock] = {}
        #: what gives up the wait of a hand-over -> app id
        self._waits: dict[threading.Event, int] = {}
        #: by the number of the step in this process
        self._tasks: dict[int, ContainerTask] = {}
        self._task_count = 0

    def opened(self) -> None:
        self._jobs = ContainerJobs(self.engine, self.instance)
        self._hand_overs = HandOvers(self.engine, self._jobs, self._locks, self.clock)
        #: of their own, since they wait for minutes
        self._hand_over_pool = ThreadPoolExecutor(_HAND_OVERS, thread_name_prefix=f"{self.name}-hand-over")
        try:
            self._locks.adopt_old_layout()
            self._locks.drop_halves()
            self._own_locks = {lock.app_id: lock for lock in self._locks.held()}
        except SupervisorError as error:
            output.log("warn", self.name, error.message)

    def on_stop(self) -> None:
        self._jobs.close()
        self._end_waits()
        self._hand_over_pool.shutdown(wait=False, cancel_futures=True)
        super().on_stop()

    # --- steps ------------------------------------------------------------------------------------------------

    @handles(StartService)
    def start_service(self, step: StartService) -> Pending[None]:
        present = self._picture.of_app(step.service.app_id)
        return self._carry_out(step, _task_for(step.service), lambda report: self._jobs.start(step, present, report))

    @handles(StopService)
    def stop_service(self, step: StopService) -> Pending[None]:
        return self._carry_out(step, _task_of(step.container), lambda report: self._jobs.stop(step, report))

    @handles(KillService)
    def kill_service(self, step: KillService) -> Pending[None]:
        return self._carry_out(step, _task_of(step.container), lambda report: self._jobs.kill(step.container, report))

    @handles(RemoveContainer)
    def remove_container(self, step: RemoveContainer) -> Pending[None]:
        return self._carry_out(step, _task_of(step.container), lambda report: self._jobs.remove_dead(step, report))

    @handles(UpdateMetadata)
    def update_metadata(self, step: UpdateMetadata) -> Pending[None]:
        return self._carry_out(step, _task_of(step.container), lambda report: self._jobs.rename(step, report))

    @handles(HandOver)
    def hand_over(self, step: HandOver) -> Pending[None]:
        present = self._picture.of_app(step.service.app_id)
        ended = threading.Event()
        pending = self._carry_out(
            step,
            _task_of(step.container),
            lambda report: self._hand_overs.hand_over(step, present, report, ended),
            self._hand_over_pool,
        )
        self._waits[ended] = step.service.app_id
        pending.future.add_done_callback(lambda _: self._waits.pop(ended))
        return pending

    def withdraw_steps(self, command: WithdrawSteps) -> None:
        super().withdraw_steps(command)
        self._end_waits(command.unchanged)

    def _end_waits(self, but_of: Collection[int] = ()) -> None:
        for ended, app_id in self._waits.items():
            if app_id not in but_of:
                ended.set()

    def _carry_out(
        self,
        step: ServiceStep,
        task: ContainerTask,
        job: Callable[[ContainerReport], None],
        pool: Executor | None = None,
    ) -> Pending[None]:
        self._task_count += 1
        number = self._task_count
        report = ContainerReport(
            tick=self.tick,
            shown=lambda tick, container_id, container: self.defer(lambda: self._show(tick, container_id, container)),
            doing=lambda status, container_id: self.defer(lambda: self._doing(number, task, status, container_id)),
            unreadable=self.unreadable,
        )

        def work() -> None:
            try:
                job(report)
            except EngineError:
                self.defer(lambda: self._refused(number))
                raise
            finally:
                self.defer(lambda: self._finished(number))

        return self.carry_out(step, work, pool)

    def _doing(self, number: int, task: ContainerTask, status: str, container_id: str) -> None:
        self._tasks[number] = structs.replace(task, status=status, container_id=container_id)
        if status == "Stopping":
            self._exits.asked(container_id)
        self.changed()

    def _refused(self, number: int) -> None:
        """The engine did not do it: what ends now, ends by itself."""
        if number in self._tasks:
            self._exits.not_asked(self._tasks[number].container_id)

    def _finished(self, number: int) -> None:
        self._tasks.pop(number, None)  # the end of the step publishes

    # --- locks ------------------------------------------------------------------------------------------------

    @handles(TakeLocks)
    def take_locks(self, step: TakeLocks) -> Pending[None]:
        def running() -> Collection[str]:
            return running_services(self.engine, self.instance, step.app_id)

        return self._lock(step, lambda: self._locks.take(step.app_id, step.services, running, force=step.force))

    @handles(ReleaseLocks)
    def release_locks(self, step: ReleaseLocks) -> Pending[None]:
        return self._lock(step, lambda: self._locks.release(step.app_id))

    def _lock(self, step: LockStep, act: Callable[[], None]) -> Pending[None]:
        def look() -> None:
            lock = self._locks.held_by(step.app_id)
            self.defer(lambda: self._show_lock(step.app_id, lock))

        return self.carry_out(step, lambda: act_and_look(act, look))

    def _show_lock(self, app_id: int, lock: AppLock | None) -> None:
        """The end of the step publishes it."""
        if lock is not None:
            self._own_locks[app_id] = lock
        else:
            self._own_locks.pop(app_id, None)

    # --- picture ----------------------------------------------------------------------------------------------

    def read(self) -> tuple[Container, ...]:
        return read_containers(self.engine, self.instance, self.unreadable, self._picture.by_id())

    def take(self, tick: int, seen: tuple[Container, ...]) -> bool:
        return self._exits.seen(seen) | self._picture.show_all(tick, seen)

    def heard(self, event: EngineEvent) -> None:
        if event.id not in self._picture and not is_ours(event.attributes, self.instance):
            return
        if self._exits.heard(event):
            self.changed()
        if event.action == "destroy":
            self._show(self.tick(), event.id, None)
        else:
            labels = rewritten(event.attributes)
            self.stale(event.id, subject=f"service:{labels.get(APP_ID)}:{labels.get(SERVICE_NAME)}")

    def reread(self, key: str) -> Callable[[], None]:
        def look() -> None:
            tick = self.tick()
            container = read_container(self.engine, key, self.instance, self.unreadable)
            self.defer(lambda: self._show(tick, key, container))

        return look

    def snapshot(self, seq: Seq, busy: tuple[str, ...]) -> ContainersChanged:
        return ContainersChanged(
            seq=seq,
            containers=self._picture.containers(),
            tasks=tuple(self._tasks[number] for number in sorted(self._tasks)),
            locks=tuple(self._own_locks[app_id] for app_id in sorted(self._own_locks)),
            exits=self._exits.shown(),
            busy=busy,
            engine=self.engine_link,
        )

    def _show(self, tick: int, container_id: str, container: Container | None) -> None:
        self.fresh(container_id, tick)
        if self._picture.show(tick, container_id, container):
            self.changed()


def _task_for(service: Service) -> ContainerTask:
    return ContainerTask(
        app_id=service.app_id,
        service_name=service.service_name,
        status="",
        image_id=service.image_id,
        service_id=service.service_id,
    )


def _task_of(container: Container) -> ContainerTask:
    return ContainerTask(
        app_id=container.app_id,
        service_name=container.service_name,
        status="",
        container_id=container.container_id,
        image_id=container.image_id,
        service_id=container.service_id,
    )

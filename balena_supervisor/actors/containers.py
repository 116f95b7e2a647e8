"""The containers actor: creates, starts, stops and removes containers, and knows which there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from msgspec import structs

from balena_supervisor.actors.container_jobs import ContainerJobs, ContainerReport
from balena_supervisor.actors.container_picture import ContainerPicture
from balena_supervisor.actors.engine_listing import is_ours, read_container, read_containers
from balena_supervisor.actors.worker import Worker, WorkerPorts
from balena_supervisor.adapters.engine_events import EngineEvent
from balena_supervisor.errors import UnreadableObject
from balena_supervisor.messages import ContainersChanged
from balena_supervisor.model.service import Container, ContainerTask
from balena_supervisor.model.state import Seq
from balena_supervisor.runtime.actor import Pending, handles
from balena_supervisor.state.labels import APP_ID, SERVICE_NAME, rewritten
from balena_supervisor.steps import KillService, RemoveContainer, ServiceStep, StartService, StopService, UpdateMetadata

#: what changes a container; exec and attach, of which there are many, do not
_EVENTS = [
    "create", "start", "restart", "stop", "kill", "die", "oom", "pause", "unpause", "rename", "update", "destroy",
    "health_status",
]  # fmt: skip


class Containers(Worker[tuple[Container, ...]]):
    """Carries out :class:`ServiceStep` and publishes :class:`ContainersChanged`."""

    pool_size = 8
    event_filters: ClassVar[dict[str, list[str]]] = {
        "type": ["container"],
        "event": _EVENTS,
    }

    def __init__(self, ports: WorkerPorts) -> None:
        super().__init__(ports)
        self._picture = ContainerPicture()
        #: by the number of the step in this process
        self._tasks: dict[int, ContainerTask] = {}
        self._task_count = 0

    def opened(self) -> None:
        self._jobs = ContainerJobs(self.engine, self.instance)

    def on_stop(self) -> None:
        self._jobs.close()
        super().on_stop()

    # --- steps ------------------------------------------------------------------------------------------------

    @handles(StartService)
    def start_service(self, step: StartService) -> Pending[None]:
        service = step.service
        task = ContainerTask(
            app_id=service.app_id,
            service_name=service.service_name,
            status="",
            image_id=service.image_id,
            service_id=service.service_id,
        )
        present = self._picture.of_app(service.app_id)
        return self._carry_out(step, task, lambda report: self._jobs.start(step, present, report))

    @handles(StopService)
    def stop_service(self, step: StopService) -> Pending[None]:
        return self._carry_out(step, _task_of(step.container), lambda report: self._jobs.stop(step, report))

    @handles(KillService)
    def kill_service(self, step: KillService) -> Pending[None]:
        return self._carry_out(step, _task_of(step.container), lambda report: self._jobs.kill(step, report))

    @handles(RemoveContainer)
    def remove_container(self, step: RemoveContainer) -> Pending[None]:
        return self._carry_out(step, _task_of(step.container), lambda report: self._jobs.remove(step, report))

    @handles(UpdateMetadata)
    def update_metadata(self, step: UpdateMetadata) -> Pending[None]:
        return self._carry_out(step, _task_of(step.container), lambda report: self._jobs.rename(step, report))

    def _carry_out(
        self, step: ServiceStep, task: ContainerTask, job: Callable[[ContainerReport], None]
    ) -> Pending[None]:
        self._task_count += 1
        number = self._task_count
        report = ContainerReport(
            tick=self.tick,
            shown=lambda tick, container_id, container: self.defer(lambda: self._show(tick, container_id, container)),
            doing=lambda status, container_id: self.defer(lambda: self._doing(number, task, status, container_id)),
            unreadable=self._unreadable,
        )

        def work() -> None:
            try:
                job(report)
            finally:
                self.defer(lambda: self._finished(number))

        return self.carry_out(step, work)

    def _doing(self, number: int, task: ContainerTask, status: str, container_id: str) -> None:
        self._tasks[number] = structs.replace(task, status=status, container_id=container_id)
        self.changed()

    def _finished(self, number: int) -> None:
        self._tasks.pop(number, None)  # the end of the step publishes

    # --- picture ----------------------------------------------------------------------------------------------

    def read(self) -> tuple[Container, ...]:
        return read_containers(self.engine, self.instance, self._unreadable)

    def take(self, tick: int, seen: tuple[Container, ...]) -> bool:
        return self._picture.show_all(tick, seen)

    def heard(self, event: EngineEvent) -> None:
        if event.id not in self._picture and not is_ours(event.attributes, self.instance):
            return
        if event.action == "destroy":
            self._show(self.tick(), event.id, None)
        else:
            labels = rewritten(event.attributes)
            self.stale(event.id, subject=f"service:{labels.get(APP_ID)}:{labels.get(SERVICE_NAME)}")

    def reread(self, key: str) -> Callable[[], None]:
        def look() -> None:
            tick = self.tick()
            container = read_container(self.engine, key, self.instance, self._unreadable)
            self.defer(lambda: self._show(tick, key, container))

        return look

    def snapshot(self, seq: Seq, busy: tuple[str, ...]) -> ContainersChanged:
        return ContainersChanged(
            seq=seq,
            containers=self._picture.containers(),
            tasks=tuple(self._tasks[number] for number in sorted(self._tasks)),
            busy=busy,
            engine=self.engine_link,
        )

    def _show(self, tick: int, container_id: str, container: Container | None) -> None:
        self.fresh(container_id, tick)
        if self._picture.show(tick, container_id, container):
            self.changed()

    def _unreadable(self, subject: str, error: UnreadableObject) -> None:
        self.defer(lambda: self.complain_once(subject, error.message))


def _task_of(container: Container) -> ContainerTask:
    return ContainerTask(
        app_id=container.app_id,
        service_name=container.service_name,
        status="",
        container_id=container.container_id,
        image_id=container.image_id,
        service_id=container.service_id,
    )

"""The images actor: pulls, tags and removes images, keeps table ``image``, and knows what the engine has."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from msgspec import structs

from balena_supervisor.actors.damage import restarting_root
from balena_supervisor.actors.image_jobs import ImageJobs
from balena_supervisor.actors.image_room import Room, RoomPorts
from balena_supervisor.actors.worker import Worker, WorkerPorts, act_and_look
from balena_supervisor.adapters.engine_events import EngineEvent
from balena_supervisor.adapters.engine_pull import STALL_S
from balena_supervisor.adapters.memory import memory_bytes
from balena_supervisor.db.connection import open_database
from balena_supervisor.db.image_store import ImageStore
from balena_supervisor.db.rebuild import IMAGES as IMAGES_LOST
from balena_supervisor.db.rebuild import Rebuild
from balena_supervisor.errors import DatabaseRefused
from balena_supervisor.messages import ConfigChanged, ImagesChanged, TargetChanged
from balena_supervisor.model.device import Configuration
from balena_supervisor.model.image import ImageRef, ImageState, ImageTask
from balena_supervisor.model.state import Seq
from balena_supervisor.model.target import TargetState
from balena_supervisor.runtime import output
from balena_supervisor.runtime.actor import Pending, handles
from balena_supervisor.steps import CleanupImages, ImageStep, PullImage, RemoveImage, SaveImages

IMAGES = "images"
#: how long an image that could not be cleaned up is left alone
IGNORE_S = 3600.0
SMALL_MEMORY_BYTES = 512 * 1024 * 1024


def parallel_pulls(memory_bytes: int) -> int:
    """How many downloads a device of this size unpacks at the same time."""
    return 1 if memory_bytes < SMALL_MEMORY_BYTES else 3


@dataclass(frozen=True, kw_only=True)
class ImagePorts(WorkerPorts):
    """``own_image`` is the name of the supervisor's own image, ``""`` when it does not run in a container. Without
    ``room`` nobody looks whether there is room."""

    database_path: Path
    own_image: str = ""
    stall_s: float = STALL_S
    room: RoomPorts | None = None


class Images(Worker[ImageState]):
    """Carries out :class:`ImageStep` and publishes :class:`ImagesChanged`."""

    pool_size = 2
    event_filters: ClassVar[dict[str, list[str]]] = {
        "type": ["image"],
        "event": ["tag", "untag", "delete", "pull", "load", "import"],
    }

    def __init__(self, ports: ImagePorts) -> None:
        super().__init__(ports)
        self._image_ports = ports
        self._configuration = Configuration()
        self._target = TargetState()
        self._seen = ImageState()
        self._seen_tick = 0
        self._tasks: dict[str, ImageTask] = {}
        self._ignored_until: dict[str, float] = {}
        self._repaired = False

    def on_start(self) -> None:
        ports = self._image_ports
        self._database = open_database(ports.database_path, on_damage=restarting_root(self.post))
        self._store = ImageStore(self._database)
        self._rebuild = Rebuild(self._database, IMAGES_LOST)
        self._pulls = ThreadPoolExecutor(parallel_pulls(memory_bytes()), thread_name_prefix="images-pull")
        super().on_start()

    def opened(self) -> None:
        ports = self._image_ports
        self._jobs = ImageJobs(
            self.engine,
            self._store,
            own_image=ports.own_image,
            instance=ports.instance,
            unreadable=self.unreadable,
            stall_s=ports.stall_s,
            room=None if ports.room is None else Room(self.engine, ports.room, self.clock),
        )

    def on_stop(self) -> None:
        self._jobs.close()
        self._pulls.shutdown(wait=False, cancel_futures=True)
        super().on_stop()
        self._database.close()

    # --- what it is told --------------------------------------------------------------------------------------

    @handles(ConfigChanged)
    def config_changed(self, event: ConfigChanged) -> None:
        self._configuration = event.configuration

    @handles(TargetChanged)
    def target_changed(self, event: TargetChanged) -> None:
        """The planner waits for a picture that covers the names of this target."""
        self._target = event.target
        apps = (*(app for app in event.target.apps if not app.rejected), *event.target.previous)
        self._jobs.want(frozenset(service.image for app in apps for service in app.services))
        self.stale(IMAGES, urgent=True)

    # --- steps ------------------------------------------------------------------------------------------------

    @handles(PullImage)
    def pull_image(self, step: PullImage) -> Pending[None]:
        configuration = self._configuration

        def work() -> None:
            def progress(percent: int) -> None:
                self._report(step.ref, "Downloading", percent)

            self._jobs.pull(step.ref, configuration, progress, anew=step.anew)

        return self._carry_out(step, step.ref, work, self._pulls)

    @handles(SaveImages)
    def save_images(self, step: SaveImages) -> Pending[None]:
        return self._carry_out(step, None, lambda: self._jobs.save(step.refs))

    @handles(RemoveImage)
    def remove_image(self, step: RemoveImage) -> Pending[None]:
        def work() -> None:
            self._report(step.row.ref, "Deleting", None)
            self._jobs.remove(step.row)

        return self._carry_out(step, step.row.ref, work)

    @handles(CleanupImages)
    def cleanup_images(self, step: CleanupImages) -> Pending[None]:
        target = self._target

        def work() -> None:
            failed = self._jobs.clean_up(step.image_ids, target)
            self.defer(lambda: self._ignore(failed))

        return self._carry_out(step, None, work)

    def _carry_out(
        self, step: ImageStep, ref: ImageRef | None, act: Callable[[], None], pool: ThreadPoolExecutor | None = None
    ) -> Pending[None]:
        def work() -> None:
            try:
                act()
            finally:
                if ref is not None:
                    self.defer(lambda: self._forget_task(ref.name))

        return self.carry_out(step, lambda: act_and_look(work, self._look), pool)

    def _report(self, ref: ImageRef, status: str, percent: int | None) -> None:
        self.defer(lambda: self._show_task(ImageTask(ref=ref, status=status, progress=percent)))

    def _show_task(self, task: ImageTask) -> None:
        self._tasks[task.ref.name] = task
        self.changed()

    def _forget_task(self, name: str) -> None:
        self._tasks.pop(name, None)  # the end of the step publishes

    def _ignore(self, failed: dict[str, str]) -> None:
        until = self.clock.monotonic() + IGNORE_S
        for image_id, reason in failed.items():
            self._ignored_until[image_id] = until
            output.log("warn", self.name, "an image cannot be cleaned up and is left for an hour", reason=reason)

    # --- picture ----------------------------------------------------------------------------------------------

    def read(self) -> ImageState:
        if not self._repaired:
            self._repair()
        return self._jobs.look(self._target)

    def _repair(self) -> None:
        """Once. With a full disk it has to wait, and everything else goes on."""
        try:
            if self._rebuild.is_wanted():
                found = self._jobs.of_containers()
                with self._rebuild.doing():
                    self._store.save(found)
            self._jobs.repair()
        except DatabaseRefused as error:
            text = f"the rows of the images are left as they are: {error.message}"
            self.defer(lambda: self.complain_once("repair", text))
        else:
            self._repaired = True

    def take(self, tick: int, seen: ImageState) -> bool:
        self.fresh(IMAGES, tick)
        if tick < self._seen_tick:
            return False
        before, self._seen, self._seen_tick = self._seen, seen, tick
        return before != seen

    def heard(self, event: EngineEvent) -> None:  # noqa: ARG002  # the whole list is read again, whatever happened
        self.stale(IMAGES)

    def reread(self, key: str) -> Callable[[], None]:  # noqa: ARG002  # there is one key
        return self._look

    def _look(self) -> None:
        tick = self.tick()
        seen = self.read()
        self.defer(lambda: self.changed() if self.take(tick, seen) else None)

    def snapshot(self, seq: Seq, busy: tuple[str, ...]) -> ImagesChanged:
        now = self.clock.monotonic()
        cleanup = tuple(image for image in self._seen.cleanup if self._ignored_until.get(image, now) <= now)
        images = structs.replace(self._seen, tasks=tuple(self._tasks.values()), cleanup=cleanup)
        return ImagesChanged(seq=seq, images=images, busy=busy, engine=self.engine_link)

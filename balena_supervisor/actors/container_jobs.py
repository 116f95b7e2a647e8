"""How the steps on containers are carried out on the engine (spec apply-loop 5.3 to 5.6). Runs in the pool.

Every job may be repeated after a death at any point: it finds what the first try has done, and goes on from there.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from balena_supervisor.actors.engine_listing import Unreadable, is_ours, read_container
from balena_supervisor.actors.worker import act_and_look
from balena_supervisor.adapters.engine import Engine
from balena_supervisor.errors import EngineError, ImageBroken, NotFound, SupervisorError
from balena_supervisor.model.service import Container, Service
from balena_supervisor.state.compare import differences
from balena_supervisor.state.create_body import connect_endpoints, create_body
from balena_supervisor.steps import RemoveContainer, StartService, StopService, UpdateMetadata

#: a container in one of these states is no use for a start
_UNUSABLE = {"Dead", "removing"}
#: how engines say that a layer of the image is not there; the last two are of 20.10, when the folder of a layer, or a
#: part of it, has gone from its disk
_LOST_LAYER = re.compile(
    r"layer does not exist|failed to get layer|unknown blob"
    r"|/overlay2/\w+/committed: no such file|error creating overlay mount .*: no such file"
)
#: how often it is asked again for a name that is in use by a container which cannot be found, about a minute in all
CONFLICT_TRIES = 66
CONFLICT_PAUSE_S = 0.1
CONFLICT_LONGEST_PAUSE_S = 1.0


class ContainerReport:
    """Where a job tells what it does and sees: both go to the actor's thread."""

    def __init__(
        self,
        tick: Callable[[], int],
        shown: Callable[[int, str, Container | None], None],
        doing: Callable[[str, str], None],
        unreadable: Unreadable,
    ) -> None:
        #: the number of a look that begins now
        self.tick = tick
        #: what was seen of a container: number of the look, id, and None when it is gone
        self.shown = shown
        #: the status of the work (Installing, Starting, …) and the container's id, if there is one yet
        self.doing = doing
        self.unreadable = unreadable


class ContainerJobs:
    """The work on the engine for one instance of the supervisor."""

    def __init__(self, engine: Engine, instance: str) -> None:
        self._engine = engine
        self._instance = instance
        self._closed = threading.Event()

    def close(self) -> None:
        """Wait for nothing any more."""
        self._closed.set()

    def start(self, step: StartService, present: Sequence[Container], report: ContainerReport) -> None:
        """Use an equal container or create one, and start it if it shall run.

        ``present`` are the app's containers as last seen. A container whose start fails is kept: the next try starts
        it again.
        """
        container_id = self.install(step, present, report)

        def start() -> None:
            if step.service.running:
                report.doing("Starting", container_id)
                self.run(step.service, container_id)

        act_and_look(start, lambda: self.look(container_id, report))

    def install(self, step: StartService, present: Sequence[Container], report: ContainerReport) -> str:
        """Use an equal container or create one. Returns its id."""
        service = step.service
        ids = {container.service_name: container.container_id for container in present}
        equal = self._equal(service, present, ids)
        if equal is not None and step.renew and equal.status == "Installed":
            self.remove(equal.container_id)
            self.look(equal.container_id, report)
            equal = None
        if equal is not None:
            return equal.container_id
        report.doing("Installing", "")
        return self._installed(step, ids, report)

    def stop(self, step: StopService, report: ContainerReport) -> None:
        """Stop and keep. Waits for the end."""
        report.doing("Stopping", step.container.container_id)
        act_and_look(lambda: self._stop(step.container), lambda: self.look(step.container.container_id, report))

    def kill(self, container: Container, report: ContainerReport) -> None:
        """Stop and remove. Waits for the end."""
        container_id = container.container_id
        report.doing("Stopping", container_id)

        def kill() -> None:
            self._stop(container)
            self.remove(container_id)

        act_and_look(kill, lambda: self.look(container_id, report))

    def remove_dead(self, step: RemoveContainer, report: ContainerReport) -> None:
        """Remove a dead container by its id."""
        container_id = step.container.container_id
        act_and_look(lambda: self.remove(container_id), lambda: self.look(container_id, report))

    def rename(self, step: UpdateMetadata, report: ContainerReport) -> None:
        """Rename. A container that the engine cannot find for this is removed by force, so that it is recreated."""
        container_id = step.container.container_id
        report.doing("Renaming", container_id)

        def rename() -> None:
            try:
                self.rename_to(container_id, step.name)
            except NotFound:
                self.remove(container_id, force=True)

        act_and_look(rename, lambda: self.look(container_id, report))

    # --- also for a hand-over ---------------------------------------------------------------------------------

    def run(self, service: Service, container_id: str) -> None:
        """Start it; one that runs goes on."""
        with _clearly(service):
            self._engine.start_container(container_id)

    def rename_to(self, container_id: str, name: str) -> None:
        """Rename; one that has the name already keeps it. Raises ``NotFound``."""
        try:
            self._engine.rename_container(container_id, name)
        except EngineError as error:
            # 400 also says that it has this name already, and nothing but its text tells that from other faults
            if error.fields["status"] != 400 or not self._is_named(container_id, name):
                raise

    def remove(self, container_id: str, *, force: bool = False) -> None:
        with suppress(NotFound):
            self._engine.remove_container(container_id, force=force)

    def look(self, container_id: str, report: ContainerReport) -> Container | None:
        """Look at it and show what is seen."""
        tick = report.tick()
        container = read_container(self._engine, container_id, self._instance, report.unreadable)
        report.shown(tick, container_id, container)
        return container

    # --- parts ------------------------------------------------------------------------------------------------

    def _equal(self, service: Service, present: Sequence[Container], ids: dict[str, str]) -> Container | None:
        """A container that is as the target wants it, best one of the same name."""
        same = [
            container
            for container in present
            if container.service_name == service.service_name
            and container.status not in _UNUSABLE
            and not differences(container, service, ids)
        ]
        same.sort(key=lambda container: container.name.removeprefix("/") != service.container_name)
        return same[0] if same else None

    def _installed(self, step: StartService, ids: dict[str, str], report: ContainerReport) -> str:
        """Create the container and connect its networks. One that cannot be connected is removed again: it would
        differ from the target, and removing it later would count as an update that has to ask for a lock."""
        service = step.service
        body = create_body(service, device_name=step.device_name, instance=self._instance, container_ids=ids)
        container_id, adopted = self._created(service, body, ids, report)
        if adopted:
            return container_id
        try:
            for network, endpoint in connect_endpoints(service).items():
                self._engine.connect_network(network, container_id, endpoint)
        except SupervisorError:
            with suppress(SupervisorError):
                self.remove(container_id)
            raise
        return container_id

    def _created(
        self, service: Service, body: Mapping[str, Any], ids: dict[str, str], report: ContainerReport
    ) -> tuple[str, bool]:
        """Create the container, or adopt the one that a killed predecessor had the engine create.

        The engine takes the name some 20 ms before anyone can find the container by it (measured on 20.10, longer on
        an SD card or under load). Meanwhile the only answer is that the name is in use; so ask again for a while.
        """
        pause_s = CONFLICT_PAUSE_S
        for _ in range(CONFLICT_TRIES):
            try:
                with _clearly(service):
                    return self._engine.create_container(service.container_name, body), False
            except EngineError as error:
                if error.fields["status"] != 409:
                    raise
                adopted = self._left_behind(service, ids, report, error)
                conflict = error
            if adopted:
                return adopted, True
            self._closed.wait(pause_s)
            pause_s = min(2 * pause_s, CONFLICT_LONGEST_PAUSE_S)
        raise conflict

    def _left_behind(
        self, service: Service, ids: dict[str, str], report: ContainerReport, conflict: EngineError
    ) -> str:
        """Deal with a container that has the name already, as a create that outlived its caller leaves it.

        Returns its id if it is as the target wants it; removes it if it is ours and does not run; else raises.
        """
        try:
            inspect = self._engine.inspect_container(service.container_name)
        except NotFound:
            return ""
        container_id = str(inspect["Id"])
        if not is_ours((inspect.get("Config") or {}).get("Labels"), self._instance):
            raise conflict
        found = read_container(self._engine, container_id, self._instance, report.unreadable)
        if found is not None and found.status not in _UNUSABLE and not differences(found, service, ids):
            return container_id
        if (inspect.get("State") or {}).get("Running"):
            raise conflict
        self.remove(container_id)
        return ""

    def _stop(self, container: Container) -> None:
        with suppress(NotFound):
            self._engine.stop_container(container.container_id, container.config.stop_grace_period_s)

    def _is_named(self, container_id: str, name: str) -> bool:
        return str(self._engine.inspect_container(container_id).get("Name")).removeprefix("/") == name


@contextmanager
def _clearly(service: Service) -> Iterator[None]:
    """Say what the refusal of a create or start means, where only its text tells: no engine up to 28 gives these
    faults a status or code of their own."""
    try:
        yield
    except EngineError as error:
        clear = _clearer(error, service)
        if clear is None:
            raise
        raise clear from error


def _clearer(error: EngineError, service: Service) -> EngineError | None:
    cause = str(error.fields["cause"])
    if cause.endswith(("exec format error", "exec format error: unknown")):
        clear = f"its image was built for another architecture than this device type has ({cause})"
        fields = {**error.fields, "cause": clear}
        return EngineError(f"cannot start service {service.service_name}: {clear}", **fields)
    if _LOST_LAYER.search(cause):
        image = service.docker_image_id or service.config.image
        clear = f"the engine has lost a part of its image {service.image_name} ({cause})"
        fields = {**error.fields, "cause": clear, "image": image}
        return ImageBroken(f"cannot start service {service.service_name}: {clear}", **fields)
    return None

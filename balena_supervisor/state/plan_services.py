"""The steps of the services of one app: the decision table (spec apply-loop 3.6 to 3.11)."""

from __future__ import annotations

from graphlib import TopologicalSorter

import msgspec

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.resource import Network, Volume
from balena_supervisor.model.service import COMPLETED, HEALTHY, Container, ContainerTask, Service
from balena_supervisor.model.state import Waiting
from balena_supervisor.state.compare import differences, same_release
from balena_supervisor.state.compose_networks import shares_service
from balena_supervisor.state.dependencies import cycles, cycles_of
from balena_supervisor.state.image_rows import ImageRows
from balena_supervisor.state.reboots import requires_reboot, waits_for_reboot
from balena_supervisor.state.strategies import (
    DOWNLOAD_THEN_KILL,
    HAND_OVER,
    handover_timeout_s,
    kills_first,
    strategy_of,
)
from balena_supervisor.state.world import Memory, is_running, mounts_volume, newest_first, present_ids
from balena_supervisor.steps import (
    HandOver,
    KillService,
    RemoveContainer,
    StartService,
    Step,
    StopService,
    TakeLocks,
    UpdateMetadata,
)

LATE_ADDRESS_ERROR = "cannot assign requested address"
NEEDS_LOCKS = "the update locks of the app have to be taken first"


class AppView(msgspec.Struct, frozen=True, kw_only=True):
    """What planning the services of one app looks at.

    ``evicted`` maps container ids to the reason why a network or volume makes them go. ``pulling`` and ``deleting`` are
    image names. ``locked`` are the services whose update locks are held; ``force`` says that locks of others are
    removed. ``removal`` is why services that are not in the target go.
    """

    app: ComposedApp
    containers: tuple[Container, ...]
    tasks: tuple[ContainerTask, ...]
    images: ImageRows
    pulling: frozenset[str]
    deleting: frozenset[str]
    evicted: dict[str, str]
    missing_networks: tuple[Network, ...]
    missing_volumes: tuple[Volume, ...]
    busy: frozenset[str]
    locked: frozenset[str]
    force: bool
    memory: Memory
    removal: str


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What one service needs: a step, a reason to wait, or (neither) nothing. ``guarded`` steps need the locks."""

    step: Step | None = None
    wait: str = ""
    guarded: bool = False

    @property
    def settled(self) -> bool:
        return self.step is None and not self.wait

    @property
    def stops(self) -> bool:
        return isinstance(self.step, KillService | StopService)


SETTLED = Judgement()


def plan_services(view: AppView) -> tuple[list[Step], list[Waiting]]:
    """One judgement for each service name in current and target, and a removal for each surplus container."""
    planner = _ServicePlanner(view)
    steps: list[Step] = []
    waiting: list[Waiting] = []
    wants_locks = ""
    for name in planner.names():
        judgement = planner.judge(name)
        if judgement.guarded and judgement.step is not None and not planner.holds_locks:
            wants_locks = wants_locks or f"{name}: {judgement.step.reason}"
            judgement = Judgement(wait=f"{judgement.step.reason}; {NEEDS_LOCKS}")
        if judgement.wait:
            subject = f"service:{view.app.app_id}:{name}"
            waiting.append(Waiting(subject=subject, app_id=view.app.app_id, service_name=name, reason=judgement.wait))
        if judgement.step is not None:
            steps.append(judgement.step)
    if wants_locks:
        names = tuple(planner.names())
        steps.append(TakeLocks(app_id=view.app.app_id, services=names, force=view.force, reason=wants_locks))
    return steps, waiting


class _ServicePlanner:
    """Judges the services of one app; remembers judgements, since a service may depend on another's."""

    def __init__(self, view: AppView) -> None:
        self._view = view
        self._id = view.app.app_id
        self._targets = {service.service_name: service for service in view.app.services}
        self._containers: dict[str, list[Container]] = {}
        for container in newest_first(view.containers):
            self._containers.setdefault(container.service_name, []).append(container)
        self._ids = present_ids(view.containers)
        self._missing_images = [name for name in self._targets if not self._image_ready(name)]
        self._cycles = cycles_of(self._targets.values())
        self._stopping = {task.container_id for task in view.tasks if task.status == "Stopping"}
        self._judged: dict[str, Judgement] = {}
        self._names = self._in_order()
        self._dependents = self._find_dependents()

    @property
    def holds_locks(self) -> bool:
        return set(self._names) <= self._view.locked

    def names(self) -> list[str]:
        """Dependencies first, so that judging one never goes deep."""
        return self._names

    def judge(self, name: str) -> Judgement:
        """With the order of stopping: whoever depends on a service is stopped before it."""
        judgement = self._alone(name)
        if judgement.stops:
            first = [other for other in self._dependents.get(name, ()) if self._is_to_stop(other)]
            if first:
                return Judgement(wait=f"is stopped after {', '.join(first)}, which depends on it")
        return judgement

    # --- order ------------------------------------------------------------------------------------------------

    def _in_order(self) -> list[str]:
        names = sorted(self._targets.keys() | self._containers.keys())
        free = {name: self._targets[name].depends_on for name in names if name in self._targets}
        sorter = TopologicalSorter({name: () if name in self._cycles else free.get(name, ()) for name in names})
        return [name for name in sorter.static_order() if name in self._targets or name in self._containers]

    def _find_dependents(self) -> dict[str, list[str]]:
        """Service -> those that depend on it. What left the target depends on what it did then."""
        remembered = {
            name: others for (app_id, name), others in self._view.memory.depended.items() if app_id == self._id
        }
        targets = {name: frozenset(service.depends_on) for name, service in self._targets.items()}
        edges = {name: others for name, others in {**remembered, **targets}.items() if name in self._names}
        circular = cycles(edges)
        dependents: dict[str, list[str]] = {}
        for name, others in edges.items():
            for other in others if name not in circular else ():
                dependents.setdefault(other, []).append(name)
        return dependents

    def _is_to_stop(self, name: str) -> bool:
        """Whether it runs and will not much longer, or is being worked on."""
        if not any(is_running(container) for container in self._containers.get(name, [])):
            return False
        return self._alone(name).stops or self._is_busy(name)

    def _is_busy(self, name: str) -> bool:
        stopping = any(container.container_id in self._stopping for container in self._containers.get(name, []))
        return stopping or f"service:{self._id}:{name}" in self._view.busy

    # --- the table --------------------------------------------------------------------------------------------

    def _alone(self, name: str) -> Judgement:
        if name not in self._judged:
            self._judged[name] = self._judge(name)
        return self._judged[name]

    def _judge(self, name: str) -> Judgement:
        target = self._targets.get(name)
        containers = self._containers.get(name, [])
        if f"service:{self._id}:{name}" in self._view.busy:
            return Judgement(wait="a step on it is under way")
        if self._is_busy(name):
            return Judgement(wait="its container is being stopped")
        for container in containers:
            if container.status == "Dead":
                return Judgement(step=RemoveContainer(container=container, reason="the container is dead"))
        for surplus in containers[1:]:
            return _kill(surplus, "a newer container of this service exists")
        if target is None:
            return self._removal(containers[0])
        if not containers:
            return self._install(target, "the container is missing")
        return self._update(containers[0], target)

    def _removal(self, current: Container) -> Judgement:
        if self._missing_images and not kills_first(current.config.labels):
            return Judgement(wait=f"stays until all images of the release are there: {self._missing_text()}")
        return _kill(current, self._view.evicted.get(current.container_id, self._view.removal))

    def _install(self, target: Service, reason: str) -> Judgement:
        hindrance = self._hindrance(target)
        if hindrance and self._view.memory.reboot_wanted and self._image_ready(target.service_name):
            return SETTLED  # what it waits for may need the reboot that is wanted
        if hindrance:
            return Judgement(wait=hindrance)
        if requires_reboot(target) and not self._containers.get(target.service_name):
            target = msgspec.structs.replace(target, running=False)
            reason = f"{reason}; it is started after a reboot"
        return Judgement(step=StartService(service=target, reason=reason))

    def _update(self, current: Container, target: Service) -> Judgement:
        reason, fields = self._changes(current, target)
        if reason:
            return self._replacement(current, target, reason, fields)
        if not self._image_ready(target.service_name):
            return Judgement(wait=self._image_wait(target))
        if not same_release(current, target):
            if self._missing_images and strategy_of(target.config.labels) == DOWNLOAD_THEN_KILL:
                return Judgement(wait=f"is renamed when all images of the release are there: {self._missing_text()}")
            reason = f"only the release changed, to {target.commit}"
            step = UpdateMetadata(container=current, name=target.container_name, reason=reason)
            return Judgement(step=step, guarded=True)
        return self._run_state(current, target)

    def _changes(self, current: Container, target: Service) -> tuple[str, tuple[str, ...]]:
        """Why the container cannot stay as it is, and the fields that differ; an empty reason when it can."""
        evicted = self._view.evicted.get(current.container_id)
        if evicted:
            return evicted, ()
        if target.docker_image_id is None:
            return f"the target wants image {target.image_name}", ()
        changed = differences(current, target, self._ids)
        return (f"the target differs in {', '.join(changed)}" if changed else ""), changed

    def _replacement(self, current: Container, target: Service, reason: str, fields: tuple[str, ...]) -> Judgement:
        """By the strategy of the target (spec apply-loop 3.10)."""
        if kills_first(target.config.labels):
            return _kill(current, reason, fields)
        if not self._image_ready(target.service_name):
            return Judgement(wait=self._image_wait(target))
        if self._missing_images:
            return Judgement(wait=f"is updated when all images of the release are there: {self._missing_text()}")
        gone = current.container_id in self._view.evicted
        alive = target.running and is_running(current) and not requires_reboot(target)
        if strategy_of(target.config.labels) != HAND_OVER or gone or not alive:
            return _kill(current, reason, fields)
        hindrance = self._hindrance(target)
        if hindrance:
            return Judgement(wait=f"is handed over later: {hindrance}")
        timeout_s = handover_timeout_s(target.config.labels)
        step = HandOver(container=current, service=target, timeout_s=timeout_s, fields=fields, reason=reason)
        return Judgement(step=step, guarded=True)

    def _run_state(self, current: Container, target: Service) -> Judgement:
        if not target.running:
            if is_running(current):
                step = StopService(container=current, reason=target.why_stopped)
                return Judgement(step=step, guarded=True)
            return SETTLED
        reason = self._start_reason(current)
        if not reason or waits_for_reboot(current, target, self._view.memory.rebooted):
            return SETTLED
        return self._install(target, reason)

    def _start_reason(self, current: Container) -> str:
        if current.status == "Installed":
            return "the container was created and never started"
        if current.status != "exited":
            return ""
        if current.container_id in self._view.memory.stopped:
            return "it shall run again"
        error = current.exit_error.strip().lower()
        if "userland proxy" in error and error.endswith(LATE_ADDRESS_ERROR):
            return "a host address was missing when the engine started it"
        return ""  # what exited is the business of its restart policy

    # --- conditions -------------------------------------------------------------------------------------------

    def _hindrance(self, target: Service) -> str:
        """Why a service cannot be started yet; empty when it can."""
        if not self._image_ready(target.service_name):
            return self._image_wait(target)
        if target.image_name in self._view.deleting:
            return "its image is being removed, as an older target wanted it"
        if target.image_name in self._view.memory.broken:
            return "its image is pulled anew, as the engine has lost a part of it"
        if target.image_name in self._view.pulling or f"image:{target.image_name}" in self._view.busy:
            return "a step on its image is under way"
        if self._missing_images:
            return f"starts when all images of the release are there: {self._missing_text()}"
        for network in self._view.missing_networks:
            if network.engine_name in target.config.networks or network.engine_name == target.config.network_mode:
                return f"network {network.name} is not there yet"
        for volume in self._view.missing_volumes:
            if mounts_volume(target, volume):
                return f"volume {volume.name} is not there yet"
        other = shares_service(target.config.network_mode)
        if other and other not in self._targets:
            return f"shares the network of {other}, which the release does not have"
        cycle = self._cycles.get(target.service_name)
        if cycle:
            return f"its dependencies form a cycle: {' → '.join(cycle)}"
        return self._dependency_wait(target)

    def _dependency_wait(self, target: Service) -> str:
        for name, condition in target.depends_on.items():
            unmet = self._unmet(name, condition) if name in self._targets else ""
            if unmet:
                return f"depends on {name}, which {unmet}"
        return ""

    def _unmet(self, name: str, condition: str) -> str:
        containers = self._containers.get(name, [])
        judgement = self._alone(name)
        if not containers or containers[0].status == "Installed":
            return f"has not been started{_because(judgement)}"
        if not judgement.settled:
            return f"is being updated{_because(judgement)}"
        if condition == HEALTHY:
            return _unhealthy(containers[0])
        return _incomplete(containers[0]) if condition == COMPLETED else ""

    def _image_ready(self, name: str) -> bool:
        service = self._targets[name]
        if service.as_found:
            return True
        return service.docker_image_id is not None and self._view.images.has(service)

    def _image_wait(self, target: Service) -> str:
        if target.image_name in self._view.pulling:
            return "its image is being pulled"
        if target.docker_image_id is not None:
            return "its image is being registered"
        return "its image is not on the engine yet"

    def _missing_text(self) -> str:
        return ", ".join(sorted(self._missing_images))


def _kill(container: Container, reason: str, fields: tuple[str, ...] = ()) -> Judgement:
    return Judgement(step=KillService(container=container, fields=fields, reason=reason), guarded=True)


def _because(judgement: Judgement) -> str:
    """Why it is not further, as far as it waits itself."""
    return f" ({judgement.wait})" if judgement.wait else ""


def _unhealthy(container: Container) -> str:
    """A container without a health check is as healthy as it gets when it runs."""
    if not is_running(container):
        return f"is not healthy: it is {container.status}"
    return f"is not healthy yet ({container.health})" if container.health not in {"", "none", "healthy"} else ""


def _incomplete(container: Container) -> str:
    if container.status != "exited":
        never = ", and its restart policy starts it again and again" if container.config.restart == "always" else ""
        return f"has not completed yet{never}"
    return "" if container.exit_code == 0 else f"has failed with exit code {container.exit_code}"

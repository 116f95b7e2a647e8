"""The steps of the services of one app: the decision table (spec apply-loop 3.6 to 3.10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter

import msgspec

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.resource import Network, Volume
from balena_supervisor.model.service import Container, ContainerTask, Service
from balena_supervisor.model.state import Waiting
from balena_supervisor.state.compare import differences, same_release
from balena_supervisor.state.compose_networks import shares_service
from balena_supervisor.state.image_rows import ImageRows
from balena_supervisor.state.world import mounts_volume, newest_first, present_ids
from balena_supervisor.steps import KillService, RemoveContainer, StartService, Step, StopService, UpdateMetadata

LATE_ADDRESS_ERROR = "cannot assign requested address"


class AppView(msgspec.Struct, frozen=True, kw_only=True):
    """What planning the services of one app looks at.

    ``evicted`` maps container ids to the reason why a network or volume makes them go. ``pulling`` and ``deleting`` are
    image names.
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
    stopped: frozenset[str]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What one service needs: a step, a reason to wait, or (neither) nothing."""

    step: Step | None = None
    wait: str = ""

    @property
    def settled(self) -> bool:
        return self.step is None and not self.wait


SETTLED = Judgement()


def plan_services(view: AppView) -> tuple[list[Step], list[Waiting]]:
    """One judgement for each service name in current and target, and a removal for each surplus container."""
    planner = _ServicePlanner(view)
    steps: list[Step] = []
    waiting: list[Waiting] = []
    for name in planner.names():
        judgement = planner.judge(name)
        if judgement.wait:
            subject = f"service:{view.app.app_id}:{name}"
            waiting.append(Waiting(subject=subject, app_id=view.app.app_id, service_name=name, reason=judgement.wait))
        if judgement.step is not None:
            steps.append(judgement.step)
    return steps, waiting


class _ServicePlanner:
    """Judges the services of one app; remembers judgements, since a service may depend on another's."""

    def __init__(self, view: AppView) -> None:
        self._view = view
        self._targets = {service.service_name: service for service in view.app.services}
        self._containers: dict[str, list[Container]] = {}
        for container in newest_first(view.containers):
            self._containers.setdefault(container.service_name, []).append(container)
        self._ids = present_ids(view.containers)
        self._missing_images = [name for name in self._targets if not self._image_ready(name)]
        self._cycles = _cycles(self._targets.values())
        self._stopping = {task.container_id for task in view.tasks if task.status == "Stopping"}
        self._judged: dict[str, Judgement] = {}

    def names(self) -> list[str]:
        """Dependencies first, so that judging one never goes deep."""
        names = sorted(self._targets.keys() | self._containers.keys())
        free = {name: self._targets[name].depends_on for name in names if name in self._targets}
        sorter = TopologicalSorter({name: () if name in self._cycles else free.get(name, ()) for name in names})
        return [name for name in sorter.static_order() if name in self._targets or name in self._containers]

    def judge(self, name: str) -> Judgement:
        if name not in self._judged:
            self._judged[name] = self._judge(name)
        return self._judged[name]

    def _judge(self, name: str) -> Judgement:
        target = self._targets.get(name)
        containers = self._containers.get(name, [])
        if f"service:{self._view.app.app_id}:{name}" in self._view.busy:
            return Judgement(wait="a step on it is under way")
        if any(container.container_id in self._stopping for container in containers):
            return Judgement(wait="its container is being stopped")
        for container in containers:
            if container.status == "Dead":
                return Judgement(step=RemoveContainer(container=container, reason="the container is dead"))
        for surplus in containers[1:]:
            return Judgement(step=KillService(container=surplus, reason="a newer container of this service exists"))
        if target is None:
            return self._removal(containers[0])
        if not containers:
            return self._install(target, "the container is missing")
        return self._update(containers[0], target)

    def _removal(self, current: Container) -> Judgement:
        if self._missing_images:
            return Judgement(wait=f"stays until all images of the release are there: {self._missing_text()}")
        reason = self._view.evicted.get(current.container_id, "the service is not in the target")
        return Judgement(step=KillService(container=current, reason=reason))

    def _install(self, target: Service, reason: str) -> Judgement:
        hindrance = self._hindrance(target)
        if hindrance:
            return Judgement(wait=hindrance)
        return Judgement(step=StartService(service=target, reason=reason))

    def _update(self, current: Container, target: Service) -> Judgement:
        if not self._image_ready(target.service_name):
            return Judgement(wait=self._image_wait(target))
        changed = differences(current, target, self._ids)
        evicted = self._view.evicted.get(current.container_id)
        if changed or evicted:
            if self._missing_images:
                return Judgement(wait=f"is updated when all images of the release are there: {self._missing_text()}")
            reason = evicted or f"the target differs in {', '.join(changed)}"
            return Judgement(step=KillService(container=current, reason=reason))
        if not same_release(current, target):
            if self._missing_images:
                return Judgement(wait=f"is renamed when all images of the release are there: {self._missing_text()}")
            reason = f"only the release changed, to {target.commit}"
            return Judgement(step=UpdateMetadata(container=current, name=target.container_name, reason=reason))
        return self._run_state(current, target)

    def _run_state(self, current: Container, target: Service) -> Judgement:
        if not target.running:
            if current.status in {"Running", "paused", "restarting"}:
                return Judgement(step=StopService(container=current, reason="the target says it shall not run"))
            return SETTLED
        reason = self._start_reason(current)
        if not reason:
            return SETTLED
        return self._install(target, reason)

    def _start_reason(self, current: Container) -> str:
        if current.status == "Installed":
            return "the container was created and never started"
        if current.status != "exited":
            return ""
        if current.container_id in self._view.stopped:
            return "the target says it shall run again"
        error = current.exit_error.strip().lower()
        if "userland proxy" in error and error.endswith(LATE_ADDRESS_ERROR):
            return "a host address was missing when the engine started it"
        return ""  # what exited is the business of its restart policy

    def _hindrance(self, target: Service) -> str:
        """Why a service cannot be started yet; empty when it can."""
        if not self._image_ready(target.service_name):
            return self._image_wait(target)
        if target.image_name in self._view.deleting:
            return "its image is being removed, as an older target wanted it"
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
        for name in target.depends_on:
            if name not in self._targets:
                continue
            containers = self._containers.get(name, [])
            judgement = self.judge(name)
            if not containers or containers[0].status == "Installed":
                return f"depends on {name}, which has not been started{_because(judgement)}"
            if not judgement.settled:
                return f"depends on {name}, which is being updated{_because(judgement)}"
        return ""

    def _image_ready(self, name: str) -> bool:
        service = self._targets[name]
        return service.docker_image_id is not None and self._view.images.has(service)

    def _image_wait(self, target: Service) -> str:
        if target.image_name in self._view.pulling:
            return "its image is being pulled"
        if target.docker_image_id is not None:
            return "its image is being registered"
        return "its image is not on the engine yet"

    def _missing_text(self) -> str:
        return ", ".join(f"{name}" for name in sorted(self._missing_images))


def _because(judgement: Judgement) -> str:
    """Why it is not further, as far as it waits itself."""
    return f" ({judgement.wait})" if judgement.wait else ""


def _cycles(services: Iterable[Service]) -> dict[str, list[str]]:
    """Service name -> the cycle of dependencies it is on, beginning and ending with itself."""
    edges = {service.service_name: service.depends_on for service in services}
    cycles: dict[str, list[str]] = {}
    for start in edges:
        path = _path_back(start, edges)
        if path:
            cycles[start] = path
    return cycles


def _path_back(start: str, edges: Mapping[str, Iterable[str]]) -> list[str]:
    paths = [[start]]
    seen: set[str] = set()
    while paths:
        path = paths.pop()
        for name in edges.get(path[-1], ()):
            if name == start:
                return [*path, name]
            if name not in seen:
                seen.add(name)
                paths.append([*path, name])
    return []

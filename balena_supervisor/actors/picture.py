"""What the planner knows: the newest snapshot of everybody else, and whether that is enough to plan."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from balena_supervisor.messages import ContainersChanged, ImagesChanged, ResourcesChanged
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.device import Configuration, HostFacts
from balena_supervisor.model.image import ImageState
from balena_supervisor.model.service import Container
from balena_supervisor.model.state import EngineLink, Seq, Waiting
from balena_supervisor.model.target import TargetApp, TargetState
from balena_supervisor.state.compose import compose_app
from balena_supervisor.state.world import World
from balena_supervisor.steps import ImageStep, ServiceStep, Step

WORKERS = ("images", "containers", "resources")


def _has_not_looked(link: EngineLink) -> bool:
    """A worker that was just started tells of nothing before it has looked. Until then all is as it was."""
    return link == EngineLink()


def worker_of(step: Step) -> str:
    """The name of the actor that carries out a step."""
    if isinstance(step, ImageStep):
        return "images"
    return "containers" if isinstance(step, ServiceStep) else "resources"


@dataclass
class Picture:
    """The planner's memory of the others. Nothing here is decided."""

    configuration: Configuration | None = None
    host: HostFacts = field(default_factory=HostFacts)
    keys: dict[tuple[int, str], str] | None = None
    #: the database is new, and the keys of running services are not back yet
    keys_incomplete: bool = False
    #: why there is no target although there was one
    target_lost: str = ""
    target: TargetState = field(default_factory=TargetState)
    target_told: bool = False
    commits: dict[int, str] = field(default_factory=dict)
    images: ImagesChanged | None = None
    containers: ContainersChanged | None = None
    resources: ResourcesChanged | None = None
    #: the place that each worker's picture must have reached before this planner may plan
    needed: dict[str, Seq] = field(default_factory=dict)
    _composed: tuple[tuple[object, ...], tuple[ComposedApp, ...]] | None = None

    @property
    def configuration_or_default(self) -> Configuration:
        return self.configuration or Configuration()

    def seq(self, worker: str) -> Seq | None:
        snapshot = {"images": self.images, "containers": self.containers, "resources": self.resources}[worker]
        return None if snapshot is None else snapshot.seq

    def take_images(self, event: ImagesChanged) -> None:
        if _has_not_looked(event.engine) and self.images is not None:
            event = msgspec.structs.replace(event, images=self.images.images)
        self.images = event

    def take_containers(self, event: ContainersChanged) -> None:
        if _has_not_looked(event.engine) and self.containers is not None:
            event = msgspec.structs.replace(event, containers=self.containers.containers)
        self.containers = event

    def take_resources(self, event: ResourcesChanged) -> None:
        if _has_not_looked(event.engine) and self.resources is not None:
            before = self.resources
            event = msgspec.structs.replace(event, networks=before.networks, volumes=before.volumes)
        self.resources = event

    @property
    def everyone_has_told(self) -> bool:
        """Whether all that is retained for the planner has arrived; what it would show before is only a part."""
        snapshots = (self.images, self.containers, self.resources, self.configuration, self.keys)
        return self.target_told and all(snapshot is not None for snapshot in snapshots)

    def incomplete(self) -> tuple[Waiting, ...]:
        """Why nothing can be planned yet; empty when it can."""
        if self.configuration is None or self.keys is None:
            return (Waiting(subject="device", reason="the configuration is not there yet"),)
        if not self.target.is_set:
            why = f": {self.target_lost}" if self.target_lost else ""
            return (Waiting(subject="device", reason=f"there is no target yet{why}", settled=True),)
        for worker in WORKERS:
            seq, needed = self.seq(worker), self.needed.get(worker)
            if seq is None or needed is None or seq < needed:
                return (Waiting(subject="device", reason=f"the {worker} actor has not told what there is yet"),)
        engine = self.engine()
        if not engine.up:
            return (Waiting(subject="engine", reason=engine.reason),)
        if self.images is not None and self.images.images.target_version != self.target.version:
            # a greater one: the newer target is on its way here, and images gives up what it does not need
            return (Waiting(subject="device", reason="the images of the target are being looked up"),)
        if self.keys_incomplete:
            return (Waiting(subject="device", reason="the keys of the services are being taken back"),)
        return ()

    def engine(self) -> EngineLink:
        """Down when any worker cannot reach the engine."""
        for snapshot in (self.containers, self.images, self.resources):
            if snapshot is None:
                return EngineLink()
            if not snapshot.engine.up:
                return snapshot.engine
        return EngineLink(up=True, reason="")

    def seen_containers(self) -> tuple[Container, ...] | None:
        """All containers there are; None while they cannot be seen."""
        told = self.containers
        return told.containers if told is not None and told.engine.up else None

    def busy(self) -> frozenset[str]:
        """Subjects that workers are at, also on behalf of an older planner."""
        snapshots = (self.images, self.containers, self.resources)
        return frozenset(subject for snapshot in snapshots if snapshot is not None for subject in snapshot.busy)

    def world(self) -> World:
        containers, images, resources = self.containers, self.images, self.resources
        return World(
            containers=containers.containers if containers else (),
            tasks=containers.tasks if containers else (),
            locks={lock.app_id: frozenset(lock.services) for lock in containers.locks} if containers else {},
            networks=resources.networks if resources else (),
            volumes=resources.volumes if resources else (),
            images=images.images if images else ImageState(),
            commits=self.commits,
            supervisor_network_ready=resources.supervisor_network_ready if resources else False,
        )

    def compose(self, apps: tuple[TargetApp, ...]) -> tuple[ComposedApp, ...]:
        """Target apps as containers; made again only when something they are made of has changed."""
        details = self.images.images.details if self.images else {}
        keys = self.keys or {}
        source = (apps, self.configuration_or_default, details, keys)
        if self._composed is None or self._composed[0] != source:
            composed = tuple(compose_app(app, self.configuration_or_default, self.host, details, keys) for app in apps)
            self._composed = (source, composed)
        return self._composed[1]

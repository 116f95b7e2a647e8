"""An engine that does what the effects of the steps say, and refuses what a real one would refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import msgspec

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.image import ImageDetails
from balena_supervisor.model.service import Container, Service
from balena_supervisor.state.coerce import is_truthy
from balena_supervisor.state.compose_networks import shares_service
from balena_supervisor.state.effects import commit_effect, effect, pulled_image
from balena_supervisor.state.features import SUPERVISOR_API
from balena_supervisor.state.image_name import same_image
from balena_supervisor.state.names import SUPERVISOR_NETWORK
from balena_supervisor.state.plan import Plan, plan
from balena_supervisor.state.strategies import HAND_OVER, strategy_of
from balena_supervisor.state.world import Memory, Rules, World
from balena_supervisor.steps import (
    ContainerStep,
    CreateNetwork,
    CreateVolume,
    EnsureSupervisorNetwork,
    HandOver,
    KillService,
    PullImage,
    RemoveContainer,
    RemoveImage,
    RemoveNetwork,
    RemoveVolume,
    SaveImages,
    StartService,
    Step,
    StopService,
    TakeLocks,
    UpdateMetadata,
)
from tests.state.any_world import Situation, seen_images, wanted_names
from tests.state.worlds import recompose


class Simulation:
    """One device. ``made`` counts what was created, by subject."""

    def __init__(self, start: Situation, target: Sequence[ComposedApp], rules: Rules) -> None:
        self.world = start.world
        self.stopped = start.stopped
        self.busy = start.busy
        self.target = target
        self.rules = rules
        #: names of images of which the engine has lost a part
        self.broken: frozenset[str] = frozenset()
        self.made: Counter[str] = Counter()
        #: app ids of which a user holds an update lock
        self.user_locks: set[int] = set()
        #: the images that the engine has by name, whether or not anybody asks for them now
        self.engine = {name: details.id for name, details in start.world.images.details.items()}

    def composed(self) -> list[ComposedApp]:
        return recompose(self.target, self.world.images)

    def plan(self) -> Plan:
        memory = Memory(stopped=self.stopped, broken=self.broken)
        return plan(self.world, self.composed(), rules=self.rules, busy=self.busy, memory=memory)

    def end_of_what_was_under_way(self) -> None:
        """Stops and removals, downloads and other steps of earlier: what the workers were at when it began."""
        stopping = {task.container_id for task in self.world.tasks}
        gone = [c for c in self.world.containers if c.container_id in stopping or c.status == "removing"]
        left = [c for c in self.world.containers if c not in gone]
        healthy = [msgspec.structs.replace(c, health="healthy") if c.health == "starting" else c for c in left]
        self.world = msgspec.structs.replace(
            self.world,
            tasks=(),
            containers=tuple(healthy),
            images=msgspec.structs.replace(self.world.images, tasks=()),
        )
        self.busy = frozenset()

    def take(self, planned: Plan, random: Random) -> None:
        """Take the steps of one round, in any order, and look at the images again."""
        steps = list(planned.steps)
        random.shuffle(steps)
        needed = self.engine.keys() & set(wanted_names(self.target))
        for step in steps:
            self.carry_out(step)
        assert needed <= self.engine.keys(), "an image of the target was removed"
        for update in planned.commits:
            self.world = commit_effect(update, self.world)
        self.look()

    def look(self) -> None:
        images = self.world.images
        seen = seen_images(self.engine, images.rows, wanted_names(self.target))
        self.world = msgspec.structs.replace(
            self.world, images=msgspec.structs.replace(seen, cleanup=images.cleanup, tasks=images.tasks)
        )

    def carry_out(self, step: Step) -> None:
        """The effect of one step; what the engine would refuse, or nobody could want, is an ``AssertionError``."""
        problem = self.refusal(step)
        assert not problem, f"{type(step).__name__} of {step.subject}: {problem}"
        self.check_promises(step)
        before = self.world
        if isinstance(step, TakeLocks) and step.app_id in self.user_locks and not step.force:
            return
        if isinstance(step, PullImage) and step.anew:
            self.broken -= {step.ref.name}
        if isinstance(step, SaveImages):  # an image that another name means gets this one too
            known, names = before.images.details, [ref.name for ref in step.refs]
            self.engine = {**{name: known[name].id for name in names if name in known}, **self.engine}
        if isinstance(step, CreateNetwork | CreateVolume | PullImage):
            self.made[step.subject] += 1
        if isinstance(step, StartService) and not _of_service(before, step.service):
            self.made[step.subject] += 1
        self._becomes(effect(step, before))
        if isinstance(step, StopService):
            self.stopped |= {step.container.container_id}
        self.stopped &= {c.container_id for c in self.world.containers if c.status == "exited"}
        if isinstance(step, RemoveImage):
            had, has = ({details.id for details in w.images.details.values()} for w in (before, self.world))
            used = {container.docker_image_id for container in before.containers}
            assert used & had <= has, f"the image of a container went with {step.row}"

    def check_promises(self, step: Step) -> None:
        """Nothing is stopped or renamed without its lock, and no volume goes that its app still has as it is."""
        if isinstance(step, KillService | StopService | HandOver | UpdateMetadata):
            one = step.container
            for_network = isinstance(step, KillService) and "supervisor0" in step.reason
            assert for_network or one.service_name in self.world.locks.get(one.app_id, ()), f"no lock for {step}"
        if isinstance(step, HandOver):
            assert strategy_of(step.service.config.labels) == HAND_OVER
        if isinstance(step, RemoveImage):
            assert step.row.ref not in self.rules.kept, f"{step.row} is kept"
        if isinstance(step, RemoveVolume):
            apps = [app for app in self.composed() if app.app_id == step.volume.app_id]
            same = [v for app in apps for v in app.volumes if v.name == step.volume.name]
            assert not apps or (same and same[0].config != step.volume.config), f"{step.volume} is still wanted"

    def refusal(self, step: Step) -> str:
        """Why a step cannot be taken, or is senseless, now; ``""`` when it can."""
        if isinstance(step, SaveImages):
            missing = [ref.name for ref in step.refs if not any(same_image(name, ref.name) for name in self.engine)]
            return f"the engine has no {missing}" if missing else ""
        if isinstance(step, StartService | HandOver) and step.service.image_name in self.broken:
            return f"the engine has lost a part of {step.service.image_name}"
        return refusal(self.world, step)

    def half(self, step: Step) -> None:
        """What is there when the worker dies in the middle of a step."""
        match step:
            case StartService() if not _of_service(self.world, step.service):
                service = msgspec.structs.replace(step.service, running=False)
                self.carry_out(msgspec.structs.replace(step, service=service))
            case HandOver():
                config = msgspec.structs.replace(step.container.config, restart="no")
                self._replace(step.container, msgspec.structs.replace(step.container, config=config))
                both = msgspec.structs.replace(step.container, app_id=-1)
                there = self.world
                self._replace(step.container, both)
                self.world = effect(StartService(service=step.service), self.world)
                old = next(c for c in there.containers if c.container_id == step.container.container_id)
                self._replace(both, old)
            case KillService():
                stopped = msgspec.structs.replace(step.container, status="exited")
                self._replace(step.container, stopped)
            case PullImage():
                details = {**self.world.images.details, step.ref.name: pulled_image(step.ref.name)}
                self._images(details=details)
            case RemoveImage():
                name = step.row.ref.name
                if sum(row.ref.name == name for row in self.world.images.rows) == 1:
                    kept = {other: found for other, found in self.world.images.details.items() if other != name}
                    self._images(details=kept)
            case _:
                self.carry_out(step)

    def _images(self, **fields: dict[str, ImageDetails]) -> None:
        images = msgspec.structs.replace(self.world.images, **fields)
        self._becomes(msgspec.structs.replace(self.world, images=images))

    def _becomes(self, world: World) -> None:
        before, after = self.world.images.details, world.images.details
        self.engine = {name: image for name, image in self.engine.items() if name in after or name not in before}
        self.engine |= {name: after[name].id for name in after.keys() - before.keys()}
        self.world = world

    def _replace(self, old: Container, new: Container) -> None:
        containers = tuple(new if c.container_id == old.container_id else c for c in self.world.containers)
        self.world = msgspec.structs.replace(self.world, containers=containers)


def refusal(world: World, step: Step) -> str:
    """As :meth:`Simulation.refusal`, for what the state as it is seen tells."""
    match step:
        case StartService():
            return _start_refusal(world, step.service)
        case HandOver():
            without = msgspec.structs.replace(
                world, containers=tuple(c for c in world.containers if c.container_id != step.container.container_id)
            )
            return _container_refusal(world, step) or _start_refusal(without, step.service)
        case ContainerStep():
            return _container_refusal(world, step)
        case RemoveImage():
            return "" if step.row in world.images.rows else "there is no such row"
        case CreateNetwork():
            same = [n for n in world.networks if n.engine_name == step.network.engine_name]
            return "a network of that name exists" if same else ""
        case RemoveNetwork():
            return _in_use(world, step.network.engine_name)
        case CreateVolume():
            same_volume = [v for v in world.volumes if v.engine_name == step.volume.engine_name]
            return "a volume of that name exists" if same_volume else ""
        case RemoveVolume():
            users = [c.service_name for c in world.containers if _mounts(c, step.volume.engine_name)]
            return f"{users} use it" if users else ""
        case EnsureSupervisorNetwork():
            return _in_use(world, SUPERVISOR_NETWORK)
        case _:
            return ""


def _start_refusal(world: World, service: Service) -> str:
    config = service.config
    there = _of_service(world, service)
    names = {n.engine_name for n in world.networks} | (
        {SUPERVISOR_NETWORK} if world.supervisor_network_ready else set()
    )
    other = shares_service(config.network_mode)
    if service.docker_image_id not in {details.id for details in world.images.details.values()}:
        return f"the engine does not have its image {service.docker_image_id}"
    if not set(config.networks) <= names:
        return f"networks are missing: {set(config.networks) - names}"
    if missing := [v for v in config.volumes if v.partition(":")[0] not in {w.engine_name for w in world.volumes}]:
        return f"volumes are missing: {missing}"
    if any(c.config.environment != config.environment or c.status not in {"Installed", "exited"} for c in there):
        return f"there is another container: {there}"
    if other and not any(c.service_name == other and c.app_id == service.app_id for c in world.containers):
        return f"no container of {other}"
    if is_truthy(config.labels.get(SUPERVISOR_API)) and not world.supervisor_network_ready:
        return "supervisor0 is not ready"
    return ""


def _container_refusal(world: World, step: ContainerStep) -> str:
    found = next((c for c in world.containers if c.container_id == step.container.container_id), None)
    if found is None:
        return "there is no such container"
    if isinstance(step, StopService) and found.status not in {"Running", "paused", "restarting"}:
        return f"it is {found.status}"
    if isinstance(step, RemoveContainer) and found.status != "Dead":
        return f"it is {found.status}"
    return ""


def _of_service(world: World, service: Service) -> list[Container]:
    return [c for c in world.containers if (c.app_id, c.service_name) == (service.app_id, service.service_name)]


def _in_use(world: World, network: str) -> str:
    users = [c.service_name for c in world.containers if network in c.config.networks]
    return f"{users} are on it" if users else ""


def _mounts(container: Container, volume: str) -> bool:
    return any(entry.partition(":")[0] == volume for entry in container.config.volumes)

"""The steps of one app: its volumes, networks and services (spec apply-loop 3.5 to 3.12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.resource import Network, Volume
from balena_supervisor.model.service import Container
from balena_supervisor.model.state import Waiting
from balena_supervisor.state.compare import network_differences, volume_differences
from balena_supervisor.state.image_rows import ImageRows
from balena_supervisor.state.labels import SERVICE_ID
from balena_supervisor.state.plan_services import AppView, plan_services
from balena_supervisor.state.world import Memory, Rules, World, uses_network, uses_volume
from balena_supervisor.steps import CreateNetwork, CreateVolume, RemoveNetwork, RemoveVolume, Step

LEGACY_CONTAINER = "io.balena.legacy-container"


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """What has to happen to the networks and volumes of an app before its services may go on.

    ``outdated`` removes what is on the engine and has to go; ``missing`` are in the target and not on the engine in the
    wanted form. ``left`` tells of what is not in that form either, and is used all the same.
    """

    outdated_networks: tuple[RemoveNetwork, ...] = ()
    outdated_volumes: tuple[RemoveVolume, ...] = ()
    missing_networks: tuple[Network, ...] = ()
    missing_volumes: tuple[Volume, ...] = ()
    left: tuple[Waiting, ...] = ()


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """All that planning any app looks at."""

    world: World
    rows: ImageRows
    rules: Rules
    busy: frozenset[str]
    memory: Memory


def plan_app(look: Look, app: ComposedApp) -> tuple[list[Step], list[Waiting]]:
    """The steps of an app of the target."""
    world = look.world
    containers = tuple(container for container in world.containers if container.app_id == app.app_id)
    app = _with_legacy_labels(app, containers)
    resources = _compare_resources(world, app, look.memory.left)
    steps, waiting = _resource_steps(resources, containers, _starting(app.app_id, containers, look.busy))
    service_steps, service_waiting = plan_services(_view(look, app, containers, resources))
    return [*service_steps, *steps], [*service_waiting, *waiting, *resources.left]


def _with_legacy_labels(app: ComposedApp, containers: Sequence[Container]) -> ComposedApp:
    """A preloaded container of an old single-container app is not made again for what only marks it as such
    (spec apply-loop 3.13): its only service takes over the mark and the service id."""
    if len(app.services) != 1 or len(containers) != 1:
        return app
    (service,), (current,) = app.services, containers
    marks = {name: value for name, value in current.config.labels.items() if name in (LEGACY_CONTAINER, SERVICE_ID)}
    if service.service_name != current.service_name or LEGACY_CONTAINER not in marks:
        return app
    config = msgspec.structs.replace(service.config, labels={**service.config.labels, **marks})
    same = msgspec.structs.replace(service, service_id=current.service_id, config=config)
    return msgspec.structs.replace(app, services=(same,))


def plan_removed_app(look: Look, app_id: int) -> tuple[list[Step], list[Waiting]]:
    """The steps of an app that is not in the target: containers first, then networks and volumes."""
    world, rules = look.world, look.rules
    containers = tuple(container for container in world.containers if container.app_id == app_id)
    starting = _starting(app_id, containers, look.busy)
    reason = rules.why.get(app_id, "the app is not in the target")
    nothing = ComposedApp(app_id=app_id, app_uuid="", name="")
    steps, waiting = plan_services(_view(look, nothing, containers, Resources(), reason))
    if starting:
        names = ", ".join(starting)
        text = f"app {app_id} is not in the target and is removed when the step on {names} has ended"
        waiting.append(Waiting(subject=f"app:{app_id}", app_id=app_id, reason=text))
    if not containers and not starting:
        networks = {network.engine_name: network for network in world.networks if network.app_id == app_id}
        steps.extend(RemoveNetwork(network=network, reason=reason) for network in networks.values())
        if app_id in rules.purged or not rules.keep_volumes:
            volumes = [volume for volume in world.volumes if volume.app_id == app_id]
            steps.extend(RemoveVolume(volume=volume, reason=reason) for volume in volumes)
    return steps, waiting


def _view(
    look: Look, app: ComposedApp, containers: tuple[Container, ...], resources: Resources, removal: str = ""
) -> AppView:
    world = look.world
    locks_change = f"lock:{app.app_id}" in look.busy  # what is being released may be gone already
    return AppView(
        app=app,
        containers=containers,
        tasks=tuple(task for task in world.tasks if task.app_id == app.app_id),
        images=look.rows,
        pulling=frozenset(task.ref.name for task in world.images.tasks if task.status == "Downloading"),
        deleting=frozenset(task.ref.name for task in world.images.tasks if task.status == "Deleting"),
        evicted=_evicted(resources, containers),
        missing_networks=resources.missing_networks,
        missing_volumes=resources.missing_volumes,
        busy=look.busy,
        locked=frozenset() if locks_change else world.locks.get(app.app_id, frozenset()),
        force=look.rules.forces(app.app_id),
        memory=look.memory,
        removal=removal or look.rules.why.get(app.app_id, "the service is not in the target"),
    )


def _starting(app_id: int, containers: Sequence[Container], busy: frozenset[str]) -> list[str]:
    """Services that a step is at and that have no container which runs: it may be creating one, perhaps still for an
    older target, with networks and volumes that nobody sees in use yet."""
    prefix = f"service:{app_id}:"
    running = {container.service_name for container in containers if container.status == "Running"}
    names = {subject.removeprefix(prefix) for subject in busy if subject.startswith(prefix)}
    return sorted(names - running)


def _compare_resources(world: World, app: ComposedApp, left: Mapping[str, str]) -> Resources:
    """``left`` are the subjects of what is used as it is, since the target never reads back equal, with the reason."""
    networks: list[RemoveNetwork] = []
    # an app as it is, which an order brings back, may have two of one short name
    by_name = {network.name: network for network in app.networks}
    wanted = {network.engine_name: network for network in app.networks}
    current = [network for network in world.networks if network.app_id == app.app_id]
    for engine_name in dict.fromkeys(network.engine_name for network in current):
        same_name = [network for network in current if network.engine_name == engine_name]
        networks.extend(_network_removals(same_name, wanted.get(engine_name, by_name.get(same_name[0].name))))

    there = {volume.name: volume for volume in world.volumes if volume.app_id == app.app_id}
    volumes: list[RemoveVolume] = []
    for volume in app.volumes:
        differs = volume_differences(there[volume.name], volume) if volume.name in there else ()
        if differs:
            reason = f"its definition changed: {', '.join(differs)}"
            volumes.append(RemoveVolume(volume=there[volume.name], fields=differs, reason=reason))

    def stays(step: Step) -> bool:
        return bool(step.fields) and step.subject in left

    outdated_networks = tuple(step for step in networks if not stays(step))
    outdated_volumes = tuple(step for step in volumes if not stays(step))
    good = {network.engine_name for network in current} - {step.network.engine_name for step in outdated_networks}
    kept = there.keys() - {step.volume.name for step in outdated_volumes}
    return Resources(
        outdated_networks=outdated_networks,
        outdated_volumes=outdated_volumes,
        missing_networks=tuple(network for engine_name, network in wanted.items() if engine_name not in good),
        missing_volumes=tuple(volume for volume in app.volumes if volume.name not in kept),
        left=tuple(
            Waiting(subject=step.subject, app_id=app.app_id, reason=left[step.subject], settled=True)
            for step in (*networks, *volumes)
            if stays(step)
        ),
    )


def _network_removals(same_name: Sequence[Network], wanted: Network | None) -> list[RemoveNetwork]:
    """For each network of one name on the engine, if they cannot stay."""
    fields: tuple[str, ...] = ()
    if wanted is None:
        reason = "it is not in the target"
    elif len(same_name) > 1:
        reason = f"the engine has {len(same_name)} networks of this name"
    elif same_name[0].engine_name != wanted.engine_name:
        reason = f"the engine has it as {same_name[0].engine_name} instead of {wanted.engine_name}"
    else:
        fields = network_differences(same_name[0], wanted)
        reason = f"its definition changed: {', '.join(fields)}" if fields else ""
    return [RemoveNetwork(network=network, fields=fields, reason=reason) for network in same_name if reason]


def _evicted(resources: Resources, containers: Sequence[Container]) -> dict[str, str]:
    """Containers that have to go because of a network or volume: id -> reason."""
    evicted: dict[str, str] = {}
    for container in containers:
        for gone in resources.outdated_networks:
            if uses_network(container, gone.network):
                reason = f"it uses network {gone.network.name}, which has to go: {gone.reason}"
                evicted[container.container_id] = reason
        for removed in resources.outdated_volumes:
            if uses_volume(container, removed.volume):
                reason = f"it uses volume {removed.volume.name}, which has to go: {removed.reason}"
                evicted[container.container_id] = reason
    return evicted


def _resource_steps(
    resources: Resources, containers: Sequence[Container], starting: Sequence[str]
) -> tuple[list[Step], list[Waiting]]:
    steps: list[Step] = []
    waiting: list[Waiting] = []
    blocked: set[str] = set()
    for step in resources.outdated_networks:
        blocked.add(step.subject)
        users = [container.service_name for container in containers if uses_network(container, step.network)]
        _remove_or_wait(step, users, starting, steps, waiting)
    for removal in resources.outdated_volumes:
        blocked.add(removal.subject)
        users = [container.service_name for container in containers if uses_volume(container, removal.volume)]
        _remove_or_wait(removal, users, starting, steps, waiting)
    creations: list[Step] = [
        CreateNetwork(network=network, reason="the network is missing") for network in resources.missing_networks
    ]
    creations.extend(
        CreateVolume(volume=volume, reason="the volume is missing") for volume in resources.missing_volumes
    )
    steps.extend(step for step in creations if step.subject not in blocked)
    return steps, waiting


def _remove_or_wait(
    step: RemoveNetwork | RemoveVolume,
    users: Sequence[str],
    starting: Sequence[str],
    steps: list[Step],
    waiting: list[Waiting],
) -> None:
    if not users and not starting:
        steps.append(step)
        return
    kind, app_id, name = step.subject.split(":", 2)
    if users:
        hindrance = f"no service uses it any more (now: {', '.join(sorted(set(users)))})"
    else:
        hindrance = f"the step on {', '.join(starting)} has ended"
    reason = f"{kind} {name} is removed when {hindrance}: {step.reason}"
    waiting.append(Waiting(subject=step.subject, app_id=int(app_id), reason=reason))

"""What a step changes in the world. Pure; the same effects give the preview, the property tests and the model.

What really happens on the engine is checked by listing again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import singledispatch

import msgspec

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.image import ImageDetails, ImageRef, ImageRow, ImageState
from balena_supervisor.model.service import Container, ServiceConfig
from balena_supervisor.model.state import Waiting
from balena_supervisor.state.names import parse_container_name
from balena_supervisor.state.plan import CommitUpdate, plan
from balena_supervisor.state.world import Rules, World, present_ids
from balena_supervisor.steps import (
    CleanupImages,
    CreateNetwork,
    CreateVolume,
    EnsureSupervisorNetwork,
    HandOver,
    KillService,
    PullImage,
    ReleaseLocks,
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

ROUNDS_LIMIT = 100
#: when a container of the model was made: newer than any that is there
JUST_NOW = "9999-01-01T00:00:00.000Z"


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round of a preview: what is done at once, and what waits meanwhile."""

    steps: tuple[Step, ...]
    commits: tuple[CommitUpdate, ...]
    waiting: tuple[Waiting, ...]


@singledispatch
def effect(step: Step, world: World) -> World:  # noqa: ARG001  # the base of the registered effects
    """The world after the step."""
    raise TypeError(f"no effect is known of {type(step).__name__}")


def pulled_image(name: str) -> ImageDetails:
    """What a pull brings; names of one digest bring one image."""
    return ImageDetails(id=f"pulled:{name.rpartition('@')[2]}")


@effect.register
def _(step: PullImage, world: World) -> World:
    images = world.images
    details = dict(images.details)
    details.setdefault(step.ref.name, pulled_image(step.ref.name))
    pulled = msgspec.structs.replace(images, details=details)
    return msgspec.structs.replace(world, images=_with_rows(pulled, [step.ref]))


@effect.register
def _(step: SaveImages, world: World) -> World:
    return msgspec.structs.replace(world, images=_with_rows(world.images, step.refs))


@effect.register
def _(step: RemoveImage, world: World) -> World:
    rows = tuple(row for row in world.images.rows if row.id != step.row.id)
    available = tuple(row for row in world.images.available if row.id != step.row.id)
    details = world.images.details
    if all(row.ref.name != step.row.ref.name for row in rows):
        details = {name: found for name, found in details.items() if name != step.row.ref.name}
    images = msgspec.structs.replace(world.images, rows=rows, available=available, details=details)
    return msgspec.structs.replace(world, images=images)


@effect.register
def _(step: CleanupImages, world: World) -> World:
    left = tuple(image for image in world.images.cleanup if image not in step.image_ids)
    return msgspec.structs.replace(world, images=msgspec.structs.replace(world.images, cleanup=left))


@effect.register
def _(step: StartService, world: World) -> World:
    service = step.service
    mine = [container for container in world.containers if container.app_id == service.app_id]
    status = "Running" if service.running else "Installed"
    for container in mine:
        if container.service_name == service.service_name:
            started = msgspec.structs.replace(container, status=status)
            return _replace_container(world, container, started)
    container = Container(
        container_id=f"{service.app_id}:{service.container_name}:{len(world.containers)}",
        name=service.container_name,
        app_id=service.app_id,
        app_uuid=service.app_uuid,
        service_id=service.service_id,
        service_name=service.service_name,
        image_id=service.image_id,
        release_id=service.release_id,
        commit=service.commit,
        status=status,
        created_at=JUST_NOW,
        docker_image_id=service.docker_image_id or "",
        config=_as_created(service.config, present_ids(mine)),
    )
    return msgspec.structs.replace(world, containers=(*world.containers, container))


@effect.register
def _(step: StopService, world: World) -> World:
    return _replace_container(world, step.container, msgspec.structs.replace(step.container, status="exited"))


@effect.register(KillService)
@effect.register(RemoveContainer)
def _(step: KillService | RemoveContainer, world: World) -> World:
    return _replace_container(world, step.container, None)


@effect.register
def _(step: HandOver, world: World) -> World:
    others = msgspec.structs.replace(
        world, containers=tuple(c for c in world.containers if c.container_id != step.container.container_id)
    )
    return effect(StartService(service=step.service), others)


@effect.register
def _(step: TakeLocks, world: World) -> World:
    held = world.locks.get(step.app_id, frozenset()) | frozenset(step.services)
    return msgspec.structs.replace(world, locks={**world.locks, step.app_id: held})


@effect.register
def _(step: ReleaseLocks, world: World) -> World:
    locks = {app_id: services for app_id, services in world.locks.items() if app_id != step.app_id}
    return msgspec.structs.replace(world, locks=locks)


@effect.register
def _(step: UpdateMetadata, world: World) -> World:
    parts = parse_container_name(step.name, step.container.service_name)
    renamed = msgspec.structs.replace(
        step.container, name=step.name, image_id=parts.image_id, release_id=parts.release_id, commit=parts.commit
    )
    return _replace_container(world, step.container, renamed)


@effect.register
def _(step: CreateNetwork, world: World) -> World:
    return msgspec.structs.replace(world, networks=(*world.networks, step.network))


@effect.register
def _(step: RemoveNetwork, world: World) -> World:
    left = tuple(network for network in world.networks if network.engine_name != step.network.engine_name)
    return msgspec.structs.replace(world, networks=left)


@effect.register
def _(step: CreateVolume, world: World) -> World:
    return msgspec.structs.replace(world, volumes=(*world.volumes, step.volume))


@effect.register
def _(step: RemoveVolume, world: World) -> World:
    left = tuple(volume for volume in world.volumes if volume.engine_name != step.volume.engine_name)
    return msgspec.structs.replace(world, volumes=left)


@effect.register
def _(_: EnsureSupervisorNetwork, world: World) -> World:
    return msgspec.structs.replace(world, supervisor_network_ready=True)


def commit_effect(update: CommitUpdate, world: World) -> World:
    return msgspec.structs.replace(world, commits={**world.commits, update.app_id: update.commit})


def preview(
    world: World,
    compose: Callable[[ImageState], Sequence[ComposedApp]],
    rules: Rules = Rules(),  # noqa: B008  # frozen
) -> list[Round]:
    """Plan, take the effects, plan again, until nothing is left to do or only waiting is left.

    ``compose`` builds the target from the images that the engine would have by then.
    """
    rounds: list[Round] = []
    while len(rounds) < ROUNDS_LIMIT:
        planned = plan(world, compose(world.images), rules=rules)
        if not planned.steps and not planned.commits and not planned.waiting:
            return rounds
        rounds.append(Round(steps=planned.steps, commits=planned.commits, waiting=planned.waiting))
        if not planned.steps and not planned.commits:
            return rounds
        for step in planned.steps:
            world = effect(step, world)
        for update in planned.commits:
            world = commit_effect(update, world)
    return rounds


def _with_rows(images: ImageState, refs: Iterable[ImageRef]) -> ImageState:
    rows = list(images.rows)
    available = list(images.available)
    number = max((row.id for row in rows), default=0)
    for ref in refs:
        if any(row.ref == ref for row in available):
            continue
        number += 1
        details = images.details.get(ref.name)
        row = ImageRow(id=number, ref=ref, docker_image_id=details.id if details else None)
        rows.append(row)
        available.append(row)
    return msgspec.structs.replace(images, rows=tuple(rows), available=tuple(available))


def _as_created(config: ServiceConfig, ids: dict[str, str]) -> ServiceConfig:
    mode, _, name = config.network_mode.partition(":")
    if mode != "service":
        return config
    return msgspec.structs.replace(config, network_mode=f"container:{ids.get(name.strip(), '')}")


def _replace_container(world: World, old: Container, new: Container | None) -> World:
    kept: list[Container] = []
    for container in world.containers:
        if container.container_id != old.container_id:
            kept.append(container)
        elif new is not None:
            kept.append(new)
    return msgspec.structs.replace(world, containers=tuple(kept))

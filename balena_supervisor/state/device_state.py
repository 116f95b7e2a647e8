"""From the planner's picture to the snapshot that the API shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.image import ImageRef, ImageState
from balena_supervisor.model.lock import AppLock
from balena_supervisor.model.service import Container, ContainerTask, Service
from balena_supervisor.model.state import (
    AppSummary,
    ContainerSummary,
    ImageSummary,
    LockSummary,
    ServiceSummary,
)
from balena_supervisor.model.target import TargetApp, TargetService, TargetState
from balena_supervisor.state.compare import differences
from balena_supervisor.state.own_services import is_reported
from balena_supervisor.state.strategies import strategy_of
from balena_supervisor.state.world import World, present_ids


def app_summaries(
    target: TargetState,
    composed: Iterable[ComposedApp],
    world: World,
    *,
    aimed: Iterable[TargetApp] = (),
    bad: Mapping[int, str] = MappingProxyType({}),
    trials: Mapping[int, str] = MappingProxyType({}),
) -> tuple[AppSummary, ...]:
    """The target apps, in the order of the target. Services come from the target, so that an app that cannot be
    composed still shows them. ``bad`` and ``trials`` are in words, by app id; ``aimed`` has the releases that were put
    back in place of bad ones."""
    by_id = {app.app_id: app for app in composed}
    put_back = {app.app_id: _app_summary(app, by_id.get(app.app_id), world) for app in aimed if app.app_id in bad}
    return tuple(
        msgspec.structs.replace(
            _app_summary(app, by_id.get(app.app_id), world),
            bad_release=bad.get(app.app_id, ""),
            trial=trials.get(app.app_id, ""),
            put_back=put_back.get(app.app_id),
        )
        for app in target.apps
    )


def _app_summary(app: TargetApp, composed: ComposedApp | None, world: World) -> AppSummary:
    problem = app.rejection or (composed.problem if composed is not None else "")
    current_commit = world.commits.get(app.app_id)
    made = {service.service_name: service for service in composed.services} if composed is not None else {}
    containers = [container for container in world.containers if container.app_id == app.app_id]
    ids = present_ids(containers)
    newest = {container.container_id: container for container in containers}
    services = tuple(
        _service_summary(service, made.get(service.service_name), newest.get(ids.get(service.service_name, "")), ids)
        for service in app.services
        if is_reported(app, service)
    )
    return AppSummary(
        app_id=app.app_id,
        app_uuid=app.app_uuid,
        name=app.name,
        commit=app.commit,
        current_commit=current_commit,
        release_id=app.release_id,
        rejected=app.rejected,
        problem=problem,
        services=services,
    )


def _service_summary(
    service: TargetService, made: Service | None, container: Container | None, ids: Mapping[str, str]
) -> ServiceSummary:
    summary = ServiceSummary(service_name=service.service_name, image_name=service.image, running=service.running)
    if made is None:
        return summary
    return msgspec.structs.replace(
        summary,
        strategy=strategy_of(made.config.labels),
        depends_on=made.depends_on,
        stopped_by_user=made.stopped_by_user,
        differs=differences(container, made, ids) if container is not None else (),
    )


def container_summaries(world: World) -> tuple[ContainerSummary, ...]:
    """All containers with their transient status, then those being made that the engine does not show yet."""
    by_container = {task.container_id: task for task in world.tasks if task.container_id}
    names = {row.docker_image_id: row.ref.name for row in world.images.rows if row.docker_image_id}
    shown = [_container_summary(container, by_container, names) for container in world.containers]
    there = {(container.app_id, container.service_name) for container in world.containers}
    uuids = {container.app_id: container.app_uuid for container in world.containers}
    shown.extend(
        _task_summary(task, uuids.get(task.app_id, ""))
        for task in world.tasks
        if (task.app_id, task.service_name) not in there
    )
    return tuple(shown)


def _container_summary(
    container: Container, tasks: Mapping[str, ContainerTask], names: Mapping[str, str]
) -> ContainerSummary:
    task = tasks.get(container.container_id)
    return ContainerSummary(
        status=task.status if task else container.status,
        service_name=container.service_name,
        app_id=container.app_id,
        app_uuid=container.app_uuid,
        image_id=container.image_id,
        service_id=container.service_id,
        release_id=container.release_id,
        commit=container.commit,
        container_id=container.container_id,
        created_at=container.created_at,
        image_name=names.get(container.docker_image_id or container.config.image, ""),
        exit_code=container.exit_code,
        started_at=container.started_at,
        health=container.health,
    )


def _task_summary(task: ContainerTask, app_uuid: str) -> ContainerSummary:
    return ContainerSummary(
        status=task.status,
        service_name=task.service_name,
        app_id=task.app_id,
        app_uuid=app_uuid,
        image_id=task.image_id,
        service_id=task.service_id,
        release_id=0,
        commit="",
        container_id=task.container_id,
        created_at="",
        image_name="",
    )


def lock_summaries(locks: Iterable[AppLock]) -> tuple[LockSummary, ...]:
    """The update locks that the supervisor holds."""
    return tuple(
        LockSummary(
            app_id=lock.app_id,
            service_name=name,
            holder="supervisor",
            path=f"{lock.path}/{name}",
            since=lock.since,
        )
        for lock in locks
        for name in lock.services
    )


def image_summaries(images: ImageState) -> tuple[ImageSummary, ...]:
    """Running tasks, then available rows without one."""
    working = {task.ref.name for task in images.tasks}
    tasks = [_image_summary(task.ref, task.status, progress=task.progress) for task in images.tasks]
    rows = [
        _image_summary(row.ref, "Downloaded", docker_image_id=row.docker_image_id)
        for row in images.available
        if row.ref.name not in working
    ]
    return (*tasks, *rows)


def _image_summary(
    ref: ImageRef, status: str, *, docker_image_id: str | None = None, progress: int | None = None
) -> ImageSummary:
    return ImageSummary(
        name=ref.name,
        app_id=ref.app_id,
        app_uuid=ref.app_uuid,
        service_name=ref.service_name,
        image_id=ref.image_id,
        service_id=ref.service_id,
        release_id=ref.release_id,
        commit=ref.commit,
        docker_image_id=docker_image_id,
        status=status,
        progress=progress,
    )

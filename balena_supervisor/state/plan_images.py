"""Image steps: pull what is missing, keep the rows right, remove what nothing needs (spec apply-loop 3.4, 4.8)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.image import ImageRef, ImageRow
from balena_supervisor.model.service import Service
from balena_supervisor.state.image_name import same_image
from balena_supervisor.state.image_rows import ImageRows
from balena_supervisor.state.own_services import is_supervisor_service
from balena_supervisor.state.strategies import DELETE_THEN_DOWNLOAD, kills_first, strategy_of
from balena_supervisor.state.world import Rules, World
from balena_supervisor.steps import CleanupImages, PullImage, RemoveImage, SaveImages, Step

_IMAGE = "image:"
_SAVING = SaveImages(refs=()).subject


def image_of(service: Service) -> ImageRef:
    """The metadata under which a target service's image is kept."""
    return ImageRef(
        name=service.image_name,
        app_id=service.app_id,
        app_uuid=service.app_uuid,
        service_id=service.service_id,
        service_name=service.service_name,
        image_id=service.image_id,
        release_id=service.release_id,
        commit=service.commit,
    )


def plan_images(  # noqa: PLR0917  # what the whole plan looks at, in its order
    world: World,
    rows: ImageRows,
    target: Sequence[ComposedApp],
    rules: Rules,
    busy: AbstractSet[str] = frozenset(),
    broken: AbstractSet[str] = frozenset(),
) -> list[Step]:
    """Steps for all apps at once. Rejected apps get no pulls, but keep their images and rows.

    Steps under way and those of one round end in any order. So while rows are saved no image is removed, no image goes
    whose row is to be saved, and no row of an image that is being removed is saved: a name must not go just when a row
    comes to rely on it. A save that fails again and again holds up nothing else. Nothing is removed while a download
    runs; but one that waits for its next try, perhaps for want of room, holds up no removal. A pull that comes after
    the removal of the old image waits for it, whatever holds that up.
    """
    wanted = {image_of(service): (service, app.rejected) for app in target for service in app.services}
    saved = {row.ref for row in world.images.available}
    under_way = [subject.removeprefix(_IMAGE) for subject in busy if subject.startswith(_IMAGE)]
    to_save: list[ImageRef] = []
    missing: list[Service] = []
    for ref, (service, rejected) in wanted.items():
        present = service.docker_image_id is not None or rows.has(service)
        if present and ref not in saved:
            if not any(same_image(name, ref.name) for name in under_way):
                to_save.append(ref)
        elif not present and not rejected:
            missing.append(service)
    unneeded: list[ImageRow] = []
    cleanup: tuple[str, ...] = ()
    if not rules.keep_images:
        to_save_ids = {wanted[ref][0].docker_image_id for ref in to_save}
        kept = wanted.keys() | rules.kept | _delta_sources(world, missing)
        unneeded = [
            row
            for row in _unneeded(world, rows, target, kept)
            if row.docker_image_id not in to_save_ids and not any(same_image(row.ref.name, ref.name) for ref in to_save)
        ]
        cleanup = tuple(image_id for image_id in world.images.cleanup if image_id not in to_save_ids)
    going = {(row.ref.app_id, row.ref.service_name) for row in unneeded}
    going |= {(t.ref.app_id, t.ref.service_name) for t in world.images.tasks if t.status == "Deleting"}
    steps: list[Step] = [*_pulls(world, missing, going), *_renewals(wanted, broken)]
    if to_save:
        steps.append(
            SaveImages(refs=tuple(to_save), reason="the engine has the image already, it is noted for this release")
        )
    downloading = any(task.status == "Downloading" for task in world.images.tasks)
    if not downloading and _SAVING not in busy:
        steps.extend(_removals(unneeded, busy))
        if cleanup:
            steps.append(CleanupImages(image_ids=cleanup, reason="nothing needs these images"))
    return steps


def _pulls(world: World, missing: Sequence[Service], going: AbstractSet[tuple[int, str]]) -> list[Step]:
    """One for each name. By the strategy of a service its old container may have to go first, or its old image too."""
    there = {(container.app_id, container.service_name) for container in world.containers}
    pulls: dict[str, Step] = {}
    for service in missing:
        key = (service.app_id, service.service_name)
        strategy = strategy_of(service.config.labels)
        if kills_first(service.config.labels) and (key in there or (strategy == DELETE_THEN_DOWNLOAD and key in going)):
            continue
        step = PullImage(ref=image_of(service), reason="the image is not on the engine")
        pulls.setdefault(service.image_name, step)
    return list(pulls.values())


def _renewals(wanted: Mapping[ImageRef, tuple[Service, bool]], broken: AbstractSet[str]) -> list[Step]:
    reason = "the engine has lost a part of the image"
    found = {
        ref.name: PullImage(ref=ref, anew=True, reason=reason)
        for ref, (service, rejected) in wanted.items()
        if ref.name in broken and not rejected and service.docker_image_id is not None
    }
    return list(found.values())


def _delta_sources(world: World, missing: Sequence[Service]) -> set[ImageRef]:
    """What the missing images may be made from: the first image of the same service, unless it has to go first."""
    sources: set[ImageRef] = set()
    for service in missing:
        if strategy_of(service.config.labels) == DELETE_THEN_DOWNLOAD:
            continue
        mine = (
            row.ref
            for row in world.images.available
            if (row.ref.app_id, row.ref.service_name) == (service.app_id, service.service_name)
        )
        sources.update(itertools.islice(mine, 1))
    return sources


def _unneeded(
    world: World, rows: ImageRows, target: Sequence[ComposedApp], kept: AbstractSet[ImageRef]
) -> list[ImageRow]:
    """The image of the supervisor itself is in no target and in no container that is seen, and not ours to remove."""
    untouched = {app.app_id for app in target if app.problem or app.rejected}
    in_use = {row.id for container in world.containers for row in rows.of_container(container)}
    return [
        row
        for row in world.images.available
        if row.ref not in kept
        and row.id not in in_use
        and row.ref.app_id not in untouched
        and not is_supervisor_service(row.ref.app_uuid, row.ref.service_name)
    ]


def _removals(unneeded: Sequence[ImageRow], busy: AbstractSet[str]) -> list[RemoveImage]:
    """The image of a service that a step is at stays: it may be starting one that nobody sees yet."""
    return [
        RemoveImage(row=row, reason="no service of the target or on the device uses this image")
        for row in unneeded
        if f"service:{row.ref.app_id}:{row.ref.service_name}" not in busy
    ]

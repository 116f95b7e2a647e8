"""What the engine has, as the supervisor's own types. For the workers, and for a preview without any actor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from balena_supervisor.adapters.engine import Engine
from balena_supervisor.errors import EngineError, NotFound, SupervisorError, UnreadableObject
from balena_supervisor.model.image import ImageDetails, ImageRow, ImageState
from balena_supervisor.model.resource import Network, Volume
from balena_supervisor.model.service import Container
from balena_supervisor.model.target import TargetState
from balena_supervisor.state.image_lookup import (
    available_rows,
    cleanup_candidates,
    find_image,
    image_from_listing,
    names_of_interest,
)
from balena_supervisor.state.labels import APP_ID, INSTANCE, SERVICE_NAME, SUPERVISED, rewritten
from balena_supervisor.state.names import SUPERVISOR_NETWORK
from balena_supervisor.state.networks import supervisor_network_ready
from balena_supervisor.state.read_back import (
    container_from_inspect,
    image_details_from_inspect,
    network_from_inspect,
    volume_from_inspect,
)

#: a container in one of these states has a process, or will have one again
_UP = {"running", "paused", "restarting"}
#: told of an object that cannot be understood or that the engine refuses to show: which one, and why. It is left out
Unreadable = Callable[[str, SupervisorError], None]


def is_ours(labels: Mapping[str, str] | None, instance: str) -> bool:
    """Whether something with these labels is supervised, and by this instance."""
    present = rewritten(labels or {})
    return SUPERVISED in present and is_of_instance(present, instance)


def is_of_instance(labels: Mapping[str, str] | None, instance: str) -> bool:
    return not instance or (labels or {}).get(INSTANCE) == instance


def read_containers(
    engine: Engine, instance: str, unreadable: Unreadable, known: Mapping[str, Container] = MappingProxyType({})
) -> tuple[Container, ...]:
    """All supervised containers in every state. One that vanishes meanwhile is left out.

    One that the engine refuses to show is as it was ``known``, by its id: left out, it would be started once more.
    """
    containers: list[Container | None] = []
    for entry in engine.list_containers():
        if not is_ours(entry.get("Labels"), instance):
            continue
        container_id = str(entry["Id"])
        try:
            containers.append(read_container(engine, container_id, instance, unreadable))
        except EngineError as error:
            unreadable(f"container {container_id}", error)
            containers.append(known.get(container_id))
    return tuple(container for container in containers if container is not None)


def read_container(engine: Engine, container: str, instance: str, unreadable: Unreadable) -> Container | None:
    """One container by id or name; None when it is gone, not ours, or cannot be understood."""
    try:
        inspect = engine.inspect_container(container)
    except NotFound:
        return None
    if not is_ours((inspect.get("Config") or {}).get("Labels"), instance):
        return None
    try:
        return container_from_inspect(inspect)
    except UnreadableObject as error:
        unreadable(f"container {inspect.get('Id', container)}", error)
        return None


def running_services(engine: Engine, instance: str, app_id: int) -> frozenset[str]:
    """The services of an app that have a container which runs, is paused, or is being started again."""
    found = set()
    for entry in engine.list_containers():
        present = rewritten(entry.get("Labels") or {})
        if is_ours(present, instance) and present.get(APP_ID) == str(app_id) and entry.get("State") in _UP:
            found.add(present.get(SERVICE_NAME, ""))
    return frozenset(found)


def read_networks(engine: Engine, instance: str, unreadable: Unreadable) -> tuple[tuple[Network, ...], bool]:
    """All supervised networks, and whether ``supervisor0`` is as it must be."""
    listed = engine.list_networks()
    found: list[Network] = []
    for entry in listed:
        if not is_ours(entry.get("Labels"), instance):
            continue
        try:
            found.append(network_from_inspect(entry))
        except UnreadableObject as error:
            unreadable(f"network {entry.get('Id')}", error)
    return tuple(found), any(supervisor_network_ready(entry) for entry in supervisor_networks(listed))


def supervisor_networks(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries of a network listing that have the name of the supervisor's own network."""
    return [entry for entry in listed if entry.get("Name") == SUPERVISOR_NETWORK]


def read_volumes(engine: Engine, instance: str, unreadable: Unreadable) -> tuple[Volume, ...]:
    """All managed volumes. Old versions did not label theirs, so without an instance the name alone decides."""
    found: list[Volume] = []
    for entry in engine.list_volumes():
        if not is_of_instance(entry.get("Labels"), instance):
            continue
        try:
            volume = volume_from_inspect(entry)
        except UnreadableObject as error:
            unreadable(f"volume {entry.get('Name')}", error)
            continue
        if volume is not None:
            found.append(volume)
    return tuple(found)


def read_images(
    engine: Engine,
    rows: Sequence[ImageRow],
    target: TargetState,
    unreadable: Unreadable,
    *,
    own_image: str = "",
    instance: str = "",
    known: dict[str, ImageDetails] | None = None,
) -> ImageState:
    """What the engine has of the images of rows and target. No tasks.

    ``known`` keeps what was inspected, by engine id, from one look to the next; an id never means anything else. An
    image that the engine refuses to show, as when it has lost a layer, counts as not there: the pull that is planned
    for it mends it, or says what is wrong. No image is cleaned up that a container stands on, the supervisor's own
    among them.
    """
    images = [image_from_listing(entry) for entry in engine.list_images()]
    seen = {} if known is None else known
    details: dict[str, ImageDetails] = {}
    broken: set[str] = set()
    for name in names_of_interest(rows, target):
        image = find_image(name, images, rows)
        if image is None:
            continue
        try:
            inspected = _image_details(engine, image.id, seen)
        except EngineError as error:
            unreadable(f"image {name}", error)
            broken.add(image.id)
        else:
            if inspected is not None:
                details[name] = inspected
    for gone in seen.keys() - {image.id for image in images}:
        seen.pop(gone, None)
    cleanup = cleanup_candidates(images, rows, own_image=own_image, instance=instance)
    in_use = {entry.get("ImageID") for entry in engine.list_containers()} if cleanup else set()
    return ImageState(
        target_version=target.version,
        rows=tuple(rows),
        available=available_rows(rows, [image for image in images if image.id not in broken]),
        details=details,
        cleanup=tuple(image_id for image_id in cleanup if image_id not in in_use),
    )


def _image_details(engine: Engine, image_id: str, seen: dict[str, ImageDetails]) -> ImageDetails | None:
    """None when the image has vanished since it was listed."""
    details = seen.get(image_id)
    if details is None:
        try:
            details = seen[image_id] = image_details_from_inspect(engine.inspect_image(image_id))
        except NotFound:
            return None
    return details


def has_lost_a_layer(error: EngineError) -> bool:
    """Whether the engine cannot read an image because a part of it is gone from its disk.

    Engine 20.10 says no more than 500: ``stat …/overlay2/…: no such file or directory`` when the folder of a layer is
    missing, ``layer does not exist`` when it has forgotten one.
    """
    cause = str(error.fields.get("cause", ""))
    return error.fields.get("status") == 500 and (
        "layer does not exist" in cause or cause.endswith("no such file or directory")
    )


def layers_of(inspect: Mapping[str, Any]) -> tuple[str, ...]:
    """The digests of the layers of an image, from the lowest to the top."""
    return tuple((inspect.get("RootFS") or {}).get("Layers") or ())

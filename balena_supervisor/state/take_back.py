"""What containers tell of a database that is gone: keys, releases and images (design: containers are kept)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from balena_supervisor.model.image import ImageRef
from balena_supervisor.model.service import Container
from balena_supervisor.model.target import ServiceKey
from balena_supervisor.state.coerce import is_truthy
from balena_supervisor.state.features import SUPERVISOR_API
from balena_supervisor.state.image_lookup import EngineImage
from balena_supervisor.state.image_name import DEFAULT_TAG, parse

_KEY = re.compile(r"[0-9a-f]{32}")
_KEY_VARIABLES = ("BALENA_SUPERVISOR_API_KEY", "RESIN_SUPERVISOR_API_KEY")


def keys_of(containers: Iterable[Container]) -> tuple[ServiceKey, ...]:
    """The key of each service that has one; of two containers the running one counts, then the newer.

    Without the label the variables may be the user's own, so they count for nothing.
    """
    keys: dict[tuple[int, str], str] = {}
    for container in _best_last(containers):
        environment = container.config.environment
        key = next((environment[name] for name in _KEY_VARIABLES if name in environment), "")
        if is_truthy(container.config.labels.get(SUPERVISOR_API)) and _KEY.fullmatch(key):
            keys[(container.app_id, container.service_name)] = key
    return tuple(ServiceKey(app_id, name, key) for (app_id, name), key in keys.items())


def commits_of(containers: Iterable[Container]) -> dict[int, str]:
    """The release of each app whose containers all are of one."""
    commits: dict[int, set[str]] = {}
    for container in containers:
        commits.setdefault(container.app_id, set()).add(container.commit)
    return {app_id: found.pop() for app_id, found in commits.items() if len(found) == 1 and "" not in found}


def images_of(containers: Iterable[Container], images: Sequence[EngineImage]) -> tuple[tuple[ImageRef, str], ...]:
    """A row, with the engine's id, for the image of each container that the engine has."""
    by_id = {image.id: image for image in images}
    found = ((container, by_id.get(container.docker_image_id)) for container in containers)
    return tuple((_row(container, image), image.id) for container, image in found if image is not None)


def _row(container: Container, image: EngineImage) -> ImageRef:
    return ImageRef(
        name=_name(image),
        app_id=container.app_id,
        app_uuid=container.app_uuid,
        service_id=container.service_id,
        service_name=container.service_name,
        image_id=container.image_id,
        release_id=container.release_id,
        commit=container.commit,
    )


def _name(image: EngineImage) -> str:
    """The name that a target most likely has for it. What was pulled by digest got the default tag; what has no name
    at all is known by its id, so that it is not taken for one that nothing needs."""
    chosen = [tag for tag in image.tags if parse(tag).tag != DEFAULT_TAG]
    return next(iter((*chosen, *image.digests, *image.tags)), image.id)


def _best_last(containers: Iterable[Container]) -> list[Container]:
    return sorted(containers, key=lambda one: (one.status == "Running", one.created_at, one.container_id))

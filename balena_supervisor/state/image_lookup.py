"""Which image of the engine a name means, and what follows from it (spec apply-loop 4.2, 4.7, 4.8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from balena_supervisor.errors import InvalidValue
from balena_supervisor.model.image import ImageRow
from balena_supervisor.model.target import TargetState
from balena_supervisor.state.image_name import ImageName, name_with_tag, normalise, parse, same_image
from balena_supervisor.state.labels import INSTANCE

_NO_TAG = "<none>:<none>"
_NO_DIGEST = "<none>@<none>"
_DOCKER_HUB = ("docker.io/", "index.docker.io/")


class EngineImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image as the engine lists it. ``tags`` and ``digests`` are names, without the engine's ``<none>``."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    labels: dict[str, str] = {}


def image_from_listing(entry: Mapping[str, Any]) -> EngineImage:
    """Read one entry of the engine's image list; null stands for empty there."""
    return EngineImage(
        id=str(entry["Id"]),
        tags=tuple(tag for tag in entry.get("RepoTags") or () if tag != _NO_TAG),
        digests=tuple(digest for digest in entry.get("RepoDigests") or () if digest != _NO_DIGEST),
        labels=dict(entry.get("Labels") or {}),
    )


def names_of_interest(rows: Iterable[ImageRow], target: TargetState) -> tuple[str, ...]:
    """The normalised image names of the rows and of the target, each once."""
    names = [row.ref.name for row in rows]
    names += [service.image for app in target.apps for service in app.services]
    return tuple(dict.fromkeys(normalise(name) for name in names if _parsed(name) is not None))


def find_image(name: str, images: Sequence[EngineImage], rows: Iterable[ImageRow] = ()) -> EngineImage | None:
    """The image that a name means, or None.

    Without a digest the tag decides, then a row of this name that knows an engine id. With one the digest decides,
    wherever it is kept; then a row with the same digest; then the tag, unless that image has another digest of the
    repository: then the tag has moved on to another release.
    """
    by_id = next((image for image in images if image.id == name), None)
    wanted = _parsed(name)
    if by_id is not None or wanted is None:
        return by_id
    if not wanted.digest:
        return _by_tag(name, images) or _by_row(name, images, rows)
    return _by_digest(wanted.digest, images) or _by_row(name, images, rows) or _by_undecided_tag(name, images)


def available_rows(rows: Iterable[ImageRow], images: Sequence[EngineImage]) -> tuple[ImageRow, ...]:
    """The rows whose image the engine has, by its id, digest or tag."""
    ids = {image.id for image in images}
    return tuple(row for row in rows if row.docker_image_id in ids or find_image(row.ref.name, images) is not None)


def has_tag(image: EngineImage, name: str) -> bool:
    """Whether the image carries the tag that a name gets when it is saved."""
    return _familiar(name_with_tag(name)) in image.tags


def names_to_remove(row: ImageRow, images: Sequence[EngineImage], others: Sequence[ImageRow]) -> tuple[str, ...]:
    """The names by which the image of ``row`` is removed: first tags, then digests.

    Names through which one of the ``others`` means the same image stay. Never an id: other rows may share it.
    """
    image = find_image(row.ref.name, images, [row])
    if image is None:
        return ()
    kept = {_needed_name(other.ref.name) for other in others if find_image(other.ref.name, images) == image}
    wanted = parse(row.ref.name)
    tags = [tag for tag in image.tags if _repo(tag) == _familiar(wanted.repo)]
    if wanted.tag:
        tags = [tag for tag in tags if parse(tag).tag == wanted.tag]
    digests = [digest for digest in image.digests if _repo(digest) == _familiar(wanted.repo)]
    if len(tags) < sum(_repo(tag) == _familiar(wanted.repo) for tag in image.tags):
        digests = []  # they belong to the tags that stay
    return tuple(name for name in (*tags, *digests) if name not in kept)


def cleanup_candidates(
    images: Sequence[EngineImage], rows: Sequence[ImageRow], *, own_image: str, instance: str
) -> tuple[str, ...]:
    """Ids of images that nothing needs: dangling ones, and other versions of the supervisor. Never the own image.

    With an instance only images with its label, since other supervisors use the same engine.
    """
    used = {row.docker_image_id for row in rows}
    own = find_image(own_image, images) if own_image else None
    if own is not None:
        used.add(own.id)
    own_repos = _own_repos(own_image) if own is not None else frozenset()
    return tuple(
        image.id
        for image in images
        if image.id not in used
        and (not instance or image.labels.get(INSTANCE) == instance)
        and (not (image.tags or image.digests) or any(_repo(tag) in own_repos for tag in image.tags))
    )


def _parsed(name: str) -> ImageName | None:
    """A name taken apart; None for one that is none, as an old row may have it."""
    try:
        return parse(name)
    except InvalidValue:
        return None


def _by_digest(digest: str, images: Sequence[EngineImage]) -> EngineImage | None:
    return next((image for image in images if any(one.partition("@")[2] == digest for one in image.digests)), None)


def _by_row(name: str, images: Sequence[EngineImage], rows: Iterable[ImageRow]) -> EngineImage | None:
    ids = {row.docker_image_id for row in rows if same_image(row.ref.name, name)}
    return next((image for image in images if image.id in ids), None)


def _by_tag(name: str, images: Sequence[EngineImage]) -> EngineImage | None:
    return next((image for image in images if has_tag(image, name)), None)


def _by_undecided_tag(name: str, images: Sequence[EngineImage]) -> EngineImage | None:
    image = _by_tag(name, images)
    if image is None or any(_repo(digest) == _repo(name) for digest in image.digests):
        return None
    return image


def _needed_name(name: str) -> str:
    return _familiar(name) if parse(name).digest else _familiar(name_with_tag(name))


def _repo(name: str) -> str:
    return _familiar(parse(name).repo)


def _own_repos(own_image: str) -> frozenset[str]:
    repo = _repo(own_image)
    legacy = {"resin/" + repo.removeprefix("balena/")} if repo.startswith("balena/") else set()
    return frozenset({repo} | legacy)


def _familiar(name: str) -> str:
    """The engine leaves out the names of Docker Hub and of its official images when it lists."""
    for registry in _DOCKER_HUB:
        if name.startswith(registry):
            return name.removeprefix(registry).removeprefix("library/")
    return name

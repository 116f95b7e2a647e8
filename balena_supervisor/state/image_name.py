"""Names of images: taking them apart, their stored form, and when two mean the same (spec target-state 6.5)."""

from __future__ import annotations

import re

import msgspec

from balena_supervisor.errors import InvalidValue

_DIGEST = re.compile(r"[A-Za-z0-9_+.-]+:[0-9A-Fa-f]{32,}")
_REGISTRY = re.compile(r"[^\s/@]+")
_REPOSITORY = re.compile(r"[^\s/:@]+(?:/[^\s/:@]+)*")
_TAG = re.compile(r"[^\s/:@]+")
DEFAULT_TAG = "latest"


class ImageName(msgspec.Struct, frozen=True):
    """A name taken apart. ``registry`` is ``""`` when the name has none; ``tag`` and ``digest`` as they were given."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def repo(self) -> str:
        """Registry and repository, the form in which the engine takes them."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository


def parse(name: str) -> ImageName:
    """Take ``[registry/]repository[:tag][@digest]`` apart.

    The first component is a registry if it is ``localhost`` or contains a dot or a colon. Raises ``InvalidValue``.
    """
    rest, at, digest = name.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise InvalidValue(f"Could not parse the image: {name} (a digest is algorithm:hex)", field="image")
    first, slash, others = rest.partition("/")
    registry = ""
    if slash and (first == "localhost" or "." in first or ":" in first):
        registry, rest = first, others
    repository, colon, tag = rest.partition(":")
    if (
        not _REPOSITORY.fullmatch(repository)
        or (colon and not _TAG.fullmatch(tag))
        or (registry and not _REGISTRY.fullmatch(registry))
    ):
        raise InvalidValue(f"Could not parse the image: {name}", field="image")
    return ImageName(registry, repository, tag or None, digest or None)


def normalise(name: str) -> str:
    """The form in which images are stored: ``repo@digest`` without tag, else ``repo:tag`` with the default tag."""
    image = parse(name)
    return f"{image.repo}@{image.digest}" if image.digest else f"{image.repo}:{image.tag or DEFAULT_TAG}"


def same_image(one: str, other: str) -> bool:
    """Whether two names mean the same image: equal, or both with the same digest, wherever they are kept."""
    if one == other:
        return True
    digest = digest_of(one)
    return bool(digest) and digest == digest_of(other)


def digest_of(name: str) -> str:
    """``algorithm:hex``, or ``""`` for a name without a digest."""
    return name.partition("@")[2]


def name_with_tag(name: str) -> str:
    """``repo:tag`` without the digest; the default tag when none was given (spec apply-loop 4.1)."""
    image = parse(name)
    return f"{image.repo}:{image.tag or DEFAULT_TAG}"


def tag_target(name: str) -> tuple[str, str | None]:
    """Repository and tag under which a pulled image is tagged; no tag for a name with a digest only."""
    image = parse(name)
    return image.repo, image.tag or (None if image.digest else DEFAULT_TAG)

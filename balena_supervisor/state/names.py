"""Names on the engine: how they are made and how they are understood (spec target-state 13)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from balena_supervisor.errors import UnreadableObject
from balena_supervisor.state import coerce, labels

SUPERVISOR_NETWORK = "supervisor0"

_RELEASE = re.compile(r"([0-9]+)_([0-9]+)(?:_(.+))?", re.DOTALL)
_CONTAINER = re.compile(r"(.+?)_([0-9]+)_([0-9]+)(?:_(.+))?", re.DOTALL)
_HAND_OVER = "old_"
_VOLUME = re.compile(r"([1-9][0-9]*)_(.+)", re.DOTALL)
_NETWORK = re.compile(r"([^_]+)_(.+)", re.DOTALL)
_UUID = re.compile(r"[0-9a-fA-F-]+")
_DIGITS = re.compile(r"[0-9]+")


class ContainerName(msgspec.Struct, frozen=True):
    """What the name of a container tells. ``commit`` is ``""`` for a legacy container."""

    service_name: str
    image_id: int
    release_id: int
    commit: str


class NetworkName(msgspec.Struct, frozen=True):
    """What name and labels of a network tell. ``app_uuid`` is ``""`` for a network of an old supervisor."""

    app_id: int
    app_uuid: str
    name: str


def parse_container_name(name: str, service_name: str | None) -> ContainerName:
    """Take the name of a container apart.

    The service name of the label is stripped first, since a commit of digits only cannot be told from an id
    otherwise. A leading ``/``, as inspect has it, and the mark of a hand-over are ignored. Raises ``UnreadableObject``.
    """
    bare = name.removeprefix("/")
    if service_name:
        for prefix in (f"{service_name}_", f"{_HAND_OVER}{service_name}_"):
            if bare.startswith(prefix) and (match := _RELEASE.fullmatch(bare, len(prefix))):
                return ContainerName(service_name, int(match[1]), int(match[2]), match[3] or "")
    match = _CONTAINER.fullmatch(bare)
    if match is None:
        raise UnreadableObject(
            f"cannot read container {bare}: the name is not service_imageId_releaseId_commit", name=bare
        )
    return ContainerName(service_name or match[1], int(match[2]), int(match[3]), match[4] or "")


def parse_volume_name(name: str) -> tuple[int, str] | None:
    """App id and short name of a volume; None when it is not managed. The pattern is anchored at the start."""
    match = _VOLUME.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


def network_engine_name(app_uuid: str, name: str) -> str:
    return f"{app_uuid}_{name}"


def parse_network_name(name: str, network_labels: Mapping[str, str]) -> NetworkName:
    """Take the name of a network apart, with its (rewritten) labels.

    With an app id label the prefix is the uuid, whatever it looks like. Without one only digits are understood: the
    app id, as old supervisors wrote it. Raises ``UnreadableObject``.
    """
    match = _NETWORK.fullmatch(name)
    if match is None or name == SUPERVISOR_NETWORK:
        raise UnreadableObject(f"cannot read network {name}: the name is not appUuid_name", name=name)
    prefix, short = match[1], match[2]
    label = network_labels.get(labels.APP_ID)
    app_id = coerce.to_numeric_id(label)
    if label is not None and app_id is None:
        raise UnreadableObject(f"cannot read network {name}: label {labels.APP_ID} is {label!r}", name=name)
    if app_id is not None:
        return NetworkName(app_id, prefix, short)
    if _DIGITS.fullmatch(prefix):
        return NetworkName(int(prefix), "", short)
    why = f"label {labels.APP_ID} is missing" if _UUID.fullmatch(prefix) else "the name is not appUuid_name"
    raise UnreadableObject(f"cannot read network {name}: {why}", name=name)

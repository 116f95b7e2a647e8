"""What the planner looks at: the world as the workers see it, and the rules in force."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from balena_supervisor.model.image import ImageState
from balena_supervisor.model.resource import Network, Volume
from balena_supervisor.model.service import Container, ContainerTask, Service


class World(msgspec.Struct, frozen=True, kw_only=True):
    """The current state: everything supervised that the engine has, and what the device remembers."""

    containers: tuple[Container, ...] = ()
    tasks: tuple[ContainerTask, ...] = ()
    networks: tuple[Network, ...] = ()
    volumes: tuple[Volume, ...] = ()
    images: ImageState = ImageState()
    commits: dict[int, str] = {}
    #: app id -> services whose update locks are the supervisor's own
    locks: dict[int, frozenset[str]] = {}
    supervisor_network_ready: bool = True


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What local mode changes. There images are never removed or cleaned up, and volumes survive their app."""

    keep_images: bool = False
    keep_volumes: bool = False


def newest_first(containers: Iterable[Container]) -> list[Container]:
    return sorted(containers, key=lambda container: (container.created_at, container.container_id), reverse=True)


def present_ids(containers: Iterable[Container]) -> dict[str, str]:
    """The id of the newest container of each service name; for one app."""
    ids: dict[str, str] = {}
    for container in newest_first(containers):
        ids.setdefault(container.service_name, container.container_id)
    return ids


def uses_network(container: Container, network: Network) -> bool:
    """Whether a container is on a network, under its new or its old name."""
    names = {network.engine_name, f"{network.app_uuid}_{network.name}", f"{network.app_id}_{network.name}"}
    return not names.isdisjoint(container.config.networks) or container.config.network_mode in names


def uses_volume(container: Container, volume: Volume) -> bool:
    prefix = f"{volume.engine_name}:"
    short = any(entry.startswith(prefix) for entry in container.config.volumes)
    return short or any(mount.source == volume.engine_name for mount in container.config.mounts)


def mounts_volume(service: Service, volume: Volume) -> bool:
    prefix = f"{volume.engine_name}:"
    short = any(entry.startswith(prefix) for entry in service.config.volumes)
    return short or any(mount.source == volume.engine_name for mount in service.config.mounts)

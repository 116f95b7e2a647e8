"""What the planner looks at: the world as the workers see it, and the rules in force."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.image import ImageRef, ImageState
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
    """What the mode of the device and the orders of its users change.

    In local mode images are never removed or cleaned up (``keep_images``), and volumes survive their app
    (``keep_volumes``); ``kept`` are images that stay for a release that may have to come back. ``force`` removes update
    locks of others, for all apps or for those in ``forced``. Apps in ``frozen`` get no steps; those in ``held`` keep
    their locks although they are settled; of those in ``purged`` the volumes go in every mode. ``instead`` is what an
    app shall be for now instead of what its target says, for the reason in ``why``; None: it shall be gone.
    """

    keep_images: bool = False
    keep_volumes: bool = False
    kept: frozenset[ImageRef] = frozenset()
    force: bool = False
    forced: frozenset[int] = frozenset()
    frozen: frozenset[int] = frozenset()
    held: frozenset[int] = frozenset()
    purged: frozenset[int] = frozenset()
    instead: dict[int, ComposedApp | None] = {}
    why: dict[int, str] = {}

    def forces(self, app_id: int) -> bool:
        return self.force or app_id in self.forced


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What the planner remembers and the engine does not tell.

    ``stopped`` are ids of containers that were stopped by order; they are started when they shall run again. ``broken``
    are names of images of which the engine has lost a part. ``depended`` maps app id and service name to the services
    that it depended on when it was last in a target. ``rebooted`` are ids of containers that have seen a reboot since
    they were made; ``reboot_wanted`` says that a service waits for one. ``left`` are subjects of networks and volumes
    that never become as the target wants them, and are used as they are, with the reason.
    """

    stopped: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()
    depended: dict[tuple[int, str], frozenset[str]] = {}
    rebooted: frozenset[str] = frozenset()
    reboot_wanted: bool = False
    left: dict[str, str] = {}


def is_running(container: Container) -> bool:
    """Whether it has a process, or will have one again by itself."""
    return container.status in {"Running", "paused", "restarting"}


def newest_first(containers: Iterable[Container]) -> list[Container]:
    return sorted(containers, key=lambda container: (container.created_at, container.container_id), reverse=True)


def present_ids(containers: Iterable[Container]) -> dict[str, str]:
    """The id of the newest container of each service name; for one app."""
    ids: dict[str, str] = {}
    for container in newest_first(containers):
        ids.setdefault(container.service_name, container.container_id)
    return ids


def uses_network(container: Container, network: Network) -> bool:
    """Whether a container is on a network."""
    return network.engine_name in container.config.networks or container.config.network_mode == network.engine_name


def uses_volume(container: Container, volume: Volume) -> bool:
    prefix = f"{volume.engine_name}:"
    short = any(entry.startswith(prefix) for entry in container.config.volumes)
    return short or any(mount.source == volume.engine_name for mount in container.config.mounts)


def mounts_volume(service: Service, volume: Volume) -> bool:
    prefix = f"{volume.engine_name}:"
    short = any(entry.startswith(prefix) for entry in service.config.volumes)
    return short or any(mount.source == volume.engine_name for mount in service.config.mounts)

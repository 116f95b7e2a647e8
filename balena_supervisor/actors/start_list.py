"""The start list: all actors in start order, with what each is given and which events it hears."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pykka

from balena_supervisor.actors.containers import ContainerPorts, Containers
from balena_supervisor.actors.host_config import HostConfig, HostConfigPorts
from balena_supervisor.actors.http_process import http_row
from balena_supervisor.actors.image_room import RoomPorts
from balena_supervisor.actors.images import ImagePorts, Images
from balena_supervisor.actors.planner import Planner, PlannerPorts
from balena_supervisor.actors.resources import ResourcePorts, Resources
from balena_supervisor.actors.target_state import TargetPorts, Targets
from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.engine_disk import EngineDisk
from balena_supervisor.adapters.host_facts import host_update_pending, read_host_facts
from balena_supervisor.adapters.lock_files import LockFiles
from balena_supervisor.adapters.registry import remote_image
from balena_supervisor.messages import (
    ConfigChanged,
    ContainersChanged,
    ImagesChanged,
    KeysChanged,
    KeysFound,
    ResourcesChanged,
    TargetApplied,
    TargetChanged,
)
from balena_supervisor.model.device import HostFacts
from balena_supervisor.model.lock import lock_folder
from balena_supervisor.runtime.actor import Actor, Ports
from balena_supervisor.runtime.table import ActorRow
from balena_supervisor.settings import Settings

PICTURES = (ImagesChanged, ContainersChanged, ResourcesChanged)


def start_list(settings: Settings) -> tuple[ActorRow, ...]:
    """The rows of all actors. Each runs in a process of its own; ``process`` would let two share one."""

    def host() -> HostFacts:
        return read_host_facts(
            settings.root_mountpoint, docker_socket=settings.docker_socket, instance=settings.instance
        )

    database = {"database_path": settings.database_path}
    return (
        ActorRow(
            name="host-config",
            start=_start(
                HostConfig,
                HostConfigPorts,
                **database,
                config_json_path=settings.config_json_path,
                device_type_path=settings.boot_mountpoint / "device-type.json",
                os_release_path=settings.host_os_version_path,
                host_name_path=settings.root_mountpoint / "etc/hostname",
                version=settings.version,
            ),
            subscriptions=(TargetChanged,),
        ),
        ActorRow(
            name="target-state",
            start=_start(Targets, TargetPorts, **database, target_config_path=settings.target_config_path),
            subscriptions=(ConfigChanged, TargetApplied, KeysFound),
        ),
        *_workers(settings),
        ActorRow(
            name="planner",
            start=_start(
                Planner,
                PlannerPorts,
                **database,
                host=host,
                host_update_pending=partial(host_update_pending, settings.state_mountpoint),
            ),
            subscriptions=(ConfigChanged, KeysChanged, TargetChanged, *PICTURES),
            critical=True,
        ),
        http_row(settings.version),
    )


def _workers(settings: Settings) -> tuple[ActorRow, ...]:
    def engine() -> Engine:
        return Engine(settings.docker_host)

    def disk(engine: Engine) -> EngineDisk:
        return EngineDisk(engine, data_mountpoint=settings.data_mountpoint, root_mountpoint=settings.root_mountpoint)

    worker = {"engine": engine, "instance": settings.instance}
    locks = LockFiles(settings.lock_folder, lock_folder(settings.instance))
    return (
        ActorRow(
            name="images",
            start=_start(
                Images,
                ImagePorts,
                **worker,
                database_path=settings.database_path,
                own_image=settings.own_image,
                room=RoomPorts(look_up=remote_image, disk=disk),
            ),
            subscriptions=(ConfigChanged, TargetChanged),
        ),
        ActorRow(name="containers", start=_start(Containers, ContainerPorts, **worker, locks=locks), critical=True),
        ActorRow(
            name="resources",
            start=_start(Resources, ResourcePorts, **worker, own_container_id=settings.own_container_id),
        ),
    )


def _start(actor: type[Actor], ports: type[Ports], **more: Any) -> Callable[[Ports], pykka.ActorRef[Any]]:
    return lambda given: actor.start(ports(**vars(given), **more))

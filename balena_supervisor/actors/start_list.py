"""Which actors there are, in start order, and who hears of what. Everything else about an actor is in its own file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pykka

from balena_supervisor.actors.containers import Containers
from balena_supervisor.actors.host_config import HostConfig, HostConfigPorts
from balena_supervisor.actors.http_process import http_row
from balena_supervisor.actors.images import ImagePorts, Images
from balena_supervisor.actors.planner import Planner, PlannerPorts
from balena_supervisor.actors.resources import Resources
from balena_supervisor.actors.target_state import TargetPorts, Targets
from balena_supervisor.actors.worker import WorkerPorts
from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.host_facts import read_host_facts
from balena_supervisor.messages import (
    ConfigChanged,
    ContainersChanged,
    ImagesChanged,
    KeysChanged,
    ResourcesChanged,
    TargetApplied,
    TargetChanged,
)
from balena_supervisor.model.device import HostFacts
from balena_supervisor.runtime.actor import Actor, Ports
from balena_supervisor.runtime.table import ActorRow
from balena_supervisor.settings import Settings

PICTURES = (ImagesChanged, ContainersChanged, ResourcesChanged)


def start_list(settings: Settings) -> tuple[ActorRow, ...]:
    """The rows of all actors. Each runs in a process of its own; ``process`` would let two share one."""

    def engine() -> Engine:
        return Engine(settings.docker_host)

    def host() -> HostFacts:
        return read_host_facts(
            settings.root_mountpoint, docker_socket=settings.docker_socket, instance=settings.instance
        )

    def start(actor: type[Actor], ports: type[Ports], **more: Any) -> Callable[[Ports], pykka.ActorRef[Any]]:
        return lambda given: actor.start(ports(**vars(given), **more))

    worker = {"engine": engine, "instance": settings.instance}
    database = {"database_path": settings.database_path}
    return (
        ActorRow(
            name="host-config",
            start=start(
                HostConfig,
                HostConfigPorts,
                **database,
                config_json_path=settings.config_json_path,
                device_type_path=settings.boot_mountpoint / "device-type.json",
                os_release_path=settings.host_os_version_path,
                host_name_path=settings.root_mountpoint / "etc/hostname",
            ),
            subscriptions=(TargetChanged,),
        ),
        ActorRow(
            name="target-state",
            start=start(Targets, TargetPorts, **database),
            subscriptions=(ConfigChanged, TargetApplied),
        ),
        ActorRow(
            name="images",
            start=start(Images, ImagePorts, **worker, **database, own_image=settings.own_image),
            subscriptions=(ConfigChanged, TargetChanged),
        ),
        ActorRow(name="containers", start=start(Containers, WorkerPorts, **worker), critical=True),
        ActorRow(name="resources", start=start(Resources, WorkerPorts, **worker)),
        ActorRow(
            name="planner",
            start=start(Planner, PlannerPorts, **database, host=host),
            subscriptions=(ConfigChanged, KeysChanged, TargetChanged, *PICTURES),
            critical=True,
        ),
        http_row(settings.version),
    )

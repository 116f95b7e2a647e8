"""Services that start only after a reboot: label ``io.balena.update.requires-reboot`` (spec apply-loop 3.7 row 9, 5.3).

Their container is made at once and started in the next boot. Boots are told apart by the kernel's id of them, which no
clock that jumps can change.
"""

from __future__ import annotations

from collections.abc import Iterable

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.service import Container, Service
from balena_supervisor.state.coerce import is_truthy
from balena_supervisor.state.world import World, newest_first

REQUIRES_REBOOT = "io.balena.update.requires-reboot"


def requires_reboot(service: Service) -> bool:
    return service.running and is_truthy(service.config.labels.get(REQUIRES_REBOOT))


def waits_for_reboot(container: Container, service: Service, rebooted: frozenset[str]) -> bool:
    """Whether a container that never ran has to wait; ``rebooted`` are ids of those that have seen a reboot."""
    return container.status == "Installed" and requires_reboot(service) and container.container_id not in rebooted


def waiting_containers(world: World, target: Iterable[ComposedApp], rebooted: frozenset[str]) -> dict[str, str]:
    """Id -> service name of all containers that wait for a reboot."""
    found: dict[str, str] = {}
    for app in target:
        if app.rejected or app.problem:
            continue
        for service in app.services if any(map(requires_reboot, app.services)) else ():
            mine = [c for c in world.containers if (c.app_id, c.service_name) == (app.app_id, service.service_name)]
            for container in newest_first(mine)[:1]:
                if waits_for_reboot(container, service, rebooted):
                    found[container.container_id] = service.service_name
    return found

"""An app as it is now, in the form of a target: what a restart or a purge puts back (spec apply-loop 2.7). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.service import Container, Service
from balena_supervisor.state.world import World, newest_first

_CONTAINER_MODE = "container:"
#: the engine gives each container this part of its id as an alias; the next one has another
_SHORT_ID = 12


def former_app(world: World, app_id: int, target: ComposedApp | None) -> ComposedApp | None:
    """The app with the services, networks and volumes that it has; None when it has nothing at all.

    Containers do not tell what they depend on and whether they shall run: that comes from the target, as far as it has
    the service.
    """
    containers = [container for container in world.containers if container.app_id == app_id]
    networks = {network.engine_name: network for network in world.networks if network.app_id == app_id}
    volumes = tuple(volume for volume in world.volumes if volume.app_id == app_id)
    if not containers and not networks and not volumes:
        return None
    targets = {service.service_name: service for service in target.services} if target is not None else {}
    newest: dict[str, Container] = {}
    for container in newest_first(containers):
        newest.setdefault(container.service_name, container)
    ids = {container.container_id: container.service_name for container in containers}
    return ComposedApp(
        app_id=app_id,
        app_uuid=target.app_uuid if target else next((c.app_uuid for c in containers), ""),
        name=target.name if target else "",
        services=tuple(_former_service(container, targets.get(name), ids) for name, container in newest.items()),
        networks=tuple(networks.values()),
        volumes=volumes,
    )


def without(app: ComposedApp, names: Iterable[str]) -> ComposedApp:
    """The app without these services."""
    gone = set(names)
    return msgspec.structs.replace(app, services=tuple(s for s in app.services if s.service_name not in gone))


def with_service(app: ComposedApp, service: Service) -> ComposedApp:
    """The app with this service instead of the one of its name."""
    return msgspec.structs.replace(app, services=(*without(app, [service.service_name]).services, service))


def service_of(app: ComposedApp | None, name: str) -> Service | None:
    return next((s for s in app.services if s.service_name == name), None) if app is not None else None


def _former_service(container: Container, target: Service | None, ids: Mapping[str, str]) -> Service:
    config = container.config
    if config.network_mode.startswith(_CONTAINER_MODE):
        other = ids.get(config.network_mode.removeprefix(_CONTAINER_MODE))
        if other is not None:
            config = msgspec.structs.replace(config, network_mode=f"service:{other}")
    own = container.container_id[:_SHORT_ID]
    networks = {
        name: msgspec.structs.replace(entry, aliases=tuple(alias for alias in entry.aliases if alias != own))
        for name, entry in config.networks.items()
    }
    config = msgspec.structs.replace(config, networks=networks)
    return Service(
        app_id=container.app_id,
        app_uuid=container.app_uuid,
        app_name=target.app_name if target else "",
        service_id=container.service_id,
        service_name=container.service_name,
        image_id=container.image_id,
        release_id=container.release_id,
        commit=container.commit,
        image_name=config.image,  # whatever becomes of the images of the target
        docker_image_id=container.docker_image_id or config.image,
        running=target.running if target else True,
        depends_on=target.depends_on if target else {},
        config=config,
        why_stopped=target.why_stopped if target else "",
        as_found=True,
    )

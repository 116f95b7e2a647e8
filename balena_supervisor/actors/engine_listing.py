"""What the engine has, as the supervisor's own types. For the workers, and for a preview without any actor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from balena_supervisor.adapters.engine import Engine
from balena_supervisor.errors import NotFound, UnreadableObject
from balena_supervisor.model.resource import Network, Volume
from balena_supervisor.model.service import Container
from balena_supervisor.state.labels import INSTANCE, SUPERVISED, rewritten
from balena_supervisor.state.names import SUPERVISOR_NETWORK
from balena_supervisor.state.networks import supervisor_network_ready
from balena_supervisor.state.read_back import container_from_inspect, network_from_inspect, volume_from_inspect

#: told of an object that cannot be understood: which one, and why. It is left out
Unreadable = Callable[[str, UnreadableObject], None]


def is_ours(labels: Mapping[str, str] | None, instance: str) -> bool:
    """Whether something with these labels is supervised, and by this instance."""
    present = rewritten(labels or {})
    return SUPERVISED in present and is_of_instance(present, instance)


def is_of_instance(labels: Mapping[str, str] | None, instance: str) -> bool:
    return not instance or (labels or {}).get(INSTANCE) == instance


def read_containers(engine: Engine, instance: str, unreadable: Unreadable) -> tuple[Container, ...]:
    """All supervised containers in every state. One that vanishes meanwhile is left out."""
    listed = [entry for entry in engine.list_containers() if is_ours(entry.get("Labels"), instance)]
    containers = (read_container(engine, str(entry["Id"]), instance, unreadable) for entry in listed)
    return tuple(container for container in containers if container is not None)


def read_container(engine: Engine, container: str, instance: str, unreadable: Unreadable) -> Container | None:
    """One container by id or name; None when it is gone, not ours, or cannot be understood."""
    try:
        inspect = engine.inspect_container(container)
    except NotFound:
        return None
    if not is_ours((inspect.get("Config") or {}).get("Labels"), instance):
        return None
    try:
        return container_from_inspect(inspect)
    except UnreadableObject as error:
        unreadable(f"container {inspect.get('Id', container)}", error)
        return None


def read_networks(engine: Engine, instance: str, unreadable: Unreadable) -> tuple[tuple[Network, ...], bool]:
    """All supervised networks, and whether ``supervisor0`` is as it must be."""
    listed = engine.list_networks()
    found: list[Network] = []
    for entry in listed:
        if not is_ours(entry.get("Labels"), instance):
            continue
        try:
            found.append(network_from_inspect(entry))
        except UnreadableObject as error:
            unreadable(f"network {entry.get('Id')}", error)
    return tuple(found), any(supervisor_network_ready(entry) for entry in supervisor_networks(listed))


def supervisor_networks(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries of a network listing that have the name of the supervisor's own network."""
    return [entry for entry in listed if entry.get("Name") == SUPERVISOR_NETWORK]


def read_volumes(engine: Engine, instance: str, unreadable: Unreadable) -> tuple[Volume, ...]:
    """All managed volumes. Old versions did not label theirs, so without an instance the name alone decides."""
    found: list[Volume] = []
    for entry in engine.list_volumes():
        if not is_of_instance(entry.get("Labels"), instance):
            continue
        try:
            volume = volume_from_inspect(entry)
        except UnreadableObject as error:
            unreadable(f"volume {entry.get('Name')}", error)
            continue
        if volume is not None:
            found.append(volume)
    return tuple(found)

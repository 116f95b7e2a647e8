"""What the engine has, and the removal of what local mode has left behind (spec apply-loop 7). Runs in a pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from balena_supervisor.actors.engine_listing import is_of_instance
from balena_supervisor.adapters.engine import Engine
from balena_supervisor.errors import EngineUnavailable, NotFound, SupervisorError
from balena_supervisor.model.inventory import Inventory
from balena_supervisor.runtime.output import log
from balena_supervisor.state.names import SUPERVISOR_NETWORK

#: names under which the supervisor's container is looked for, after its id
OWN_NAMES = ("balena_supervisor", "resin_supervisor")
#: networks that the engine makes itself, and the supervisor's own
_STANDING_NETWORKS = frozenset({"bridge", "host", "none", SUPERVISOR_NETWORK})


def take_inventory(engine: Engine, instance: str) -> Inventory:
    """All that is there; with an instance only what carries its label."""

    def ours(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        return [entry for entry in entries if is_of_instance(entry.get("Labels"), instance)]

    return Inventory(
        containers=tuple(str(entry["Id"]) for entry in ours(engine.list_containers())),
        images=tuple(str(entry["Id"]) for entry in ours(engine.list_images())),
        volumes=tuple(str(entry["Name"]) for entry in ours(engine.list_volumes())),
        networks=tuple(
            str(entry["Id"]) for entry in ours(engine.list_networks()) if entry.get("Name") not in _STANDING_NETWORKS
        ),
    )


def own_things(engine: Engine, own_container_id: str) -> Inventory:
    """The supervisor's container with its image, named volumes and networks; empty when it runs in none."""
    for name in (own_container_id, *OWN_NAMES):
        if not name:
            continue
        try:
            found = engine.inspect_container(name)
        except NotFound:
            continue
        networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
        return Inventory(
            containers=(str(found["Id"]),),
            images=(str(found.get("Image", "")),),
            volumes=tuple(str(m["Name"]) for m in found.get("Mounts") or [] if m.get("Type") == "volume"),
            networks=tuple(str(entry.get("NetworkID", "")) for entry in networks.values()),
        )
    return Inventory()


def remove_beside(engine: Engine, instance: str, kept: Inventory, own_container_id: str) -> None:
    """Containers and images by force, then networks and volumes. Raises ``EngineUnavailable`` only."""
    own = own_things(engine, own_container_id)
    now = take_inventory(engine, instance)

    def remove(what: str, ids: Iterable[str], stay: Iterable[str], call: Callable[[str], None]) -> None:
        for name in sorted(set(ids) - set(stay)):
            try:
                call(name)
            except NotFound:
                continue
            except EngineUnavailable:
                raise
            except SupervisorError as error:
                log("warn", "local mode", f"has left a {what} that cannot be removed", reason=error.message)

    remove(
        "container",
        now.containers,
        (*kept.containers, *own.containers),
        lambda c: engine.remove_container(c, force=True),
    )
    remove("image", now.images, (*kept.images, *own.images), lambda image: engine.remove_image(image, force=True))
    remove("network", now.networks, (*kept.networks, *own.networks), engine.remove_network)
    remove("volume", now.volumes, (*kept.volumes, *own.volumes), engine.remove_volume)

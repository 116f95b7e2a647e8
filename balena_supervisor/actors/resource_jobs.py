"""How the steps on networks and volumes are carried out on the engine (spec apply-loop 6). Runs in the pool.

Every job may be repeated after a death at any point, even while the engine still works on the call of the one who
died.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from balena_supervisor.actors.engine_listing import is_of_instance, read_networks, supervisor_networks
from balena_supervisor.adapters.engine import Engine
from balena_supervisor.errors import EngineError, NotFound, SupervisorError
from balena_supervisor.model.resource import Network, Volume
from balena_supervisor.state.compare import network_differences, volume_differences
from balena_supervisor.state.names import SUPERVISOR_NETWORK
from balena_supervisor.state.networks import network_body, supervisor_network_body, supervisor_network_ready
from balena_supervisor.state.read_back import volume_from_inspect
from balena_supervisor.state.volumes import volume_body

#: how often another address range is asked for
POOL_TRIES = 5
_MISCOUNTED = (
    "the engine says that containers are connected, but has none to name; it counts again when it is restarted"
)


class ResourceJobs:
    """The work on the engine for one instance of the supervisor."""

    def __init__(self, engine: Engine, instance: str) -> None:
        self._engine = engine
        self._instance = instance
        self._one_at_a_time = threading.Lock()

    def create_network(self, network: Network) -> None:
        """Create it unless an equal one is there. Raises ``EngineError`` (409) when a different one is.

        The engine lets two networks of one name be created at the same moment in spite of its check, as a repeated
        create does. So afterwards the oldest stays and the others go.
        """
        if self._equal_network(network):
            return
        try:
            self._make_network(network)
        except EngineError:
            if not self._equal_network(network):
                raise
        for surplus in self._same_name(network)[1:]:
            self._remove_network(surplus.engine_id, surplus.name)

    def remove_network(self, network: Network) -> None:
        """Remove all networks that have its name on the engine."""
        for found in self._same_name(network):
            if found.engine_name == network.engine_name:
                self._remove_network(found.engine_id, found.name)

    def ensure_supervisor_network(self) -> None:
        """Remove a wrong ``supervisor0``, and create it when there is no right one."""
        ready = False
        for entry in supervisor_networks(self._engine.list_networks()):
            if supervisor_network_ready(entry) and not ready:
                ready = True
            else:
                self._remove_network(str(entry["Id"]), SUPERVISOR_NETWORK)
        if ready:
            return
        try:
            self._engine.create_network(supervisor_network_body())
        except EngineError:
            # somebody else was faster: its bridge and its subnet can be there once only
            if not any(supervisor_network_ready(one) for one in supervisor_networks(self._engine.list_networks())):
                raise

    def create_volume(self, volume: Volume) -> None:
        """Create it unless an equal one is there. Raises ``EngineError`` (409) when a different one is."""
        try:
            inspect = self._engine.inspect_volume(volume.engine_name)
        except NotFound:
            self._engine.create_volume(volume_body(volume, self._instance))
            return
        found = volume_from_inspect(inspect)
        differs = ("name",) if found is None else volume_differences(found, volume)
        if not is_of_instance(inspect.get("Labels"), self._instance):
            differs = ("instance",)
        if differs:
            raise _different("volume", volume.engine_name, differs)

    def remove_volume(self, volume: Volume) -> None:
        """Remove it. Raises ``EngineError`` (409) while a container uses it."""
        with suppress(NotFound):
            self._engine.remove_volume(volume.engine_name)

    # --- parts ------------------------------------------------------------------------------------------------

    def _make_network(self, network: Network) -> None:
        """Engine 20.10 may choose one address range for two networks that are made at the same moment, and then refuses
        one of them; nothing but its text tells that from other faults. Others may make networks, too."""
        for tries_left in reversed(range(POOL_TRIES)):
            try:
                with self._one_at_a_time:
                    self._engine.create_network(network_body(network, self._instance))
            except EngineError as error:
                if not tries_left or "Pool overlaps" not in str(error.fields["cause"]) or network.config.ipam_config:
                    raise
            else:
                return

    def _equal_network(self, network: Network) -> bool:
        same_name = self._same_name(network)
        if not same_name:
            return False
        differs = network_differences(same_name[0], network)
        if differs:
            raise _different("network", network.engine_name or network.name, differs)
        return True

    def _same_name(self, network: Network) -> list[Network]:
        """All networks of that app and name, the oldest first."""

        def ignore(_: str, __: SupervisorError) -> None:
            """The look that follows each step complains."""

        networks, _ = read_networks(self._engine, self._instance, ignore)
        same = [
            found
            for found in networks
            if found.name == network.name
            and (found.app_id == network.app_id or (found.app_uuid and found.app_uuid == network.app_uuid))
        ]
        return sorted(same, key=lambda found: (found.created_at, found.engine_id))

    def _remove_network(self, engine_id: str, name: str) -> None:
        with suppress(NotFound):
            try:
                self._engine.remove_network(engine_id)
            except EngineError as error:
                if error.fields["status"] != 403:
                    raise
                self._take_off(engine_id, name, error)
                self._engine.remove_network(engine_id)

    def _take_off(self, engine_id: str, name: str, refusal: EngineError) -> None:
        """Take endpoints off a network that keeps those of containers which are gone.

        Raises ``EngineError`` when that does not help: a container is really on it, or the engine only miscounts, as
        20.10 does; then it lists nobody, and nothing but its restart makes it count again.
        """
        connected = [str(entry.get("Name")) for entry in self._connected(engine_id)]
        gone = [container for container in connected if not self._exists(container)]
        for container in gone:
            self._engine.disconnect_network(engine_id, container)
        if gone:
            return
        cause = f"it is in use by {', '.join(sorted(connected))}" if connected else _MISCOUNTED
        raise EngineError(f"cannot remove network {name}: {cause}", status=403, cause=cause) from refusal

    def _connected(self, engine_id: str) -> list[dict[str, Any]]:
        return list((self._engine.inspect_network(engine_id).get("Containers") or {}).values())

    def _exists(self, container: str) -> bool:
        try:
            self._engine.inspect_container(container)
        except NotFound:
            return False
        return True


def _different(kind: str, name: str, differs: Sequence[str]) -> EngineError:
    cause = f"one with other settings exists ({', '.join(differs)})"
    return EngineError(f"cannot create {kind} {name}: {cause}", status=409, cause=cause)

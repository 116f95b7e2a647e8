"""The resources actor: makes and removes networks and volumes, and knows which there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from balena_supervisor.actors.engine_listing import read_networks, read_volumes
from balena_supervisor.actors.inventory import remove_beside, take_inventory
from balena_supervisor.actors.resource_jobs import ResourceJobs
from balena_supervisor.actors.worker import Worker, WorkerPorts, act_and_look
from balena_supervisor.adapters.engine_events import EngineEvent
from balena_supervisor.messages import GetInventory, RemoveBeside, ResourcesChanged
from balena_supervisor.model.inventory import Inventory
from balena_supervisor.model.resource import Network, Volume
from balena_supervisor.model.state import Seq
from balena_supervisor.runtime.actor import Pending, handles
from balena_supervisor.steps import (
    CreateNetwork,
    CreateVolume,
    EnsureSupervisorNetwork,
    RemoveNetwork,
    RemoveVolume,
    ResourceStep,
)

NETWORKS = "networks"
VOLUMES = "volumes"


class SeenNetworks(NamedTuple):
    networks: tuple[Network, ...] = ()
    supervisor_network_ready: bool = False


class Seen(NamedTuple):
    networks: SeenNetworks
    volumes: tuple[Volume, ...]


@dataclass(frozen=True, kw_only=True)
class ResourcePorts(WorkerPorts):
    """``own_container_id`` is the container in which the supervisor runs, ``""`` when it is not known."""

    own_container_id: str = ""


class Resources(Worker[Seen]):
    """Carries out :class:`ResourceStep` and publishes :class:`ResourcesChanged`."""

    pool_size = 4
    event_filters: ClassVar[dict[str, list[str]]] = {
        "type": ["network", "volume"],
        "event": ["create", "destroy", "remove"],
    }

    def __init__(self, ports: ResourcePorts) -> None:
        super().__init__(ports)
        self._own_container_id = ports.own_container_id
        self._networks = SeenNetworks()
        self._networks_tick = 0
        self._volumes: tuple[Volume, ...] = ()
        self._volumes_tick = 0

    def opened(self) -> None:
        self._jobs = ResourceJobs(self.engine, self.instance)

    # --- steps ------------------------------------------------------------------------------------------------

    @handles(CreateNetwork)
    def create_network(self, step: CreateNetwork) -> Pending[None]:
        return self._carry_out(step, lambda: self._jobs.create_network(step.network), self._look_at_networks)

    @handles(RemoveNetwork)
    def remove_network(self, step: RemoveNetwork) -> Pending[None]:
        return self._carry_out(step, lambda: self._jobs.remove_network(step.network), self._look_at_networks)

    @handles(EnsureSupervisorNetwork)
    def ensure_supervisor_network(self, step: EnsureSupervisorNetwork) -> Pending[None]:
        return self._carry_out(step, self._jobs.ensure_supervisor_network, self._look_at_networks)

    @handles(CreateVolume)
    def create_volume(self, step: CreateVolume) -> Pending[None]:
        return self._carry_out(step, lambda: self._jobs.create_volume(step.volume), self._look_at_volumes)

    @handles(RemoveVolume)
    def remove_volume(self, step: RemoveVolume) -> Pending[None]:
        return self._carry_out(step, lambda: self._jobs.remove_volume(step.volume), self._look_at_volumes)

    # --- local mode -------------------------------------------------------------------------------------------

    @handles(GetInventory)
    def get_inventory(self, _: GetInventory) -> Pending[Inventory]:
        return Pending(self.pool.submit(take_inventory, self.engine, self.instance))

    @handles(RemoveBeside)
    def remove_beside(self, command: RemoveBeside) -> Pending[None]:
        done = self.pool.submit(remove_beside, self.engine, self.instance, command.kept, self._own_container_id)
        return Pending(done)

    def _carry_out(self, step: ResourceStep, act: Callable[[], None], look: Callable[[], None]) -> Pending[None]:
        return self.carry_out(step, lambda: act_and_look(act, look))

    # --- picture ----------------------------------------------------------------------------------------------

    def read(self) -> Seen:
        return Seen(self._read_networks(), read_volumes(self.engine, self.instance, self.unreadable))

    def take(self, tick: int, seen: Seen) -> bool:
        networks = self._show_networks(tick, seen.networks)
        volumes = self._show_volumes(tick, seen.volumes)
        return networks or volumes

    def heard(self, event: EngineEvent) -> None:
        self.stale(NETWORKS if event.type == "network" else VOLUMES)

    def reread(self, key: str) -> Callable[[], None]:
        return self._look_at_networks if key == NETWORKS else self._look_at_volumes

    def snapshot(self, seq: Seq, busy: tuple[str, ...]) -> ResourcesChanged:
        return ResourcesChanged(
            seq=seq,
            networks=self._networks.networks,
            volumes=self._volumes,
            supervisor_network_ready=self._networks.supervisor_network_ready,
            busy=busy,
            engine=self.engine_link,
        )

    def _look_at_networks(self) -> None:
        tick = self.tick()
        seen = self._read_networks()
        self.defer(lambda: self.changed() if self._show_networks(tick, seen) else None)

    def _look_at_volumes(self) -> None:
        tick = self.tick()
        seen = read_volumes(self.engine, self.instance, self.unreadable)
        self.defer(lambda: self.changed() if self._show_volumes(tick, seen) else None)

    def _read_networks(self) -> SeenNetworks:
        return SeenNetworks(*read_networks(self.engine, self.instance, self.unreadable))

    def _show_networks(self, tick: int, seen: SeenNetworks) -> bool:
        self.fresh(NETWORKS, tick)
        if tick < self._networks_tick:
            return False
        before, self._networks, self._networks_tick = self._networks, seen, tick
        return before != seen

    def _show_volumes(self, tick: int, seen: tuple[Volume, ...]) -> bool:
        self.fresh(VOLUMES, tick)
        if tick < self._volumes_tick:
            return False
        before, self._volumes, self._volumes_tick = self._volumes, seen, tick
        return before != seen

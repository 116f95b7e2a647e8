"""The mailbox of the local API: takes over snapshots, so that the routes answer without asking anybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from balena_supervisor.messages import ConfigChanged, DeviceStateChanged, KeysChanged, TargetChanged
from balena_supervisor.runtime.actor import Actor, Ports, handles
from balena_supervisor.runtime.message import Event

SUBSCRIPTIONS = (ConfigChanged, KeysChanged, TargetChanged, DeviceStateChanged)


@dataclass(frozen=True, kw_only=True)
class HttpPorts(Ports):
    """``keep`` takes over the snapshot that an event carries; it is called on the actor's thread."""

    keep: Callable[[Event], None]


class HttpApi(Actor):
    """Lives in gunicorn's worker. The routes run on other threads of that process and send by its post."""

    def __init__(self, ports: HttpPorts) -> None:
        super().__init__(ports)
        self._keep = ports.keep

    @handles(ConfigChanged)
    @handles(KeysChanged)
    @handles(TargetChanged)
    @handles(DeviceStateChanged)
    def snapshot(self, event: Event) -> None:
        self._keep(event)

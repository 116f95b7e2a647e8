"""Every message that actors of the supervisor exchange, but for the steps, which stand in ``steps``, and those of the
runtime itself, which are in ``runtime``."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.device import Configuration
from balena_supervisor.model.image import ImageState
from balena_supervisor.model.inventory import Inventory
from balena_supervisor.model.lock import AppLock
from balena_supervisor.model.resource import Network, Volume
from balena_supervisor.model.service import Container, ContainerTask, ServiceExit
from balena_supervisor.model.state import DeviceState, EngineLink, Seq
from balena_supervisor.model.target import ServiceKey, TargetState
from balena_supervisor.runtime.message import Action, Command, Event, Query

# --- configuration -------------------------------------------------------------------------------------------------


class ConfigChanged(Event, frozen=True, kw_only=True):
    """From host-config: all configuration values as one snapshot."""

    retained = True
    configuration: Configuration


# --- target --------------------------------------------------------------------------------------------------------


class TargetAccepted(msgspec.Struct, frozen=True):
    """The answer to a stored target: the version under which it is on disk."""

    version: int


class SetLocalTarget(Command[TargetAccepted], frozen=True, kw_only=True):
    """To target-state: validate and store a target in the v2 form of the local API (spec target-state 3).

    ``body`` is the decoded JSON of the request. Answered once it is on disk. Raises ``InvalidTarget``.
    A repeat stores the same target again under a new version.
    """

    body: dict[str, Any]


class SetCloudTarget(Command[TargetAccepted], frozen=True, kw_only=True):
    """To target-state: validate and store a target as the cloud sends it (spec target-state 2).

    ``body`` is the decoded JSON. Answered once it is on disk. Raises ``InvalidTarget``; an app that this device must
    not run is stored as rejected instead. A repeat stores the same target again under a new version.
    """

    body: dict[str, Any]
    force: bool = False


class KeysChanged(Event, frozen=True, kw_only=True):
    """From target-state: all keys of the local API. Published before the target that needs them.

    ``incomplete``: the database is new, and keys that running services have are still to be taken back from them.
    """

    retained = True
    global_key: str
    #: key -> its scopes as stored: [{"type": "global"}] or [{"type": "app", "appId": 1}, ...]
    scopes: dict[str, list[dict[str, Any]]]
    services: tuple[ServiceKey, ...]
    incomplete: bool = False


class KeysFound(Event, frozen=True, kw_only=True):
    """From the planner, while the keys are incomplete: those that the containers on the engine have."""

    services: tuple[ServiceKey, ...]


class TargetChanged(Event, frozen=True, kw_only=True):
    """From target-state: the target in force."""

    retained = True
    target: TargetState


class TargetApplied(Event, frozen=True, kw_only=True):
    """From the planner: nothing is left to do for the target of this version."""

    version: int


# --- orders of users -----------------------------------------------------------------------------------------------


class Order(Action[None], frozen=True, kw_only=True):
    """Base of what a user asks of the planner. Answered when it is done, or with the error that ended it.

    Orders for one app, and those for the device, are carried out one after the other. Raises ``NotFound`` for an app or
    service that is not there, ``Locked`` when a user's update lock stands in the way (then nothing has changed),
    ``OrderEnded`` when it was cancelled, or could not begin while somebody waited for it. ``force`` removes such locks.
    Should the planner end meanwhile, the order is given up and the target is applied.
    """

    force: bool = False


#: how long whoever gives an order waits for its end
ORDER_TIMEOUT_S = 300.0


class AppOrder(Order, frozen=True, kw_only=True):
    """``verb`` is ``restart`` (all containers are made anew as they are) or ``purge`` (with empty volumes)."""

    verb: Literal["restart", "purge"]
    app_id: int


class ServiceOrder(Order, frozen=True, kw_only=True):
    """``verb`` is ``restart``, ``start`` or ``stop``. ``start`` needs no locks.

    What was stopped stays so until it is started or restarted, or the target defines it otherwise; also over a restart
    of the supervisor.
    """

    verb: Literal["restart", "start", "stop"]
    app_id: int
    service_name: str


class DeviceOrder(Order, frozen=True, kw_only=True):
    """``verb`` is ``reboot`` or ``shutdown``. Answered when the locks of all apps are taken; the device goes down a
    second later. ``force`` also overrides a host OS update that is not finished."""

    verb: Literal["reboot", "shutdown"]


class CancelOrder(Command[None], frozen=True, kw_only=True):
    """To the planner: give up an order; what it has done so far is put right by the next apply. A repeat finds none."""

    number: int


class ApplyNow(Command[None], frozen=True, kw_only=True):
    """To the planner: try at once what waits for its next try. With ``force`` locks of others are removed until the
    target is applied. A repeat does the same."""

    force: bool = False


class GoDown(Action[None], frozen=True, kw_only=True):
    """From the planner to host-config: reboot the device or shut it down, a second after this came. Raises
    ``Unavailable`` when the host cannot be asked, or refuses."""

    verb: Literal["reboot", "shutdown"]


# --- pictures of the workers ---------------------------------------------------------------------------------------


class GetSeq(Query[Seq], frozen=True, kw_only=True):
    """To a worker. The answer stands behind every older command: what the worker had been told before is either in
    the published picture of that place, or among its ``busy`` subjects."""


class ImagesChanged(Event, frozen=True, kw_only=True):
    """From images. ``busy`` are the subjects of the steps under way, of whichever planner."""

    retained = True
    seq: Seq
    images: ImageState
    busy: tuple[str, ...] = ()
    engine: EngineLink = EngineLink()


class ContainersChanged(Event, frozen=True, kw_only=True):
    """From containers. ``locks`` are the update locks that are the supervisor's; ``exits`` the last of each service."""

    retained = True
    seq: Seq
    containers: tuple[Container, ...] = ()
    tasks: tuple[ContainerTask, ...] = ()
    locks: tuple[AppLock, ...] = ()
    exits: tuple[ServiceExit, ...] = ()
    busy: tuple[str, ...] = ()
    engine: EngineLink = EngineLink()


class ResourcesChanged(Event, frozen=True, kw_only=True):
    """From resources."""

    retained = True
    seq: Seq
    networks: tuple[Network, ...] = ()
    volumes: tuple[Volume, ...] = ()
    supervisor_network_ready: bool = False
    busy: tuple[str, ...] = ()
    engine: EngineLink = EngineLink()


# --- local mode ----------------------------------------------------------------------------------------------------


class GetInventory(Query[Inventory], frozen=True, kw_only=True):
    """To resources: all that the engine has now."""


class RemoveBeside(Command[None], frozen=True, kw_only=True):
    """To resources: local mode was left. Remove what the engine has now beside ``kept`` and the supervisor's own
    (spec apply-loop 7). What cannot be removed is logged and left. A repeat finds less to remove."""

    kept: Inventory


class ForgetLocalApps(Command[None], frozen=True, kw_only=True):
    """To target-state: local mode was left. Forget the apps of its target. A repeat finds none."""


# --- state ---------------------------------------------------------------------------------------------------------


class DeviceStateChanged(Event, frozen=True, kw_only=True):
    """From the planner: what the API shows. At most 20 a second."""

    retained = True
    state: DeviceState


class GetComposedTarget(Query[tuple[ComposedApp, ...]], frozen=True, kw_only=True):
    """To the planner: the target as it would become containers now."""

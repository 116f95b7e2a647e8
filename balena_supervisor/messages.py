"""Every message that actors of the supervisor exchange (those of the runtime itself are in ``runtime``).

Steps are commands of the planner to a worker. Each has an id, a reason that a person can read, and a *subject*: the
one thing it changes. The planner has at most one step under way for a subject. A worker answers every step with
:class:`StepDone` or :class:`StepFailed`, told to the planner *before* the command is settled.
"""

from __future__ import annotations

from typing import Any

import msgspec

from balena_supervisor.errors import ErrorRecord
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.device import Configuration
from balena_supervisor.model.image import ImageRef, ImageRow, ImageState
from balena_supervisor.model.resource import Network, Volume
from balena_supervisor.model.service import Container, ContainerTask, Service
from balena_supervisor.model.state import DeviceState, EngineLink, Seq, StepId
from balena_supervisor.model.target import ServiceKey, TargetState
from balena_supervisor.runtime.message import Command, Event, Notice, Query

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


# --- steps ---------------------------------------------------------------------------------------------------------


class Step(Command[None], frozen=True, kw_only=True):
    """Base of the steps."""

    step: StepId = StepId()
    reason: str = ""

    @property
    def subject(self) -> str:
        raise NotImplementedError


class ImageStep(Step, frozen=True, kw_only=True):
    """A step that the images actor carries out."""


class PullImage(ImageStep, frozen=True, kw_only=True):
    """Make the image present and save its row. A repeat finds it on the engine and only saves the row."""

    ref: ImageRef

    @property
    def subject(self) -> str:
        return f"image:{self.ref.name}"


class SaveImages(ImageStep, frozen=True, kw_only=True):
    """Tag images that the engine has and save their rows, in one transaction. A repeat finds equal rows."""

    refs: tuple[ImageRef, ...]

    @property
    def subject(self) -> str:
        return "images:rows"


class RemoveImage(ImageStep, frozen=True, kw_only=True):
    """Remove a row and, unless another row has the name, the image by its tags (spec apply-loop 4.7).
    A repeat finds no row: done."""

    row: ImageRow

    @property
    def subject(self) -> str:
        return f"image:{self.row.ref.name}"


class CleanupImages(ImageStep, frozen=True, kw_only=True):
    """Remove images that nothing needs, by id (spec apply-loop 4.8). A repeat finds them gone."""

    image_ids: tuple[str, ...]

    @property
    def subject(self) -> str:
        return "images:cleanup"


class ServiceStep(Step, frozen=True, kw_only=True):
    """A step that the containers actor carries out."""


class StartService(ServiceStep, frozen=True, kw_only=True):
    """Create the container unless an equal one exists, connect its networks, and start it if it shall run.

    ``device_name`` goes into the environment at creation only. With ``renew`` an equal container that never ran is
    created anew first. A repeat finds the container and starts it; one that runs answers 304: done.
    """

    service: Service
    device_name: str = ""
    renew: bool = False

    @property
    def subject(self) -> str:
        return f"service:{self.service.app_id}:{self.service.service_name}"


class ContainerStep(ServiceStep, frozen=True, kw_only=True):
    """A step on a container that exists."""

    container: Container

    @property
    def subject(self) -> str:
        return f"service:{self.container.app_id}:{self.container.service_name}"


class StopService(ContainerStep, frozen=True, kw_only=True):
    """Stop the container and keep it. A repeat answers 304: done."""


class KillService(ContainerStep, frozen=True, kw_only=True):
    """Stop the container and remove it with its anonymous volumes. A repeat answers 404: done."""


class RemoveContainer(ContainerStep, frozen=True, kw_only=True):
    """Remove a dead container. A repeat answers 404: done."""


class UpdateMetadata(ContainerStep, frozen=True, kw_only=True):
    """Rename the container. A repeat finds the name: done. A 404 removes the container by force."""

    name: str


class ResourceStep(Step, frozen=True, kw_only=True):
    """A step that the resources actor carries out."""


class NetworkStep(ResourceStep, frozen=True, kw_only=True):
    network: Network

    @property
    def subject(self) -> str:
        return f"network:{self.network.app_id}:{self.network.name}"


class CreateNetwork(NetworkStep, frozen=True, kw_only=True):
    """A repeat finds an equal one: done. Lists before and after, keeps the oldest of a name."""


class RemoveNetwork(NetworkStep, frozen=True, kw_only=True):
    """Removes all networks of that app and name. A repeat finds none: done."""


class VolumeStep(ResourceStep, frozen=True, kw_only=True):
    volume: Volume

    @property
    def subject(self) -> str:
        return f"volume:{self.volume.app_id}:{self.volume.name}"


class CreateVolume(VolumeStep, frozen=True, kw_only=True):
    """A repeat finds an equal one: done."""


class RemoveVolume(VolumeStep, frozen=True, kw_only=True):
    """A repeat answers 404: done."""


class EnsureSupervisorNetwork(ResourceStep, frozen=True, kw_only=True):
    """Remove a wrong ``supervisor0`` and create the right one. A repeat finds it right: done."""

    @property
    def subject(self) -> str:
        return "network:supervisor0"


class WithdrawSteps(Command[None], frozen=True, kw_only=True):
    """To a worker: a newer target has come. Steps that have not begun are not carried out; each of them is answered
    with :class:`StepFailed` and code ``withdrawn``. What has begun goes on to its end. A repeat finds none waiting."""


class StepDone(Notice, frozen=True, kw_only=True):
    """To the planner. ``seen`` is the place of the worker's picture that already shows the effect."""

    step: StepId
    seen: Seq


class StepFailed(Notice, frozen=True, kw_only=True):
    """To the planner: the step was not carried out, or only in part."""

    step: StepId
    seen: Seq
    error: ErrorRecord


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
    """From containers."""

    retained = True
    seq: Seq
    containers: tuple[Container, ...] = ()
    tasks: tuple[ContainerTask, ...] = ()
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


# --- state ---------------------------------------------------------------------------------------------------------


class DeviceStateChanged(Event, frozen=True, kw_only=True):
    """From the planner: what the API shows. At most 20 a second."""

    retained = True
    state: DeviceState


class GetComposedTarget(Query[tuple[ComposedApp, ...]], frozen=True, kw_only=True):
    """To the planner: the target as it would become containers now."""

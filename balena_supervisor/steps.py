"""Steps: commands of the planner to a worker.

Each has an id, a reason that a person can read, and a *subject*: the one thing it changes. The planner has at most one
step under way for a subject. A worker answers every step with :class:`StepDone` or :class:`StepFailed`, told to the
planner *before* the command is settled.
"""

from __future__ import annotations

from balena_supervisor.errors import ErrorRecord
from balena_supervisor.model.image import ImageRef, ImageRow
from balena_supervisor.model.resource import Network, Volume
from balena_supervisor.model.service import Container, Service
from balena_supervisor.model.state import Seq, StepId
from balena_supervisor.runtime.message import Command, Notice


class Step(Command[None], frozen=True, kw_only=True):
    """Base of the steps. ``fields`` are those in which the target differs, if that is the reason."""

    step: StepId = StepId()
    reason: str = ""
    fields: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        raise NotImplementedError


class ImageStep(Step, frozen=True, kw_only=True):
    """A step that the images actor carries out."""


class PullImage(ImageStep, frozen=True, kw_only=True):
    """Make the image present and save its row. A repeat finds it on the engine and only saves the row.

    ``anew``: the engine has it, but damaged ("layer does not exist"): its names are removed first.
    Fails with code ``no-space`` when there is no room for it.
    """

    ref: ImageRef
    anew: bool = False

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


class HandOver(ContainerStep, frozen=True, kw_only=True):
    """Start the new container beside the old one, wait until it takes over, then stop and remove the old one (spec
    apply-loop 3.11).

    The wait ends with a hand-over file in the folder of the service, a healthy new container, or after ``timeout_s``.
    A repeat finds the new container and waits again.
    """

    service: Service
    timeout_s: float
    device_name: str = ""


class KillService(ContainerStep, frozen=True, kw_only=True):
    """Stop the container and remove it with its anonymous volumes. A repeat answers 404: done."""


class RemoveContainer(ContainerStep, frozen=True, kw_only=True):
    """Remove a dead container. A repeat answers 404: done."""


class UpdateMetadata(ContainerStep, frozen=True, kw_only=True):
    """Rename the container. A repeat finds the name: done. A 404 removes the container by force."""

    name: str


class LockStep(ServiceStep, frozen=True, kw_only=True):
    app_id: int

    @property
    def subject(self) -> str:
        return f"lock:{self.app_id}"


class TakeLocks(LockStep, frozen=True, kw_only=True):
    """Take the update locks of all these services of the app, or none. Fails with code ``locked``.

    ``force`` removes locks of others first. A repeat finds its own locks: done.
    """

    services: tuple[str, ...]
    force: bool = False


class ReleaseLocks(LockStep, frozen=True, kw_only=True):
    """Remove all own lock files of the app. A repeat finds none: done."""


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
    """Removes all networks of that name on the engine. A repeat finds none: done."""


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
    with :class:`StepFailed` and code ``withdrawn``. What has begun goes on to its end; only a hand-over gives up its
    wait, unless its app is ``unchanged`` in the newer target. A repeat finds none waiting."""

    unchanged: tuple[int, ...] = ()


class StepDone(Notice, frozen=True, kw_only=True):
    """To the planner. ``seen`` is the place of the worker's picture that already shows the effect."""

    step: StepId
    seen: Seq


class StepFailed(Notice, frozen=True, kw_only=True):
    """To the planner: the step was not carried out, or only in part."""

    step: StepId
    seen: Seq
    error: ErrorRecord

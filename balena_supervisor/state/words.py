"""Steps in words, for logs, the decision log and the preview."""

from __future__ import annotations

from balena_supervisor.steps import (
    CleanupImages,
    ContainerStep,
    EnsureSupervisorNetwork,
    HandOver,
    KillService,
    LockStep,
    NetworkStep,
    PullImage,
    RemoveContainer,
    RemoveImage,
    SaveImages,
    StartService,
    Step,
    StopService,
    TakeLocks,
    UpdateMetadata,
    VolumeStep,
)

_CONTAINER_VERBS: dict[type[ContainerStep], str] = {
    KillService: "kill",
    RemoveContainer: "remove",
    StopService: "stop",
    UpdateMetadata: "rename",
}


def words_of(step: Step) -> str:
    """A step as an order: ``start web``, ``pull localhost:5000/web:latest``, ``create network front``."""
    match step:
        case StartService():
            return f"{'start' if step.service.running else 'create'} {step.service.service_name}"
        case HandOver():
            return f"hand {step.container.service_name} over to its new container"
        case LockStep():
            return f"{'take' if isinstance(step, TakeLocks) else 'release'} the update locks of app {step.app_id}"
        case UpdateMetadata():
            return f"rename {step.container.service_name} to {step.name}"
        case ContainerStep():
            return f"{_CONTAINER_VERBS[type(step)]} {step.container.service_name}"
        case PullImage():
            return f"pull {step.ref.name}"
        case SaveImages():
            return f"register image of {', '.join(ref.service_name for ref in step.refs)}"
        case RemoveImage():
            return f"remove image {step.row.ref.name}"
        case CleanupImages():
            return f"clean up {len(step.image_ids)} images"
        case NetworkStep():
            return f"{_verb(step)} network {step.network.name}"
        case VolumeStep():
            return f"{_verb(step)} volume {step.volume.name}"
        case EnsureSupervisorNetwork():
            return "make network supervisor0"
        case _:
            raise TypeError(f"no words are known for {type(step).__name__}")


def app_and_service_of(step: Step) -> tuple[int, str]:
    """App id and service name that a step is about; 0 and ``""`` where it has none."""
    match step:
        case StartService():
            return step.service.app_id, step.service.service_name
        case LockStep():
            return step.app_id, ""
        case ContainerStep():
            return step.container.app_id, step.container.service_name
        case PullImage():
            return step.ref.app_id, step.ref.service_name
        case RemoveImage():
            return step.row.ref.app_id, step.row.ref.service_name
        case NetworkStep():
            return step.network.app_id, ""
        case VolumeStep():
            return step.volume.app_id, ""
        case _:
            return 0, ""


def _verb(step: Step) -> str:
    return "create" if type(step).__name__.startswith("Create") else "remove"

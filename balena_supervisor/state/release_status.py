"""How far the services of a release are, as the local API and the reports to the cloud say it (spec apply-loop 2.9)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from balena_supervisor.model.state import AppSummary, ContainerSummary, DeviceState, ImageSummary, ServiceSummary
from balena_supervisor.state.image_name import same_image
from balena_supervisor.state.own_services import is_supervisor_service

HANDING_OVER, AWAITING_HANDOVER = "Handing over", "Awaiting handover"
_RUNNING = frozenset({"Running", HANDING_OVER})
_STANDING_STILL = frozenset({"Installed", "Dead", "exited"})
_IN_MOTION = frozenset({"Installing", "Starting", "Stopping", HANDING_OVER, AWAITING_HANDOVER})


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A service in words of spec target-state 7.3. ``wanted`` is false for one that shall not run."""

    status: str
    image: str
    release_id: int | None = None
    progress: int | None = None
    wanted: bool = True


class ReleaseStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``services`` are those of the release; ``leftovers`` containers of services that it does not have and that still
    run. A rejected app has neither. A release that was given up is ``aborted``."""

    update_status: str
    services: dict[str, ServiceStatus] = {}
    leftovers: tuple[ContainerSummary, ...] = ()


def target_release(app: AppSummary, state: DeviceState) -> ReleaseStatus:
    """The release that an app shall have."""
    if app.rejected:
        return ReleaseStatus(update_status="rejected")
    containers = containers_of(app, state)
    images = [image for image in state.images if image.app_id == app.app_id]
    services = {service.service_name: _target_service(service, app, containers, images) for service in app.services}
    leftovers = tuple(one for one in containers if one.service_name not in services and still_runs(one))
    status = "aborted" if app.bad_release else update_status(services.values(), leftovers=bool(leftovers))
    return ReleaseStatus(
        update_status=status,
        services=services,
        leftovers=leftovers,
    )


def containers_of(app: AppSummary, state: DeviceState) -> list[ContainerSummary]:
    return [container for container in state.containers if container.app_id == app.app_id]


def still_runs(container: ContainerSummary) -> bool:
    return container.status not in _STANDING_STILL


def handing_over(container: ContainerSummary, containers: Iterable[ContainerSummary]) -> str:
    """The status of a container among all of its app: of several releases of a service that run at once, the oldest
    container hands over and the others await it."""
    running = [c for c in containers if c.service_name == container.service_name and c.status in _RUNNING]
    said = [c for c in running if c.status == HANDING_OVER]  # in local mode all releases have one commit
    if container.status not in _RUNNING or (len({c.commit for c in running}) < 2 and not said):
        return container.status
    oldest = min(said or running, key=lambda c: c.created_at)
    return HANDING_OVER if container.container_id == oldest.container_id else AWAITING_HANDOVER


def update_status(services: Iterable[ServiceStatus], *, leftovers: bool = False) -> str:
    """First match of: aborted, downloading, downloaded, applying changes; else done.

    ``done`` means that all run or stand still as wanted. What its restart policy keeps down counts as done.
    """
    services = tuple(services)
    statuses = {service.status for service in services}
    if "Aborted" in statuses:
        return "aborted"
    if "Downloading" in statuses or any(service.progress not in {None, 100} for service in services):
        return "downloading"
    if "Downloaded" in statuses:
        return "downloaded"
    not_started = any(service.wanted and service.status == "Installed" for service in services)
    return "applying changes" if statuses & _IN_MOTION or not_started or leftovers else "done"


def overall_download_progress(images: Iterable[ImageSummary]) -> float | None:
    """The mean over all images with a progress; None when there is none."""
    progresses = [image.progress for image in images if image.progress is not None]
    return sum(progresses) / len(progresses) if progresses else None


def _target_service(
    service: ServiceSummary, app: AppSummary, containers: Sequence[ContainerSummary], images: Sequence[ImageSummary]
) -> ServiceStatus:
    """Container first, then image, then "not begun". A container of another image does not stand for the target."""

    def found(status: str, progress: int | None = None) -> ServiceStatus:
        return ServiceStatus(
            status=status,
            image=service.image_name,
            release_id=app.release_id,
            progress=progress,
            wanted=service.running,
        )

    if is_supervisor_service(app.app_uuid, service.service_name):
        return found("Running")
    own = [c for c in containers if c.service_name == service.service_name]
    present = [c for c in own if _is_of_target(c, service, app, images)]
    if present:
        return found(handing_over(max(present, key=lambda c: c.created_at), own))
    own_images = [
        i for i in images if i.service_name == service.service_name and same_image(i.name, service.image_name)
    ]
    if own_images:
        image = min(own_images, key=lambda i: i.status != "Downloading")
        return found(image.status, image.progress)
    return found("Aborted") if app.bad_release else found("Downloading", 0)


def _is_of_target(
    container: ContainerSummary, service: ServiceSummary, app: AppSummary, images: Sequence[ImageSummary]
) -> bool:
    """What is unknown of the container counts as right; one in the making has neither commit nor image yet.

    One image may have several names, and a container is known by any of them.
    """
    if container.commit and container.commit != app.commit:
        return False
    name = container.image_name
    if not name or name.startswith("sha256:") or same_image(name, service.image_name):
        return True
    ids = {i.docker_image_id for i in images if i.name == name and i.docker_image_id}
    return any(i.docker_image_id in ids for i in images if same_image(i.name, service.image_name))

"""The state of the device as the local API shows it (spec device-api 6.3, 7.6, 7.7).

Every function takes snapshots and gives builtins that are ready for JSON. ``covers`` says whether the caller's key
covers an app id; app id 0 stands for the device as a whole, which only a global key covers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from balena_supervisor.clock import iso
from balena_supervisor.model.state import (
    AppSummary,
    ContainerSummary,
    Decision,
    DeviceState,
    ImageSummary,
    ServiceSummary,
    Waiting,
)
from balena_supervisor.model.target import TargetState

Json = dict[str, Any]
Covers = Callable[[int], bool]

DEVICE = 0
_DIGEST = re.compile(r"@(\w+:[0-9a-fA-F]{32,})$")
_ENGINE_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z")
_IN_MOTION = frozenset({"Installing", "Starting", "Stopping", "Handing over", "Awaiting handover"})


def state_status(
    state: DeviceState, covers: Covers, *, applying: bool, target_version: int, wall_time: Callable[[float], str]
) -> Json:
    """``GET /v2/state/status``. ``applying`` may be true before the planner knows; ``wall_time`` turns a monotonic
    second into ISO text.

    Only the app of the first listed container, or else of the first image, is shown; progress counts all covered
    apps. ``decisions``, ``waiting``, ``targetVersion`` and ``lastError`` are additions to the reference.
    """
    containers = [c for c in state.containers if covers(c.app_id)]
    images = [i for i in state.images if covers(i.app_id)]
    shown = next((app_id for app_id in [*(c.app_id for c in containers), *(i.app_id for i in images)]), None)
    progresses = [i.progress for i in images if i.progress is not None]
    answer: Json = {
        "status": "success",
        "appState": "applying" if applying or state.applying else "applied",
        "overallDownloadProgress": sum(progresses) / len(progresses) if progresses else None,
        "containers": [_container(c) for c in containers if c.app_id == shown],
        "images": [_image(i) for i in images if i.app_id == shown],
    }
    release = state.commits.get(str(shown))
    if release:
        answer["release"] = release
    answer["targetVersion"] = max(target_version, state.target_version)
    answer["waiting"] = [_waiting(w, wall_time) for w in state.waiting if covers(w.app_id)]
    answer["decisions"] = [_decision(d) for d in state.decisions if covers(d.app_id)]
    error = state.last_error if covers(DEVICE) else None
    answer["lastError"] = {"code": error.code, "message": error.message} if error else None
    return answer


def applications_state(state: DeviceState, target: TargetState | None, covers: Covers) -> Json:
    """``GET /v2/applications/state``: by app name. Two apps of one name overwrite each other, as in the reference."""
    return {app.name: _application(app, state) for app in target_apps(state, target) if covers(app.app_id)}


def target_apps(state: DeviceState, target: TargetState | None) -> tuple[AppSummary, ...]:
    """The target apps: of the planner's snapshot, or of a target that is newer than it."""
    if target is None or target.version <= state.target_version:
        return state.apps
    return tuple(
        AppSummary(
            app_id=app.app_id,
            app_uuid=app.app_uuid,
            name=app.name,
            commit=app.commit,
            current_commit=state.commits.get(str(app.app_id)),
            release_id=app.release_id,
            rejected=app.rejected,
            problem=app.rejection,
            services=tuple(
                ServiceSummary(service_name=s.service_name, image_name=s.image, running=s.running) for s in app.services
            ),
        )
        for app in target.apps
    )


def container_ids(state: DeviceState, covers: Covers) -> dict[str, str]:
    """``GET /v2/containerId``: by service name; of two apps with one service name the last one is kept."""
    return {c.service_name: c.container_id for c in state.containers if c.container_id and covers(c.app_id)}


def container_id(state: DeviceState, covers: Covers, service_name: str) -> str | None:
    """The first container of a service among the covered apps."""
    covered = (c for c in state.containers if c.container_id and covers(c.app_id))
    return next((c.container_id for c in covered if c.service_name == service_name), None)


def in_milliseconds(engine_time: str) -> str:
    """The engine's time (nanoseconds, perhaps with an offset) as the API writes it; unreadable text stays."""
    match = _ENGINE_TIME.fullmatch(engine_time)
    if match:
        return f"{match[1]}.{(match[2] or '')[:3]:0<3}Z"
    try:
        return iso(datetime.fromisoformat(engine_time))
    except ValueError:
        return engine_time


def _container(container: ContainerSummary) -> Json:
    answer: Json = {
        "status": container.status,
        "serviceName": container.service_name,
        "appId": container.app_id,
        "imageId": container.image_id,
        "serviceId": container.service_id,
    }
    if container.container_id:
        answer["containerId"] = container.container_id
    if container.created_at:
        answer["createdAt"] = in_milliseconds(container.created_at)
    return answer


def _image(image: ImageSummary) -> Json:
    return {
        "name": image.name,
        "appId": image.app_id,
        "serviceName": image.service_name,
        "imageId": image.image_id,
        "dockerImageId": image.docker_image_id,
        "status": image.status,
        "downloadProgress": image.progress,
    }


def _waiting(waiting: Waiting, wall_time: Callable[[float], str]) -> Json:
    answer: Json = {"subject": waiting.subject, "reason": waiting.reason}
    if waiting.app_id:
        answer["appId"] = waiting.app_id
    if waiting.service_name:
        answer["serviceName"] = waiting.service_name
    if waiting.retry_at is not None:
        answer["retryAt"] = wall_time(waiting.retry_at)
    return answer


def _decision(decision: Decision) -> Json:
    answer: Json = {
        "number": decision.number,
        "at": decision.at,
        "step": decision.step,
        "subject": decision.subject,
        "reason": decision.reason,
        "outcome": decision.outcome,
    }
    if decision.app_id:
        answer["appId"] = decision.app_id
    if decision.service_name:
        answer["serviceName"] = decision.service_name
    if decision.error:
        answer["error"] = decision.error
    return answer


def _application(app: AppSummary, state: DeviceState) -> Json:
    answer: Json = {"appId": app.app_id, "appUuid": app.app_uuid}
    if app.commit:
        answer["commit"] = app.commit
    if app.rejected:
        return {**answer, "updateStatus": "rejected", "services": {}}
    containers = [c for c in state.containers if c.app_id == app.app_id]
    images = [i for i in state.images if i.app_id == app.app_id]
    services = {s.service_name: _target_service(s, app, containers, images) for s in app.services}
    leftovers = {
        c.service_name: _entry(c.status, c.image_name, c.release_id)
        for c in containers
        if c.service_name not in services and c.status not in {"Installed", "Dead", "exited"}
    }
    answer["updateStatus"] = _update_status(app.services, services, leftovers=bool(leftovers))
    answer["services"] = {**leftovers, **services}
    return answer


def _target_service(
    service: ServiceSummary, app: AppSummary, containers: list[ContainerSummary], images: list[ImageSummary]
) -> Json:
    """Container first, then image, then "not begun". A container of another image does not stand for the target."""
    own = [c for c in containers if c.service_name == service.service_name]
    present = [c for c in own if _is_of_target(c, service, app, images)]
    if present:
        newest = max(present, key=lambda c: c.created_at)
        running = {c.commit for c in own if c.status == "Running"}
        status = "Awaiting handover" if newest.status == "Running" and len(running) > 1 else newest.status
        return _entry(status, service.image_name, app.release_id)
    own_images = [
        i for i in images if i.service_name == service.service_name and _same_image(i.name, service.image_name)
    ]
    if own_images:
        image = min(own_images, key=lambda i: i.status != "Downloading")
        return _entry(image.status, service.image_name, app.release_id, image.progress)
    return _entry("Downloading", service.image_name, app.release_id, 0)


def _is_of_target(
    container: ContainerSummary, service: ServiceSummary, app: AppSummary, images: list[ImageSummary]
) -> bool:
    """What is unknown of the container counts as right; one in the making has neither commit nor image yet.

    One image may have several names, and a container is known by any of them.
    """
    if container.commit and container.commit != app.commit:
        return False
    name = container.image_name
    if not name or name.startswith("sha256:") or _same_image(name, service.image_name):
        return True
    ids = {i.docker_image_id for i in images if i.name == name and i.docker_image_id}
    return any(i.docker_image_id in ids for i in images if _same_image(i.name, service.image_name))


def _same_image(one: str, other: str) -> bool:
    digests = [match[1] for match in map(_DIGEST.search, (one, other)) if match]
    return one == other or (len(digests) == 2 and digests[0] == digests[1])


def _entry(status: str, image: str, release_id: int | None, progress: int | None = None) -> Json:
    entry: Json = {"status": status, "image": image}
    if release_id is not None:
        entry["releaseId"] = release_id
    entry["downloadProgress"] = progress
    return entry


def _update_status(targets: Iterable[ServiceSummary], services: dict[str, Json], *, leftovers: bool) -> str:
    """First match of: aborted, downloading, downloaded, applying changes; else done.

    ``done`` means that all run or stand still as wanted. What its restart policy keeps down counts as done.
    """
    statuses = {entry["status"] for entry in services.values()}
    if "Aborted" in statuses:
        return "aborted"
    if any(entry["downloadProgress"] not in {None, 100} for entry in services.values()):
        return "downloading"
    if "Downloading" in statuses:
        return "downloading"
    if "Downloaded" in statuses:
        return "downloaded"
    not_started = any(s.running and services[s.service_name]["status"] == "Installed" for s in targets)
    return "applying changes" if statuses & _IN_MOTION or not_started or leftovers else "done"

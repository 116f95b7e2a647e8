"""The state of the device as the local API shows it (spec device-api 6.3, 7.6, 7.7).

Every function takes snapshots and gives builtins that are ready for JSON. ``covers`` says whether the caller's key
covers an app id; app id 0 stands for the device as a whole, which only a global key covers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
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
from balena_supervisor.state.own_services import is_reported
from balena_supervisor.state.release_status import ServiceStatus, overall_download_progress, target_release
from balena_supervisor.state.subjects import DEVICE

Json = dict[str, Any]
Covers = Callable[[int], bool]

_ENGINE_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z")


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
    answer: Json = {
        "status": "success",
        "appState": "applying" if applying or state.applying else "applied",
        "overallDownloadProgress": overall_download_progress(images),
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
                ServiceSummary(service_name=s.service_name, image_name=s.image, running=s.running)
                for s in app.services
                if is_reported(app, s)
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
    release = target_release(app, state)
    answer: Json = {"appId": app.app_id, "appUuid": app.app_uuid}
    if app.commit:
        answer["commit"] = app.commit
    answer["updateStatus"] = release.update_status
    leftovers = {
        one.service_name: ServiceStatus(status=one.status, image=one.image_name, release_id=one.release_id)
        for one in release.leftovers
    }
    answer["services"] = {name: _service(service) for name, service in {**leftovers, **release.services}.items()}
    return answer


def _service(service: ServiceStatus) -> Json:
    answer: Json = {"status": service.status, "image": service.image}
    if service.release_id is not None:
        answer["releaseId"] = service.release_id
    answer["downloadProgress"] = service.progress
    return answer

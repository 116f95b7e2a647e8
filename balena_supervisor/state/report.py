"""What the cloud is told of a device: the report of format v3, and the older v2 (spec target-state 7).

``device`` are the fields of the device itself under the names of the report: addresses, versions, metrics. All that
is given is sent, but for what never leaves the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from balena_supervisor.model.state import AppSummary, ContainerSummary, DeviceState
from balena_supervisor.state.release_status import (
    HANDING_OVER,
    ServiceStatus,
    containers_of,
    handing_over,
    still_runs,
    target_release,
    update_status,
)

Json = dict[str, Any]

#: for the local API only
_NEVER_SENT = frozenset({"update_pending", "update_failed", "update_downloaded"})
_NOT_IN_V3 = _NEVER_SENT | {"is_on__commit", "name"}
_NOT_IN_LOCAL_MODE = frozenset({"apps", "is_on__commit", "logs_channel"})


def v3_report(state: DeviceState, device: Mapping[str, Any], *, uuid: str, local_mode: bool) -> Json:
    """The whole report of format v3, keyed by the device's uuid. Only apps of the target are in it."""
    fields = {name: value for name, value in device.items() if name not in _NOT_IN_V3}
    fields["apps"] = {app.app_uuid: _app(app, state) for app in state.apps}
    return {uuid: _for_mode(fields, local_mode=local_mode)}


def v2_report(state: DeviceState, device: Mapping[str, Any], *, local_mode: bool) -> Json:
    """The whole report of format v2. Its services are keyed by image id, and apps by app id."""
    fields = {name: value for name, value in device.items() if name not in _NEVER_SENT}
    first = min(state.apps, key=lambda app: app.app_id, default=None)
    if first is not None and first.current_commit and not state.applying:
        fields["is_on__commit"] = first.current_commit
    fields["apps"] = _v2_apps(state)
    report: Json = {"local": _for_mode(fields, local_mode=local_mode)}
    return report if local_mode else {**report, "dependent": {"apps": {}}}


def _for_mode(fields: Json, *, local_mode: bool) -> Json:
    """What runs in local mode is nobody's business but that of the developer."""
    return {name: value for name, value in fields.items() if not (local_mode and name in _NOT_IN_LOCAL_MODE)}


def _app(app: AppSummary, state: DeviceState) -> Json:
    report: Json = {"release_uuid": app.current_commit} if app.current_commit else {}
    releases: dict[str, Json] = {}
    target = target_release(app, state)
    services = dict(target.services)
    if app.commit:
        of_target = (one for one in target.leftovers if one.commit == app.commit and one.image_name)
        services.update({one.service_name: _status_of(one, one.status) for one in of_target})
        releases[app.commit] = _release(target.update_status, services)
    for commit, others in _other_releases(app, state).items():
        releases[commit] = _release(update_status(others.values()), others)
    report["releases"] = releases
    return report


def _other_releases(app: AppSummary, state: DeviceState) -> dict[str, dict[str, ServiceStatus]]:
    """Containers that still run of releases that are not wanted any more; the newest stands for its service. One
    whose image is unknown is not reported."""
    releases: dict[str, dict[str, ServiceStatus]] = {}
    containers = containers_of(app, state)
    for container in sorted(containers, key=lambda c: c.created_at):
        known = container.commit not in {"", app.commit} and container.image_name
        if known and still_runs(container):
            services = releases.setdefault(container.commit, {})
            services[container.service_name] = _status_of(container, handing_over(container, containers))
    return releases


def _status_of(container: ContainerSummary, status: str) -> ServiceStatus:
    return ServiceStatus(status=status, image=container.image_name, release_id=container.release_id)


def _release(status: str, services: Mapping[str, ServiceStatus]) -> Json:
    return {"update_status": status, "services": {name: _service(service) for name, service in services.items()}}


def _service(service: ServiceStatus) -> Json:
    report: Json = {"image": service.image, "status": service.status}
    if service.progress is not None:
        report["download_progress"] = service.progress
    return report


def _v2_apps(state: DeviceState) -> Json:
    apps: dict[str, dict[str, Json]] = {}
    release_ids = {(image.app_id, image.image_id): image.release_id for image in state.images}
    for container in sorted(state.containers, key=lambda c: c.created_at or "~"):  # those in the making last
        services = apps.setdefault(str(container.app_id), {})
        key = str(container.image_id)
        if key in services:
            services[key]["status"] = HANDING_OVER
            continue
        # a container in the making does not know its release yet
        release_id = container.release_id or release_ids.get((container.app_id, container.image_id), 0)
        services[key] = {"status": container.status, "releaseId": release_id, "download_progress": None}
    for image in state.images:
        entry = {"status": image.status, "releaseId": image.release_id, "download_progress": image.progress}
        apps.setdefault(str(image.app_id), {}).setdefault(str(image.image_id), entry)
    return {app_id: {"services": services} for app_id, services in apps.items()}

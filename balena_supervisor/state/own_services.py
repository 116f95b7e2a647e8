"""Services of a target that are not for this supervisor to run (spec target-state 6.4)."""

from __future__ import annotations

from typing import Final

from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state.labels import rewritten

_IMAGE_CLASS = "io.balena.image.class"
_IMAGE_STORE = "io.balena.image.store"

SUPERVISOR_SERVICES: Final = frozenset({"main", "balena-supervisor", "core"})
#: one app for each architecture
SUPERVISOR_APPS: Final = frozenset(
    {
        "52e35121417640b1b28a680504e4039b",  # amd64
        "900de4f3cbac4b9bbd232885a35e407b",  # aarch64
        "2e66a95795c149959c69472a8c2f92b8",  # armv7hf
        "531b357e155c480cbec0fdd33041a1f5",  # i386
        "6822565f766e413e96d9bebe2227cdcc",  # rpi
    }
)


def is_supervisor_service(app_uuid: str, service_name: str) -> bool:
    """Whether a service is the supervisor itself, which only reports of it."""
    return app_uuid in SUPERVISOR_APPS and service_name in SUPERVISOR_SERVICES


def is_reported(app: TargetApp, service: TargetService) -> bool:
    """Whether the state of the device shows a service: those that it runs, and the supervisor itself."""
    return belongs_on_device(app, service) or is_supervisor_service(service.app_uuid, service.service_name)


def belongs_on_device(app: TargetApp, service: TargetService) -> bool:
    """Whether a service becomes a container here. In a host app some are only for the host to use."""
    if is_supervisor_service(service.app_uuid, service.service_name):
        return False
    if not app.is_host:
        return True
    labels = service.labels
    own = service.composition.get("labels")
    if isinstance(own, dict):
        labels = {name: value for name, value in own.items() if isinstance(value, str)} | labels
    labels = rewritten(labels)
    return labels.get(_IMAGE_CLASS, "service") == "service" and labels.get(_IMAGE_STORE, "data") == "data"

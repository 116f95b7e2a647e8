"""Short ways to what the planner tells of an app ``shop`` (1, uuid ``u1``) whose target is release ``new``."""

from __future__ import annotations

from typing import Any

from balena_supervisor.model.state import AppSummary, ContainerSummary, ImageSummary, ServiceSummary

NAME = "registry.example/v2/ab@sha256:" + "1" * 64
SAME = "mirror.example/v2/ab@sha256:" + "1" * 64


def container(service: str = "web", **changes: Any) -> ContainerSummary:
    values: dict[str, Any] = {
        "status": "Running",
        "service_name": service,
        "app_id": 1,
        "app_uuid": "u1",
        "image_id": 10,
        "service_id": 20,
        "release_id": 30,
        "commit": "new",
        "container_id": f"id-{service}",
        "created_at": "2026-01-02T03:04:05.123456789Z",
        "image_name": NAME,
    }
    return ContainerSummary(**{**values, **changes})


def old_container(service: str = "web", **changes: Any) -> ContainerSummary:
    """One of the release before, made a day earlier."""
    values: dict[str, Any] = {
        "commit": "old",
        "release_id": 29,
        "image_id": 9,
        "image_name": "before:1",
        "container_id": f"old-{service}",
        "created_at": "2026-01-01T03:04:05.123456789Z",
    }
    return container(service, **{**values, **changes})


def image(service: str = "web", **changes: Any) -> ImageSummary:
    values: dict[str, Any] = {
        "name": NAME,
        "app_id": 1,
        "app_uuid": "u1",
        "service_name": service,
        "image_id": 10,
        "service_id": 20,
        "release_id": 30,
        "commit": "new",
        "docker_image_id": "sha256:aa",
        "status": "Downloaded",
    }
    return ImageSummary(**{**values, **changes})


def app(*services: ServiceSummary, **changes: Any) -> AppSummary:
    values: dict[str, Any] = {
        "app_id": 1,
        "app_uuid": "u1",
        "name": "shop",
        "commit": "new",
        "current_commit": "old",
        "release_id": 30,
        "services": services,
    }
    return AppSummary(**{**values, **changes})


def service(name: str = "web", *, running: bool = True, image_name: str = NAME) -> ServiceSummary:
    return ServiceSummary(service_name=name, image_name=image_name, running=running)

"""Short ways to a composed service, and from its create body to what the engine would say of the container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.device import Configuration, HostFacts
from balena_supervisor.model.image import ImageDetails
from balena_supervisor.model.service import Container, Service, ServiceConfig
from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state.compose import compose_app
from balena_supervisor.state.create_body import connect_endpoints, create_body
from balena_supervisor.state.read_back import container_from_inspect

UUID = "c0de5a1e00004000b111222233334444"
CONTAINER_ID = "c0ffee000000" + "0" * 52
IMAGE = ImageDetails(id="sha256:4f1e")


def target_service(composition: Mapping[str, Any] | None = None, **changes: Any) -> TargetService:
    fields: dict[str, Any] = {
        "service_name": "web",
        "service_id": 91,
        "image_id": 8080,
        "image": "acme/web:latest",
        "app_id": 4711,
        "app_uuid": UUID,
        "release_id": 77,
        "commit": "5f0e1d2c",
        "composition": dict(composition or {}),
    }
    return TargetService(**{**fields, **changes})


def target_app(*services: TargetService, **changes: Any) -> TargetApp:
    fields: dict[str, Any] = {
        "app_id": 4711,
        "app_uuid": UUID,
        "name": "acme",
        "commit": "5f0e1d2c",
        "release_id": 77,
        "services": services,
        "networks": {"front": {}, "back": {}},
    }
    return TargetApp(**{**fields, **changes})


def composed_app(
    app: TargetApp,
    *,
    image: ImageDetails | None = IMAGE,
    configuration: Configuration | None = None,
    host: HostFacts | None = None,
    key: str = "",
    gateway: str = "10.114.104.1",
) -> ComposedApp:
    return compose_app(
        app,
        configuration or Configuration(),
        host or HostFacts(),
        {} if image is None else {service.image: image for service in app.services},
        {(service.app_id, service.service_name): key for service in app.services} if key else {},
        gateway,
    )


def composed(composition: Mapping[str, Any] | None = None, *, around: Any = None, **changes: Any) -> Service:
    """One service of an app that can be built; ``around`` are arguments of :func:`composed_app`."""
    app = composed_app(target_app(target_service(composition, **changes)), **(around or {}))
    assert app.problem == ""
    return app.services[0]


def config(composition: Mapping[str, Any] | None = None, **changes: Any) -> ServiceConfig:
    return composed(composition, **changes).config


def problem(composition: Mapping[str, Any], **changes: Any) -> str:
    return composed_app(target_app(target_service(composition, **changes))).problem


def inspected(service: Service, **host_config: Any) -> dict[str, Any]:
    """What inspect says of the container of a service, with changes to its host configuration."""
    body = create_body(service, device_name="kiosk-7", instance="", container_ids={"other": "f" * 64})
    main = body["NetworkingConfig"]["EndpointsConfig"]
    return {
        "Id": CONTAINER_ID,
        "Name": f"/{service.container_name}",
        "Created": "2026-01-02T03:04:05.6Z",
        "Image": service.docker_image_id,
        "State": {"Status": "created", "ExitCode": 0},
        "Config": {**body, "Hostname": body["Hostname"] or CONTAINER_ID[:12]},
        "HostConfig": {**body["HostConfig"], **host_config},
        "NetworkSettings": {"Networks": {**main, **connect_endpoints(service)}},
    }


def created(service: Service, **host_config: Any) -> Container:
    """The container of a service, read back."""
    return container_from_inspect(inspected(service, **host_config))

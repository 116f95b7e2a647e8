"""A target app as containers, networks and volumes (spec target-state 10 to 12)."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from balena_supervisor.errors import InvalidComposition
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.device import Configuration, HostFacts
from balena_supervisor.model.image import ImageDetails
from balena_supervisor.model.service import STARTED, Endpoint, Service, ServiceConfig
from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state import labels as label_names
from balena_supervisor.state.coerce import is_truthy
from balena_supervisor.state.compose_command import command
from balena_supervisor.state.compose_fields import canonical, clean_path, depends_on, read_fields
from balena_supervisor.state.compose_healthcheck import healthcheck
from balena_supervisor.state.compose_networks import networking
from balena_supervisor.state.compose_notes import Notes, pairs
from balena_supervisor.state.compose_volumes import image_volumes, lock_volumes, volumes
from balena_supervisor.state.environment import composition_environment, service_environment, without_device_name
from balena_supervisor.state.features import SUPERVISOR_API, Added, Around, check_labels, features
from balena_supervisor.state.names import SUPERVISOR_NETWORK, network_engine_name
from balena_supervisor.state.networks import DEFAULT_NETWORK, compose_network, default_network
from balena_supervisor.state.own_services import belongs_on_device
from balena_supervisor.state.volumes import compose_volume

SUPERVISOR_GATEWAY = "10.114.104.1"


class Surroundings(msgspec.Struct, frozen=True):
    """All that composing one service needs besides its definition. ``networks`` are the short names that exist."""

    app: TargetApp
    networks: AbstractSet[str]
    configuration: Configuration
    host: HostFacts
    image: ImageDetails | None
    key: str | None
    gateway: str = SUPERVISOR_GATEWAY


def compose_app(  # noqa: PLR0917  # callers pass what they have in this order
    app: TargetApp,
    configuration: Configuration,
    host: HostFacts,
    images: Mapping[str, ImageDetails],
    keys: Mapping[tuple[int, str], str],
    supervisor_gateway: str = SUPERVISOR_GATEWAY,
) -> ComposedApp:
    """Compose a whole app. Never raises: an app that cannot be built has ``problem`` set and no components.

    ``images`` maps normalised image names to what the engine says of them, ``keys`` app id and service name to the
    service's API key. Services that do not belong on the device (spec 6.4) are left out.
    """
    composed = ComposedApp(
        app_id=app.app_id,
        app_uuid=app.app_uuid,
        name=app.name,
        commit=app.commit,
        release_id=app.release_id,
        is_host=app.is_host,
        rejected=app.rejected,
        # a rejected app is left alone, but its images count as used
        problem=app.rejection,
    )
    defined = app.networks.keys() | {DEFAULT_NETWORK}
    notes = Notes()
    try:
        services = tuple(
            compose_service(
                service,
                Surroundings(
                    app=app,
                    networks=defined,
                    configuration=configuration,
                    host=host,
                    image=images.get(service.image),
                    key=keys.get((service.app_id, service.service_name)),
                    gateway=supervisor_gateway,
                ),
            )
            for service in app.services
            if belongs_on_device(app, service)
        )
        networks = [compose_network(app, name, definition, notes) for name, definition in app.networks.items()]
        if DEFAULT_NETWORK not in app.networks:
            networks.append(default_network(app, services))
        composed_volumes = tuple(
            compose_volume(app, name, definition, notes) for name, definition in app.volumes.items()
        )
        notes.settle(f"app {app.name} ({app.app_id})")
    except InvalidComposition as error:
        return msgspec.structs.replace(composed, problem=app.rejection or error.message)
    return msgspec.structs.replace(
        composed,
        services=services,
        networks=tuple(networks),
        volumes=composed_volumes,
        warnings=tuple(notes.warnings),
    )


def problems(app: TargetApp) -> list[str]:
    """What stops the app from being built, one line each, with the path in the local target format."""
    defined = app.networks.keys() | {DEFAULT_NETWORK}
    lines: list[str] = []
    for service in app.services:
        around = Surroundings(app, defined, Configuration(), HostFacts(), None, None)
        notes = Notes()
        _compose(service, around, notes)
        prefix = f"apps.{app.app_id}.services.{service.service_id}"
        lines += [f"{prefix}.{path}: {text}" for path, text in notes.violations]
    notes = Notes()
    for name, definition in app.networks.items():
        compose_network(app, name, definition, notes)
    for name, definition in app.volumes.items():
        compose_volume(app, name, definition, notes)
    return lines + [f"apps.{app.app_id}.{path}: {text}" for path, text in notes.violations]


def compose_service(service: TargetService, around: Surroundings) -> Service:
    """Compose one service. Raises ``InvalidComposition`` that names the service and every bad definition."""
    notes = Notes()
    composed = _compose(service, around, notes)
    notes.settle(f"service {service.service_name} of app {around.app.name} ({service.app_id})")
    return composed


def _compose(service: TargetService, around: Surroundings, notes: Notes) -> Service:
    if service.app_id <= 0:
        notes.reject("app_id", "an app id greater than 0", service.app_id)
    known = canonical(service.composition, notes)
    fields = read_fields(known, notes)
    image = around.image or ImageDetails(id="")
    labels = _labels(known, service, image, notes)
    composed = composition_environment("environment", known.get("environment", {}), notes)
    own = service_environment(composed, around.app, service, around.configuration, image.environment)
    net = networking(
        known.get("network_mode"),
        known.get("networks"),
        service_name=service.service_name,
        engine_name=lambda name: network_engine_name(service.app_uuid, name),
        defined=around.networks,
        notes=notes,
    )
    if around.key is None and is_truthy(labels.get(SUPERVISOR_API)):
        notes.warn(f"labels.{SUPERVISOR_API}", "the service has no key to the API yet")
    added = features(labels, Around(net.mode, own, around.configuration, around.host, around.gateway, around.key or ""))
    _add_image_values(fields, known, image, notes)
    fields |= _volumes(known, service, image, added, notes, instance=around.host.instance)
    if net.mode == "host":
        fields.setdefault("hostname", around.configuration.host_name)
    config = ServiceConfig(
        image=image.id or service.image,
        environment=without_device_name({**own, **added.environment}),
        labels=labels,
        network_mode=net.mode,
        networks=net.networks | ({SUPERVISOR_NETWORK: Endpoint()} if added.joins_supervisor_network else {}),
        device_requests=tuple(added.device_requests),
        **fields,
    )
    others = _dependencies(known, around.app, notes)
    if net.depends_on:
        others.setdefault(net.depends_on, STARTED)
    return Service(
        app_id=service.app_id,
        app_uuid=service.app_uuid,
        app_name=around.app.name,
        service_id=service.service_id,
        service_name=service.service_name,
        image_id=service.image_id,
        release_id=service.release_id,
        commit=service.commit,
        image_name=service.image,
        docker_image_id=image.id or None,
        running=service.running,
        depends_on=others,
        config=config,
        warnings=tuple(notes.warnings),
    )


def _labels(known: Mapping[str, Any], service: TargetService, image: ImageDetails, notes: Notes) -> dict[str, str]:
    """Composition < service < supervisor; the image fills what is still free; then legacy names are rewritten."""
    labels = {**pairs("labels", known.get("labels", {}), notes, bare=""), **service.labels}
    labels |= {
        label_names.SUPERVISED: "true",
        label_names.APP_ID: str(service.app_id),
        label_names.SERVICE_ID: str(service.service_id),
        label_names.SERVICE_NAME: service.service_name,
        label_names.APP_UUID: service.app_uuid,
    }
    labels = label_names.without(label_names.rewritten({**image.labels, **labels}), label_names.INSTANCE)
    check_labels(labels, notes)
    return labels


def _add_image_values(fields: dict[str, Any], known: Mapping[str, Any], image: ImageDetails, notes: Notes) -> None:
    """Fill what the composition leaves open from the image.

    The engine puts the image's command in place of an empty one, unless there is an entry point, and takes an entry
    point of one empty word for none. The target says the same, or it would never read back equal.
    """
    given = {name: command(name, known[name], notes) for name in ("command", "entrypoint") if name in known}
    fields["entrypoint"] = given.get("entrypoint", image.entrypoint)
    if fields["entrypoint"] == ("",):
        fields["entrypoint"] = ()
    fields["command"] = given.get("command", image.command)
    if not fields["command"] and not fields["entrypoint"]:
        fields["command"] = image.command
    fields["healthcheck"] = healthcheck("healthcheck", known.get("healthcheck"), image.healthcheck, notes)
    fields["working_dir"] = clean_path(fields.get("working_dir") or image.working_dir)
    fields["user"] = fields.get("user") or image.user
    fields["stop_signal"] = fields.get("stop_signal") or image.stop_signal or "SIGTERM"


def _dependencies(known: Mapping[str, Any], app: TargetApp, notes: Notes) -> dict[str, str]:
    others = depends_on(known["depends_on"], notes) if "depends_on" in known else {}
    if others:
        missing = others.keys() - {service.service_name for service in app.services}
        for name in sorted(missing):
            notes.warn("depends_on", f"{name} is not waited for, as the release does not have it")
    return others


def _volumes(
    known: Mapping[str, Any], service: TargetService, image: ImageDetails, added: Added, notes: Notes, *, instance: str
) -> dict[str, Any]:
    """Image volumes, then those of the composition, then the lock folders, then those of features; each once."""
    short, long = volumes("volumes", known.get("volumes", []), service.app_id, notes)
    locks = lock_volumes(service.app_id, service.service_name, instance)
    return {
        "volumes": tuple(dict.fromkeys((*image_volumes(image.volumes), *short, *locks, *added.binds))),
        "mounts": tuple(dict.fromkeys((*long, *added.mounts))),
    }

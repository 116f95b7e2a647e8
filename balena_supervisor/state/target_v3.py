"""The target state as the cloud sends it, format v3 (spec target-state 2)."""

from __future__ import annotations

from typing import Any

import msgspec

from balena_supervisor.errors import InvalidTarget, InvalidValue
from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state import coerce, image_name
from balena_supervisor.state.contracts import read_requirements
from balena_supervisor.state.violations import MISSING, Path, Violations

APP_CLASSES = ("fleet", "app", "block")

DOCKER_NAME = "a name of letters, digits, _, . and -, a letter or digit first"
ENVIRONMENT_NAME = "a variable name of letters, digits and _, no digit first"
CONFIG_NAME = "a configuration name of letters, digits, _ and :, a letter or _ first"
LABEL_NAME = "a label name of printable ASCII without blanks, quotes and backticks"

#: The fields of a service that have a place of their own in :class:`TargetService`.
SERVICE_FIELDS = frozenset({"id", "image_id", "image", "environment", "labels", "running", "contract", "composition"})


class ParsedTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A target that keeps to the format. ``config`` holds the variables under the names that were given."""

    force: bool = False
    name: str
    config: dict[str, str]
    apps: tuple[TargetApp, ...]


def decode_v3(document: object, *, uuid: str, source: str) -> ParsedTarget:
    """Validate a document keyed by device uuid and take the part of this device.

    ``source`` is written into each app (spec 6.2). Raises ``InvalidTarget`` with all violations, also those of other
    devices, or with another message when the document has nothing for ``uuid``.
    """
    return decode_devices(document, uuid=uuid, source=source, violations=Violations())


def decode_devices(document: object, *, uuid: str, source: str, violations: Violations) -> ParsedTarget:
    """As :func:`decode_v3`; what ``violations`` has found before counts too, and it decides how paths are shown."""
    devices: dict[str, ParsedTarget] = {}
    if not isinstance(document, dict):
        violations.add(("target",), "an object keyed by device uuid", document)
    else:
        for key, value in violations.entries((), document, coerce.is_short_string, "a device uuid"):
            devices[key] = _device(violations, (key,), value, source, own=key == uuid)
    violations.settle()
    if uuid not in devices:
        raise InvalidTarget(f"expected a target state for the local device {uuid or '(it has no uuid yet)'}", uuid=uuid)
    return devices[uuid]


def _device(violations: Violations, path: Path, value: object, source: str, *, own: bool) -> ParsedTarget:
    fields = violations.mapping(path, value)
    name = violations.device_name((*path, "name"), fields.get("name", MISSING))
    config = violations.texts((*path, "config"), fields.get("config", MISSING), coerce.is_config_name, CONFIG_NAME)
    apps_path = (*path, "apps")
    apps = tuple(
        _app(violations, (*apps_path, key), key, app, source, own=own)
        for key, app in violations.entries(
            apps_path, fields.get("apps", MISSING), coerce.is_short_string, "an app uuid"
        )
    )
    return ParsedTarget(name=name, config=config, apps=apps)


def _app(violations: Violations, path: Path, uuid: str, value: object, source: str, *, own: bool) -> TargetApp:
    fields = violations.mapping(path, value)
    if not isinstance(value, dict):
        return TargetApp(app_id=0, app_uuid=uuid, name="")
    app = TargetApp(
        app_id=violations.numeric_id((*path, "id"), fields.get("id", MISSING)),
        app_uuid=uuid,
        name=violations.short_string((*path, "name"), fields.get("name", MISSING)),
        app_class=violations.choice((*path, "class"), _or_default(fields, "class", "fleet"), APP_CLASSES),
        is_host=violations.boolean((*path, "is_host"), fields.get("is_host", False)),
        source=source,
    )
    if "parent_app" in fields:
        violations.short_string((*path, "parent_app"), fields["parent_app"])
    releases_path = (*path, "releases")
    releases = [
        _release(violations, (*releases_path, commit), app, commit, release, own=own)
        for commit, release in violations.entries(
            releases_path, _or_default(fields, "releases", {}), coerce.is_short_string, "a release uuid"
        )
    ]
    return releases[0] if releases else app


def _release(violations: Violations, path: Path, app: TargetApp, commit: str, value: object, *, own: bool) -> TargetApp:
    fields = violations.mapping(path, value)
    if not isinstance(value, dict):
        return app
    release_id = violations.numeric_id((*path, "id"), fields.get("id", MISSING))
    base = TargetService(
        service_name="", service_id=0, image_id=0, image="",
        app_id=app.app_id, app_uuid=app.app_uuid, release_id=release_id, commit=commit,
    )  # fmt: skip
    services_path = (*path, "services")
    return msgspec.structs.replace(
        app,
        commit=commit,
        release_id=release_id,
        services=tuple(
            _service(violations, (*services_path, name), base, name, service, own=own)
            for name, service in violations.entries(
                services_path, _or_default(fields, "services", {}), coerce.is_docker_name, DOCKER_NAME
            )
        ),
        networks=_definitions(violations, (*path, "networks"), _or_default(fields, "networks", {})),
        volumes=_definitions(violations, (*path, "volumes"), _or_default(fields, "volumes", {})),
    )


def _definitions(violations: Violations, path: Path, value: object) -> dict[str, dict[str, Any]]:
    """Volumes or networks. A single one must be an object here, although compose allows null."""
    return {
        name: violations.open_object((*path, name), definition)
        for name, definition in violations.entries(path, value, coerce.is_docker_name, DOCKER_NAME)
    }


def _service(
    violations: Violations, path: Path, base: TargetService, name: str, value: object, *, own: bool
) -> TargetService:
    fields = violations.mapping(path, value)
    if not isinstance(value, dict):
        return base
    return msgspec.structs.replace(
        base,
        service_name=name,
        service_id=violations.numeric_id((*path, "id"), fields.get("id", MISSING)),
        image_id=violations.numeric_id((*path, "image_id"), fields.get("image_id", MISSING)),
        image=_image(violations, (*path, "image"), fields.get("image", MISSING), own=own),
        environment=violations.texts(
            (*path, "environment"), fields.get("environment", MISSING), coerce.is_environment_name, ENVIRONMENT_NAME
        ),
        labels=violations.texts((*path, "labels"), fields.get("labels", MISSING), coerce.is_label_name, LABEL_NAME),
        running=violations.boolean((*path, "running"), _or_default(fields, "running", default=True)),
        contract=_contract(violations, (*path, "contract"), fields.get("contract", MISSING), own=own),
        composition=violations.open_object((*path, "composition"), fields.get("composition", {})),
        extra=violations.open_object(path, {key: entry for key, entry in fields.items() if key not in SERVICE_FIELDS}),
    )


def _image(violations: Violations, path: Path, value: object, *, own: bool) -> str:
    """The stored form of an image name. The reference finds a bad one only while it stores the target, so the
    images of other devices are not looked into."""
    name = violations.short_string(path, value)
    if not own or name is not value:
        return name
    try:
        return image_name.normalise(name)
    except InvalidValue:
        violations.add(path, "an image name ([registry/]name[:tag][@digest])", name)
        return ""


def _contract(violations: Violations, path: Path, value: object, *, own: bool) -> dict[str, Any] | None:
    """A contract, kept as it was written. An array is an object to the reference, one that requires nothing.

    The contracts of other devices are not looked into, like their images.
    """
    if value is MISSING:
        return None
    contract = {} if isinstance(value, list) else violations.open_object(path, value)
    if own and contract is value:
        read_requirements(contract, path, violations)
    return contract


def _or_default(fields: dict[str, Any], name: str, default: object) -> object:
    """A field for which null means the same as absent."""
    value = fields.get(name)
    return default if value is None else value

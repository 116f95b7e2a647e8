"""The environment of a container (spec target-state 11.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from balena_supervisor.model.device import Configuration
from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state.compose_notes import Notes, pairs

#: sent at creation only: renaming a device recreates nothing
DEVICE_NAME_VARIABLES = ("RESIN_DEVICE_NAME_AT_INIT", "BALENA_DEVICE_NAME_AT_INIT")
_HANDOVER_FILE = "/tmp/balena/handover-complete"  # noqa: S108  # the place is a contract
_LOCK_FILE = "/tmp/balena/updates.lock"  # noqa: S108  # the place is a contract


def both(name: str, value: str) -> dict[str, str]:
    """A variable under both prefixes."""
    return {f"RESIN_{name}": value, f"BALENA_{name}": value}


def composition_environment(path: str, value: Any, notes: Notes) -> dict[str, str]:
    """Variables of a composition. A name with ``=`` would read back as another one and is left out."""
    found = pairs(path, value, notes)
    for name in [name for name in found if "=" in name]:
        notes.drop(path, "a name cannot contain =", name)
        del found[name]
    return found


def service_environment(
    composition: Mapping[str, str],
    app: TargetApp,
    service: TargetService,
    configuration: Configuration,
    image: Mapping[str, str],
) -> dict[str, str]:
    """All variables of a service but those of feature labels and the device name; an earlier source wins.

    An overridden name keeps the place of its first setting.
    """
    found = {**composition, **service.environment}
    for name, value in _defaults(app, service, configuration):
        found.setdefault(name, value)
    for name, value in image.items():
        found.setdefault(name, value)
    return without_device_name(found)


def without_device_name(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in DEVICE_NAME_VARIABLES}


def read_environment(lines: Iterable[str] | None) -> dict[str, str]:
    """Variables from the list form of the engine. A line without ``=`` sets nothing and is skipped."""
    return dict(line.split("=", 1) for line in lines or () if "=" in line)


def _defaults(app: TargetApp, service: TargetService, configuration: Configuration) -> list[tuple[str, str]]:
    """What every service gets, in order. What the device does not know of itself is left out."""
    unset_if_empty = {
        "DEVICE_UUID": configuration.uuid,
        "DEVICE_TYPE": configuration.device_type,
        "DEVICE_ARCH": configuration.device_arch,
        "HOST_OS_VERSION": configuration.os_version,
    }
    values = {
        "APP_ID": str(service.app_id),
        "APP_UUID": service.app_uuid,
        "APP_NAME": app.name,
        "SERVICE_NAME": service.service_name,
        **{name: value for name, value in unset_if_empty.items() if value},
        "APP_LOCK_PATH": _LOCK_FILE,
    }
    return [
        *((f"BALENA_{name}", value) for name, value in values.items()),
        ("BALENA", "1"),
        *((f"RESIN_{name}", value) for name, value in values.items()),
        ("RESIN", "1"),
        ("RESIN_SERVICE_KILL_ME_PATH", _HANDOVER_FILE),
        ("BALENA_SERVICE_HANDOVER_COMPLETE_PATH", _HANDOVER_FILE),
        ("USER", "root"),
    ]

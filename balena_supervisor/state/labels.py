"""Labels of containers, networks and volumes (spec target-state 11.1)."""

from __future__ import annotations

from collections.abc import Mapping

SUPERVISED = "io.balena.supervised"
APP_ID = "io.balena.app-id"
APP_UUID = "io.balena.app-uuid"
SERVICE_ID = "io.balena.service-id"
SERVICE_NAME = "io.balena.service-name"
PRIVATE_IPAM = "io.balena.private.ipam.config"
#: set in development and tests, to keep several supervisors on one engine apart; never compared
INSTANCE = "io.balena.supervisor.instance"

_LEGACY = "io.resin."


def rewritten(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels under their present names: ``io.resin.x`` is ``io.balena.x``, unless that one is there already."""
    if not any(name.startswith(_LEGACY) for name in labels):
        return dict(labels)
    return {
        present: value
        for name, value in labels.items()
        if (present := _present_name(name)) == name or present not in labels
    }


def without(labels: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name not in names}


def with_instance(labels: Mapping[str, str], instance: str) -> dict[str, str]:
    """The labels to send to the engine; ``instance`` is empty on devices."""
    return {**labels, INSTANCE: instance} if instance else dict(labels)


def _present_name(name: str) -> str:
    return name.replace("resin", "balena") if name.startswith(_LEGACY) else name

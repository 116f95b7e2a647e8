"""Volumes of apps: from compose, and as the engine takes them (spec target-state 16)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from balena_supervisor.model.resource import Volume, VolumeConfig
from balena_supervisor.model.target import TargetApp
from balena_supervisor.state import labels as label_names
from balena_supervisor.state.compose_notes import Notes, pairs, text

#: what the supervisor itself puts on a volume; never compared
OWN_LABELS = (label_names.SUPERVISED, label_names.APP_UUID, label_names.INSTANCE)


def compose_volume(
    app: TargetApp, name: str, definition: Mapping[str, Any] | None, notes: Notes | None = None
) -> Volume:
    """A volume of an app from its definition.

    Violations go to ``notes``; without it they raise ``InvalidComposition``.
    """
    own = notes or Notes()
    path = f"volumes.{name}"
    known = {field: value for field, value in (definition or {}).items() if value is not None}
    labels = label_names.rewritten(pairs(f"{path}.labels", known.get("labels", {}), own, bare=""))
    config = VolumeConfig(
        driver=text(f"{path}.driver", known.get("driver") or "local", own),
        options=pairs(f"{path}.driver_opts", known.get("driver_opts", {}), own),
        labels=label_names.without(labels, *OWN_LABELS),
    )
    if notes is None:
        own.settle(f"volume {name} of app {app.name} ({app.app_id})")
    return Volume(app_id=app.app_id, app_uuid=app.app_uuid, name=name, config=config)


def volume_body(volume: Volume, instance: str = "") -> dict[str, Any]:
    """The create body of the engine."""
    labels = {**volume.config.labels, label_names.SUPERVISED: "true"}
    if volume.app_uuid:
        labels[label_names.APP_UUID] = volume.app_uuid
    return {
        "Name": volume.engine_name,
        "Driver": volume.config.driver,
        "DriverOpts": volume.config.options,
        "Labels": label_names.with_instance(labels, instance),
    }

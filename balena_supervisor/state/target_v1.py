"""apps.json of single-container devices, format v1, as a document of format v3 (spec target-state 5.2)."""

from __future__ import annotations

from typing import Any

from balena_supervisor.state.violations import MISSING, Violations

#: No cloud knows the uuid of such an app, so all files have the same; several apps collapse into the last one.
APP_UUID = "user-app"

_FEATURES = ("kernel-modules", "firmware", "dbus", "supervisor-api", "resin-api")


def v1_to_v3(apps: list[Any], *, uuid: str) -> dict[str, Any]:
    """The document for this device. Raises ``InvalidTarget`` when an app is no object."""
    violations = Violations()
    config: dict[str, Any] = {}
    converted: dict[str, Any] = {}
    for index, value in enumerate(apps):
        app = violations.mapping((str(index),), value)
        own_config = app.get("config")
        if isinstance(own_config, dict):
            config = _merged(config, own_config)
        converted[APP_UUID] = _app(app, own_config if isinstance(own_config, dict) else {})
    violations.settle()
    return {uuid: {"name": "", "config": config, "apps": converted}}


def _app(app: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    release = {
        "id": 1,
        "services": {"main": _service(app, config)},
        "volumes": {"resin-data": {}},
        "networks": {},
    }
    commit = app.get("commit")
    return {
        "id": app.get("appId", MISSING),
        "name": app.get("name", MISSING),
        "class": "fleet",
        "releases": {commit: release} if isinstance(commit, str) else {},
    }


def _service(app: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    environment = app.get("env")
    if isinstance(environment, dict):
        environment = {name: value for name, value in environment.items() if not name.startswith("RESIN_")}
    labels = {f"io.resin.features.{feature}": "1" for feature in _FEATURES}
    labels["io.resin.update.strategy"] = config.get("RESIN_SUPERVISOR_UPDATE_STRATEGY") or "download-then-kill"
    labels["io.resin.update.handover-timeout"] = config.get("RESIN_SUPERVISOR_HANDOVER_TIMEOUT") or ""
    labels["io.resin.legacy-container"] = "1"
    return {
        "id": 1,
        "image_id": 1,
        "image": app.get("imageId", MISSING),
        "environment": {} if environment is None else environment,
        "labels": labels,
        "running": True,
        "composition": {
            "restart": config.get("RESIN_APP_RESTART_POLICY") or "always",
            "privileged": True,
            "networkMode": "host",
            "volumes": ["resin-data:/data"],
        },
    }


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Both objects in one, nested objects too; the second one wins."""
    result = dict(base)
    for name, value in over.items():
        before = result.get(name)
        result[name] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result

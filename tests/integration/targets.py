"""Targets in the v2 form of the local API."""

from __future__ import annotations

from typing import Any


def target(
    app_id: int,
    services: dict[str, dict[str, Any]],
    *,
    volumes: dict[str, Any] | None = None,
    networks: dict[str, Any] | None = None,
    release: str = "release1",
) -> dict[str, Any]:
    """A body for ``POST /v2/local/target-state`` with one app.

    ``services`` is name -> fields; each needs ``image`` at least, what else is required has a default. The number of
    a service is its place, from 1. The commit is the release with the app id: container names hold the commit and no
    app, and other tests use the engine at the same time.
    """
    numbered = {
        str(number): {
            "serviceName": name,
            "imageId": number,
            "running": True,
            "environment": {},
            "labels": {},
            **fields,
        }
        for number, (name, fields) in enumerate(services.items(), 1)
    }
    app = {
        "name": f"app{app_id}",
        "commit": commit_of(app_id, release),
        "releaseId": 1,
        "services": numbered,
        "volumes": volumes or {},
        "networks": networks or {},
    }
    return {"local": {"name": "tested", "config": {}, "apps": {str(app_id): app}}}


def commit_of(app_id: int, release: str = "release1") -> str:
    return f"{release}-{app_id}"


def no_apps() -> dict[str, Any]:
    """The target of a device that shall run nothing."""
    return {"local": {"name": "tested", "config": {}, "apps": {}}}


def runs(status: dict[str, Any], *services: str) -> bool:
    """Whether an answer of ``GET /v2/state/status`` says that all is applied and exactly these services run."""
    states = {container["serviceName"]: container["status"] for container in status["containers"]}
    return status["appState"] == "applied" and states == dict.fromkeys(services, "Running")

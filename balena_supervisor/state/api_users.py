"""Which services of a target use the local API and need a key for it (spec target-state 12)."""

from __future__ import annotations

from collections.abc import Iterable

from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state.coerce import is_truthy
from balena_supervisor.state.compose_notes import Notes, pairs
from balena_supervisor.state.features import SUPERVISOR_API
from balena_supervisor.state.labels import rewritten


def api_users(apps: Iterable[TargetApp]) -> tuple[tuple[int, str], ...]:
    """App id and service name of each service whose own labels or composition turn the feature on."""
    return tuple(
        (service.app_id, service.service_name) for app in apps for service in app.services if _uses_api(service)
    )


def _uses_api(service: TargetService) -> bool:
    composed = pairs("labels", service.composition.get("labels") or {}, Notes(), bare="")
    return is_truthy(rewritten({**composed, **service.labels}).get(SUPERVISOR_API))

"""Target apps as rows of table ``app`` and back (spec target-state 6.3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from balena_supervisor.errors import InvalidValue
from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state import coerce

_KNOWN_FIELDS = frozenset(
    {
        "image", "environment", "labels", "running", "contract", "composition",
        "appId", "appUuid", "releaseId", "commit", "imageId", "serviceId", "serviceName",
    }
)  # fmt: skip


def service_to_row_json(service: TargetService) -> dict[str, Any]:
    """One entry of column ``services``. Fields that nobody knows are kept, so that a reference supervisor that takes
    over the file finds them."""
    row: dict[str, Any] = {
        **{name: value for name, value in service.extra.items() if name not in _KNOWN_FIELDS},
        "image": service.image,
        "environment": service.environment,
        "labels": service.labels,
        "running": service.running,
    }
    if service.contract is not None:
        row["contract"] = service.contract
    return {
        **row,
        "composition": service.composition,
        "appId": service.app_id,
        "appUuid": service.app_uuid,
        "releaseId": service.release_id,
        "commit": service.commit,
        "imageId": service.image_id,
        "serviceId": service.service_id,
        "serviceName": service.service_name,
    }


def service_from_row_json(row: dict[str, Any]) -> TargetService:
    """Read one entry of column ``services``.

    Rows of 2017 have no ``composition`` and hold its fields beside the others: these go where they belong.
    Raises ``InvalidValue``.
    """
    name = row.get("serviceName")
    image = row.get("image")
    if not isinstance(name, str) or not isinstance(image, str):
        raise InvalidValue("a stored service has no name or no image", field="services")
    unknown = {key: value for key, value in row.items() if key not in _KNOWN_FIELDS}
    flattened = "composition" not in row
    contract = row.get("contract")
    app_id = coerce.to_numeric_id(row.get("appId")) or 0
    return TargetService(
        service_name=name,
        service_id=coerce.to_numeric_id(row.get("serviceId")) or 0,
        image_id=coerce.to_numeric_id(row.get("imageId")) or 0,
        image=image,
        app_id=app_id,
        app_uuid=str(row.get("appUuid") or app_id),
        release_id=coerce.to_numeric_id(row.get("releaseId")) or 0,
        commit=str(row.get("commit") or ""),
        environment=_texts(row.get("environment")),
        labels=_texts(row.get("labels")),
        running=row.get("running") is not False,
        contract=contract if isinstance(contract, dict) else None,
        composition=unknown if flattened else _object(row["composition"]),
        extra={} if flattened else unknown,
    )


def app_to_row(app: TargetApp) -> dict[str, Any]:
    """The columns of an app but ``id``. Without a release its columns are NULL, never what an older target left."""
    return {
        "appId": app.app_id,
        "uuid": app.app_uuid,
        "name": app.name,
        "class": app.app_class,
        "source": app.source,
        "isHost": app.is_host,
        "rejected": app.rejected,
        "releaseId": app.release_id,
        "commit": app.commit,
        "services": _json([service_to_row_json(service) for service in app.services]),
        "networks": _json(app.networks),
        "volumes": _json(app.volumes),
    }


def app_from_row(row: Mapping[str, Any]) -> TargetApp:
    """Read the columns of an app. Raises ``InvalidValue`` that names the app and the column."""
    app_id = coerce.to_numeric_id(row["appId"])
    if app_id is None:
        raise InvalidValue(f"cannot read the stored app {row['name']!r}: it has no id", field="appId")
    services = _column(row, "services")
    if not isinstance(services, list) or not all(isinstance(service, dict) for service in services):
        raise InvalidValue(f"cannot read the stored app {app_id}: column services holds no services", field="services")
    return TargetApp(
        app_id=app_id,
        app_uuid=str(row["uuid"] or app_id),
        name=str(row["name"] or ""),
        app_class=str(row["class"] or "fleet"),
        source=str(row["source"] or ""),
        is_host=bool(row["isHost"]),
        rejected=bool(row["rejected"]),
        commit=row["commit"],
        release_id=row["releaseId"],
        services=tuple(service_from_row_json(service) for service in services),
        networks=_definitions(_column(row, "networks")),
        volumes=_definitions(_column(row, "volumes")),
    )


def _column(row: Mapping[str, Any], column: str) -> Any:
    text = row[column]
    if text is None:
        return [] if column == "services" else {}
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise InvalidValue(
            f"cannot read the stored app {row['appId']}: column {column} is no JSON ({error})", field=column
        ) from error


def _definitions(value: object) -> dict[str, dict[str, Any]]:
    """Volumes or networks; a null entry, as old rows have it, means no settings."""
    return {name: _object(definition) for name, definition in _object(value).items()}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> dict[str, str]:
    """Variables or labels; rows from before the checks may hold numbers."""
    return {
        name: entry if isinstance(entry, str) else json.dumps(entry)
        for name, entry in _object(value).items()
        if entry is not None
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

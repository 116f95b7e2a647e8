"""The composed target as ``GET /v2/local/target-state`` shows it: the v19 shape without keys (spec device-api 7.1).

Clients rely on ``name``, ``config`` and the presence of ``apps`` only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.resource import Network, NetworkConfig, Volume
from balena_supervisor.model.service import Mount, PortBinding, Service, ServiceConfig

Json = dict[str, Any]

#: No answer but that of a key's renewal may hold one (spec device-api, decision D20).
KEY_VARIABLES = frozenset({"BALENA_SUPERVISOR_API_KEY", "BALENA_API_KEY", "RESIN_SUPERVISOR_API_KEY", "RESIN_API_KEY"})

_NAMES = {
    "nano_cpus": "cpus",
    "memory_bytes": "memLimit",
    "memory_reservation_bytes": "memReservation",
    "shm_size_bytes": "shmSize",
    "stop_grace_period_s": "stopGracePeriod",
}


def _camel(name: str) -> str:
    """A field's name without its unit, in camel case."""
    first, *rest = name.removesuffix("_ns").removesuffix("_bytes").split("_")
    return first + "".join(word.capitalize() for word in rest)


#: fields of a configuration and how the answer calls them; mounts stand among the volumes
_ANSWER_NAMES = {
    field: _NAMES.get(field) or _camel(field)
    for field in ServiceConfig.__struct_fields__
    if field not in {"mounts", "volumes"}
}


def local_target(*, name: str, config: dict[str, str], apps: Iterable[ComposedApp], source: str) -> Json:
    """The whole answer. ``config`` is complete already; ``source`` is ``local`` or the API endpoint."""
    return {
        "status": "success",
        "state": {
            "local": {
                "name": name,
                "config": config,
                "apps": {str(app.app_id): _app(app, source) for app in apps},
            },
            "dependent": {"apps": [], "devices": []},
        },
    }


def _app(app: ComposedApp, source: str) -> Json:
    answer: Json = {
        "isTargetState": True,
        "appId": app.app_id,
        "appUuid": app.app_uuid,
        "appName": app.name,
        "source": source,
        "isHost": app.is_host,
        "isRejected": app.rejected,
        "services": [_service(service) for service in app.services],
        "networks": [_network(network) for network in app.networks],
        "volumes": [_volume(volume) for volume in app.volumes],
    }
    if app.commit:
        answer["commit"] = app.commit
    if app.problem:
        answer["problem"] = app.problem
    return answer


def _service(service: Service) -> Json:
    answer: Json = {
        "appId": service.app_id,
        "appUuid": service.app_uuid,
        "imageId": service.image_id,
        "config": {**service_config(service.config), "running": service.running},
        "serviceName": service.service_name,
        "commit": service.commit,
        "releaseId": service.release_id,
        "serviceId": service.service_id,
        "imageName": service.image_name,
        "dependsOn": list(service.depends_on) or None,
    }
    if service.docker_image_id:
        answer["dockerImageId"] = service.docker_image_id
    return answer


def service_config(config: ServiceConfig) -> Json:
    """The configuration of a container under the compose names in camel case; sizes in bytes, times in seconds
    (those of the healthcheck in nanoseconds)."""
    answer: Json = {}
    for field, name in _ANSWER_NAMES.items():
        value = getattr(config, field)
        if value is not None:
            answer[name] = msgspec.to_builtins(value)
    answer["environment"] = {name: value for name, value in config.environment.items() if name not in KEY_VARIABLES}
    answer["healthcheck"] = _camel_keys(msgspec.to_builtins(config.healthcheck))
    answer["networks"] = {
        name: _without_empty(_camel_keys(msgspec.to_builtins(endpoint))) for name, endpoint in config.networks.items()
    }
    answer["ports"] = [_port(port) for port in config.ports]
    answer["volumes"] = [*config.volumes, *(_mount(mount) for mount in config.mounts)]
    answer["devices"] = [
        {"pathOnHost": host, "pathInContainer": inside, "cgroupPermissions": permissions}
        for host, inside, permissions in config.devices
    ]
    answer["ulimits"] = {name: {"soft": soft, "hard": hard} for name, (soft, hard) in config.ulimits.items()}
    return answer


def _network(network: Network) -> Json:
    return {
        "name": network.name,
        "appId": network.app_id,
        "appUuid": network.app_uuid,
        "config": _network_config(network.config),
    }


def _network_config(config: NetworkConfig) -> Json:
    return {
        "driver": config.driver,
        "ipam": {
            "driver": config.ipam_driver,
            "config": [_without_empty(msgspec.to_builtins(pool)) for pool in config.ipam_config],
            "options": config.ipam_options,
        },
        "enableIPv6": config.enable_ipv6,
        "internal": config.internal,
        "configOnly": config.config_only,
        "labels": config.labels,
        "options": config.options,
    }


def _volume(volume: Volume) -> Json:
    config = volume.config
    answer: Json = {
        "name": volume.name,
        "appId": volume.app_id,
        "config": {"driver": config.driver, "driverOpts": config.options, "labels": config.labels},
    }
    if volume.app_uuid:
        answer["appUuid"] = volume.app_uuid
    return answer


def _port(port: PortBinding) -> str:
    address = f"{port.host_ip}:" if port.host_ip else ""
    return f"{address}{port.host_port}:{port.container_port}/{port.protocol}"


def _mount(mount: Mount) -> Json:
    return _without_empty(_camel_keys(msgspec.to_builtins(mount)))


def _camel_keys(value: Json) -> Json:
    return {_camel(key): item for key, item in value.items()}


def _without_empty(value: Json) -> Json:
    return {key: item for key, item in value.items() if item not in ("", (), [], {}, 0, False)}

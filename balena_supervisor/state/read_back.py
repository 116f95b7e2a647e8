"""What the engine says of containers, networks, volumes and images, in our types (spec target-state 13 to 16)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from balena_supervisor.errors import UnreadableObject
from balena_supervisor.model.image import ImageDetails
from balena_supervisor.model.resource import IpamPool, Network, NetworkConfig, Volume, VolumeConfig
from balena_supervisor.model.service import Container, Endpoint, ServiceConfig
from balena_supervisor.state import coerce
from balena_supervisor.state import labels as label_names
from balena_supervisor.state.compose_fields import (
    DEFAULT_IPC,
    DEFAULT_SHM_BYTES,
    clean_path,
    read_tmpfs,
    without_label_options,
)
from balena_supervisor.state.compose_healthcheck import read_healthcheck
from balena_supervisor.state.compose_networks import read_endpoint
from balena_supervisor.state.compose_ports import read_port_bindings
from balena_supervisor.state.compose_volumes import image_volumes, read_mount
from balena_supervisor.state.environment import read_environment, without_device_name
from balena_supervisor.state.names import parse_container_name, parse_network_name, parse_volume_name
from balena_supervisor.state.volumes import OWN_LABELS

_SHORT_ID_LENGTH = 12
_DEFAULT_GRACE_S = 10
_STATUS = {"running": "Running", "created": "Installed", "dead": "Dead"}
_NEVER = "0001-01-01T00:00:00Z"


def container_from_inspect(inspect: Mapping[str, Any]) -> Container:
    """A supervised container. Raises ``UnreadableObject`` when labels or name do not say whose it is."""
    container_id, name = inspect.get("Id") or "", (inspect.get("Name") or "").removeprefix("/")
    config, state = inspect.get("Config") or {}, inspect.get("State") or {}
    labels = label_names.rewritten(config.get("Labels") or {})
    app_id = coerce.to_numeric_id(labels.get(label_names.APP_ID))
    service_id = coerce.to_numeric_id(labels.get(label_names.SERVICE_ID))
    if not app_id or service_id is None:
        missing = label_names.SERVICE_ID if app_id else label_names.APP_ID
        raise UnreadableObject(
            f"cannot read container {name}: label {missing} is {labels.get(missing)!r}", name=name, id=container_id
        )
    named = parse_container_name(name, labels.get(label_names.SERVICE_NAME))
    status = state.get("Status") or ""
    has_ended = status not in {"created", "running", "paused"}
    return Container(
        container_id=container_id,
        name=name,
        app_id=app_id,
        app_uuid=labels.get(label_names.APP_UUID, ""),
        service_id=service_id,
        service_name=named.service_name,
        image_id=named.image_id,
        release_id=named.release_id,
        commit=named.commit,
        status=_STATUS.get(status, status),
        created_at=inspect.get("Created") or "",
        started_at=_time(state.get("StartedAt")),
        finished_at=_time(state.get("FinishedAt")),
        exit_code=state.get("ExitCode") if has_ended else None,
        exit_error=state.get("Error") or "",
        health=(state.get("Health") or {}).get("Status") or "",
        docker_image_id=inspect.get("Image") or "",
        config=_service_config(container_id, config, inspect, label_names.without(labels, label_names.INSTANCE)),
    )


def network_from_inspect(inspect: Mapping[str, Any]) -> Network:
    """A supervised network. Raises ``UnreadableObject`` when name and labels do not say whose it is."""
    labels = label_names.rewritten(inspect.get("Labels") or {})
    name = inspect.get("Name") or ""
    named = parse_network_name(name, labels)
    ipam = inspect.get("IPAM") or {}
    config = NetworkConfig(
        driver=inspect.get("Driver") or "",
        options=inspect.get("Options") or {},
        ipam_driver=ipam.get("Driver") or "default",
        ipam_config=tuple(_pool(pool) for pool in ipam.get("Config") or ()),
        ipam_options=ipam.get("Options") or {},
        enable_ipv6=bool(inspect.get("EnableIPv6")),
        internal=bool(inspect.get("Internal")),
        config_only=bool(inspect.get("ConfigOnly")),
        labels=label_names.without(labels, label_names.SUPERVISED, label_names.INSTANCE),
    )
    return Network(
        app_id=named.app_id,
        app_uuid=named.app_uuid,
        name=named.name,
        config=config,
        engine_name=name,
        engine_id=inspect.get("Id") or "",
        created_at=inspect.get("Created") or "",
    )


def volume_from_inspect(inspect: Mapping[str, Any]) -> Volume | None:
    """A volume, or None when its name is not one of ours. Labels are not required: old volumes have none."""
    named = parse_volume_name(inspect.get("Name") or "")
    if named is None:
        return None
    labels = label_names.rewritten(inspect.get("Labels") or {})
    return Volume(
        app_id=named[0],
        name=named[1],
        app_uuid=labels.get(label_names.APP_UUID, ""),
        config=VolumeConfig(
            driver=inspect.get("Driver") or "local",
            options=inspect.get("Options") or {},
            labels=label_names.without(labels, *OWN_LABELS),
        ),
    )


def image_details_from_inspect(inspect: Mapping[str, Any]) -> ImageDetails:
    """What a service takes over from its image. Raises ``UnreadableObject`` without an id."""
    if not inspect.get("Id"):
        raise UnreadableObject("cannot read an image: it has no id")
    config = inspect.get("Config") or {}
    return ImageDetails(
        id=inspect["Id"],
        command=tuple(config.get("Cmd") or ()),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        environment=read_environment(config.get("Env")),
        labels=config.get("Labels") or {},
        volumes=tuple(config.get("Volumes") or ()),
        user=config.get("User") or "",
        working_dir=config.get("WorkingDir") or "",
        stop_signal=config.get("StopSignal") or "",
        healthcheck=config.get("Healthcheck") or None,
    )


def _service_config(
    container_id: str, config: Mapping[str, Any], inspect: Mapping[str, Any], labels: dict[str, str]
) -> ServiceConfig:
    host = inspect.get("HostConfig") or {}
    hostname = config.get("Hostname") or ""
    if len(hostname) == _SHORT_ID_LENGTH and container_id.startswith(hostname):
        hostname = ""  # the engine's choice, not ours
    restart = host.get("RestartPolicy")
    return ServiceConfig(
        image=config.get("Image") or "",
        command=tuple(config.get("Cmd") or ()),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        working_dir=clean_path(config.get("WorkingDir") or ""),
        user=config.get("User") or "",
        hostname=hostname,
        domainname=config.get("Domainname") or "",
        mac_address=config.get("MacAddress") or "",
        tty=bool(config.get("Tty")),
        stop_signal=config.get("StopSignal") or "SIGTERM",
        stop_grace_period_s=config.get("StopTimeout") or _DEFAULT_GRACE_S,
        environment=without_device_name(read_environment(config.get("Env"))),
        labels=labels,
        healthcheck=read_healthcheck(config.get("Healthcheck")),
        network_mode=host.get("NetworkMode") or "",
        networks=_networks(container_id, inspect),
        ports=read_port_bindings(host.get("PortBindings")),
        volumes=tuple(dict.fromkeys((*(host.get("Binds") or ()), *image_volumes(config.get("Volumes") or ())))),
        mounts=tuple(read_mount(mount) for mount in host.get("Mounts") or ()),
        restart="always" if restart is None else restart.get("Name") or "no",
        init=host["Init"] if isinstance(host.get("Init"), bool) else None,
        privileged=bool(host.get("Privileged")),
        read_only=bool(host.get("ReadonlyRootfs")),
        **_limits(host),
        **_lists(host),
    )


def _limits(host: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and texts of the host configuration. An engine that discards an option says null."""
    return {
        "cgroup_parent": host.get("CgroupParent") or "",
        "nano_cpus": host.get("NanoCpus") or 0,
        "cpu_shares": host.get("CpuShares") or 0,
        "cpu_quota": host.get("CpuQuota") or 0,
        "cpuset": host.get("CpusetCpus") or "",
        "memory_bytes": host.get("Memory") or 0,
        "memory_reservation_bytes": host.get("MemoryReservation") or 0,
        "shm_size_bytes": host.get("ShmSize") or DEFAULT_SHM_BYTES,
        "oom_kill_disable": host.get("OomKillDisable"),
        "oom_score_adj": host.get("OomScoreAdj") or 0,
        "pids_limit": max(0, host.get("PidsLimit") or 0),
        "ipc": host.get("IpcMode") or DEFAULT_IPC,
        "pid": host.get("PidMode") or "",
        "userns_mode": host.get("UsernsMode") or "",
    }


def _lists(host: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "cap_add": tuple(host.get("CapAdd") or ()),
        "cap_drop": tuple(host.get("CapDrop") or ()),
        "devices": tuple(
            (device.get("PathOnHost") or "", device.get("PathInContainer") or "", device.get("CgroupPermissions") or "")
            for device in host.get("Devices") or ()
        ),
        "device_requests": tuple(_device_request(request) for request in host.get("DeviceRequests") or ()),
        "dns": tuple(host.get("Dns") or ()),
        "dns_opt": tuple(host.get("DnsOptions") or ()),
        "dns_search": tuple(host.get("DnsSearch") or ()),
        "extra_hosts": tuple(host.get("ExtraHosts") or ()),
        "group_add": tuple(host.get("GroupAdd") or ()),
        "security_opt": without_label_options(tuple(host.get("SecurityOpt") or ())),
        "sysctls": host.get("Sysctls") or {},
        "tmpfs": read_tmpfs(host.get("Tmpfs") or {}),
        "ulimits": {
            limit.get("Name") or "": (limit.get("Soft", 0), limit.get("Hard", 0)) for limit in host.get("Ulimits") or ()
        },
    }


def _networks(container_id: str, inspect: Mapping[str, Any]) -> dict[str, Endpoint]:
    networks = (inspect.get("NetworkSettings") or {}).get("Networks") or {}
    return {name: read_endpoint(endpoint, container_id) for name, endpoint in networks.items()}


def _device_request(request: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Driver": request.get("Driver") or "",
        "Count": request.get("Count") or 0,
        "DeviceIDs": request.get("DeviceIDs") or [],
        "Capabilities": request.get("Capabilities") or [],
        "Options": request.get("Options") or {},
    }


def _pool(pool: Mapping[str, Any]) -> IpamPool:
    return IpamPool(
        subnet=pool.get("Subnet") or "",
        gateway=pool.get("Gateway") or "",
        ip_range=pool.get("IPRange") or "",
        aux_addresses=pool.get("AuxiliaryAddresses") or {},
    )


def _time(value: str | None) -> str:
    """ISO text; the engine's "never" is empty."""
    return "" if value is None or value == _NEVER else value

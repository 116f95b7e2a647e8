"""A composed service as the engine takes it (spec target-state 10.2, 10.7 and 10.9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from balena_supervisor.errors import InvalidComposition, InvalidValue
from balena_supervisor.model.service import Service, ServiceConfig
from balena_supervisor.state import coerce
from balena_supervisor.state.compose_healthcheck import healthcheck_body
from balena_supervisor.state.compose_networks import endpoint_body, shares_service
from balena_supervisor.state.compose_ports import exposed_ports, port_bindings
from balena_supervisor.state.compose_volumes import anonymous, binds, mount_body
from balena_supervisor.state.environment import DEVICE_NAME_VARIABLES
from balena_supervisor.state.labels import with_instance


def create_body(
    service: Service, *, device_name: str, instance: str, container_ids: Mapping[str, str]
) -> dict[str, Any]:
    """The create body without the name, which is ``service.container_name``.

    ``container_ids`` maps the services of the app to their present containers. Every member is sent, also with its
    default. Raises ``InvalidComposition`` for ``service:x`` without a container of x, or without an app uuid;
    ``InvalidValue`` for a device name that cannot stand in an environment.
    """
    if not coerce.is_device_name(device_name):
        raise InvalidValue(f"cannot create {service.service_name}: the device name is not valid", field="name")
    if not service.app_uuid:
        raise InvalidComposition(f"cannot create {service.service_name}: app {service.app_id} has no uuid")
    config = service.config
    names = [f"{variable}={device_name}" for variable in DEVICE_NAME_VARIABLES]
    return {
        "Image": config.image,
        "Tty": config.tty,
        "Cmd": list(config.command),
        "Entrypoint": list(config.entrypoint),
        "WorkingDir": config.working_dir,
        "User": config.user,
        "Env": [*names, *(f"{name}={value}" for name, value in config.environment.items())],
        "Labels": with_instance(config.labels, instance),
        "Volumes": anonymous(config.volumes),
        "ExposedPorts": exposed_ports(config.ports),
        "NetworkingConfig": {"EndpointsConfig": _main_endpoint(config)},
        "StopSignal": config.stop_signal,
        "StopTimeout": config.stop_grace_period_s,
        "Domainname": config.domainname,
        "Hostname": config.hostname,
        "MacAddress": config.mac_address,
        "Healthcheck": healthcheck_body(config.healthcheck),
        "HostConfig": _host_config(config, _network_mode(service, container_ids)),
    }


def connect_endpoints(service: Service) -> dict[str, dict[str, Any]]:
    """The networks to connect the container to once it exists: engine name to endpoint configuration."""
    return {
        name: endpoint_body(endpoint)
        for name, endpoint in service.config.networks.items()
        if name != service.config.network_mode
    }


def _main_endpoint(config: ServiceConfig) -> dict[str, dict[str, Any]]:
    endpoint = config.networks.get(config.network_mode)
    return {} if endpoint is None else {config.network_mode: endpoint_body(endpoint)}


def _network_mode(service: Service, container_ids: Mapping[str, str]) -> str:
    """The mode with ``service:x`` resolved."""
    mode = service.config.network_mode
    other = shares_service(mode)
    if not other:
        return mode
    if other not in container_ids:
        raise InvalidComposition(
            f"cannot create {service.service_name}: network_mode is {mode}, but there is no container of {other}"
        )
    return f"container:{container_ids[other]}"


def _host_config(config: ServiceConfig, network_mode: str) -> dict[str, Any]:
    body = {
        "NetworkMode": network_mode,
        "Binds": binds(config.volumes),
        "Mounts": [mount_body(mount) for mount in config.mounts],
        "PortBindings": port_bindings(config.ports),
        "RestartPolicy": {"Name": config.restart, "MaximumRetryCount": 0},
        "Memory": config.memory_bytes,
        "MemoryReservation": config.memory_reservation_bytes,
        "ShmSize": config.shm_size_bytes,
        "NanoCpus": config.nano_cpus,
        "CpuShares": config.cpu_shares,
        "CpuQuota": config.cpu_quota,
        "CpusetCpus": config.cpuset,
        "CapAdd": list(config.cap_add),
        "CapDrop": list(config.cap_drop),
        "Devices": [
            {"PathOnHost": host, "PathInContainer": container, "CgroupPermissions": permissions}
            for host, container, permissions in config.devices
        ],
        "DeviceRequests": list(config.device_requests),
        "Dns": list(config.dns),
        "DnsOptions": list(config.dns_opt),
        "DnsSearch": list(config.dns_search),
        "ExtraHosts": list(config.extra_hosts),
        "GroupAdd": list(config.group_add),
        "SecurityOpt": list(config.security_opt),
        "Sysctls": config.sysctls,
        "Ulimits": [{"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in config.ulimits.items()],
        "Tmpfs": config.tmpfs,
        "CgroupParent": config.cgroup_parent,
        "PidMode": config.pid,
        "PidsLimit": config.pids_limit,
        "OomKillDisable": config.oom_kill_disable,
        "OomScoreAdj": config.oom_score_adj,
        "Privileged": config.privileged,
        "ReadonlyRootfs": config.read_only,
        "UsernsMode": config.userns_mode,
        "IpcMode": config.ipc,
    }
    if config.init is not None:
        body["Init"] = config.init
    return body

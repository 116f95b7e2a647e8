"""A service as a container: the normalised configuration on which target and current are compared."""

from __future__ import annotations

from typing import Any

import msgspec

#: what a service may wait for in another (compose, ``depends_on``)
STARTED, HEALTHY, COMPLETED = "service_started", "service_healthy", "service_completed_successfully"
CONDITIONS = (STARTED, HEALTHY, COMPLETED)


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How a service takes part in one network."""

    aliases: tuple[str, ...] = ()
    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local_ips: tuple[str, ...] = ()
    #: read back only; engines from API 1.44 keep the address of a container here
    mac_address: str = ""


class PortBinding(msgspec.Struct, frozen=True, order=True):
    """One published port; ranges are expanded. ``host_ip`` is ``""`` for all addresses."""

    container_port: int
    protocol: str
    host_ip: str
    host_port: int


class Mount(msgspec.Struct, frozen=True, order=True, kw_only=True):
    """A long-form volume, reduced to known, non-default options (spec target-state 10.8)."""

    type: str  # volume | bind | tmpfs
    target: str
    source: str = ""
    read_only: bool = False
    propagation: str = ""
    no_copy: bool = False
    size_bytes: int = 0


class Healthcheck(msgspec.Struct, frozen=True, kw_only=True):
    """0 means unset: the engine's default is used. ``test`` is ``("NONE",)`` when there is no check."""

    test: tuple[str, ...] = ("NONE",)
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    retries: int = 0


class ServiceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Every field of a container that the supervisor sets and compares (spec target-state 10.2 and 14).

    ``environment`` never holds the ``…DEVICE_NAME_AT_INIT`` pair. ``network_mode`` is an engine name, ``host``,
    ``none``, ``bridge``, ``service:<name>`` or, read back, ``container:<id>``.
    """

    image: str = ""
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    hostname: str = ""
    domainname: str = ""
    mac_address: str = ""
    tty: bool = True
    stop_signal: str = "SIGTERM"
    stop_grace_period_s: int = 10
    environment: dict[str, str] = {}
    labels: dict[str, str] = {}
    healthcheck: Healthcheck = Healthcheck()
    network_mode: str = ""
    networks: dict[str, Endpoint] = {}
    ports: tuple[PortBinding, ...] = ()
    volumes: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    restart: str = "always"
    init: bool | None = None
    privileged: bool = False
    read_only: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    cgroup_parent: str = ""
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpuset: str = ""
    memory_bytes: int = 0
    memory_reservation_bytes: int = 0
    shm_size_bytes: int = 64 * 1024 * 1024
    #: None, read back only, from an engine that cannot do it (cgroup v2)
    oom_kill_disable: bool | None = False
    oom_score_adj: int = 0
    pids_limit: int = 0
    devices: tuple[tuple[str, str, str], ...] = ()
    device_requests: tuple[dict[str, Any], ...] = ()
    dns: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()
    ipc: str = "shareable"
    pid: str = ""
    security_opt: tuple[str, ...] = ()
    sysctls: dict[str, str] = {}
    tmpfs: dict[str, str] = {}
    ulimits: dict[str, tuple[int, int]] = {}
    userns_mode: str = ""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A target service, composed and ready to become a container.

    ``docker_image_id`` is None while the engine lacks the image; ``config.image`` is then the name instead of the id,
    and what the image would contribute is missing.
    """

    app_id: int
    app_uuid: str
    app_name: str
    service_id: int
    service_name: str
    image_id: int
    release_id: int
    commit: str
    image_name: str
    docker_image_id: str | None
    running: bool
    #: service -> what must be true of it before this one starts: one of ``CONDITIONS``
    depends_on: dict[str, str]
    config: ServiceConfig
    #: what was dropped or could not be read, one line each
    warnings: tuple[str, ...] = ()
    #: why it does not run when ``running`` is false
    why_stopped: str = "the target says it shall not run"
    #: the target wants it to run, but a user has stopped it
    stopped_by_user: bool = False
    #: made from a container that is there, not from a target: then the engine has its image, whatever the rows say
    as_found: bool = False

    @property
    def container_name(self) -> str:
        return f"{self.service_name}_{self.image_id}_{self.release_id}_{self.commit}"


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """A supervised container as the engine has it, normalised.

    ``status`` is the engine's: Running, Installed (created), Dead, exited, paused, restarting, removing. Transient
    ones stand in :class:`ContainerTask`. Times are ISO text as the engine gives them.
    """

    container_id: str
    name: str
    app_id: int
    app_uuid: str
    service_id: int
    service_name: str
    image_id: int
    release_id: int
    commit: str
    status: str
    created_at: str
    started_at: str = ""
    finished_at: str = ""
    exit_code: int | None = None
    exit_error: str = ""
    health: str = ""
    docker_image_id: str = ""
    config: ServiceConfig = ServiceConfig()


class ServiceExit(msgspec.Struct, frozen=True, kw_only=True):
    """One end of a container's process. ``at`` is ISO text as the engine gives it; ``asked`` means that the supervisor
    had stopped it."""

    app_id: int
    service_name: str
    container_id: str
    at: str
    exit_code: int | None
    out_of_memory: bool = False
    asked: bool = False


class ContainerTask(msgspec.Struct, frozen=True, kw_only=True):
    """Work under way on a service: ``status`` is Installing, Starting, Stopping, Renaming or Handing over.

    ``container_id`` is empty while the container does not exist yet.
    """

    app_id: int
    service_name: str
    status: str
    container_id: str = ""
    image_id: int = 0
    service_id: int = 0

"""What is known of the device: its configuration and the host it runs on."""

from __future__ import annotations

import msgspec


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot of all configuration values that other actors use (spec cloud-and-host 2.3 to 2.5).

    Times are in the unit of the name; an unset text is ``""``.
    """

    version: int = 0
    uuid: str = ""
    name: str = "local"
    api_endpoint: str = ""
    device_api_key: str = ""
    listen_port: int = 48484
    local_mode: bool = False
    provisioned: bool = False
    target_state_set: bool = False
    lock_override: bool = False
    delta: bool = False
    poll_interval_ms: int = 900_000
    device_type: str = "unknown"
    device_arch: str = "unknown"
    os_version: str = ""
    os_variant: str = ""
    #: ``ID`` and ``VERSION`` of os-release
    os_slug: str = ""
    os_release: str = ""
    #: as ``uname`` tells them
    kernel_name: str = ""
    kernel_release: str = ""
    supervisor_version: str = ""
    board_rev: str = ""
    host_name: str = ""
    #: set when ``device-type.json`` could not be read; the reason in words
    device_type_problem: str = ""

    @property
    def managed(self) -> bool:
        return bool(self.api_endpoint)

    @property
    def source(self) -> str:
        """Which rows of table ``app`` are in force (spec target-state 6.2)."""
        return "local" if self.local_mode or not self.api_endpoint else self.api_endpoint


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """What runs the host: name and release, ``Linux`` and ``6.1.2-yocto``."""

    name: str = ""
    release: str = ""


class DeviceType(msgspec.Struct, frozen=True, kw_only=True):
    """What ``device-type.json`` says; ``problem`` is why it could not be read, in words."""

    slug: str = "unknown"
    arch: str = "unknown"
    problem: str = ""


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What composing a service needs to know of the host besides the configuration."""

    has_kernel_modules: bool = False
    has_firmware: bool = False
    docker_socket: str = "/var/run/docker.sock"
    #: set in development and tests only; becomes the label ``io.balena.supervisor.instance``
    instance: str = ""
    #: the kernel's id of this boot; ``""`` when it cannot be read
    boot_id: str = ""

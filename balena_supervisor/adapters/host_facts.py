"""What composing services needs to know of the host."""

from __future__ import annotations

from pathlib import Path

from balena_supervisor.model.device import HostFacts

_OS_UPDATE_MARKS = ("rollback-health-breadcrumb", "rollback-altboot-breadcrumb")


def read_host_facts(root: Path, *, docker_socket: str, instance: str) -> HostFacts:
    """Look below the host's root folder; a feature whose folder the host lacks is left out of services."""
    return HostFacts(
        has_kernel_modules=(root / "lib/modules").is_dir(),
        has_firmware=(root / "lib/firmware").is_dir(),
        docker_socket=docker_socket,
        instance=instance,
        boot_id=_boot_id(),
    )


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def host_update_pending(state: Path) -> bool:
    """Whether an update of the host OS waits to be found healthy: by marks on the state partition."""
    return any((state / mark).exists() for mark in _OS_UPDATE_MARKS)

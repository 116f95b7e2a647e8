"""Small files of the host that say what it is (spec cloud-and-host 2.5 and 8.9)."""

from __future__ import annotations

import json
import os
from pathlib import Path

from balena_supervisor.adapters.safe_file import write_safely
from balena_supervisor.model.device import DeviceType, Kernel


def read_os_release(path: Path) -> dict[str, str]:
    """The lines ``KEY=value`` without their enclosing quotes; empty when the file cannot be read."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found[name.strip()] = _unquoted(value.strip())
    return found


def read_device_type(path: Path) -> DeviceType:
    """Slug and architecture of ``device-type.json``; ``unknown`` with the problem in words when it has none."""
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        return DeviceType(problem=f"cannot read {path}: {error.strerror}")
    except ValueError as error:
        return DeviceType(problem=f"cannot read {path}: it is no JSON ({error})")
    slug = values.get("slug") if isinstance(values, dict) else None
    arch = values.get("arch") if isinstance(values, dict) else None
    if isinstance(slug, str) and isinstance(arch, str):
        return DeviceType(slug=slug, arch=arch)
    return DeviceType(
        slug=slug if isinstance(slug, str) else "unknown",
        arch=arch if isinstance(arch, str) else "unknown",
        problem=f"cannot read {path}: it does not name slug and arch",
    )


def read_host_name(path: Path) -> str:
    """The content of ``/etc/hostname``; ``""`` when it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def read_kernel() -> Kernel:
    """The kernel that this process runs on: a container has that of its host."""
    found = os.uname()
    return Kernel(name=found.sysname, release=found.release)


def write_json(path: Path, value: object) -> None:
    """Write a small file for the host, below a folder that need not exist yet. Raises ``OSError``; then the old
    content stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_safely(path, json.dumps(value).encode())


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return value[1:-1] if quoted else value

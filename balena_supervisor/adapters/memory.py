"""How much memory there is for what runs here."""

from __future__ import annotations

import os
from pathlib import Path

_V1_FILE = "memory.limit_in_bytes"
_V2_FILE = "memory.max"


def memory_bytes(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """The memory of the machine, or what the own cgroup or one above it may have of it."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_limits(proc, groups)])


def _limits(proc: Path, groups: Path) -> list[int]:
    found: list[int] = []
    for line in _text(proc / "self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            place, name = groups, _V2_FILE
        elif "memory" in controllers.split(","):
            place, name = groups / "memory", _V1_FILE
        else:
            continue
        # in a container the path is often that of the host, while the folder shows the own cgroup at its top
        own = place / path.lstrip("/")
        found += [limit for folder in (own, *own.parents) if (limit := _limit(folder / name)) is not None]
    return found


def _limit(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None  # "max": none


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""

"""The memory that counts is that of the machine, or less if the own cgroup is limited."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from balena_supervisor.adapters.memory import memory_bytes

MIB = 1024 * 1024
MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
OWN = "0::/docker/12ab\n"
OWN_V1 = "12:cpu,cpuacct:/docker/12ab\n4:memory:/docker/12ab\n0::/docker/12ab\n"


@pytest.mark.parametrize(
    ("cgroup", "files", "memory"),
    [
        (OWN, {}, MACHINE),
        (OWN, {"docker/12ab/memory.max": "max\n"}, MACHINE),
        (OWN, {"docker/12ab/memory.max": f"{64 * MIB}\n"}, 64 * MIB),
        (OWN, {"docker/memory.max": f"{32 * MIB}\n", "docker/12ab/memory.max": f"{64 * MIB}\n"}, 32 * MIB),
        ("0::/\n", {"memory.max": f"{64 * MIB}\n"}, 64 * MIB),
        (OWN_V1, {"memory/docker/12ab/memory.limit_in_bytes": f"{64 * MIB}\n"}, 64 * MIB),
        (OWN_V1, {"memory/memory.limit_in_bytes": f"{64 * MIB}\n"}, 64 * MIB),
        (OWN_V1, {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, MACHINE),
        ("", {"memory.max": f"{64 * MIB}\n"}, MACHINE),
        ("nonsense\n0::\n", {}, MACHINE),
    ],
    ids=[
        "no limits at all",
        "no limit",
        "a limit",
        "a lower limit above",
        "a container that sees its cgroup as the top one",
        "cgroup v1",
        "cgroup v1 in a container",
        "cgroup v1 without a limit",
        "no cgroups",
        "strange lines",
    ],
)
def test_the_lowest_limit_counts(tmp_path: Path, cgroup: str, files: dict[str, str], memory: int) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    for path, text in {"proc/self/cgroup": cgroup, **{f"groups/{name}": text for name, text in files.items()}}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert memory_bytes(proc, groups) == memory


def test_the_memory_of_this_machine_is_found() -> None:
    assert 0 < memory_bytes() <= MACHINE

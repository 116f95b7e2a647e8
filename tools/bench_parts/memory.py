"""Memory of a process with all its descendants."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def pss_mb(pid: int) -> float:
    """Sum of the proportional set sizes of the process and all its descendants, in units of 1024 kB.

    PSS shares out each page among those that map it, so the sum counts every page of the family once.
    """
    return sum(_pss_kb(member) for member in family(pid)) / 1024


def family(pid: int) -> set[int]:
    """The process and its living descendants."""
    children: dict[int, list[int]] = {}
    for stat in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            # the name may contain spaces and parentheses; the parent is the second field after it
            after_name = stat.read_text().rpartition(")")[2].split()
            children.setdefault(int(after_name[1]), []).append(int(stat.parent.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        member = waiting.pop()
        found.add(member)
        waiting.extend(child for child in children.get(member, []) if child not in found)
    return found


def _pss_kb(pid: int) -> int:
    # a process may end while it is looked at
    with suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0

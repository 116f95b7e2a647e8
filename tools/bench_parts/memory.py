"""Memory of a process with all its descendants."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class Pss(NamedTuple):
    """Proportional set size, in units of 1024 kB: each page is shared out among those that map it.

    ``anonymous`` is the part that no file stands behind. The pages of libraries cost less where another program, such
    as this one, maps them too; the anonymous part is the same with and without it.
    """

    all_mb: float
    anonymous_mb: float


def pss_of_family(pid: int) -> Pss:
    """The sum over the process and all its descendants, which counts every page of theirs once."""
    texts = [_smaps(member) for member in family(pid)]
    return Pss(*(sum(_kb(text, field) for text in texts) / 1024 for field in ("Pss", "Pss_Anon")))


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


def _smaps(pid: int) -> str:
    # a process may end while it is looked at
    with suppress(OSError):
        return (_PROC / str(pid) / "smaps_rollup").read_text()
    return ""


def _kb(smaps: str, field: str) -> int:
    return sum(int(line.split()[1]) for line in smaps.splitlines() if line.startswith(f"{field}:"))

"""What a process with all its descendants uses of the processor and of the disk."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tools.bench_parts.memory import family

_TICKS_IN_S = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """Of one process and of its children that have ended, since it began."""

    name: str
    cpu_s: float
    written_bytes: int

    def since(self, before: Usage) -> Usage:
        return Usage(self.name, self.cpu_s - before.cpu_s, self.written_bytes - before.written_bytes)


def usage_of_family(pid: int) -> dict[int, Usage]:
    """The process and its living descendants; what has ended meanwhile counts for the one that waited for it."""
    found: dict[int, Usage] = {}
    for member in family(pid):
        # a process may end while it is looked at
        with suppress(OSError):
            found[member] = usage(member)
    return found


def usage(pid: int) -> Usage:
    """Raises ``OSError`` when there is no such process."""
    place = Path("/proc", str(pid))
    return read((place / "stat").read_text(), (place / "io").read_text())


def read(stat: str, io: str) -> Usage:
    """From the texts of ``/proc/PID/stat`` and ``io``.

    Written is what has to go to a disk: not what went into a socket, a pipe or a file in memory, and not what was
    cut off before it came to that.
    """
    fields = stat.rpartition(")")[2].split()
    ticks = sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime
    counters = dict(line.split(": ") for line in io.splitlines())
    written = int(counters["write_bytes"]) - int(counters["cancelled_write_bytes"])
    return Usage(stat.partition("(")[2].rpartition(")")[0], ticks / _TICKS_IN_S, written)


def spent(before: dict[int, Usage], after: dict[int, Usage]) -> dict[int, Usage]:
    """The difference for each process; a new one has all of its own."""
    return {pid: use.since(before[pid]) if pid in before else use for pid, use in after.items()}

"""What a process does to itself after a fork, through prctl and /proc. Linux only."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import traceback
from collections.abc import Collection
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent_pid: int) -> None:
    """Be killed when the parent ends; exit at once if that has happened already. From the main thread."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def become_subreaper() -> None:
    """Orphans below this process become its children."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def set_title(name: str) -> None:
    """What ``ps`` and ``top`` show, cut to 15 bytes."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15] + b"\0", 0, 0, 0)


def reset_signals() -> None:
    """Undo the nursery's signal handling.

    SIGTERM and SIGINT, which a shell or Ctrl-C sends to the whole group, are the nursery's business. They are not
    ignored but handled by doing nothing, since a program that is started inherits what is ignored.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def close_all_but(keep: Collection[int]) -> None:
    """Close every inherited descriptor but standard input, output and error, and ``keep``."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(entry.name)
        if descriptor > 2 and descriptor not in keep:
            try:
                os.close(descriptor)
            except OSError:
                continue  # the one that listed the folder


def spare_from_oom(adjustment: int = -500) -> None:
    """Ask the kernel to kill others first; without the right to, go on."""
    try:
        Path("/proc/self/oom_score_adj").write_text(str(adjustment))
    except OSError:
        return


def parent_of(pid: int) -> int:
    """The parent's pid; 0 when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def children_of(pid: int) -> list[int]:
    """The pids of all processes whose parent is ``pid``."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [child for child in pids if parent_of(child) == pid]


def pss_bytes(pid: int) -> int:
    """The proportional share of memory of a process, which takes the kernel a moment; 0 when it cannot be read."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def stacks() -> str:
    """The stack of every thread of this process, also of one that is stuck."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():  # noqa: SLF001  # the documented way
        parts.append(f"Thread {names.get(ident, 'unknown')}:\n{''.join(traceback.format_stack(frame))}")
    return "\n".join(parts)


def how_it_ended(status: int) -> str:
    """The status of ``waitpid`` in words."""
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)}"
    return f"exit code {os.WEXITSTATUS(status)}"

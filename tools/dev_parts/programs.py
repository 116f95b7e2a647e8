"""Programs in the background that outlive the command which started them, and are found again by the next."""

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

#: an output that is longer is begun anew at the next start
_MAX_LOG_BYTES = 1_000_000


class ProgramFailed(Exception):
    """A program ended, or was not ready in time. The message ends with the last lines of its output."""


class Program:
    """One background program with a folder for its record and its output.

    The record holds the process id and the time at which it started, so that a process which got the same number
    later is never taken for it.
    """

    def __init__(self, name: str, folder: Path, prefix: Sequence[str] = ()) -> None:
        self.name = name
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._record = folder / f"{name}.json"
        self.prefix = list(prefix)
        self._child: subprocess.Popen[bytes] | None = None
        self._start_in_log = 0

    def start(
        self,
        arguments: Sequence[str],
        ready: Callable[[], bool],
        *,
        environment: Mapping[str, str] | None = None,
        timeout_s: float = 30,
    ) -> None:
        """Start it and wait until ``ready`` says yes. Raises ``ProgramFailed``; then nothing is left of it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        keep = self.log.exists() and self.log.stat().st_size < _MAX_LOG_BYTES
        with self.log.open("ab" if keep else "wb") as output:
            self._start_in_log = output.tell()
            self._child = subprocess.Popen(
                [*self.prefix, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the command; it stops its programs in order
            )
        pid = self._child.pid
        self._record.write_text(json.dumps({"pid": pid, "started": _started(pid)}))
        try:
            self._wait(ready, timeout_s)
        except BaseException:
            self.stop()
            raise

    def running(self) -> bool:
        return self.pid() is not None

    def pid(self) -> int | None:
        """The process id while it lives."""
        try:
            record = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return None
        if self._child is not None:
            self._child.poll()
        pid = int(record["pid"])
        return pid if record["started"] is not None and _started(pid) == record["started"] else None

    def stop(self, timeout_s: float = 20) -> None:
        """SIGTERM, then SIGKILL after the timeout; harmless when it does not run."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            pid = self.pid()
            if pid is None:
                break
            self._signal(pid, number)
            end = time.monotonic() + timeout_s
            while self.running() and time.monotonic() < end:
                time.sleep(0.05)
        self._record.unlink(missing_ok=True)

    def output(self) -> str:
        """What it has printed since it was started here."""
        try:
            return self.log.read_bytes()[self._start_in_log :].decode(errors="replace")
        except OSError:
            return ""

    def tail(self, lines: int = 15) -> str:
        """The end of its output."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def _signal(self, pid: int, number: signal.Signals) -> None:
        if self.prefix:
            subprocess.run([*self.prefix, "kill", f"-{number.value}", str(pid)], check=False)
        else:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _wait(self, ready: Callable[[], bool], timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while not ready():
            if not self.running():
                raise ProgramFailed(f"{self.name} ended:\n{self.tail()}")
            if time.monotonic() > end:
                raise ProgramFailed(f"{self.name} was not ready after {timeout_s:.0f} s:\n{self.tail()}")
            time.sleep(0.05)


@contextmanager
def shared(program: Program, start: Callable[[], None]) -> Iterator[None]:
    """Use a program that other commands of this checkout may use at the same time.

    Whoever comes first starts it, whoever leaves last stops it. A lock that a process holds ends with the process,
    so a command that was killed leaves a program behind, and the next one takes it over.
    """
    program.folder.mkdir(parents=True, exist_ok=True)
    change = (program.folder / f"{program.name}.change.lock").open("w")
    users = (program.folder / f"{program.name}.users.lock").open("w")
    with change, users:
        fcntl.flock(change, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        if not program.running():
            start()
        fcntl.flock(change, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(change, fcntl.LOCK_EX)
            with suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                program.stop()


def _started(pid: int) -> int | None:
    """Start of the process in clock ticks since boot, None when it is gone or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])

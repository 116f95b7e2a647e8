"""The first process: imports everything once, then only forks and reaps.

It has one thread, always, and no opinion: root says over a socket pair what to fork, and hears who ended and how.
When root dies, all children are killed and reaped and a new root is forked; when the nursery dies, the kernel kills
everything below it. The locks on the folders of the database and of the sockets are inherited by every child on
purpose: they are free when the last one is gone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from balena_supervisor.clock import SystemClock
from balena_supervisor.runtime import nursery_link, output, process
from balena_supervisor.runtime.child_host import run_child
from balena_supervisor.runtime.nursery_link import Channel, channel_pair
from balena_supervisor.runtime.root_loop import run_root
from balena_supervisor.runtime.supervision import Backoff
from balena_supervisor.runtime.table import ChildContext, RuntimeConfig, bind_listener

EXIT_TERMINATED = 143
EXIT_FAILED = 1
#: after so long everything is killed, in seconds; all must be gone after five
_STOP_S = 3.8
#: after killing, how long to wait for the kernel
_KILL_S = 0.5


class _Terminated(Exception):
    """SIGTERM or SIGINT before the loop runs."""


@dataclass(frozen=True)
class _Child:
    name: str
    generation: int
    born_at: float


def run_nursery(config: RuntimeConfig) -> int:
    """Run the supervisor until it is told to stop; the exit code of the program.

    143 after SIGTERM or SIGINT; 1 when it gave up, or could not start.
    """
    nursery = Nursery(config)
    try:
        return nursery.run()
    except _Terminated:
        return EXIT_TERMINATED
    finally:
        nursery.kill_everything()


class Nursery:
    def __init__(self, config: RuntimeConfig) -> None:
        self._config = config
        self._clock = SystemClock()
        self._born_at = self._clock.monotonic()
        self._pid = os.getpid()
        self._locks: set[int] = set()
        self._listener: socket.socket | None = None
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._children: dict[int, _Child] = {}
        self._generations: dict[str, int] = {}
        self._root: _Child | None = None
        self._root_pid = 0
        self._channel: Channel | None = None
        self._root_backoff = Backoff(config.limits)
        self._root_early_deaths = 0
        self._root_start_at: float | None = None
        self._exit_code: int | None = None
        self._kill_at = 0.0

    # --- start -------------------------------------------------------------------------------------------------

    def run(self) -> int:
        signal.signal(signal.SIGTERM, _raise_terminated)
        signal.signal(signal.SIGINT, _raise_terminated)
        process.set_title("sv-nursery")
        process.become_subreaper()
        self._take_lock(self._config.database_dir)
        process.spare_from_oom()
        self._config.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._config.run_dir.chmod(0o700)
        if not self._config.run_dir.samefile(self._config.database_dir):
            self._take_lock(self._config.run_dir)
        self._bind()
        _freeze()
        if not self._prepare():
            return EXIT_FAILED
        self._handle_signals()
        self._start_root()
        return self._loop()

    def _take_lock(self, folder: Path) -> None:
        """Hold a folder that is for one supervisor; a second one waits here and says so."""
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            output.log("warn", "nursery", f"another supervisor holds {folder}, waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        self._locks.add(lock)

    def _bind(self) -> str:
        """Bind the listening socket unless it is; the reason when it cannot be."""
        if self._config.listen is None or self._listener is not None:
            return ""
        address, port = self._config.listen
        try:
            self._listener = bind_listener(address, port)
        except OSError as error:
            cause = "address in use" if error.errno == errno.EADDRINUSE else error.strerror
            return f"cannot listen on port {port}: {cause}"
        return ""

    def _prepare(self) -> bool:
        """Run ``before_start``, before every root, in a child of its own: nothing it opens stays in the nursery."""
        before_start = self._config.before_start
        if before_start is None:
            return True
        pid = self._fork("sv-prepare", lambda: _run_once(before_start), keep=self._locks)
        self._children[pid] = _Child("prepare", 0, self._clock.monotonic())
        _, status = os.waitpid(pid, 0)
        del self._children[pid]
        if status:
            output.log("error", "nursery", "cannot start", how=process.how_it_ended(status))
        return status == 0

    def _prepare_again(self, now: float) -> None:
        """Before a later root; no other child is there, so SIGTERM may end this. What is in the way may go away."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _raise_terminated)
        ready = self._prepare()
        self._handle_signals()
        if ready:
            self._start_root()
        else:
            self._root_failed(now, 0.0, "what has to be done before its start failed")

    def _handle_signals(self) -> None:
        """From now on signals only wake the loop."""
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)

    # --- the loop ----------------------------------------------------------------------------------------------

    def _loop(self) -> int:
        while True:
            self._reap()
            if self._exit_code is not None and not self._children:
                return self._exit_code
            self._do_what_is_due()
            channel = self._channel
            readers: list[int | Channel] = [self._wake_reader]
            writers: list[Channel] = []
            if channel is not None:
                readers.append(channel)
                writers += [channel] if channel.wants_to_write else []
            ready, writable, _ = select.select(readers, writers, [], self._timeout_s())
            if channel is not None and writable:
                channel.flush()
            if self._wake_reader in ready:
                self._hear_signals()
            if channel is not None and channel in ready:
                self._hear_root(channel)

    def _timeout_s(self) -> float | None:
        times = [at for at in (self._root_start_at, self._kill_at or None) if at is not None]
        return max(0.0, min(times) - self._clock.monotonic()) if times else None

    def _hear_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self._wake_reader, 512):
                if number in {signal.SIGTERM, signal.SIGINT}:
                    self._stop(EXIT_TERMINATED)
                elif number == signal.SIGUSR1:
                    self._dump()

    def _do_what_is_due(self) -> None:
        now = self._clock.monotonic()
        if self._kill_at and now >= self._kill_at:
            self._kill_children()
            self._kill_at = now + _KILL_S
        if self._root_start_at is not None and now >= self._root_start_at and not self._children:
            self._prepare_again(now)

    def _stop(self, exit_code: int) -> None:
        if self._exit_code is not None:
            return
        self._exit_code = exit_code
        self._root_start_at = None
        self._kill_at = self._clock.monotonic() + _STOP_S
        if self._channel is not None and self._root is not None:
            self._channel.send(nursery_link.StopAsked())
        else:
            self._kill_children()

    def _dump(self) -> None:
        output.error_text(f"nursery:\n{process.stacks()}")
        if self._channel is not None:
            self._channel.send(nursery_link.DumpAsked())

    # --- root --------------------------------------------------------------------------------------------------

    def _start_root(self) -> None:
        self._root_start_at = None
        ours, theirs = channel_pair()
        generation = self._next_generation("root")
        config, born_at = self._config, self._born_at
        pid = self._fork(
            "sv-root", lambda: run_root(config, theirs, generation, born_at), keep={theirs.fileno(), *self._locks}
        )
        theirs.close()
        self._channel = Channel(ours, nursery_link.FromRoot)
        self._root_pid, self._root = pid, _Child("root", generation, self._clock.monotonic())
        self._children[pid] = self._root

    def _hear_root(self, channel: Channel) -> None:
        for packet in channel.receive():
            if isinstance(packet, nursery_link.StartProcess):
                self._start_process(channel, packet.process)
            elif isinstance(packet, nursery_link.KillProcess):
                self._kill_process(packet)
            elif isinstance(packet, nursery_link.AskStack):
                channel.send(nursery_link.NurseryStack(packet.number, process.stacks()))
            elif isinstance(packet, nursery_link.GiveUp):
                output.log("error", "nursery", "root gave up", reason=packet.reason)
                self._stop(EXIT_FAILED)
                self._kill_children()
        if channel.closed and self._channel is channel:
            self._channel = None
            channel.close()
            self._kill(self._root_pid)

    def _root_ended(self, root: _Child, how: str) -> None:
        """Root is gone and with it all mailboxes: nothing of it may live on beside the new one."""
        self._root, self._root_pid = None, 0
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._kill_children()
        if self._exit_code is not None:
            return
        now = self._clock.monotonic()
        output.log("error", "root", "ended; all actors are started again", how=how)
        self._root_failed(now, now - root.born_at, "ended at start")

    def _root_failed(self, now: float, lived_s: float, how: str) -> None:
        self._root_early_deaths = self._root_early_deaths + 1 if lived_s < self._config.limits.early_s else 0
        if self._root_early_deaths >= self._config.limits.early_deaths:
            output.log("error", "nursery", "gives up", reason=f"root {how}, {self._root_early_deaths} times in a row")
            self._stop(EXIT_FAILED)
            return
        self._root_start_at = now + self._root_backoff.next_delay_s(lived_s)

    # --- children ----------------------------------------------------------------------------------------------

    def _start_process(self, channel: Channel, name: str) -> None:
        rows = self._config.process_rows(name)
        serves = any(row.serve is not None for row in rows)
        if self._exit_code is not None:
            channel.send(nursery_link.NotStarted(name, "the supervisor is stopping"))
            return
        problem = self._bind() if serves else ""
        if problem:
            channel.send(nursery_link.NotStarted(name, problem))
            return
        generation = self._next_generation(name)
        listener = self._listener.fileno() if serves and self._listener is not None else None
        context = ChildContext(name, generation, self._config.socket_path, listener)
        keep = self._locks | ({listener} if listener is not None else set())
        gate_reader, gate_writer = os.pipe2(os.O_CLOEXEC)

        def main() -> None:
            os.read(gate_reader, 1)  # root knows of this child before it says hello
            os.close(gate_reader)
            run_child(context, rows)

        try:
            pid = self._fork(f"sv-{name}", main, keep=keep | {gate_reader})
        except OSError as error:
            channel.send(nursery_link.NotStarted(name, f"cannot fork: {error.strerror}"))
        else:
            self._children[pid] = _Child(name, generation, self._clock.monotonic())
            channel.send(nursery_link.Started(name, pid, generation))
        os.close(gate_reader)
        os.close(gate_writer)

    def _next_generation(self, name: str) -> int:
        """Grows over everything that restarts, root included."""
        self._generations[name] = self._generations.get(name, 0) + 1
        return self._generations[name]

    def _fork(self, title: str, main: Callable[[], object], keep: set[int]) -> int:
        """Fork a child that runs ``main`` and exits. The frames above it stay alive in the child, and with them the
        objects of descriptors that are closed there: none of them is ever collected and closes a stranger's."""
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        code = EXIT_FAILED
        try:
            process.die_with_parent(self._pid)
            process.reset_signals()
            process.close_all_but(keep)
            process.set_title(title)
            main()
            code = 0
        except SystemExit as leaving:  # how gunicorn ends its arbiter and its worker
            code = leaving.code if isinstance(leaving.code, int) else EXIT_FAILED
            output.flush()
        except BaseException as error:  # noqa: BLE001  # nothing may return into the nursery's loop
            output.log("error", title.removeprefix("sv-"), "cannot run", error=f"{type(error).__name__}: {error}")
            output.flush()
        finally:
            os._exit(code)

    def _kill_process(self, order: nursery_link.KillProcess) -> None:
        for pid, child in self._children.items():
            if (child.name, child.generation) == (order.process, order.generation):
                self._kill(pid, order.signal)

    def _reap(self) -> None:
        """Collect all that have ended; pids that are unknown were orphans below a child."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            child = self._children.pop(pid, None)
            if child is None:
                continue
            how = process.how_it_ended(status)
            if child is self._root:
                self._root_ended(child, how)
            elif self._channel is not None:
                self._channel.send(nursery_link.Ended(child.name, child.generation, how))

    def _kill_children(self) -> None:
        for pid in self._children:
            self._kill(pid)

    @staticmethod
    def _kill(pid: int, number: int = signal.SIGKILL) -> None:
        """Only for children that are not reaped yet, so that the pid is theirs."""
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill_everything(self) -> None:
        """At the end: whatever is still below this process, also orphans."""
        if os.getpid() != self._pid:
            return
        for pid in process.children_of(self._pid):
            self._kill(pid)
        if self._channel is not None:
            self._channel.close()
        for descriptor in (self._wake_reader, self._wake_writer):
            os.close(descriptor)


def _freeze() -> None:
    """Make the memory of the imports shared for good. Raises ``RuntimeError`` when something has started a thread:
    a child forked from such a process may hang."""
    if threading.active_count() != 1 or len(list(Path("/proc/self/task").iterdir())) != 1:
        raise RuntimeError(f"cannot fork: there are threads: {threading.enumerate()}")
    gc.collect()
    gc.freeze()


def _run_once(before_start: Callable[[], None]) -> None:
    try:
        before_start()
    except Exception as error:  # noqa: BLE001  # said in one line, then the child's exit code tells
        output.log("error", "start", str(error))
        os._exit(EXIT_FAILED)


def _raise_terminated(*_: object) -> NoReturn:
    raise _Terminated

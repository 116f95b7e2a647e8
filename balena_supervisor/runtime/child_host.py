"""The life of an actor's process: connect to the post office, start the actor, feed it, exit when root is gone.

One thread moves frames between the socket and the actor, so that stacks and heartbeats are answered by the process
even when the actor is stuck. Nobody waits to send: what the socket does not take at once is queued.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import pykka

from balena_supervisor.clock import SystemClock
from balena_supervisor.errors import ErrorRecord, RemoteError, SupervisorError
from balena_supervisor.runtime import output, process, wire
from balena_supervisor.runtime.actor import Ports
from balena_supervisor.runtime.host import ActorHost, on_actor_failure
from balena_supervisor.runtime.table import ActorRow, ChildContext
from balena_supervisor.runtime.timers import ThreadTimers

#: what may wait for a root that does not read, in bytes; then the actor's own sends fail
_MAX_QUEUED_BYTES = 64 * 1024 * 1024
_STOP_S = 2.0
_CATCH_UP_S = 5.0


class RootConnection:
    """The socket to the post office. ``send`` may be called from any thread; ``run`` reads on one."""

    def __init__(self, context: ChildContext) -> None:
        """Raises ``OSError`` when root cannot be reached."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(context.socket_path))
        self._socket.setblocking(False)
        self._reader = wire.FrameReader(wire.ToActor)
        self._lock = threading.Lock()
        self._queue: deque[bytes | memoryview] = deque()
        self._queued_bytes = 0
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def send(self, frame: wire.Frame) -> None:
        """Never waits. Raises ``RemoteError`` with code ``mailbox-full`` when root has not read for long."""
        encoded = wire.encode(frame)
        with self._lock:
            if isinstance(frame, wire.Send) and self._queued_bytes + len(encoded) > _MAX_QUEUED_BYTES:
                raise RemoteError(ErrorRecord("mailbox-full", f"cannot send {frame.type}: root does not read"))
            if self._queue:
                self._enqueue(encoded)
                return
            rest = memoryview(encoded)[self._write(encoded) :]
            if rest:
                self._enqueue(rest)
                os.eventfd_write(self._wake, 1)

    def run(self, receive: Callable[[wire.Frame], None]) -> None:
        """Read until root closes the connection."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        while True:
            writing = select.POLLOUT if self._queue else 0
            poll.register(self._socket, select.POLLIN | writing)
            for descriptor, events in poll.poll():
                if descriptor == self._wake:
                    os.eventfd_read(self._wake)
                    continue
                if events & select.POLLOUT:
                    self._flush()
                if events & ~select.POLLOUT and not self._read(receive):
                    return

    def drain(self, timeout_s: float) -> None:
        """Wait a moment until everything queued is sent."""
        clock = SystemClock()
        end = clock.monotonic() + timeout_s
        while self._queue and (left := end - clock.monotonic()) > 0:
            select.select([], [self._socket], [], left)
            self._flush()

    def _read(self, receive: Callable[[wire.Frame], None]) -> bool:
        try:
            chunk = self._socket.recv(wire.CHUNK_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not chunk:
            return False
        try:
            for frame in self._reader.feed(chunk):
                if isinstance(frame, wire.Frame):
                    receive(frame)
        except wire.MalformedStream:
            return False
        return True

    def _write(self, encoded: bytes | memoryview) -> int:
        try:
            return self._socket.send(encoded)
        except BlockingIOError:
            return 0
        except OSError:
            return len(encoded)  # root is gone; the reader notices and ends the process

    def _enqueue(self, encoded: bytes | memoryview) -> None:
        self._queue.append(encoded)
        self._queued_bytes += len(encoded)

    def _flush(self) -> None:
        with self._lock:
            while self._queue:
                encoded = self._queue.popleft()
                sent = self._write(encoded)
                self._queued_bytes -= sent
                if sent < len(encoded):
                    self._queue.appendleft(memoryview(encoded)[sent:])
                    return


class ChildActor:
    """One actor of this process with its connection."""

    def __init__(self, context: ChildContext, row: ActorRow, timers: ThreadTimers) -> None:
        self._row = row
        self._context = context
        self._connection = RootConnection(context)
        self._clock = SystemClock()
        self._timers = timers
        self.host = ActorHost(row.name, self._connection.send, self._clock, timers, self.end_failed)
        self.actor: pykka.ActorRef[Any] | None = None

    def start(self) -> pykka.ActorRef[Any]:
        """Say hello and start the actor; when it cannot be made, say why and end the process."""
        context = self._context
        self._connection.send(wire.Hello(self._row.name, context.generation))
        on_actor_failure(self._failed)
        ports = Ports(
            name=self._row.name,
            generation=context.generation,
            post=self.host,
            clock=self._clock,
            timers=self._timers,
        )
        if self._row.start is None:
            raise ValueError(f"the row {self._row.name} has no start")
        try:
            self.actor = self._row.start(ports)
        except Exception as error:  # noqa: BLE001  # whatever it is, root shows it
            self._failed(error)
        self.host.attach(self.actor)
        return self.actor

    def run(self) -> NoReturn:
        """Feed the actor until root's connection closes, then end the process."""
        self._connection.run(self._receive)
        end(0)

    def end_failed(self, reason: str) -> NoReturn:
        """Tell root why and end the process."""
        self._connection.send(wire.Failed(reason))
        self._connection.drain(0.5)
        end(1)

    def _failed(self, error: BaseException) -> NoReturn:
        if isinstance(error, SupervisorError):
            output.log("error", self._row.name, error.message)
            self.end_failed(error.message)
        output.log("error", self._row.name, "the actor failed", error=repr(error))
        output.text("".join(traceback.format_exception(error)))
        self.end_failed(f"{type(error).__name__}: {error}")

    def _receive(self, frame: wire.Frame) -> None:
        if isinstance(frame, wire.Stop):
            self._stop()
        elif isinstance(frame, wire.Stack):
            self._connection.send(wire.Stack(frame.number, process.stacks()))
        else:
            self.host.receive(frame)

    def _stop(self) -> NoReturn:
        if self.actor is not None:
            with contextlib.suppress(pykka.Timeout, pykka.ActorDeadError):
                self.actor.stop(timeout=_STOP_S)
        self._connection.drain(0.2)
        end(0)


def end(code: int) -> NoReturn:
    """End this process at once, whatever its threads do."""
    output.flush()
    os._exit(code)


def run_child(context: ChildContext, rows: Sequence[ActorRow]) -> NoReturn:
    """The main function of an actor's process; ``rows`` are the actors that share it."""
    if rows[0].serve is not None:
        rows[0].serve(context)  # it forks, so no thread may exist here
    output.use_thread()
    timers = ThreadTimers(SystemClock())
    first, *others = [_connected(context, row, timers) for row in rows]
    for child in (first, *others):
        child.start()
    for child in others:
        threading.Thread(target=child.run, name=f"post {child.host.name}", daemon=True).start()
    first.run()


def connect_in_thread(context: ChildContext, row: ActorRow) -> pykka.ActorRef[Any]:
    """Become the owner of the mailbox of ``row`` in this process, a worker of the server that got ``context``.

    Starts the actor, feeds it on a background thread, and returns when it has handled all retained events (or after
    5 s). The process ends when root's connection closes.
    """
    output.use_thread()
    child = _connected(context, row, ThreadTimers(SystemClock()))
    actor = child.start()
    threading.Thread(target=child.run, name=f"post {row.name}", daemon=True).start()
    child.host.caught_up.wait(_CATCH_UP_S)
    return actor


def _connected(context: ChildContext, row: ActorRow, timers: ThreadTimers) -> ChildActor:
    try:
        return ChildActor(context, row, timers)
    except OSError as error:
        output.log("error", row.name, "cannot reach root", error=str(error))
        end(1)

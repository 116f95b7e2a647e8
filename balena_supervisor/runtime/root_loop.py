"""Root's process: one loop over the actors' connections and the nursery, feeding the post office.

It decides nothing: what happens to processes goes as facts to the root supervisor, an actor beside it in this
process, whose orders come back as calls (``root_desk.py``).
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import NoReturn, TypeVar

from balena_supervisor.clock import SystemClock
from balena_supervisor.runtime import facts, nursery_link, output, process, wire
from balena_supervisor.runtime.actor import Deliver
from balena_supervisor.runtime.host import ActorHost, on_actor_failure
from balena_supervisor.runtime.message import Notice
from balena_supervisor.runtime.nursery_link import Channel
from balena_supervisor.runtime.post_office import ROOT, PostOffice
from balena_supervisor.runtime.root_desk import Desk
from balena_supervisor.runtime.root_link import ActorLink
from balena_supervisor.runtime.supervision import Lateness
from balena_supervisor.runtime.table import RuntimeConfig
from balena_supervisor.runtime.timers import ThreadTimers

T = TypeVar("T")
_SOCKET_PATH_LIMIT = 107


class _LocalLink:
    """The way to the root supervisor, in this process."""

    def __init__(self) -> None:
        self.host: ActorHost | None = None

    def send(self, frame: wire.Frame) -> None:
        if self.host is not None:
            self.host.receive(frame)


class RootLoop:
    """Runs on the main thread of root's process."""

    def __init__(self, config: RuntimeConfig, channel: Channel, generation: int, born_at: float) -> None:
        self._config = config
        self._nursery = channel
        self._clock = SystemClock()
        subscriptions = {row.name: [event.__name__ for event in row.subscriptions] for row in config.rows}
        self._office = PostOffice(self._clock, {ROOT: [], **subscriptions})
        self._rows = {row.name: row for row in config.rows}
        #: the running processes: name -> (pid, generation)
        self._processes: dict[str, tuple[int, int]] = {}
        self._links: dict[str, ActorLink] = {}
        self._unsent: set[ActorLink] = set()
        self._reported: dict[str, tuple[int, int]] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake, selectors.EVENT_READ, self._woken)
        self._selector.register(channel, selectors.EVENT_READ, self._hear_nursery)
        self._listener = _listen(config)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._lateness = Lateness(config.limits.late_s, self._clock.monotonic())
        self._handlers_checked_at = self._clock.monotonic()
        self._desk = Desk(self.call, self._office, self._links, channel)
        self._start_supervisor(generation, born_at)

    def _start_supervisor(self, generation: int, born_at: float) -> None:
        timers = ThreadTimers(self._clock)
        link = _LocalLink()
        host = ActorHost(ROOT, self._from_supervisor, self._clock, timers, _end_with_supervisor)
        link.host = host
        self._local_link = link
        self._office.attach(ROOT, link)
        ports = facts.RootPorts(
            name=ROOT,
            generation=generation,
            post=host,
            clock=self._clock,
            timers=timers,
            rows=self._config.rows,
            limits=self._config.limits,
            office=self._desk,
            born_at=born_at,
        )
        on_actor_failure(lambda error: _end_with_supervisor(f"{type(error).__name__}: {error}"))
        self._supervisor = self._config.start_root(ports)
        host.attach(self._supervisor)

    # --- the loop ----------------------------------------------------------------------------------------------

    def run(self) -> NoReturn:
        """Until the nursery is gone or the supervisor leaves."""
        while True:
            now = self._clock.monotonic()
            self._office.shift(self._lateness.at(now))
            planned = self._next_due(now)
            self._lateness.waiting_until(planned)
            events = self._selector.select(max(0.0, planned - now))
            self._office.shift(self._lateness.at(self._clock.monotonic()))
            for key, mask in events:
                self._serve(key, mask)
            self._office.tick()
            self._check_handlers()
            self._flush()

    def _flush(self) -> None:
        """Send what this round has queued; what a socket does not take waits until it does."""
        while self._unsent:
            link = self._unsent.pop()
            if link.closed:
                continue
            link.flush()
            if link.wants_to_write:
                self._selector.modify(link, selectors.EVENT_READ | selectors.EVENT_WRITE, link)
        if self._nursery.wants_to_write:
            self._nursery.flush()

    def _serve(self, key: selectors.SelectorKey, mask: int) -> None:
        if isinstance(key.data, ActorLink):
            link = key.data
            if link.closed:
                return
            if mask & selectors.EVENT_WRITE:
                link.flush()
            if mask & selectors.EVENT_READ:
                self._read(link)
            if not link.closed and not link.wants_to_write and mask & selectors.EVENT_WRITE:
                self._selector.modify(link, selectors.EVENT_READ, link)
        else:
            key.data()

    def _next_due(self, now: float) -> float:
        times = [now + 60.0]
        due = self._office.next_due()
        if due is not None:
            times.append(due)
        if self._office.handling():
            times.append(self._handlers_checked_at + self._handler_check_s)
        if self._nursery.wants_to_write:
            times.append(now + 0.1)
        return max(now, min(times))

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Run a function on the loop. From any thread."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except Exception as error:  # noqa: BLE001  # goes to who asked
                future.set_exception(error)

        self._calls.append(run)
        os.eventfd_write(self._wake, 1)
        return future

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        while self._calls:
            self._calls.popleft()()

    def _tell(self, fact: Notice) -> None:
        """Tell the root supervisor a fact."""
        self._supervisor.ask(Deliver(fact, _log_failure), block=False)

    def _from_supervisor(self, frame: wire.Frame) -> None:
        """A frame of the supervisor's own host, from any thread."""

        def take() -> None:
            if isinstance(frame, wire.Ready):
                self._office.ready(ROOT, self._local_link)
            else:
                self._office.received(ROOT, frame)

        self.call(take)

    @property
    def _handler_check_s(self) -> float:
        return self._config.limits.longest_handler_s / 8

    def _check_handlers(self) -> None:
        now = self._clock.monotonic()
        if now < self._handlers_checked_at + self._handler_check_s:
            return
        self._handlers_checked_at = now
        for name, letter in self._office.handling():
            age = now - letter.taken_at
            if age >= self._config.limits.longest_handler_s and self._reported.get(name) != (letter.id, letter.tries):
                self._reported[name] = (letter.id, letter.tries)
                if name != ROOT:
                    self._tell(facts.HandlerOverdue(name=name, message_type=letter.type, age_s=age))

    # --- actors' connections -----------------------------------------------------------------------------------

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            connection, _ = self._listener.accept()
            link = ActorLink(connection, self._unsent)
            self._selector.register(link, selectors.EVENT_READ, link)

    def _read(self, link: ActorLink) -> None:
        try:
            for frame in link.receive():
                self._take(link, frame)
                if link.closed:
                    break
        except wire.MalformedStream as error:
            self._office.malformed(link.name or f"process {link.pid}", str(error))
            self._close(link)
        if link.closed:
            self._close(link)

    def _take(self, link: ActorLink, frame: wire.Frame | wire.MalformedFrame) -> None:
        if isinstance(frame, wire.MalformedFrame):
            self._office.malformed(link.name or f"process {link.pid}", str(frame))
            if not link.name:
                self._close(link)
        elif not link.name:
            self._greet(link, frame)
        elif self._office.received(link.name, frame):
            return
        elif isinstance(frame, wire.Ready):
            self._tell(facts.ActorReady(name=link.name))
            self._office.ready(link.name, link)
        elif isinstance(frame, wire.Beat):
            self._tell(facts.HeartbeatReturned(name=link.name))
        elif isinstance(frame, wire.Failed):
            self._tell(facts.ActorFailed(name=link.name, reason=frame.reason))
        elif isinstance(frame, wire.Stack):
            self._desk.stack_came(frame.number, frame.text)

    def _greet(self, link: ActorLink, frame: wire.Frame) -> None:
        """The first frame of a connection must be the hello of a process that was asked for."""
        problem = "no hello"
        if isinstance(frame, wire.Hello):
            self._hear_nursery()
            problem = self._objection(link, frame)
        if problem or not isinstance(frame, wire.Hello):
            self._office.malformed(f"process {link.pid}", f"refused: {problem}")
            self._close(link)
            return
        former = self._links.get(frame.name)
        if former is not None:
            self._finish(former)
        link.name = frame.name
        self._links[frame.name] = link
        self._office.attach(frame.name, link)
        self._tell(facts.ActorConnected(name=frame.name, pid=link.pid))

    def _objection(self, link: ActorLink, hello: wire.Hello) -> str:
        row = self._rows.get(hello.name)
        if row is None:
            return f"there is no actor {hello.name}"
        pid, generation = self._processes.get(row.process_name, (0, 0))
        if hello.generation != generation:
            return f"generation {hello.generation} of {hello.name}, expected {generation}"
        owner = process.parent_of(link.pid) if row.mailbox_owner_is_a_worker else link.pid
        if owner != pid:
            return f"process {link.pid} is not the owner of the mailbox of {hello.name}"
        former = self._links.get(hello.name)
        if former is not None and former.pid == link.pid:
            return f"a second hello of {hello.name}"
        return ""

    def _finish(self, link: ActorLink) -> None:
        """Its process has ended: take what it had still sent, then let go."""
        while not link.closed:
            before = link.received_bytes
            self._read(link)
            if link.received_bytes == before:
                self._close(link)

    def _close(self, link: ActorLink) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(link)
        link.close()
        if link.name and self._links.get(link.name) is link:
            del self._links[link.name]
            self._office.detach(link.name, link)
            self._tell(facts.ActorLost(name=link.name))

    # --- the nursery -------------------------------------------------------------------------------------------

    def _hear_nursery(self) -> None:
        for packet in self._nursery.receive():
            self._take_packet(packet)
        if self._nursery.closed:
            os._exit(1)

    def _take_packet(self, packet: nursery_link.Packet) -> None:
        if isinstance(packet, nursery_link.Started):
            self._processes[packet.process] = (packet.pid, packet.generation)
            self._tell(
                facts.ProcessStarted(process=packet.process, pid=packet.pid, generation=packet.generation),
            )
        elif isinstance(packet, nursery_link.NotStarted):
            self._tell(facts.ProcessNotStarted(process=packet.process, reason=packet.reason))
        elif isinstance(packet, nursery_link.Ended):
            self._ended(packet)
        elif isinstance(packet, nursery_link.StopAsked):
            self._tell(facts.SupervisorStopping())
        elif isinstance(packet, nursery_link.DumpAsked):
            self._tell(facts.DumpWanted())
        elif isinstance(packet, nursery_link.NurseryStack):
            self._desk.stack_came(packet.number, packet.text)

    def _ended(self, ended: nursery_link.Ended) -> None:
        pid, _ = self._processes.pop(ended.process, (0, 0))
        for link in list(self._links.values()):
            if link.pid == pid:
                self._finish(link)
        self._tell(facts.ProcessEnded(process=ended.process, generation=ended.generation, how=ended.how))


def _log_failure(_: object, error: Exception | None) -> None:
    if error is not None:
        output.log("error", ROOT, "a fact could not be handled", error=repr(error))


def _end_with_supervisor(reason: str) -> None:
    output.log("error", ROOT, "the root supervisor is gone", reason=reason)
    output.flush()
    os._exit(1)


def _listen(config: RuntimeConfig) -> socket.socket:
    """The socket of the post office, for this user only: 0600 in a folder of 0700."""
    path = config.socket_path
    if len(str(path)) > _SOCKET_PATH_LIMIT:
        raise ValueError(f"cannot listen on {path}: the path is longer than {_SOCKET_PATH_LIMIT} bytes")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    former = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(former)
    listener.listen(128)
    listener.setblocking(False)
    return listener


def run_root(config: RuntimeConfig, channel_end: socket.socket, generation: int, born_at: float) -> NoReturn:
    """The main function of root's process."""
    output.use_thread()
    process.spare_from_oom()
    RootLoop(config, Channel(channel_end, nursery_link.FromNursery), generation, born_at).run()

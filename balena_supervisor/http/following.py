"""Clients that go on at once: their connections are served by one thread at a time.

To hand a connection to the server's poller and to take it back costs more than most answers, and threads that run at
once only take the interpreter from each other. So a thread that has answered watches all connections that were just
answered, and serves them one by one, until none goes on for a moment. Another takes its place before it waits for
something (:func:`will_wait`), or when it is held up all the same.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from balena_supervisor.clock import Clock

#: how long a client has to go on, in seconds
_MOMENT_S = 0.02
#: for how long connections are kept from the server's own poller, which ends idle ones
_LONGEST_S = 1.0
#: how long one request may hold up the others
BUSY_S = 0.01
_NEXT = select.EPOLLIN | select.EPOLLONESHOT


class Socket(Protocol):
    def fileno(self) -> int: ...


class Connection(Protocol):
    """What is followed; gunicorn's connections are so."""

    @property
    def sock(self) -> Socket: ...


C = TypeVar("C", bound=Connection)


_here = threading.local()


def will_wait() -> None:
    """Called by a request before it waits, for an actor or its client: others need not wait with it."""
    hand_over: Callable[[], None] | None = getattr(_here, "hand_over", None)
    if hand_over is not None:
        hand_over()


class _Leader:
    """The thread that serves; ``busy_since`` is when its present request began."""

    busy_since: float | None = None


class Following(Generic[C]):
    """``handle`` serves one request of a connection that is readable and says whether the client may go on.
    ``give_back`` gets a connection and that answer when it is followed no more. ``start`` runs something on another
    thread. ``leads`` is called when a thread begins to serve; from then on :meth:`relieve` is to be called often."""

    def __init__(
        self,
        clock: Clock,
        *,
        handle: Callable[[C], bool],
        give_back: Callable[[C, bool], None],
        start: Callable[[Callable[[], None]], object],
        leads: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._handle = handle
        self._give_back = give_back
        self._start = start
        self._leads = leads
        self._epoll = select.epoll()
        self._lock = threading.Lock()
        self._connections: dict[int, C] = {}
        self._leader: _Leader | None = None

    @property
    def active(self) -> bool:
        return self._leader is not None

    def follow(self, connection: C) -> None:
        """Take over a connection that was just answered. Serves, if no thread does, and returns when all is quiet."""
        me = _Leader()
        with self._lock:
            self._connections[connection.sock.fileno()] = connection
            self._epoll.register(connection.sock.fileno(), _NEXT)
            if self._leader is not None:
                return
            self._leader = me
        self._leads()
        self._lead(me)

    def relieve(self) -> None:
        """Let another thread go on if the present one has been at a request for longer than ``BUSY_S``."""
        leader = self._leader
        since = leader.busy_since if leader is not None else None
        if leader is not None and since is not None and self._clock.monotonic() - since >= BUSY_S:
            self._replace(leader)

    def _replace(self, leader: _Leader) -> None:
        other = _Leader()
        with self._lock:
            if self._leader is not leader:
                return
            self._leader = other
        self._start(lambda: self._lead(other))

    def _lead(self, me: _Leader) -> None:
        _here.hand_over = lambda: self._replace(me)
        try:
            self._serve(me)
        finally:
            _here.hand_over = None
            self._end(me)

    def _serve(self, me: _Leader) -> None:
        end = self._clock.monotonic() + _LONGEST_S
        while self._leader is me and self._clock.monotonic() < end:
            ready = self._epoll.poll(_MOMENT_S, 1)
            if not ready:
                return
            with self._lock:
                connection = self._connections.pop(ready[0][0], None)
            if connection is not None:  # who has relieved this thread may have given it back meanwhile
                self._serve_one(me, connection)

    def _serve_one(self, me: _Leader, connection: C) -> None:
        descriptor = connection.sock.fileno()
        goes_on = False
        me.busy_since = self._clock.monotonic()
        try:
            goes_on = self._handle(connection)
        finally:
            me.busy_since = None
            if not goes_on:  # it is closed, and by that unregistered
                self._give_back(connection, False)
        if not goes_on:
            return
        with self._lock:
            followed = self._leader is not None  # else who has relieved this thread is done already
            if followed:
                self._connections[descriptor] = connection
                self._epoll.modify(descriptor, _NEXT)
            else:
                self._epoll.unregister(descriptor)
        if not followed:
            self._give_back(connection, True)

    def _end(self, me: _Leader) -> None:
        with self._lock:
            if self._leader is not me:
                return
            self._leader = None
            connections = list(self._connections.values())
            self._connections.clear()
            for connection in connections:
                self._epoll.unregister(connection.sock.fileno())
        for connection in connections:
            self._give_back(connection, True)

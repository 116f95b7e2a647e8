"""Slow clients: a connection holds a thread only while there is something to read, and a request that stays
unfinished ends (gunicorn's own threaded worker waits for ever, and for each client in a thread).
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from gunicorn import http as gunicorn_http
from gunicorn import util
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn, ThreadWorker

from balena_supervisor.clock import Clock, SystemClock
from balena_supervisor.http.following import BUSY_S, Following, will_wait
from balena_supervisor.runtime import output

_LINGER_S = 1.0
#: what becomes of a connection that is followed does not concern gunicorn
_FOLLOWED = object()


@dataclass(frozen=True, kw_only=True)
class Limits:
    """``unfinished`` requests may wait at a time for the rest of their head or body, each ``unfinished_s`` in all. A
    client that takes nothing of its answer for ``unread_s`` is dropped."""

    threads: int = 128
    connections: int = 512
    unfinished: int = 32
    unfinished_s: float = 20
    unread_s: int = 20


class TooSlow(TimeoutError):
    """The request was not complete in time. The number keeps gunicorn from logging it as its own failure."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the request came too slowly")


class TooManyUnfinished(ConnectionResetError):
    """Too many other requests are unfinished."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "too many requests are unfinished")


class PatientReader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """Reads the requests of one connection, with a limit on the time that the whole of each may take."""

    def __init__(self, connection: socket.socket, places: threading.Semaphore, limit_s: float, clock: Clock) -> None:
        super().__init__(connection)
        self._places = places
        self._limit_s = limit_s
        self._clock = clock
        self._deadline = 0.0

    def begin(self) -> None:
        """The next request starts now."""
        self._deadline = self._clock.monotonic() + self._limit_s

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next piece. Raises ``TooSlow`` or ``TooManyUnfinished``."""
        size = max(self.mxchunk, min(size_hint or 0, self.max_body_chunk))
        if self.sock.gettimeout() is not None:  # gunicorn skips an unread body under a limit of its own
            return bytes(self.sock.recv(size))
        try:
            return bytes(self.sock.recv(size, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return self._wait(size)

    def _wait(self, size: int) -> bytes:
        will_wait()
        left = self._deadline - self._clock.monotonic()
        if left <= 0:
            raise TooSlow
        if not self._places.acquire(blocking=False):
            raise TooManyUnfinished
        try:
            self.sock.settimeout(left)
            return bytes(self.sock.recv(size))
        except TimeoutError:
            raise TooSlow from None
        finally:
            self.sock.settimeout(None)
            self._places.release()


class PatientWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn's threaded worker with :class:`Limits`."""

    limits = Limits()

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._places = threading.Semaphore(self.limits.unfinished)
        self._clock = SystemClock()

    def enqueue_req(self, conn: TConn) -> None:
        """A new connection first waits in the poller, where it costs no thread, until it has sent something."""
        if conn.parser is None:
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", self.limits.unread_s, 0))
            conn.parser = gunicorn_http.get_parser(self.cfg, conn.sock, conn.client)
            conn.parser.unreader = PatientReader(conn.sock, self._places, self.limits.unfinished_s, self._clock)
            conn.timeout = self._clock.monotonic() + self.limits.unfinished_s
            self.pending_conns.append(conn)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))
            return
        super().enqueue_req(conn)

    def init_process(self) -> None:
        self._following = Following[TConn](
            self._clock,
            handle=lambda conn: bool(self._serve(conn)),
            give_back=self._take_back,
            start=self._run,
            leads=lambda: self.method_queue.defer(lambda: None),  # wakes the main loop, which relieves it if need be
        )
        super().init_process()

    def _run(self, task: Callable[[], None]) -> None:
        self.tpool.submit(task)

    def handle(self, conn: TConn) -> Any:
        """On a thread of the pool, which goes on with clients that do."""
        goes_on = self._serve(conn)
        if goes_on is not True or not self.alive:
            return goes_on
        try:
            self._following.follow(conn)
        except Exception:  # of another connection, which is given back as ended
            self.log.exception("A request ended in an error")
        return _FOLLOWED

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        if fs.cancelled() or fs.exception() is not None or fs.result() is not _FOLLOWED:
            super().finish_request(conn, fs)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(min(timeout, BUSY_S) if self._following.active else timeout)
        self._following.relieve()

    def _serve(self, conn: TConn) -> Any:
        """Answer what the client has sent. Waits here for it to close, which gunicorn does in its main loop, where one
        slow client stops all others."""
        conn.parser.unreader.begin()
        goes_on = super().handle(conn)
        while goes_on is True and conn.parser.unreader.buf.getvalue():
            conn.parser.unreader.begin()
            goes_on = super().handle(conn)
        if not goes_on:
            util.close_graceful(conn.sock, timeout=_LINGER_S)
            conn.close = lambda graceful=False: None  # noqa: ARG005  # it is closed
        return goes_on

    def _take_back(self, conn: TConn, goes_on: bool) -> None:
        done: Future[bool] = Future()
        done.set_result(goes_on)
        self.method_queue.defer(self.finish_request, conn, done)

    def run(self) -> None:
        """Ends the process at the end: a stream that still runs would hold up a regular exit."""
        super().run()
        output.flush()
        os._exit(0)

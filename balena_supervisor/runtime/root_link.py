"""Root's end of the connection to one actor."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections import deque
from collections.abc import Iterator

from balena_supervisor.runtime import wire


class ActorLink:
    """A non-blocking connection. ``name`` is set once the peer's hello is accepted. Used on root's loop only.

    A link that has something to send puts itself into ``unsent``.
    """

    def __init__(self, connection: socket.socket, unsent: set[ActorLink]) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._reader = wire.FrameReader(wire.FromActor)
        self._queue: deque[bytes | memoryview] = deque()
        self._unsent = unsent
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self.pid: int = struct.unpack("3i", credentials)[0]
        self._pidfd = _open_pidfd(self.pid)
        self.name = ""
        self.received_bytes = 0
        self.closed = False

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def wants_to_write(self) -> bool:
        return bool(self._queue)

    def send(self, frame: wire.Frame) -> None:
        """Queue it until :meth:`flush`, at the end of the loop's round; nothing when closed."""
        if not self.closed:
            self._queue.append(wire.encode(frame))
            self._unsent.add(self)

    def flush(self) -> None:
        """Send what the socket takes, in as few calls as there are 64 KiB."""
        while self._queue:
            encoded = self._queue.popleft()
            while self._queue and len(encoded) + len(self._queue[0]) < wire.CHUNK_BYTES:
                encoded = b"".join((encoded, self._queue.popleft()))
            try:
                sent = self._socket.send(encoded)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._queue.clear()  # the reader finds the end of the stream
                return
            if sent < len(encoded):
                self._queue.appendleft(memoryview(encoded)[sent:])
                return

    def receive(self) -> Iterator[wire.Frame | wire.MalformedFrame]:
        """The frames of one read; sets ``closed`` at the end of the stream.

        Raises ``MalformedStream`` for bytes that cannot be read, and for a stream that ends inside a frame.
        """
        try:
            chunk = self._socket.recv(wire.CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if chunk:
            self.received_bytes += len(chunk)
            yield from self._reader.feed(chunk)
            return
        self.closed = True
        if self._reader.inside_a_frame:
            raise wire.MalformedStream("the stream ended inside a frame")

    def kill(self) -> None:
        """Kill the process at the other end; its pid cannot have been taken by another."""
        if self._pidfd is not None:
            try:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            except ProcessLookupError:
                return

    def close(self) -> None:
        self.closed = True
        self._socket.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None

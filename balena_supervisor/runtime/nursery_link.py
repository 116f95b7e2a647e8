"""What root and the nursery say to each other over their socket pair: one MessagePack packet each."""

from __future__ import annotations

import socket
from collections import deque

import msgspec

_MAX_PACKET_BYTES = 128 * 1024


class Packet(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Base of all packets."""


# --- from root -----------------------------------------------------------------------------------------------------


class StartProcess(Packet, frozen=True):
    """Fork it. Answered by :class:`Started` or :class:`NotStarted`."""

    process: str


class KillProcess(Packet, frozen=True):
    """Send a signal to that start of it; nothing when it has ended."""

    process: str
    generation: int
    signal: int


class GiveUp(Packet, frozen=True):
    """End the whole supervisor with exit code 1."""

    reason: str


class AskStack(Packet, frozen=True):
    number: int


# --- from the nursery ----------------------------------------------------------------------------------------------


class Started(Packet, frozen=True):
    """Sent before the child runs, so that root knows it when it says hello."""

    process: str
    pid: int
    generation: int


class NotStarted(Packet, frozen=True):
    process: str
    reason: str


class Ended(Packet, frozen=True):
    """A child was reaped; ``how`` in words."""

    process: str
    generation: int
    how: str


class StopAsked(Packet, frozen=True):
    """The supervisor shall stop: end the children in reverse order, then yourself."""


class DumpAsked(Packet, frozen=True):
    """Print every stack and mailbox length on standard error."""


class NurseryStack(Packet, frozen=True):
    number: int
    text: str


FromRoot = StartProcess | KillProcess | GiveUp | AskStack
FromNursery = Started | NotStarted | Ended | StopAsked | DumpAsked | NurseryStack


class Channel:
    """One end of the pair. Neither sending nor receiving waits; what the other end does not take is queued."""

    def __init__(self, end: socket.socket, packets: object) -> None:
        """``packets`` is the union of those this end receives."""
        end.setblocking(False)
        self._socket = end
        self._decoder: msgspec.msgpack.Decoder[Packet] = msgspec.msgpack.Decoder(packets)
        self._queue: deque[bytes] = deque()
        self.closed = False

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def wants_to_write(self) -> bool:
        return bool(self._queue)

    def send(self, packet: Packet) -> None:
        self._queue.append(msgspec.msgpack.encode(packet))
        self.flush()

    def flush(self) -> None:
        while self._queue:
            try:
                self._socket.send(self._queue[0])
            except BlockingIOError:
                return
            except OSError:
                self._queue.clear()
                return
            self._queue.popleft()

    def receive(self) -> list[Packet]:
        """All packets that are there; sets ``closed`` when the other end is gone."""
        packets: list[Packet] = []
        while True:
            try:
                data = self._socket.recv(_MAX_PACKET_BYTES)
            except BlockingIOError:
                return packets
            except OSError:
                data = b""
            if not data:
                self.closed = True
                return packets
            packets.append(self._decoder.decode(data))

    def close(self) -> None:
        self._socket.close()


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """The nursery's end and root's end."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

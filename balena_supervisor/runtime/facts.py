"""What the root loop tells the root supervisor, and the orders it takes from it."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from balena_supervisor.runtime.actor import Ports
from balena_supervisor.runtime.message import Notice
from balena_supervisor.runtime.records import MailboxReport
from balena_supervisor.runtime.supervision import Limits
from balena_supervisor.runtime.table import ActorRow
from balena_supervisor.runtime.views import DeadLettersView, MailboxView, TraceView


class ProcessStarted(Notice, frozen=True, kw_only=True):
    process: str
    pid: int
    generation: int


class ProcessNotStarted(Notice, frozen=True, kw_only=True):
    process: str
    reason: str


class ProcessEnded(Notice, frozen=True, kw_only=True):
    process: str
    generation: int
    how: str


class ActorConnected(Notice, frozen=True, kw_only=True):
    """The owner of a mailbox, process ``pid``, has said hello and was accepted."""

    name: str
    pid: int


class ActorReady(Notice, frozen=True, kw_only=True):
    """Its ``on_start`` has returned."""

    name: str


class ActorFailed(Notice, frozen=True, kw_only=True):
    """It says why it is about to end."""

    name: str
    reason: str


class ActorLost(Notice, frozen=True, kw_only=True):
    """Its connection has ended."""

    name: str


class HeartbeatReturned(Notice, frozen=True, kw_only=True):
    name: str


class HandlerOverdue(Notice, frozen=True, kw_only=True):
    """The actor's thread has handled one message for longer than the limit."""

    name: str
    message_type: str
    age_s: float


class SupervisorStopping(Notice, frozen=True, kw_only=True):
    """The nursery was asked to stop."""


class DumpWanted(Notice, frozen=True, kw_only=True):
    """Every stack and mailbox length shall be printed on standard error."""


class RootOffice(Protocol):
    """What the supervisor can have done. From any thread; nothing waits."""

    def start(self, process: str) -> None: ...

    def kill(self, process: str, generation: int) -> None: ...

    def kill_worker(self, name: str) -> None:
        """Kill the process that owns a mailbox, which is not the nursery's child."""

    def terminate(self, process: str, generation: int) -> None:
        """Send SIGTERM, which a server understands."""

    def beat(self, name: str) -> None: ...

    def stop(self, name: str) -> None:
        """Have it finish the message in hand and exit."""

    def hold(self) -> None:
        """Deliver no further message to anyone."""

    def leave(self) -> None:
        """End root, and with it whatever is left."""

    def give_up(self, reason: str) -> None:
        """End the whole supervisor with exit code 1."""

    def reports(self) -> Future[dict[str, MailboxReport]]: ...

    def mailbox(self, name: str) -> Future[MailboxView]: ...

    def dead_letters(self) -> Future[DeadLettersView]: ...

    def trace(self, after: int) -> Future[TraceView]: ...

    def stack(self, name: str) -> Future[str]:
        """The stacks of a connected actor's process, or of ``nursery``. Fails with ``not-ready``."""


@dataclass(frozen=True, kw_only=True)
class RootPorts(Ports):
    """What the root supervisor is given. ``born_at`` is when the nursery started, monotonic."""

    rows: tuple[ActorRow, ...]
    limits: Limits
    office: RootOffice
    born_at: float

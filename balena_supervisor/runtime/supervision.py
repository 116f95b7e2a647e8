"""Decides when a process is started, asked for a sign of life, killed, or given up. Pure: time is passed in.

A *process* hosts one or more *mailboxes* (its actors). The process of a server is not the owner of its mailbox: a
worker that it forks is, and comes and goes by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["starting", "running", "back-off", "hung", "stopped"]
_ALIVE = frozenset({"starting", "running", "hung"})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """All in seconds. ``hang_s``: without a heartbeat for so long, an actor is killed; ``handler_s``: a handler may
    take so long. Back-off doubles from ``backoff_first_s`` and starts again after ``healthy_after_s`` of health.
    ``early_deaths`` in a row, each within ``early_s`` of a start, of a critical process end the supervisor."""

    hang_s: float = 60.0
    handler_s: float = 30.0
    backoff_first_s: float = 0.2
    backoff_max_s: float = 30.0
    healthy_after_s: float = 60.0
    early_s: float = 10.0
    early_deaths: int = 10
    late_s: float = 2.0

    @property
    def beat_interval_s(self) -> float:
        return self.hang_s / 4

    @property
    def longest_handler_s(self) -> float:
        return min(self.handler_s, self.hang_s)


class Backoff:
    """The delays between restarts of one thing that keeps dying."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._failures = 0

    def next_delay_s(self, lived_s: float) -> float:
        """``lived_s`` is how long it lived this time."""
        if lived_s >= self._limits.healthy_after_s:
            self._failures = 0
        delay: float = self._limits.backoff_first_s * 2 ** min(self._failures, 16)
        self._failures += 1
        return min(delay, self._limits.backoff_max_s)


class Lateness:
    """Finds out that a loop was stopped: it woke more than ``late_s`` after it had planned to, or took that long
    between two waits. Then all its deadlines must move."""

    def __init__(self, late_s: float, now: float) -> None:
        self._late_s = late_s
        self._expected = now

    def waiting_until(self, planned: float) -> None:
        self._expected = planned

    def at(self, now: float) -> float:
        """By how much to move the deadlines; 0 when in time. Call when woken and again before waiting."""
        late = now - self._expected
        self._expected = max(now, self._expected)
        return late if late > self._late_s else 0.0


@dataclass(frozen=True)
class Start:
    process: str


@dataclass(frozen=True)
class AskBeat:
    mailbox: str


@dataclass(frozen=True)
class Kill:
    """``mailbox`` is the actor that hangs, in ``process``; its owner is to be killed, or if it has none the process.

    Comes again when that did not help.
    """

    process: str
    mailbox: str
    reason: str


@dataclass(frozen=True)
class GiveUp:
    reason: str


Order = Start | AskBeat | Kill | GiveUp


@dataclass
class Process:
    name: str
    mailboxes: tuple[str, ...]
    critical: bool
    backoff: Backoff
    state: State = "back-off"
    pid: int = 0
    generation: int = 0
    started_at: float = 0.0
    start_at: float | None = 0.0
    restarts: int = -1
    early_deaths: int = 0
    last_exit: str = ""
    problem: str = ""
    #: whether ``problem`` is about this start
    problem_known: bool = False
    restart_asked: bool = False


@dataclass
class Watch:
    """The signs of life of one mailbox's owner."""

    mailbox: str
    process: str
    pid: int = 0
    restarts: int = -1
    connected: bool = False
    ready: bool = False
    connected_at: float = 0.0
    last_sign: float = 0.0
    beat_due: float = 0.0
    beat_asked: bool = False


class Supervision:
    """The state of all processes. Feed it facts; ask :meth:`due` for orders."""

    def __init__(self, limits: Limits, processes: Iterable[tuple[str, tuple[str, ...], bool]], now: float) -> None:
        """``processes`` are (name, its mailboxes, critical) in start order."""
        self._limits = limits
        self._lateness = Lateness(limits.late_s, now)
        self._orders: list[Order] = []
        self._stopping = False
        self.processes: dict[str, Process] = {}
        self.watches: dict[str, Watch] = {}
        for name, mailboxes, critical in processes:
            self.processes[name] = Process(name, mailboxes, critical, Backoff(limits), start_at=now)
            for mailbox in mailboxes:
                self.watches[mailbox] = Watch(mailbox, name)

    # --- facts -------------------------------------------------------------------------------------------------

    def started(self, name: str, pid: int, generation: int, now: float) -> None:
        process = self.processes[name]
        process.state, process.pid, process.generation = "starting", pid, generation
        process.started_at, process.start_at, process.problem_known = now, None, False
        process.restarts += 1
        for watch in self._watches(process):
            watch.connected = watch.ready = watch.beat_asked = False
            watch.last_sign = now

    def connected(self, mailbox: str, pid: int, now: float) -> None:
        watch = self.watches[mailbox]
        watch.connected, watch.ready, watch.beat_asked = True, False, False
        watch.pid, watch.connected_at, watch.last_sign = pid, now, now
        watch.restarts += 1

    def ready(self, mailbox: str, now: float) -> None:
        watch = self.watches[mailbox]
        watch.ready, watch.last_sign, watch.beat_due = True, now, now + self._limits.beat_interval_s
        process = self.processes[watch.process]
        if process.state in _ALIVE and all(other.ready for other in self._watches(process)):
            process.state, process.problem = "running", ""

    def beat(self, mailbox: str, now: float) -> None:
        watch = self.watches[mailbox]
        watch.beat_asked, watch.last_sign, watch.beat_due = False, now, now + self._limits.beat_interval_s

    def lost(self, mailbox: str, now: float) -> None:
        """The connection of a mailbox's owner has ended."""
        watch = self.watches[mailbox]
        watch.connected = watch.ready = watch.beat_asked = False
        watch.last_sign = now
        process = self.processes[watch.process]
        if process.state == "running":
            process.state, process.problem = "starting", f"{mailbox} lost its connection"

    def failed(self, mailbox: str, reason: str) -> None:
        """The actor said why it is about to end."""
        process = self.processes[self.watches[mailbox].process]
        process.problem, process.problem_known = reason, True

    def ended(self, name: str, how: str, now: float) -> None:
        """``how`` in words, such as ``killed by signal 9``."""
        process = self.processes[name]
        process.last_exit = how
        lived = now - process.started_at
        if not process.problem_known:
            process.problem = how
        if process.critical and lived < self._limits.early_s and not process.restart_asked:
            process.early_deaths += 1
            if process.early_deaths >= self._limits.early_deaths:
                reason = f"{name} ended {process.early_deaths} times within {self._limits.early_s:g} s of its start"
                self._orders.append(GiveUp(f"{reason}: {process.problem}"))
        else:
            process.early_deaths = 0
        self._back_off(process, lived, now)

    def not_started(self, name: str, reason: str, now: float) -> None:
        """The nursery could not start it; no death."""
        process = self.processes[name]
        process.problem = reason
        self._back_off(process, 0.0, now)

    def overdue(self, mailbox: str, what: str, now: float) -> None:
        """A handler takes too long."""
        self._kill(self.watches[mailbox], what, now)

    def restart_asked(self, name: str) -> None:
        """Somebody restarts it on purpose: no back-off."""
        self.processes[name].restart_asked = True

    def stop(self) -> None:
        """Start nothing any more, and kill nobody for silence."""
        self._stopping = True

    def _back_off(self, process: Process, lived_s: float, now: float) -> None:
        process.pid = 0
        if self._stopping:
            process.state = "stopped"
            return
        delay = 0.0 if process.restart_asked else process.backoff.next_delay_s(lived_s)
        process.state, process.start_at, process.restart_asked = "back-off", now + delay, False

    def _watches(self, process: Process) -> list[Watch]:
        return [self.watches[mailbox] for mailbox in process.mailboxes]

    # --- time --------------------------------------------------------------------------------------------------

    def due(self, now: float) -> list[Order]:
        """What to do now, in order. When this is called much later than planned, everything moves instead."""
        self.shift(self._lateness.at(now))
        orders, self._orders = self._orders, []
        if self._stopping:
            return []
        for process in self.processes.values():
            if process.start_at is not None and process.start_at <= now:
                process.start_at = None
                orders.append(Start(process.name))
        for watch in self.watches.values():
            self._check(watch, now)
        for watch in self._beats_due(now):
            watch.beat_asked = True
            orders.append(AskBeat(watch.mailbox))
        orders += self._orders
        self._orders = []
        return orders

    def next_due(self, now: float) -> float:
        """When :meth:`due` is to be called next."""
        times = [now + self._limits.hang_s]
        times += [process.start_at for process in self.processes.values() if process.start_at is not None]
        for watch in self.watches.values():
            if self.processes[watch.process].state in _ALIVE:
                times.append(watch.last_sign + self._limits.hang_s)
                if watch.ready and not watch.beat_asked:
                    times.append(watch.beat_due)
        planned = max(now, now if self._orders else min(times))
        self._lateness.waiting_until(planned)
        return planned

    def shift(self, seconds: float) -> None:
        if not seconds:
            return
        for watch in self.watches.values():
            watch.last_sign += seconds
            watch.beat_due += seconds

    def _beats_due(self, now: float) -> list[Watch]:
        """With the first that is due come those that soon will be, so that an idle device wakes once for all."""
        unasked = [watch for watch in self.watches.values() if watch.ready and not watch.beat_asked]
        if not any(watch.beat_due <= now for watch in unasked):
            return []
        soon = now + self._limits.beat_interval_s / 4
        return [watch for watch in unasked if watch.beat_due <= soon]

    def _check(self, watch: Watch, now: float) -> None:
        silent = now - watch.last_sign
        if self.processes[watch.process].state in _ALIVE and silent >= self._limits.hang_s:
            self._kill(watch, f"gave no sign of life for {silent:.0f} s", now)

    def _kill(self, watch: Watch, reason: str, now: float) -> None:
        process = self.processes[watch.process]
        if process.state not in _ALIVE:
            return
        process.problem, process.problem_known, process.state = reason, True, "hung"
        watch.last_sign = watch.beat_due = now
        self._orders.append(Kill(process.name, watch.mailbox, reason))

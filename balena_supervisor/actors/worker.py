"""What the three workers (images, containers, resources) have in common.

A worker keeps a *picture* of its part of the engine and carries out steps of the planner. Looking and acting happen
in pools; the picture is only touched on the actor's thread. Looks are numbered when they *begin*, so an answer that
arrives late never replaces what was seen later.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.engine_events import EngineEvent, EngineWatch, Listener
from balena_supervisor.errors import SupervisorError, Withdrawn, record_of
from balena_supervisor.messages import GetSeq
from balena_supervisor.model.state import EngineLink, Seq
from balena_supervisor.runtime import output
from balena_supervisor.runtime.actor import Actor, Pending, Ports, handles
from balena_supervisor.runtime.message import Event
from balena_supervisor.steps import Step, StepDone, StepFailed, WithdrawSteps

T = TypeVar("T")

#: at most 20 pictures a second, but the end of a step shows at once
PUBLISH_INTERVAL_S = 0.05
#: events come in bursts, and most of them tell of our own steps, which look by themselves
COALESCE_S = 0.03
RECONCILE_S = 300.0
#: pause after a look that failed although the engine is there
RETRY_S = 1.0
#: how long after a restart the picture is read again, until nothing changes by itself any more
SETTLE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class WorkerPorts(Ports):
    """What every worker uses. ``engine`` is called in ``on_start``. ``instance`` limits all to a label."""

    engine: Callable[[], Engine]
    instance: str = ""
    #: pause before a broken event stream is opened again, and the silence after which it is replaced
    retry_s: float = 1.0
    quiet_s: float = 30.0


@dataclass(frozen=True)
class _Work:
    step: Step
    job: Callable[[], None]
    pool: Executor
    #: the answer to the command
    future: Future[None]


def act_and_look(act: Callable[[], None], look: Callable[[], object]) -> None:
    """Act, then look at what has become of it, whether it worked or not. If both fail, the act's error counts."""
    try:
        act()
    except Exception:
        with suppress(SupervisorError):
            look()
        raise
    look()


def _withdrawn() -> Withdrawn:
    return Withdrawn("a newer target came before the step began")


class Worker(Actor, Generic[T]):
    """Base of the workers; ``T`` is what one look at everything gives."""

    #: what to hear of: filters of the engine's event stream
    event_filters: ClassVar[dict[str, list[str]]]
    pool_size: ClassVar[int] = 4

    def __init__(self, ports: WorkerPorts) -> None:
        super().__init__(ports)
        self.instance = ports.instance
        self.engine_link = EngineLink()
        self._ports = ports
        self._ticks = itertools.count(1)
        self._number = 0
        self._unpublished = True
        self._publishing = False
        self._published_at = self.clock.monotonic() - PUBLISH_INTERVAL_S
        self._lanes: dict[str, deque[_Work]] = {}
        #: the heads of the lanes, as their pools know them
        self._launched: dict[str, Future[None]] = {}
        self._ended: list[tuple[_Work, BaseException | None]] = []
        self._stale: dict[str, int] = {}
        self._held: dict[str, str] = {}
        self._rereading: set[str] = set()
        self._timed: set[str] = set()
        self._complaints: set[str] = set()

    # --- what a worker defines --------------------------------------------------------------------------------

    @abstractmethod
    def read(self) -> T:
        """Look at everything; on any thread. Raises errors of the engine."""

    @abstractmethod
    def take(self, tick: int, seen: T) -> bool:
        """Put a whole look into the picture. True when it changed something."""

    @abstractmethod
    def heard(self, event: EngineEvent) -> None:
        """An event: usually calls :meth:`stale`."""

    @abstractmethod
    def reread(self, key: str) -> Callable[[], None]:
        """A job for the pool that looks again at what ``key`` means and reports it with ``defer``."""

    @abstractmethod
    def snapshot(self, seq: Seq, busy: tuple[str, ...]) -> Event:
        """The picture as an event."""

    @abstractmethod
    def opened(self) -> None:
        """The engine is there to be called; the first look comes next, on another thread."""

    # --- life -------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        self.engine = self._ports.engine()
        self.opened()
        self.pool = ThreadPoolExecutor(self.pool_size, thread_name_prefix=self.name)
        #: looks never wait behind steps: a pool full of stops must not make the picture old
        self.looks = ThreadPoolExecutor(2, thread_name_prefix=f"{self.name}-look")
        listener = Listener[tuple[int, T]](
            filters=self.event_filters,
            read=self._numbered_read,
            on_read=lambda seen: self.defer(lambda: self._connected(*seen)),
            on_event=lambda event: self.defer(lambda: self.heard(event)),
            on_down=lambda error: self.defer(lambda: self._disconnected(error)),
        )
        self._watch = EngineWatch(self.engine, listener, retry_s=self._ports.retry_s, quiet_s=self._ports.quiet_s)
        self._watch.start()
        self.after(RECONCILE_S, self._reconcile)

    def on_stop(self) -> None:
        self._watch.stop()
        for pool in (self.pool, self.looks):
            pool.shutdown(wait=False, cancel_futures=True)
        self.engine.close()

    # --- steps ------------------------------------------------------------------------------------------------

    def carry_out(self, step: Step, job: Callable[[], None], pool: Executor | None = None) -> Pending[None]:
        """Run ``job`` in the pool and tell the planner how it ended, once the picture shows it.

        ``job`` reports what it has seen with ``defer`` before it returns or raises. Steps of one subject run one
        after the other, in the order in which they came.
        """
        work = _Work(step, job, pool or self.pool, Future())
        lane = self._lanes.setdefault(step.subject, deque())
        lane.append(work)
        if len(lane) == 1:
            self._launch(work)
        self.changed()
        return Pending(work.future)

    @handles(WithdrawSteps)
    def withdraw_steps(self, _: WithdrawSteps) -> None:
        for subject, lane in self._lanes.items():
            while len(lane) > 1:
                self._answer(lane.pop(), _withdrawn())
            self._launched[subject].cancel()  # does nothing to a job that has begun

    def _launch(self, work: _Work) -> None:
        launched = self._launched[work.step.subject] = work.pool.submit(work.job)
        self.when_done(launched, lambda done: self._end(work, done))

    def _end(self, work: _Work, done: Future[None]) -> None:
        lane = self._lanes[work.step.subject]
        lane.popleft()
        if lane:
            self._launch(lane[0])
        else:
            del self._lanes[work.step.subject], self._launched[work.step.subject]
        self._answer(work, _withdrawn() if done.cancelled() else done.exception())

    def _answer(self, work: _Work, error: BaseException | None) -> None:
        self._unpublished = True
        self._ended.append((work, error))
        if len(self._ended) == 1:
            # behind the ends that are in the inbox already: one picture shows them all
            self.defer(self._settle)

    def _settle(self) -> None:
        """Publish, tell the planner, and only then let the commands go: a death in between repeats the step."""
        ended, self._ended = self._ended, []
        self._publish()
        seen = Seq(self.generation, self._number)
        for work, error in ended:
            if error is None:
                self.post.tell("planner", StepDone(step=work.step.step, seen=seen))
            else:
                self.post.tell("planner", StepFailed(step=work.step.step, seen=seen, error=record_of(error)))
            work.future.set_result(None)
        for key in [key for key, subject in self._held.items() if subject not in self._lanes]:
            del self._held[key]
            if key in self._stale and key not in self._timed:
                self._reread_after(COALESCE_S, key)

    # --- publishing -------------------------------------------------------------------------------------------

    @handles(GetSeq)
    def get_seq(self, query: GetSeq) -> Seq:  # noqa: ARG002  # the question has no fields
        self._publish()
        return Seq(self.generation, self._number)

    def changed(self) -> None:
        """The picture has changed: publish it soon."""
        self._unpublished = True
        if self._publishing:
            return
        self._publishing = True
        wait_s = self._published_at + PUBLISH_INTERVAL_S - self.clock.monotonic()
        if wait_s <= 0:
            self.defer(self._publish_in_time)
        else:
            self.after(wait_s, self._publish_in_time)

    def _publish_in_time(self) -> None:
        self._publishing = False
        self._publish()

    def _publish(self) -> None:
        if not self._unpublished:
            return
        self._unpublished = False
        self._number += 1
        self._published_at = self.clock.monotonic()
        self.post.publish(self.snapshot(Seq(self.generation, self._number), tuple(sorted(self._lanes))))

    # --- looking ----------------------------------------------------------------------------------------------

    def tick(self) -> int:
        """The number of a look that begins now. From any thread."""
        return next(self._ticks)

    def stale(self, key: str, *, urgent: bool = False, subject: str = "") -> None:
        """Something happened to ``key``: look again soon, unless a look that begins from now on comes first.

        ``urgent`` looks at once. While a step on ``subject`` is under way, its end is waited for: it looks by itself.
        """
        self._stale[key] = self.tick()
        if urgent:
            self._reread(key)
        elif subject in self._lanes:
            self._held[key] = subject
        elif key not in self._timed:
            self._reread_after(COALESCE_S, key)

    def fresh(self, key: str, tick: int) -> None:
        """A look with this number has shown ``key``."""
        if self._stale.get(key, tick) < tick:
            del self._stale[key]

    def unreadable(self, subject: str, error: SupervisorError) -> None:
        """Log once that an object, which will be met at every look, cannot be understood or shown. From any thread."""
        self.defer(lambda: self.complain_once(subject, error.message))

    def complain_once(self, subject: str, text: str) -> None:
        if subject not in self._complaints:
            self._complaints.add(subject)
            output.log("warn", self.name, text)

    def _reread_after(self, delay_s: float, key: str) -> None:
        def due() -> None:
            self._timed.discard(key)
            self._reread(key)

        self._timed.add(key)
        self.after(delay_s, due)

    def _reread(self, key: str) -> None:
        """One look at a time for each key."""
        if key in self._stale and key not in self._rereading:
            del self._stale[key]
            self._rereading.add(key)
            self.when_done(self.looks.submit(self.reread(key)), lambda done: self._reread_done(key, done))

    def _reread_done(self, key: str, done: Future[None]) -> None:
        self._rereading.discard(key)
        error = done.exception()
        if error is None:
            self._reread(key)
            return
        if self.engine_link.up:  # else everything is read when it is back
            self.complain_once(f"look:{key}", record_of(error).message)
            self._stale.setdefault(key, self.tick())
            self._reread_after(RETRY_S, key)

    def _numbered_read(self) -> tuple[int, T]:
        return self.tick(), self.read()

    def _connected(self, tick: int, seen: T) -> None:
        self._link(EngineLink(up=True, reason=""))
        if self.take(tick, seen):
            self.changed()
        if self.generation > 1:
            # the engine may still be at work on a call of the process that died
            self.after(SETTLE_S, lambda: self._look_around(until_settled=True))

    def _disconnected(self, error: SupervisorError) -> None:
        self._link(EngineLink(up=False, reason=error.message))

    def _link(self, link: EngineLink) -> None:
        if link != self.engine_link:
            self.engine_link = link
            if link.up:
                output.log("info", self.name, "the engine answers")
            else:
                output.log("warn", self.name, "the engine does not answer", reason=link.reason)
            self.changed()

    def _reconcile(self) -> None:
        self._look_around(until_settled=False)
        self.after(RECONCILE_S, self._reconcile)

    def _look_around(self, *, until_settled: bool) -> None:
        def taken(done: Future[tuple[int, T]]) -> None:
            if done.exception() is not None:
                return  # the watch tells that the engine is gone, and looks when it is back
            if self.take(*done.result()):
                self.changed()
                if until_settled:
                    self.after(SETTLE_S, lambda: self._look_around(until_settled=True))

        if self.engine_link.up:
            self.when_done(self.looks.submit(self._numbered_read), taken)

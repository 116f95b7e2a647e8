"""Fakes of what every actor is given: a post that records, a clock and timers that the test moves."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from balena_supervisor.runtime.message import Event, Message, Request

R = TypeVar("R")
M = TypeVar("M", bound=Message)


class FakeClock:
    """Stands still until it is moved. Wall time and monotonic time move apart when the test says so."""

    def __init__(self, monotonic: float = 1000.0) -> None:
        self._monotonic = monotonic
        self._now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def monotonic(self) -> float:
        return self._monotonic

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._monotonic += seconds
        self._now += timedelta(seconds=seconds)

    def jump_wall(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class FakeTimer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeTimers:
    """Timers on a :class:`FakeClock`; :meth:`advance` moves the clock and fires what is due, in order."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._count = itertools.count()
        self._due: list[tuple[float, int, FakeTimer, Callable[[], None]]] = []

    def after(self, delay_s: float, call: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer()
        heapq.heappush(self._due, (self._clock.monotonic() + delay_s, next(self._count), timer, call))
        return timer

    def advance(self, seconds: float) -> None:
        end = self._clock.monotonic() + seconds
        while self._due and self._due[0][0] <= end:
            at, _, timer, call = heapq.heappop(self._due)
            self._clock.advance(max(0.0, at - self._clock.monotonic()))
            if not timer.cancelled:
                call()
        self._clock.advance(end - self._clock.monotonic())


class FakePost:
    """Records what an actor sends and lets the test wait for it and answer it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Message]] = []
        self.asked: list[tuple[str, Message, Future[Any]]] = []
        self._changed = threading.Condition()

    def tell(self, recipient: str, message: Message) -> None:
        with self._changed:
            self.sent.append((recipient, message))
            self._changed.notify_all()

    def ask(self, recipient: str, message: Request[R], timeout_s: float) -> Future[R]:
        assert timeout_s > 0
        future: Future[R] = Future()
        with self._changed:
            self.asked.append((recipient, message, future))
            self.sent.append((recipient, message))
            self._changed.notify_all()
        return future

    def publish(self, event: Event) -> None:
        self.tell("*", event)

    def of(self, message_type: type[M]) -> list[M]:
        """All messages of a type so far, in order."""
        with self._changed:
            return [message for _, message in self.sent if isinstance(message, message_type)]

    def wait_for(
        self, message_type: type[M], condition: Callable[[M], bool] = lambda _: True, timeout_s: float = 10
    ) -> M:
        """The first message of a type that fulfils the condition, waiting for it."""
        found: list[M] = []

        def there() -> bool:
            found[:] = [m for _, m in self.sent if isinstance(m, message_type) and condition(m)]
            return bool(found)

        with self._changed:
            if not self._changed.wait_for(there, timeout_s):
                raise AssertionError(f"no such {message_type.__name__}; sent: {[m for _, m in self.sent]}")
        return found[0]

"""The real :class:`~balena_supervisor.runtime.actor.Timers`: one thread for each process, started at first use."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

from balena_supervisor.clock import Clock
from balena_supervisor.runtime import output


class _Entry:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class ThreadTimers:
    """Calls run on the timer thread and must not wait; one that raises is logged."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._count = itertools.count()
        self._due: list[tuple[float, int, _Entry]] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def after(self, delay_s: float, call: Callable[[], None]) -> _Entry:
        entry = _Entry(call)
        at = self._clock.monotonic() + delay_s
        with self._changed:
            heapq.heappush(self._due, (at, next(self._count), entry))
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="timers", daemon=True)
                self._thread.start()
            elif self._due[0][2] is entry:
                self._changed.notify()
        return entry

    def close(self) -> None:
        """Nothing fires any more; the thread ends."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except Exception as error:  # noqa: BLE001  # the thread serves everybody
                output.log("error", "timers", "a call failed", error=repr(error))

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._closed:
                while self._due and self._due[0][2].call is None:
                    heapq.heappop(self._due)
                left = self._due[0][0] - self._clock.monotonic() if self._due else None
                if left is not None and left <= 0:
                    call = heapq.heappop(self._due)[2].call
                    if call is not None:
                        return call
                    continue
                self._changed.wait(left)
            return None

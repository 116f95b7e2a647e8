"""Real timers that a test can end."""

from __future__ import annotations

import threading
from collections.abc import Callable


class EndingTimers:
    """Each call has a thread of its own until it is made, cancelled or :meth:`close` ends them all."""

    def __init__(self) -> None:
        self._waiting: set[threading.Timer] = set()
        self._lock = threading.Lock()
        self._closed = False

    def after(self, delay_s: float, call: Callable[[], None]) -> threading.Timer:
        def due() -> None:
            with self._lock:
                self._waiting.discard(timer)
            call()

        timer = threading.Timer(delay_s, due)
        timer.daemon = True
        with self._lock:
            if not self._closed:
                self._waiting.add(timer)
                timer.start()
        return timer

    def close(self) -> None:
        with self._lock:
            self._closed = True
            waiting = tuple(self._waiting)
        for timer in waiting:
            timer.cancel()
            timer.join()

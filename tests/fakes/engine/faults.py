"""The log of all calls, and the faults that a test orders for calls to come."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Literal

Phase = Literal["before", "after"]


@dataclass
class Call:
    """One call that was made. ``path`` is without version and query; ``status`` is 0 until it is answered."""

    method: str
    path: str
    query: str
    status: int = 0


@dataclass
class Fault:
    """What happens to calls that match, from the ``nth`` such call on, ``times`` times.

    ``phase`` says whether the engine carries the call out first. A hanging call is answered as usual once it is
    released; a failing one gets ``status`` and ``message``; at a deadly one the engine dies.
    """

    kind: Literal["fail", "hang", "die"]
    method: str
    path: re.Pattern[str]
    nth: int = 1
    times: int = 1
    phase: Phase = "before"
    status: int = 500
    message: str = "simulated failure"
    released: threading.Event = field(default_factory=threading.Event)
    #: set when the first call has met this fault
    reached: threading.Event = field(default_factory=threading.Event)
    seen: int = 0

    def release(self) -> None:
        """Let hanging calls go on, those to come too."""
        self.released.set()

    def wait_reached(self, timeout_s: float = 10) -> None:
        """Wait until a call has met this fault. Raises ``AssertionError`` after the timeout."""
        if not self.reached.wait(timeout_s):
            raise AssertionError(f"no call met the fault: {self.kind} {self.method} {self.path.pattern}")


class Faults:
    """Thread-safe. Calls of ``/_control`` are neither logged nor touched."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._calls: list[Call] = []

    def log(self, method: str, path: str, query: str) -> Call:
        call = Call(method, path, query)
        with self._lock:
            self._calls.append(call)
        return call

    def calls(self) -> list[Call]:
        with self._lock:
            return list(self._calls)

    def clear_calls(self) -> None:
        with self._lock:
            self._calls.clear()

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Release what hangs and forget all faults."""
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            fault.release()

    def release_all(self) -> None:
        with self._lock:
            faults = list(self._faults)
        for fault in faults:
            fault.release()

    def match(self, method: str, path: str) -> Fault | None:
        """The first fault that this call meets; each matching fault counts the call."""
        met: Fault | None = None
        with self._lock:
            for fault in self._faults:
                if fault.method not in {"", method} or not fault.path.search(path):
                    continue
                fault.seen += 1
                if met is None and fault.nth <= fault.seen < fault.nth + fault.times:
                    met = fault
        return met

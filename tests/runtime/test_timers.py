from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from balena_supervisor.clock import SystemClock
from balena_supervisor.runtime.timers import ThreadTimers


@pytest.fixture
def timers() -> Iterator[ThreadTimers]:
    under_test = ThreadTimers(SystemClock())
    yield under_test
    under_test.close()


def test_calls_come_in_order_of_their_time_and_a_cancelled_one_does_not(timers: ThreadTimers) -> None:
    got: list[int] = []
    done = threading.Event()
    timers.after(0.06, done.set)
    timers.after(0.04, lambda: got.append(2))
    timers.after(0.02, lambda: got.append(1))
    timers.after(0.03, lambda: got.append(9)).cancel()
    assert done.wait(5)
    assert got == [1, 2]


def test_a_call_that_raises_does_not_end_the_others(timers: ThreadTimers) -> None:
    done = threading.Event()
    timers.after(0.0, [].pop)
    timers.after(0.01, done.set)
    assert done.wait(5)

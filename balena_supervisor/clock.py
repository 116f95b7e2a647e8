"""The only module that tells time.

Deadlines, ages and back-off use :meth:`Clock.monotonic`, which is one clock for the whole machine
(``CLOCK_MONOTONIC``), so its values may be compared between processes. Wall time only labels things.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What tells time; tests pass one that they move."""

    def monotonic(self) -> float:
        """Seconds on the machine's monotonic clock."""

    def now(self) -> datetime:
        """Wall time in UTC."""


class SystemClock:
    """The clock of the machine."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """ISO 8601 with milliseconds and ``Z``, the form of all times in the API."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"

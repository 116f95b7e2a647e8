"""Which waits the log tells of: those that last. Most end within milliseconds; failures are told when they happen."""

from __future__ import annotations

from collections.abc import Iterable

from balena_supervisor.model.state import Waiting

LASTING_S = 10.0


class LastingWaits:
    """Remembers since when each wait has stood, to tell of it once."""

    def __init__(self) -> None:
        #: subject and reason -> the monotonic second at which it is told; None when it has been
        self._due: dict[tuple[str, str], float | None] = {}

    def to_tell(self, waiting: Iterable[Waiting], now: float) -> list[Waiting]:
        """Those that have lasted long enough, and at once what only a new target can change."""
        due: dict[tuple[str, str], float | None] = {}
        told: list[Waiting] = []
        for wait in waiting:
            if wait.retry_at is not None:
                continue
            key = (wait.subject, wait.reason)
            at = self._due.get(key, now if wait.settled else now + LASTING_S)
            if at is not None and at <= now:
                told.append(wait)
                at = None
            due[key] = at
        self._due = due
        return told

    def next_due(self) -> float | None:
        """The monotonic second at which to look again."""
        return min((at for at in self._due.values() if at is not None), default=None)

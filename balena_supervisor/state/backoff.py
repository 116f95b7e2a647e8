"""Back-off: how long to wait before a subject is tried again (spec apply-loop 1 and 2.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

UNIT_S = 0.5


def delay_s(failures: int, limit_s: float) -> float:
    """Seconds after the n-th failure in a row: 1, 2, 4, 8 … up to the limit."""
    return min(UNIT_S * 2.0 ** min(failures, 32), limit_s)


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Failures of one subject in a row. ``retry_at`` is a monotonic second."""

    count: int
    retry_at: float
    message: str
    app_id: int = 0
    service_name: str = ""


class BackOff:
    """Which subjects have failed, and until when they are left alone. Success forgets; so does a new target."""

    def __init__(self) -> None:
        self._failures: dict[str, Failure] = {}

    def failed(
        self, subject: str, message: str, *, now: float, limit_s: float, app_id: int = 0, service_name: str = ""
    ) -> Failure:
        count = self._failures[subject].count + 1 if subject in self._failures else 1
        failure = Failure(
            count=count,
            retry_at=now + delay_s(count, limit_s),
            message=message,
            app_id=app_id,
            service_name=service_name,
        )
        self._failures[subject] = failure
        return failure

    def succeeded(self, subject: str) -> None:
        self._failures.pop(subject, None)

    def clear(self) -> None:
        self._failures.clear()

    def forget(self, which: Callable[[str], bool]) -> None:
        """Try these subjects again at once."""
        self._failures = {subject: failure for subject, failure in self._failures.items() if not which(subject)}

    def keep_only(self, subjects: Iterable[str]) -> None:
        """Forget subjects that nobody wants to try any more."""
        kept = set(subjects)
        self._failures = {subject: failure for subject, failure in self._failures.items() if subject in kept}

    def blocking(self, subject: str, now: float) -> Failure | None:
        """The failure because of which a subject may not be tried yet."""
        failure = self._failures.get(subject)
        return failure if failure is not None and failure.retry_at > now else None

    @property
    def failures(self) -> dict[str, Failure]:
        return self._failures

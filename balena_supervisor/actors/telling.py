"""What the planner tells of its work: the state of the device as an event, and lasting waits in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from balena_supervisor.actors.waits import LastingWaits
from balena_supervisor.clock import Clock
from balena_supervisor.messages import DeviceStateChanged
from balena_supervisor.model.state import DeviceState, Waiting
from balena_supervisor.runtime.actor import Post, Timer
from balena_supervisor.runtime.output import Level, log

PUBLISH_INTERVAL_S = 0.05


class Telling:
    """Publishes at most 20 states a second, the newest always, and only those that differ."""

    def __init__(
        self,
        post: Post,
        clock: Clock,
        after: Callable[[float, Callable[[], None]], Timer],
        describe: Callable[[], DeviceState],
    ) -> None:
        self._post = post
        self._clock = clock
        self._after = after
        self._describe = describe
        self._lasting = LastingWaits()
        self._wait_timer: Timer | None = None
        self._publish_timer: Timer | None = None
        self._published = DeviceState()
        self._published_at = float("-inf")

    def publish_soon(self) -> None:
        """At once when the last one is old enough, else when it will be."""
        if self._publish_timer is not None:
            return
        rest = self._published_at + PUBLISH_INTERVAL_S - self._clock.monotonic()
        if rest <= 0:
            self.publish()
        else:
            self._publish_timer = self._after(rest, self._publish_late)

    def _publish_late(self) -> None:
        self._publish_timer = None
        self.publish()

    def publish(self) -> None:
        """Now, if anything has changed."""
        state = self._describe()
        if state != self._published:
            self._published = state
            self._published_at = self._clock.monotonic()
            self._post.publish(DeviceStateChanged(state=state))

    def tell_waits(self, waiting: Iterable[Waiting]) -> None:
        """Log those that last, each once."""
        entries = tuple(waiting)
        now = self._clock.monotonic()
        for wait in self._lasting.to_tell(entries, now):
            level: Level = "warn" if wait.settled and wait.app_id else "info"
            log(level, "wait", wait.service_name or wait.subject, reason=wait.reason)
        if self._wait_timer is not None:
            self._wait_timer.cancel()
        at = self._lasting.next_due()
        self._wait_timer = None if at is None else self._after(at - now, lambda: self.tell_waits(entries))

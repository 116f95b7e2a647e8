"""The newest snapshots of the other actors, from which all state GETs are answered without asking anybody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

from balena_supervisor.clock import Clock, iso
from balena_supervisor.errors import NotReady
from balena_supervisor.messages import ConfigChanged, DeviceStateChanged, KeysChanged, TargetChanged
from balena_supervisor.model.device import Configuration
from balena_supervisor.model.state import DeviceState
from balena_supervisor.model.target import TargetState
from balena_supervisor.runtime.message import Event

T = TypeVar("T")


@dataclass(frozen=True)
class Picture:
    """All snapshots at one moment, immutable. What is derived from it is computed once (:meth:`derived`).

    ``accepted_version`` is the newest target that this process has had accepted; ``wall_time`` turns a monotonic
    second into ISO text, as the clocks stood when the picture was taken.
    """

    configuration: Configuration | None = None
    keys: KeysChanged | None = None
    target: TargetState | None = None
    state: DeviceState | None = None
    accepted_version: int = 0
    wall_time: Callable[[float], str] = str
    _derived: dict[Any, Any] = field(default_factory=dict, compare=False)

    def derived(self, key: Any, make: Callable[[], T]) -> T:
        """The value of ``make`` for this picture. Two threads may both compute it; one result is kept."""
        if key not in self._derived:
            self._derived[key] = make()
        value: T = self._derived[key]
        return value

    @property
    def complete(self) -> bool:
        return None not in (self.configuration, self.keys, self.target, self.state)

    @property
    def target_version(self) -> int:
        """The newest target that anybody has told of."""
        return max(self.accepted_version, self.target.version if self.target else 0)

    @property
    def applying(self) -> bool:
        """True also while the planner has not looked at the newest target, so that a client reads its own write."""
        return self.state is not None and (self.state.applying or self.state.target_version < self.target_version)

    def need_configuration(self) -> Configuration:
        """Raises ``NotReady`` before the first configuration."""
        if self.configuration is None:
            raise NotReady("cannot answer: the configuration has not been read yet")
        return self.configuration

    def need_state(self) -> DeviceState:
        """Raises ``NotReady`` before the planner's first snapshot."""
        if self.state is None:
            raise NotReady("cannot show the state: the planner has not reported yet")
        return self.state


class Snapshots:
    """Holder of the newest :class:`Picture`; all methods may be called from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._picture = Picture()

    @property
    def picture(self) -> Picture:
        return self._picture

    def keep(self, event: Event) -> None:
        """Take over the snapshot that an event carries; other events change nothing."""
        match event:
            case ConfigChanged():
                self._replace(configuration=event.configuration)
            case KeysChanged():
                self._replace(keys=event)
            case TargetChanged():
                self._replace(target=event.target)
            case DeviceStateChanged():
                self._replace(state=event.state)

    def accept(self, version: int) -> None:
        """Remember that this target is on disk, before any event tells so."""
        with self._changed:
            if version > self._picture.accepted_version:
                self._replace(accepted_version=version)

    def wait_for(self, condition: Callable[[Picture], bool], timeout_s: float) -> bool:
        """Wait until a picture fulfils the condition; False when the time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self._picture), timeout_s)

    def _replace(self, **changes: Any) -> None:
        now, monotonic = self._clock.now(), self._clock.monotonic()

        def wall_time(at: float) -> str:
            return iso(now + timedelta(seconds=at - monotonic))

        with self._changed:
            self._picture = replace(self._picture, wall_time=wall_time, _derived={}, **changes)
            self._changed.notify_all()

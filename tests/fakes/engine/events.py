"""The event log: what happened, for those who listen and for those who ask later."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.fakes.engine.basics import Json, has_labels, now_ns

#: how many events the real engine remembers for ``since``
REMEMBERED = 256
#: seconds between two looks whether a silent listener is still there
LISTENER_CHECK_S = 0.5


@dataclass
class LossRule:
    """Events of this type whose action matches are lost; ``left`` counts down, -1 is for ever."""

    type: str
    action: re.Pattern[str]
    left: int


class EventLog:
    """Keeps the last events and wakes the listeners. ``condition`` is the lock of the whole engine."""

    def __init__(self, condition: threading.Condition) -> None:
        self._condition = condition
        self._events: deque[tuple[int, Json]] = deque(maxlen=REMEMBERED)
        self._count = 0
        self._epoch = 0
        self._losses: list[LossRule] = []

    def lose(self, action: str = ".*", event_type: str = "", times: int = -1) -> None:
        """Let the next ``times`` events that match vanish, unheard and unremembered."""
        with self._condition:
            self._losses.append(LossRule(event_type, re.compile(action), times))

    def keep_all(self) -> None:
        """End all losses."""
        with self._condition:
            self._losses.clear()

    def forget(self) -> None:
        """What a restart of the engine does: nothing from before can be replayed."""
        with self._condition:
            self._events.clear()

    def hang_up(self) -> None:
        """End all streams that are open now."""
        with self._condition:
            self._epoch += 1
            self._condition.notify_all()

    def emit(self, event_type: str, action: str, subject: str, attributes: dict[str, str], source: str = "") -> None:
        """Record an event. ``source`` is the image of a container event, which makes it have the older keys too."""
        at_ns = now_ns()
        event: Json = {
            "Type": event_type,
            "Action": action,
            "Actor": {"ID": subject, "Attributes": dict(sorted(attributes.items()))},
            "scope": "local",
            "time": at_ns // 1_000_000_000,
            "timeNano": at_ns,
        }
        if event_type in {"container", "image"}:
            old = {"status": action, "id": subject}
            event = {**old, **({"from": source} if source else {}), **event}
        with self._condition:
            if self._lost(event_type, action):
                return
            self._count += 1
            self._events.append((self._count, event))
            self._condition.notify_all()

    def _lost(self, event_type: str, action: str) -> bool:
        for rule in self._losses:
            if rule.left and rule.type in {"", event_type} and rule.action.fullmatch(action):
                rule.left -= 1 if rule.left > 0 else 0
                return True
        return False

    def stream(
        self,
        filters: dict[str, list[str]],
        since_ns: int | None,
        until_ns: int | None,
        gone: Callable[[], bool],
    ) -> Iterator[bytes]:
        """Lines of JSON: what is remembered from ``since`` on, then what happens, until ``until`` or a hang-up.

        ``gone`` says that the listener has left or the engine closes.
        """
        with self._condition:
            epoch = self._epoch
            last = 0 if since_ns is not None else self._count

        def ended() -> bool:
            return epoch != self._epoch or gone() or (until_ns is not None and now_ns() >= until_ns)

        while True:
            with self._condition:
                over = ended()
                if not over and self._count == last:
                    self._condition.wait(LISTENER_CHECK_S)
                fresh = [(number, event) for number, event in self._events if number > last]
                last = self._count
            for _, event in fresh:
                if _passes(event, filters, since_ns, until_ns):
                    yield json.dumps(event, separators=(",", ":")).encode() + b"\n"
            if over:
                return


def _passes(event: Json, filters: dict[str, list[str]], since_ns: int | None, until_ns: int | None) -> bool:
    if (since_ns is not None and event["timeNano"] < since_ns) or (
        until_ns is not None and event["timeNano"] > until_ns
    ):
        return False
    attributes = event["Actor"]["Attributes"]
    names = {event["Actor"]["ID"], attributes.get("name", ""), attributes.get("image", "")}
    checks: dict[str, Callable[[list[str]], bool]] = {
        "type": lambda wanted: event["Type"] in wanted,
        "event": lambda wanted: event["Action"] in wanted,
        "label": lambda wanted: has_labels(wanted, attributes),
        "image": lambda wanted: bool(names & set(wanted)),
    }
    kinds = {"container", "network", "volume"} & set(filters)
    return all(event["Type"] == kind and names & set(filters[kind]) for kind in kinds) and all(
        checks[name](wanted) for name, wanted in filters.items() if name in checks
    )

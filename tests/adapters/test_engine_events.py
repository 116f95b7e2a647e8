"""Following the events of a simulated engine."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest

from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.engine_events import EngineEvent, EngineWatch, Listener
from balena_supervisor.errors import EngineError, SupervisorError
from tests.fakes.engine.simulated import SimulatedEngine


class Follower:
    """What was heard, in order: ("read", names of volumes), ("event", …) or ("down", …)."""

    def __init__(self, url: str, *, quiet_s: float = 30.0) -> None:
        self.engine = Engine(url)
        self.heard: queue.Queue[tuple[str, Any]] = queue.Queue()
        listener = Listener[list[str]](
            filters={"type": ["volume"], "event": ["create", "destroy"]},
            read=self.read,
            on_read=lambda seen: self.heard.put(("read", seen)),
            on_event=lambda event: self.heard.put(("event", event)),
            on_down=lambda error: self.heard.put(("down", error)),
        )
        self.watch = EngineWatch(self.engine, listener, retry_s=0.05, quiet_s=quiet_s)
        self.fails: list[Exception] = []

    def read(self) -> list[str]:
        if self.fails:
            raise self.fails.pop()
        return sorted(volume["Name"] for volume in self.engine.list_volumes())

    def next(self) -> tuple[str, Any]:
        return self.heard.get(timeout=10)

    def until(self, kind: str) -> Any:
        """The next of a kind; what others there are before it is skipped."""
        while True:
            name, value = self.next()
            if name == kind:
                return value


@pytest.fixture
def follower(simulated: SimulatedEngine) -> Iterator[Follower]:
    made = Follower(simulated.url)
    yield made
    made.watch.stop()
    made.engine.close()


def test_everything_is_read_once_and_then_events_are_heard(follower: Follower) -> None:
    follower.engine.create_volume({"Name": "1_before"})
    follower.watch.start()
    assert follower.next() == ("read", ["1_before"])
    follower.engine.create_volume({"Name": "1_after"})
    kind, event = follower.next()
    while event.id == "1_before":  # the first stream goes back a second
        kind, event = follower.next()
    assert (kind, event.type, event.action, event.id) == ("event", "volume", "create", "1_after")


def test_a_stream_that_breaks_is_opened_again_and_everything_is_read_again(
    simulated: SimulatedEngine, follower: Follower
) -> None:
    follower.watch.start()
    follower.until("read")
    simulated.lose_events()
    follower.engine.create_volume({"Name": "1_lost"})
    simulated.hang_up_events()
    assert follower.until("read") == ["1_lost"]


def test_an_engine_that_dies_is_told_once_in_a_while_until_it_is_back(
    simulated: SimulatedEngine, follower: Follower
) -> None:
    follower.watch.start()
    follower.until("read")
    simulated.die()
    assert isinstance(follower.until("down"), SupervisorError)
    follower.until("down")
    simulated.revive()
    follower.until("read")


def test_a_silent_stream_is_replaced_without_reading_again(simulated: SimulatedEngine) -> None:
    follower = Follower(simulated.url, quiet_s=0.1)
    third = simulated.hang("GET", "^/events$", nth=3)
    follower.watch.start()
    follower.until("read")
    third.wait_reached()
    follower.engine.create_volume({"Name": "1_between"})
    third.release()
    kinds = [follower.next()]
    assert [(kind, value.id) for kind, value in kinds] == [("event", "1_between")]
    follower.watch.stop()
    follower.engine.close()


@pytest.mark.parametrize("error", [EngineError("cannot list", status=500, cause="x"), KeyError("Id")])
def test_a_look_that_fails_is_repeated(follower: Follower, error: Exception) -> None:
    follower.fails.append(error)
    follower.watch.start()
    assert isinstance(follower.until("down"), SupervisorError)
    assert follower.until("read") == []


def test_details_of_an_action_are_left_out(follower: Follower) -> None:
    heard: list[EngineEvent] = []
    watch = EngineWatch(
        follower.engine,
        Listener[None](
            filters={}, read=lambda: None, on_read=lambda _: None, on_event=heard.append, on_down=lambda _: None
        ),
    )
    watch._take({"Type": "container", "Action": "health_status: healthy", "Actor": {"ID": "x", "Attributes": None}})
    assert heard == [EngineEvent("container", "health_status", "x", {})]

"""Actors in one process with the real routing: what a handler returns or raises, and typed answers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest

from balena_supervisor.errors import NotFound, RemoteError
from balena_supervisor.runtime.actor import Actor, Pending, Ports, handles
from balena_supervisor.runtime.host import answer_type
from balena_supervisor.runtime.message import Command, DeliveryFailed, Event, Query
from tests.fakes.runtime import LocalRuntime, local_runtime
from tests.runtime.toy_supervisor import wait_until


class Point(msgspec.Struct, frozen=True):
    x: int


class AskPoint(Query[Point], frozen=True, kw_only=True):
    how: str = "good"


class AskPoints(Query[tuple[Point, ...]], frozen=True, kw_only=True):
    pass


class Base(Command[Point], frozen=True, kw_only=True):
    pass


class Derived(Base, frozen=True, kw_only=True):
    path: Path | None = None


class Moved(Event, frozen=True, kw_only=True):
    retained = True
    x: int


class Nobody(Command[None], frozen=True, kw_only=True):
    pass


class Pointer(Actor):
    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        self.x = 0
        self.jobs: list[Future[Point]] = []
        self.failed: list[DeliveryFailed] = []

    @handles(AskPoint)
    def ask_point(self, query: AskPoint) -> Any:
        if query.how == "missing":
            raise NotFound("there is no point", name="p")
        if query.how == "pending":
            self.jobs.append(Future())
            return Pending(self.jobs[-1])
        return {"y": 1} if query.how == "wrong" else Point(self.x)

    @handles(AskPoints)
    def ask_points(self, _: AskPoints) -> tuple[Point, ...]:
        return (Point(1), Point(2))

    @handles(Moved)
    def moved(self, event: Moved) -> None:
        self.x = event.x

    @handles(Derived)
    def derived(self, _: Derived) -> Point:
        self.post.tell("one", Nobody())
        return Point(self.x)

    @handles(DeliveryFailed)
    def delivery_failed(self, notice: DeliveryFailed) -> None:
        self.failed.append(notice)


@pytest.fixture
def runtime() -> Iterator[LocalRuntime]:
    with local_runtime({"one": (Moved,), "two": ()}) as local:
        local.start("one", Pointer.start)
        yield local


@pytest.mark.parametrize(
    ("request_type", "expected"),
    [(AskPoint, Point), (AskPoints, tuple[Point, ...]), (Base, Point), (Derived, Point), (Nobody, type(None))],
)
def test_the_answer_type_is_read_from_the_message_type(request_type: Any, expected: object) -> None:
    assert answer_type(request_type) == expected


def test_an_answer_comes_back_as_its_type(runtime: LocalRuntime) -> None:
    assert runtime.ask("one", AskPoint()) == Point(0)
    assert runtime.ask("one", AskPoints()) == (Point(1), Point(2))


@pytest.mark.parametrize(
    ("how", "code"), [("missing", "not-found"), ("wrong", "malformed-message")], ids=["raised", "of the wrong shape"]
)
def test_a_failure_comes_back_as_a_remote_error(runtime: LocalRuntime, how: str, code: str) -> None:
    with pytest.raises(RemoteError) as caught:
        runtime.ask("one", AskPoint(how=how))
    assert caught.value.code == code


def test_a_pending_answer_comes_when_its_future_is_done(runtime: LocalRuntime) -> None:
    answer = runtime.test.ask("one", AskPoint(how="pending"), 10)
    assert runtime.ask("one", AskPoint()) == Point(0)
    assert not answer.done()
    runtime.actors["one"].proxy().jobs.get()[0].set_result(Point(9))
    assert answer.result(5) == Point(9)


def test_a_restarted_actor_has_the_snapshots_before_it_is_asked(runtime: LocalRuntime) -> None:
    runtime.publish(Moved(x=5))
    runtime.lose("one")
    answer = runtime.test.ask("one", AskPoint(), 10)
    runtime.start("one", Pointer.start)
    assert answer.result(5) == Point(5)
    assert runtime.generations["one"] == 2


def test_an_actor_is_told_of_its_command_that_nobody_handles(runtime: LocalRuntime) -> None:
    two = runtime.start("two", Pointer.start).proxy()
    assert runtime.ask("two", Derived()) == Point(0)
    failed = two.failed.get()
    told = wait_until(lambda: list(failed), "the sender is told")
    assert [(notice.message_type, notice.code) for notice in told] == [("Nobody", "unknown-message")]

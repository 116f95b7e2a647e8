"""Routing without sockets: links that record what they are given, a clock that the test moves."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import pytest

from balena_supervisor.errors import ErrorRecord
from balena_supervisor.runtime import wire
from balena_supervisor.runtime.post_office import PostOffice
from tests.fakes.ports import FakeClock

F = TypeVar("F", bound=wire.Frame)


class FakeLink:
    def __init__(self) -> None:
        self.frames: list[wire.Frame] = []

    def send(self, frame: wire.Frame) -> None:
        self.frames.append(frame)

    def of(self, frame_type: type[F]) -> list[F]:
        return [frame for frame in self.frames if isinstance(frame, frame_type)]

    @property
    def delivered(self) -> list[str]:
        return [frame.type for frame in self.of(wire.Deliver)]


class Office:
    """A post office with the actors ``a`` and ``b``; ``b`` subscribes to ``Shot``."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.office = PostOffice(self.clock, {"a": [], "b": ["Shot"]})
        self.a = self.join("a")

    def join(self, name: str) -> FakeLink:
        link = FakeLink()
        self.office.attach(name, link)
        self.office.ready(name, link)
        return link

    def send(self, type_: str, kind: str = "command", *, to: str = "b", ask: int = 0, timeout_s: float = 10) -> None:
        body = msgspec.msgpack.encode({"name": type_})
        self.office.received("a", wire.Send(ask, "x", to, kind, type_, body, 0, timeout_s if ask else None, bool(ask)))

    def publish(self, type_: str, number: int, key: str = "", *, retained: bool = True) -> None:
        body = msgspec.msgpack.encode({"number": number})
        frame = wire.Send(0, "a", "*", "event", type_, body, key=key, retained=retained)
        self.office.received("a", frame)

    def settle(self, link: FakeLink, body: bytes = b"", code: str = "", *, name: str = "b") -> None:
        """Settle the newest delivery of a link."""
        self.office.received(name, wire.Settled(link.of(wire.Deliver)[-1].id, code, body))

    def dead(self) -> list[tuple[str, str]]:
        return [(letter.type, letter.code) for letter in self.office.dead_letters.view().dead_letters]

    def errors(self) -> list[tuple[int, str]]:
        return [(reply.id, wire.decode_error(reply.body).code) for reply in self.a.of(wire.Reply) if not reply.ok]


@pytest.fixture
def post() -> Office:
    return Office()


def test_messages_wait_for_an_actor_that_is_not_there_yet(post: Office) -> None:
    post.send("One")
    post.send("Two")
    b = post.join("b")
    assert b.delivered == ["One"]
    post.settle(b)
    assert b.delivered == ["One", "Two"]


def test_nothing_is_delivered_between_hello_and_ready(post: Office) -> None:
    link = FakeLink()
    post.office.attach("b", link)
    post.send("One")
    assert link.frames == []
    post.office.ready("b", link)
    assert link.delivered == ["One"]


def test_the_sender_of_an_envelope_is_the_one_who_said_hello(post: Office) -> None:
    b = post.join("b")
    post.send("One")
    assert b.of(wire.Deliver)[0].sender == "a"


def test_an_answer_finds_its_asker(post: Office) -> None:
    b = post.join("b")
    post.send("One", "query", ask=7)
    post.settle(b, b"answer")
    assert post.a.of(wire.Reply) == [wire.Reply(7, ok=True, body=b"answer")]


def test_an_answer_to_an_asker_that_was_restarted_is_dropped(post: Office) -> None:
    b = post.join("b")
    post.send("One", ask=7)
    post.office.detach("a", post.a)
    again = post.join("a")
    post.settle(b, b"answer")
    assert again.of(wire.Reply) == []


def test_a_holding_actor_gets_the_next_message_and_settles_later(post: Office) -> None:
    b = post.join("b")
    post.send("One", ask=1)
    post.send("Two")
    first = b.of(wire.Deliver)[0]
    post.office.received("b", wire.Holding(first.id))
    assert b.delivered == ["One", "Two"]
    post.office.received("b", wire.Settled(first.id, "", b"late"))
    assert [reply.body for reply in post.a.of(wire.Reply)] == [b"late"]


@pytest.mark.parametrize("kind", ["action", "query"])
def test_what_is_never_repeated_is_told_to_its_asker(post: Office, kind: str) -> None:
    b = post.join("b")
    post.send("One", kind, ask=1)
    post.send("Two", kind, ask=2)
    post.office.detach("b", b)
    assert post.errors() == [(1, "actor-restarted")]
    assert post.join("b").delivered == ["Two"]


def test_a_told_command_that_fails_comes_back_to_its_sender(post: Office) -> None:
    b = post.join("b")
    post.send("One")
    post.settle(b, wire.encode_error(ErrorRecord("internal-error", "broken")), "handler-failed")
    notice = post.a.of(wire.Deliver)[0]
    assert (notice.type, notice.kind, notice.sender) == ("DeliveryFailed", "notice", "root")
    assert msgspec.msgpack.decode(notice.body) == {
        "recipient": "b",
        "message_type": "One",
        "code": "handler-failed",
        "reason": "broken",
        "body": {"name": "One"},
    }
    assert post.dead() == [("One", "handler-failed")]


def test_a_large_command_comes_back_without_its_body(post: Office) -> None:
    body = msgspec.msgpack.encode({"x": "y" * (15 << 20)})
    post.office.received("a", wire.Send(0, "a", "nobody", "command", "Large", body))
    notice = post.a.of(wire.Deliver)[0]
    assert msgspec.msgpack.decode(notice.body)["code"] == "unknown-recipient"
    assert msgspec.msgpack.decode(notice.body)["body"] == {}


def test_an_error_that_cannot_be_read_is_still_an_error(post: Office) -> None:
    b = post.join("b")
    post.send("One")
    post.settle(b, b"rubbish", "handler-failed")
    assert post.dead() == [("One", "handler-failed")]


def test_a_failed_ask_is_no_dead_letter_but_one_that_cannot_be_read_is(post: Office) -> None:
    b = post.join("b")
    for number, code in ((1, "handler-failed"), (2, "malformed-message")):
        post.send(f"No{number}", ask=number)
        post.settle(b, wire.encode_error(ErrorRecord(code, "why")), code)
    assert post.errors() == [(1, "handler-failed"), (2, "malformed-message")]
    assert post.dead() == [("No2", "malformed-message")]


def test_a_passed_deadline_is_dropped_unhandled(post: Office) -> None:
    b = post.join("b")
    post.send("Slow")
    post.send("Late", ask=1, timeout_s=5)
    assert post.office.next_due() == post.clock.monotonic() + 5
    post.clock.advance(5)
    post.office.tick()
    assert post.errors() == [(1, "deadline-passed")]
    post.settle(b)
    assert b.delivered == ["Slow"]
    assert post.office.next_due() is None


def test_the_answer_after_the_deadline_is_dropped(post: Office) -> None:
    b = post.join("b")
    post.send("Late", ask=1, timeout_s=5)
    post.clock.advance(6)
    post.office.tick()
    post.settle(b, b"too late")
    assert len(post.a.of(wire.Reply)) == 1


def test_deadlines_move_by_the_time_in_which_root_was_stopped(post: Office) -> None:
    b = post.join("b")
    post.send("Slow")
    post.send("Late", ask=1, timeout_s=5)
    post.clock.advance(20)
    post.office.shift(20)
    post.office.tick()
    assert post.errors() == []
    post.settle(b)
    assert b.of(wire.Deliver)[1].timeout_s == pytest.approx(5)


def test_many_answered_asks_leave_no_deadlines_behind(post: Office) -> None:
    b = post.join("b")
    for number in range(1, 1000):
        post.send("One", "query", ask=number)
        post.settle(b, b"x")
    assert post.office.next_due() is None


def test_a_new_subscriber_gets_the_newest_of_each_retained_event_first(post: Office) -> None:
    for number, key in ((1, "x"), (2, "y"), (3, "x")):
        post.publish("Shot", number, key)
    post.send("One")
    b = FakeLink()
    post.office.attach("b", b)
    post.office.ready("b", b)
    for _ in range(2):
        post.settle(b)
    assert b.of(wire.Begin) == [wire.Begin(2)]
    assert [msgspec.msgpack.decode(frame.body) for frame in b.of(wire.Deliver)] == [
        {"number": 3},
        {"number": 2},
        {"name": "One"},
    ]


def test_a_retained_event_is_delivered_again_to_a_restarted_subscriber(post: Office) -> None:
    b = post.join("b")
    post.publish("Shot", 1)
    post.settle(b)
    post.office.detach("b", b)
    assert post.join("b").delivered == ["Shot"]


def test_an_event_that_is_not_retained_is_gone_with_its_moment(post: Office) -> None:
    b = post.join("b")
    post.publish("Shot", 1, retained=False)
    post.settle(b)
    post.office.detach("b", b)
    assert post.join("b").delivered == []


def test_a_retained_event_that_killed_three_times_is_not_given_again_but_a_newer_one_is(post: Office) -> None:
    post.publish("Shot", 1)
    for _ in range(3):
        b = post.join("b")
        assert b.delivered == ["Shot"]
        post.office.detach("b", b)
    b = post.join("b")
    assert b.delivered == []
    post.publish("Shot", 2)
    assert b.delivered == ["Shot"]
    assert post.dead() == [("Shot", "too-many-deaths")]


def test_a_held_office_delivers_nothing_more(post: Office) -> None:
    b = post.join("b")
    post.send("One")
    post.office.hold()
    post.send("Two")
    post.settle(b)
    assert b.delivered == ["One"]


def test_secrets_are_masked_in_views(post: Office) -> None:
    body = msgspec.msgpack.encode({"apiKey": "s3cret", "environment": {"TOKEN": "t", "PATH": "/bin"}})
    post.office.received("a", wire.Send(0, "a", "b", "command", "One", body))
    shown = post.office.mailbox_view("b").messages[0].body
    assert shown == {"apiKey": "***", "environment": {"TOKEN": "***", "PATH": "/bin"}}

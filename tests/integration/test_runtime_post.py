"""Messages that cannot be delivered or read, on real processes and sockets."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest

from balena_supervisor.runtime import wire
from tests.runtime.toy_supervisor import ToySupervisor, toy_supervisor, wait_until


@pytest.fixture(scope="module")
def toys() -> Iterator[ToySupervisor]:
    with toy_supervisor() as supervisor:
        supervisor.wait_running("gate", "one", "two", "three", "four")
        yield supervisor


def connect(toys: ToySupervisor) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(toys.folder / "run/root.sock"))
    connection.settimeout(10)
    return connection


def refusals(toys: ToySupervisor) -> list[str]:
    return [letter["reason"] for letter in toys.dead_letters() if letter["code"] == "malformed-frame"]


def wait_for_refusal(toys: ToySupervisor, reason: str) -> None:
    wait_until(lambda: any(reason in refusal for refusal in refusals(toys)), reason)
    assert toys.ask("one", "Echo", text="fine")["answer"] == "fine"


def test_a_message_of_an_unknown_type_is_a_dead_letter_and_its_sender_is_told(toys: ToySupervisor) -> None:
    toys.tell("one", "Unheard")
    toys.wait_for_line("gate 1 failed Unheard unknown-message None")
    assert toys.ask("one", "Unheard")["code"] == "unknown-message"
    found = [letter for letter in toys.dead_letters() if letter["type"] == "Unheard"]
    assert [letter["code"] for letter in found] == ["unknown-message"] * 2


def test_a_recipient_that_does_not_exist_is_told_to_the_sender(toys: ToySupervisor) -> None:
    assert toys.ask("nobody", "Echo", text="?")["code"] == "unknown-recipient"
    toys.tell("nobody", "Work", name="w")
    toys.wait_for_line("gate 1 failed Work unknown-recipient w")


def test_a_handler_that_raises_is_told_to_the_asker_or_the_sender(toys: ToySupervisor) -> None:
    answer = toys.ask("one", "Work", name="x", how="raise")
    assert answer == {"ok": False, "code": "internal-error", "message": "ValueError: cannot do x"}
    toys.tell("one", "Work", name="y", how="raise")
    toys.wait_for_line("gate 1 failed Work handler-failed y")


def test_a_full_mailbox_refuses_commands_and_keeps_the_newest_events(toys: ToySupervisor) -> None:
    toys.tell("one", "Work", name="full", how="block")
    toys.wait_for_line("one 1 begins full")
    for number in range(260):
        toys.tell("*", "Rang", number=number)
    assert toys.actor("one")["mailbox"]["depth"] == 256
    assert toys.ask("one", "Echo", text="?")["code"] == "mailbox-full"
    assert toys.ask("one", "Once", name="?")["code"] == "mailbox-full"
    toys.tell("one", "Work", name="too much")
    toys.wait_for_line("gate 1 failed Work mailbox-full too much")
    toys.tell("one", "Noted", text="important")
    toys.tell("*", "Rang", number=100)
    toys.open("full")
    toys.wait_for_line("one 1 hears 100")
    heard = [line for line in toys.diary.lines() if line.startswith(("one 1 hears", "one 1 is told"))]
    expected = [f"one 1 hears {number}" for number in range(5, 260) if number != 100]
    assert heard == [*expected, "one 1 is told important", "one 1 hears 100"]


def test_a_passed_deadline_is_told_and_the_message_is_never_handled(toys: ToySupervisor) -> None:
    toys.tell("two", "Work", name="slow", how="block")
    toys.wait_for_line("two 1 begins slow")
    assert toys.ask("two", "Work", timeout_s=0.2, name="late")["code"] == "deadline-passed"
    toys.open("slow")
    toys.wait_for_line("two 1 done slow")
    assert toys.ask("two", "Echo", text="next")["ok"]
    assert "two 1 begins late" not in toys.diary.lines()


def test_a_message_over_the_limit_fails_at_its_sender_and_a_large_one_arrives(toys: ToySupervisor) -> None:
    assert toys.tell("one", "Work", name="big", size="x" * (17 << 20))["code"] == "frame-too-large"
    assert toys.ask("one", "Work", name="large", size="x" * (15 << 20))["answer"] == "large done by 1"


def test_rubbish_on_the_socket_is_refused(toys: ToySupervisor) -> None:
    with connect(toys) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert_closed(connection)
    wait_for_refusal(toys, "Expected `array`, got `int`")


def test_a_broken_stream_is_refused(toys: ToySupervisor) -> None:
    with connect(toys) as connection:
        connection.sendall(b"\xc1" * 10)
        assert_closed(connection)
    wait_for_refusal(toys, "not MessagePack within the limits")


def test_a_frame_over_the_limit_is_refused(toys: ToySupervisor) -> None:
    with connect(toys) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(b"\x92\xa61.send\xc6" + struct.pack(">I", 17 << 20) + b"x" * (17 << 20))
        assert_closed(connection)
    wait_for_refusal(toys, "a frame is over 16777216 bytes")


def test_a_truncated_frame_is_noted(toys: ToySupervisor) -> None:
    with connect(toys) as connection:
        connection.sendall(wire.encode(wire.Hello("one", 1))[:-1])
    wait_for_refusal(toys, "the stream ended inside a frame")


def test_a_stranger_that_says_hello_is_refused(toys: ToySupervisor) -> None:
    with connect(toys) as connection:
        connection.sendall(wire.encode(wire.Hello("one", 1)))
        assert_closed(connection)
    wait_for_refusal(toys, "is not the owner of the mailbox of one")


def test_a_hello_of_another_generation_is_refused(toys: ToySupervisor) -> None:
    with connect(toys) as connection:
        connection.sendall(wire.encode(wire.Hello("one", 7)))
        assert_closed(connection)
    wait_for_refusal(toys, "generation 7 of one, expected 1")


def test_who_sends_before_its_hello_is_refused(toys: ToySupervisor) -> None:
    with connect(toys) as connection:
        connection.sendall(wire.encode(wire.Send(1, "planner", "one", "command", "Work", b"\x80")))
        assert_closed(connection)
    wait_for_refusal(toys, "refused: no hello")


def test_the_views_show_mailbox_stack_and_trace(toys: ToySupervisor) -> None:
    toys.tell("two", "Work", name="seen", how="block")
    toys.wait_for_line("two 1 begins seen")
    toys.tell("two", "Work", name="behind")
    wait_until(lambda: toys.actor("two")["mailbox"]["depth"] == 2, "two messages")
    messages = toys.ask("root", "ShowMailbox", name="two")["answer"]["messages"]
    assert [(m["body"]["name"], m["state"], m["tries"]) for m in messages] == [
        ("seen", "handling", 1),
        ("behind", "waiting", 0),
    ]
    stack = toys.ask("root", "ShowStack", name="two")["answer"]["stack"]
    assert "in _job" in stack
    for name in ("root", "nursery"):
        assert "Thread MainThread" in toys.ask("root", "ShowStack", name=name)["answer"]["stack"]
    assert toys.ask("root", "ShowStack", name="nobody")["code"] == "not-found"
    toys.open("seen")
    trace = toys.ask("root", "ShowTrace", after=0)["answer"]
    assert trace["flow"]["gate > two"] >= 2
    newest = trace["trace"][-1]
    assert (newest["type"], newest["recipient"]) == ("ShowTrace", "root")
    after = toys.ask("root", "ShowTrace", after=newest["number"])["answer"]["trace"]
    assert [entry["type"] for entry in after] == ["ShowTrace"]


def assert_closed(connection: socket.socket) -> None:
    try:
        assert connection.recv(1) == b""
    except ConnectionResetError:
        return

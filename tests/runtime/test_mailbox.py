"""The mailbox as a data structure."""

from __future__ import annotations

import pytest

from balena_supervisor.runtime.mailbox import Letter, Mailbox


def letter(number: int, kind: str = "command", *, key: str = "", body: bytes = b"", retained: bool = False) -> Letter:
    return Letter(number, "a", "b", kind, "T", body, 0.0, key, retained)


def filled(*letters: Letter, max_letters: int = 3) -> Mailbox:
    mailbox = Mailbox(max_letters=max_letters, max_bytes=10_000)
    for item in letters:
        assert mailbox.put(item).accepted
    return mailbox


def ids(mailbox: Mailbox) -> list[int]:
    return [item.id for item in mailbox.waiting()]


@pytest.mark.parametrize("kind", ["command", "action", "query"])
def test_a_full_mailbox_refuses_what_can_be_answered(kind: str) -> None:
    mailbox = filled(letter(1), letter(2), letter(3))
    assert not mailbox.put(letter(4, kind)).accepted
    assert ids(mailbox) == [1, 2, 3]


def test_what_the_actor_holds_counts_against_the_mailbox() -> None:
    mailbox = filled(letter(1), letter(2), letter(3))
    mailbox.take(0)
    mailbox.hold(1)
    mailbox.take(0)
    assert not mailbox.put(letter(4)).accepted
    mailbox.settle(1)
    assert mailbox.put(letter(4)).accepted


def test_a_mailbox_is_full_by_its_bytes_too() -> None:
    mailbox = filled(letter(1, body=b"x" * 9000))
    assert not mailbox.put(letter(2, body=b"x" * 1000)).accepted
    mailbox.take(0)
    mailbox.settle(1)
    assert mailbox.size_bytes == 0
    assert mailbox.put(letter(2, body=b"x" * 1000)).accepted


def test_a_notice_has_reserved_room() -> None:
    mailbox = filled(letter(1), letter(2), letter(3))
    assert mailbox.put(letter(4, "notice", body=b"x" * 20_000)).accepted
    assert ids(mailbox) == [1, 2, 3, 4]


def test_with_room_every_event_is_kept() -> None:
    mailbox = filled(letter(1, "event", key="x"), letter(2, "event", key="x"))
    assert ids(mailbox) == [1, 2]


def test_in_a_full_mailbox_an_event_replaces_the_older_of_its_key_and_goes_to_the_end() -> None:
    mailbox = filled(letter(1, "event", key="x"), letter(2, "event", key="y"), letter(3))
    assert mailbox.put(letter(4, "event", key="x")).accepted
    assert ids(mailbox) == [2, 3, 4]


def test_in_a_full_mailbox_an_event_of_a_new_key_drops_the_oldest() -> None:
    mailbox = filled(letter(1), letter(2, "event", key="x"), letter(3, "event", key="y"))
    put = mailbox.put(letter(4, "event", key="z"))
    assert put.accepted
    assert [dropped.id for dropped in put.dropped] == [2]
    assert ids(mailbox) == [1, 3, 4]


def test_an_event_finds_no_room_among_commands_but_a_retained_one_does() -> None:
    mailbox = filled(letter(1), letter(2), letter(3))
    assert not mailbox.put(letter(4, "event")).accepted
    assert mailbox.put(letter(5, "event", retained=True)).accepted
    assert ids(mailbox) == [1, 2, 3, 5]


def test_an_event_never_pushes_out_a_retained_one() -> None:
    mailbox = filled(letter(1, "event", key="x", retained=True), letter(2), letter(3))
    assert not mailbox.put(letter(4, "event", key="y")).accepted
    assert ids(mailbox) == [1, 2, 3]


def test_the_actor_gets_one_message_at_a_time() -> None:
    mailbox = filled(letter(1), letter(2))
    first = mailbox.take(5.0)
    assert first is not None
    assert (first.id, first.tries, first.taken_at, first.state) == (1, 1, 5.0, "handling")
    assert mailbox.take(5.0) is None
    assert mailbox.hold(1)
    assert first.state == "pending"
    second = mailbox.take(6.0)
    assert second is not None
    assert second.id == 2


def test_pending_messages_may_be_settled_in_any_order() -> None:
    mailbox = filled(letter(1), letter(2))
    for number in (1, 2):
        mailbox.take(0)
        mailbox.hold(number)
    assert mailbox.settle(2) is not None
    assert mailbox.settle(2) is None
    assert mailbox.settle(1, failed=True) is not None
    assert (mailbox.handled, mailbox.failed, len(mailbox)) == (2, 1, 0)


def test_after_a_death_what_was_held_comes_first_and_in_order() -> None:
    mailbox = filled(letter(1), letter(2, "event"), letter(3))
    for number in (1, 2):
        mailbox.take(0)
        mailbox.hold(number)
    mailbox.take(0)
    mailbox.put(letter(4))
    died = mailbox.died()
    assert (died.deadly, died.abandoned) == ([], [])
    assert ids(mailbox) == [1, 2, 3]


@pytest.mark.parametrize("kind", ["action", "query"])
def test_a_held_action_or_query_is_not_repeated_but_a_waiting_one_stays(kind: str) -> None:
    mailbox = filled(letter(1, kind), letter(2, kind), letter(3, kind))
    mailbox.take(0)
    mailbox.hold(1)
    mailbox.take(0)
    died = mailbox.died()
    assert [lost.id for lost in died.abandoned] == [1, 2]
    assert ids(mailbox) == [3]


@pytest.mark.parametrize("kind", ["command", "event", "notice"])
def test_the_third_death_while_handling_is_the_last(kind: str) -> None:
    mailbox = filled(letter(1, kind), letter(2, kind))
    for _ in range(2):
        mailbox.take(0)
        assert mailbox.died().deadly == []
    mailbox.take(0)
    assert [lost.id for lost in mailbox.died().deadly] == [1]
    assert ids(mailbox) == [2]


def test_a_death_does_not_count_for_what_was_only_pending() -> None:
    mailbox = filled(letter(1))
    for _ in range(5):
        mailbox.take(0)
        mailbox.hold(1)
        assert mailbox.died().deadly == []
    assert ids(mailbox) == [1]


def test_snapshots_go_before_everything_without_a_second_copy() -> None:
    mailbox = filled(letter(1), letter(2, "event", key="x", retained=True), letter(3, "event", key="x", retained=True))
    count = mailbox.put_first([letter(3, "event", key="x", retained=True), letter(9, "event", key="y", retained=True)])
    assert count == 2
    assert ids(mailbox) == [3, 9, 1]


def test_a_waiting_letter_that_is_removed_gives_its_room_back() -> None:
    first = letter(1)
    mailbox = filled(first, letter(2))
    size = mailbox.size_bytes
    mailbox.remove(first)
    mailbox.remove(first)
    assert mailbox.size_bytes == size - first.size_bytes
    assert mailbox.high_water == 2

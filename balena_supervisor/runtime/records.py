"""What the post office remembers for people: dead letters and the trace of envelopes. In memory only."""

from __future__ import annotations

from collections import Counter, deque
from datetime import datetime
from typing import Any

import msgspec

from balena_supervisor.clock import Clock, iso
from balena_supervisor.runtime.mailbox import Letter
from balena_supervisor.runtime.mask import masked
from balena_supervisor.runtime.views import (
    DeadLettersView,
    DeadLetterView,
    InHand,
    MailboxSize,
    MessageView,
    TraceEntry,
    TraceView,
)

_MAX_DEAD_LETTERS = 200
_MAX_TRACE = 1000


def builtins_of(body: bytes) -> Any:
    """A body as plain values; None when it is no MessagePack."""
    try:
        return msgspec.msgpack.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class DeadLetters:
    """The last 200 messages that could not be delivered or handled."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._letters: deque[tuple[int, datetime, Letter, str, str]] = deque(maxlen=_MAX_DEAD_LETTERS)
        self._count = 0

    def add(self, letter: Letter, code: str, reason: str) -> None:
        self._count += 1
        self._letters.append((self._count, self._clock.now(), letter, code, reason))

    def view(self) -> DeadLettersView:
        return DeadLettersView(
            dead_letters=tuple(
                DeadLetterView(
                    number=number,
                    at=iso(at),
                    kind=letter.kind,
                    type=letter.type,
                    sender=letter.sender,
                    recipient=letter.recipient,
                    code=code,
                    reason=reason,
                    body=masked(builtins_of(letter.body)),
                )
                for number, at, letter, code, reason in self._letters
            )
        )


class Trace:
    """The last 1,000 envelopes, without bodies, and how many went from whom to whom."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: deque[tuple[int, datetime, int, str, str, str, str, int]] = deque(maxlen=_MAX_TRACE)
        self._count = 0
        self._flow: Counter[tuple[str, str]] = Counter()

    def add(self, letter: Letter) -> None:
        self._count += 1
        self._flow[letter.sender, letter.recipient] += 1
        about = (letter.id, letter.kind, letter.type, letter.sender, letter.recipient, len(letter.body))
        self._entries.append((self._count, self._clock.now(), *about))

    def view(self, after: int) -> TraceView:
        return TraceView(
            trace=tuple(
                TraceEntry(
                    number=number,
                    at=iso(at),
                    id=id_,
                    kind=kind,
                    type=type_,
                    sender=sender,
                    recipient=recipient,
                    size_bytes=size,
                )
                for number, at, id_, kind, type_, sender, recipient, size in self._entries
                if number > after
            ),
            flow={f"{sender} > {recipient}": count for (sender, recipient), count in self._flow.items()},
        )


def message_view(letter: Letter, now: float) -> MessageView:
    return MessageView(
        id=letter.id,
        kind=letter.kind,
        type=letter.type,
        sender=letter.sender,
        recipient=letter.recipient,
        tries=letter.tries,
        age_s=round(now - letter.arrived_at, 3),
        deadline_s=None if letter.deadline is None else round(letter.deadline - now, 3),
        state=letter.state,
        body=masked(builtins_of(letter.body)),
    )


def in_hand_view(letter: Letter, now: float) -> InHand:
    return InHand(
        id=letter.id,
        type=letter.type,
        sender=letter.sender,
        tries=letter.tries,
        age_s=round(now - letter.taken_at, 3),
        state=letter.state,
    )


class MailboxReport(msgspec.Struct, frozen=True, kw_only=True):
    """The part of ``ActorView`` that the post office knows."""

    mailbox: MailboxSize
    in_hand: tuple[InHand, ...]
    handled: int
    failed: int

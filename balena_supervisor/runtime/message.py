"""Typed messages and their kinds. The kind decides the delivery.

A message type is an immutable ``msgspec.Struct`` that derives from one of the kinds below. Its class name is its
name on the wire, so it must be unique in the program. The body travels as MessagePack made by msgspec and is
decoded strictly by the receiver.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

import msgspec

R = TypeVar("R")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all messages."""

    kind: ClassVar[str] = ""


class Request(Message, Generic[R], frozen=True, kw_only=True):
    """A message that may be asked; ``R`` is the type of the answer."""


class Command(Request[R], Generic[R], frozen=True, kw_only=True):
    """Bring this about; a repeat is harmless.

    Redelivered when the actor dies holding it; the third death while handling it makes it a dead letter and the
    sender gets :class:`DeliveryFailed`. A full mailbox answers the sender ``MailboxFull``. The docstring of each
    command says what a repeat finds.
    """

    kind = "command"


class Action(Request[R], Generic[R], frozen=True, kw_only=True):
    """Do this once; a repeat would do harm. Never redelivered: the asker gets ``ActorRestarted``."""

    kind = "action"


class Query(Request[R], Generic[R], frozen=True, kw_only=True):
    """Tell me. Dropped when the actor dies; the asker gets ``ActorRestarted``."""

    kind = "query"


class Event(Message, frozen=True, kw_only=True):
    """This happened; goes to all subscribers. In a full mailbox a newer event of the same key replaces the older.

    ``retained`` events are kept by the post office (the newest of each type and key) and delivered to a subscriber
    whenever it connects, so that a restarted actor has all snapshots before its first other message.
    """

    kind = "event"
    retained: ClassVar[bool] = False

    def key(self) -> str:
        """What this event is about; two events of one type and key are versions of the same fact."""
        return ""


class Notice(Message, frozen=True, kw_only=True):
    """A fact told to one actor. Has reserved room in the mailbox: never dropped, never replaced, redelivered."""

    kind = "notice"


class DeliveryFailed(Notice, frozen=True, kw_only=True):
    """A told command was not carried out.

    ``body`` is the command as decoded builtins, so that its sender can see which one it was; empty above 1 MiB.
    ``code`` is ``mailbox-full``, ``too-many-deaths``, ``unknown-message``, ``malformed-message``, ``handler-failed``
    or ``deadline-passed``.
    """

    recipient: str
    message_type: str
    code: str
    reason: str
    body: dict[str, Any] = {}

"""What root answers to people who look into the running actors. All of these are asked of the actor ``root``.

Bodies of messages are decoded builtins with secrets masked (:func:`balena_supervisor.runtime.mask.masked`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from balena_supervisor.runtime.message import Action, Query


class InHand(msgspec.Struct, frozen=True, kw_only=True):
    """A message that an actor holds: ``state`` is ``handling`` or ``pending``."""

    id: int
    type: str
    sender: str
    tries: int
    age_s: float
    state: str


class MailboxSize(msgspec.Struct, frozen=True, kw_only=True):
    depth: int = 0
    high_water: int = 0
    size_bytes: int = 0


class ActorView(msgspec.Struct, frozen=True, kw_only=True):
    """One process. ``state`` is ``starting``, ``running``, ``back-off``, ``hung`` or ``stopped``; ``problem`` the
    reason when it is not running. ``last_exit`` is words such as ``killed by signal 9``. Ages in seconds."""

    name: str
    pid: int
    generation: int
    state: str
    uptime_s: float
    restarts: int = 0
    last_exit: str = ""
    problem: str = ""
    mailbox: MailboxSize = MailboxSize()
    in_hand: tuple[InHand, ...] = ()
    handled: int = 0
    failed: int = 0
    pss_bytes: int = 0


class ActorsView(msgspec.Struct, frozen=True, kw_only=True):
    actors: tuple[ActorView, ...]


class MessageView(msgspec.Struct, frozen=True, kw_only=True):
    """A message; ``deadline_s`` is the time left, negative when passed, None without one."""

    id: int
    kind: str
    type: str
    sender: str
    recipient: str
    tries: int
    age_s: float
    deadline_s: float | None = None
    state: str = "waiting"
    body: Any = None


class MailboxView(msgspec.Struct, frozen=True, kw_only=True):
    """``messages`` are those in hand first, then the waiting ones in order."""

    name: str
    messages: tuple[MessageView, ...]


class DeadLetterView(msgspec.Struct, frozen=True, kw_only=True):
    """``code`` is one of those of ``DeliveryFailed``, or ``malformed-frame``, ``unknown-recipient``."""

    number: int
    at: str
    kind: str
    type: str
    sender: str
    recipient: str
    code: str
    reason: str
    body: Any = None


class DeadLettersView(msgspec.Struct, frozen=True, kw_only=True):
    dead_letters: tuple[DeadLetterView, ...]


class TraceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One envelope that passed; ``number`` grows. No body."""

    number: int
    at: str
    id: int
    kind: str
    type: str
    sender: str
    recipient: str
    size_bytes: int


class TraceView(msgspec.Struct, frozen=True, kw_only=True):
    """At most the last 1,000; ``flow`` counts messages since start by "sender > recipient"."""

    trace: tuple[TraceEntry, ...]
    flow: dict[str, int] = {}


class StackView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    stack: str


class ListActors(Query[ActorsView], frozen=True, kw_only=True):
    """All processes: nursery, root, the actors, gunicorn's arbiter (``http-arbiter``) and worker (``http``).

    PSS is measured for this answer (reading ``smaps_rollup`` of some ten processes), never periodically; without
    ``memory`` it is left out.
    """

    memory: bool = True


class ShowMailbox(Query[MailboxView], frozen=True, kw_only=True):
    """Fails with code ``not-found`` for an unknown name."""

    name: str


class ShowStack(Query[StackView], frozen=True, kw_only=True):
    """The stack of every thread of that process. Fails with ``not-found`` or ``not-ready``."""

    name: str


class ListDeadLetters(Query[DeadLettersView], frozen=True, kw_only=True):
    """The last 200."""


class ShowTrace(Query[TraceView], frozen=True, kw_only=True):
    """The envelopes with a number above ``after``."""

    after: int = 0


class RestartActor(Action[None], frozen=True, kw_only=True):
    """Kill the process; it is restarted at once, for ``root`` with all others. Fails with ``not-found``."""

    name: str

"""Routes messages between mailboxes. Knows no sockets: whoever feeds it gives it *links* to send frames on.

Mailboxes live here, so they outlive the actors. An actor gets its next message when it has settled the one before, or
holds it as pending. Bodies are never decoded, except for people and for ``DeliveryFailed``.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping
from typing import Protocol

from balena_supervisor.clock import Clock
from balena_supervisor.errors import ErrorRecord, NotFound
from balena_supervisor.runtime import wire
from balena_supervisor.runtime.mailbox import Letter, Mailbox
from balena_supervisor.runtime.message import DeliveryFailed
from balena_supervisor.runtime.records import (
    DeadLetters,
    MailboxReport,
    Trace,
    builtins_of,
    in_hand_view,
    message_view,
)
from balena_supervisor.runtime.views import MailboxSize, MailboxView

ROOT = "root"
_MANY = 64
#: a failed command goes back to its sender with its body up to this size
_MAX_RETURNED_BYTES = 1024 * 1024


class Link(Protocol):
    """The way to one actor. Sending on a closed link does nothing."""

    def send(self, frame: wire.Frame) -> None: ...


class _Box:
    def __init__(self, name: str) -> None:
        self.name = name
        self.letters = Mailbox()
        self.link: Link | None = None
        self.ready = False
        #: retained events that killed this actor too often, by type and key: the letter's id
        self.refused: dict[tuple[str, str], int] = {}


class PostOffice:
    """``subscriptions`` maps each mailbox's name to the event types it wants. One thread calls all of this."""

    def __init__(self, clock: Clock, subscriptions: Mapping[str, Iterable[str]]) -> None:
        self._clock = clock
        self._boxes = {name: _Box(name) for name in subscriptions}
        self._subscribers: dict[str, list[_Box]] = {}
        for name, types in subscriptions.items():
            for event_type in types:
                self._subscribers.setdefault(event_type, []).append(self._boxes[name])
        self._retained: dict[tuple[str, str], Letter] = {}
        self._ids = itertools.count(1)
        self._deadlines: list[tuple[float, int, Letter]] = []
        #: how many of them may have been answered meanwhile
        self._answered = 0
        self._held = False
        self._dead = DeadLetters(clock)
        self._trace = Trace(clock)

    # --- actors come and go ------------------------------------------------------------------------------------

    def attach(self, name: str, link: Link) -> None:
        """The actor has said hello. Nothing is delivered before :meth:`ready`."""
        box = self._boxes[name]
        if box.link is not None:
            self.detach(name, box.link)
        box.link = link

    def ready(self, name: str, link: Link) -> None:
        """The actor takes messages: first all retained events it subscribes to, then what waits."""
        box = self._boxes[name]
        if box.link is not link or box.ready:
            return
        snapshots = [
            self._copy(letter, box)
            for fact, letter in self._retained.items()
            if box in self._subscribers.get(letter.type, ()) and box.refused.get(fact) != letter.id
        ]
        count = box.letters.put_first(snapshots)
        box.ready = True
        link.send(wire.Begin(count))
        self._pump(box)

    def detach(self, name: str, link: Link) -> None:
        """The actor is gone. Everything it had sent before must have been given to :meth:`received`."""
        box = self._boxes[name]
        if box.link is not link:
            return
        box.link, box.ready = None, False
        outcome = box.letters.died()
        for letter in outcome.abandoned:
            self._answer_error(letter, "actor-restarted", f"{name} was restarted while it held {letter.type}")
        for letter in outcome.deadly:
            if letter.retained:
                box.refused[letter.type, letter.key] = letter.id
            self._fail(letter, "too-many-deaths", f"{name} died {letter.deaths} times while handling {letter.type}")

    def hold(self) -> None:
        """Deliver nothing any more: the supervisor is stopping."""
        self._held = True

    # --- frames ------------------------------------------------------------------------------------------------

    def received(self, name: str, frame: wire.Frame) -> bool:
        """Take a frame from the actor ``name``; False when it is none that concerns the post."""
        if isinstance(frame, wire.Send):
            self._send(self._boxes[name], frame)
        elif isinstance(frame, wire.Settled):
            self._settled(self._boxes[name], frame)
        elif isinstance(frame, wire.Holding):
            self._boxes[name].letters.hold(frame.id)
            self._pump(self._boxes[name])
        else:
            return False
        return True

    def malformed(self, sender: str, reason: str) -> None:
        """Note bytes that could not be read."""
        letter = Letter(0, sender, ROOT, "", "", b"", self._clock.monotonic())
        self._dead.add(letter, "malformed-frame", reason)

    def _send(self, sender: _Box, frame: wire.Send) -> None:
        now = self._clock.monotonic()
        letter = Letter(
            next(self._ids), sender.name, frame.recipient, frame.kind, frame.type, frame.body, now, frame.key
        )
        if frame.asked:
            letter.asker, letter.ask_id = sender.link, frame.id
        if frame.timeout_s is not None:
            letter.deadline = now + frame.timeout_s
            heapq.heappush(self._deadlines, (letter.deadline, letter.id, letter))
        if frame.kind == "event":
            letter.retained = frame.retained
            self._publish(letter)
            return
        self._trace.add(letter)
        recipient = self._boxes.get(frame.recipient)
        if recipient is None:
            self._fail(letter, "unknown-recipient", f"cannot send {letter.type}: there is no {frame.recipient}")
        else:
            self._put(recipient, letter)

    def _publish(self, event: Letter) -> None:
        if event.retained:
            self._retained[event.type, event.key] = event
        for box in self._subscribers.get(event.type, ()):
            letter = self._copy(event, box)
            self._trace.add(letter)
            self._put(box, letter)

    def _copy(self, event: Letter, box: _Box) -> Letter:
        """The event for one subscriber, under the id of its publication."""
        arrived = event.arrived_at
        return Letter(
            event.id, event.sender, box.name, "event", event.type, event.body, arrived, event.key, event.retained
        )

    def _put(self, box: _Box, letter: Letter) -> None:
        put = box.letters.put(letter)
        for dropped in put.dropped:
            self._dead.add(dropped, "mailbox-full", f"the mailbox of {box.name} is full; a newer event took its place")
        if not put.accepted:
            waiting = len(box.letters)
            reason = f"cannot deliver {letter.type}: the mailbox of {box.name} is full ({waiting} messages)"
            self._fail(letter, "mailbox-full", reason, dead=letter.asker is None)
        self._pump(box)

    def _settled(self, box: _Box, frame: wire.Settled) -> None:
        letter = box.letters.settle(frame.id, failed=bool(frame.code))
        if letter is None:
            return
        if not frame.code:
            letter.body = b""  # its deadline may keep the letter for a while
            if letter.asker is not None:
                self._answer(letter, ok=True, body=frame.body)
        else:
            record = wire.decode_error(frame.body)
            refused = frame.code in {"unknown-message", "malformed-message"}
            if letter.asker is not None:
                self._answer(letter, ok=False, body=frame.body)
                if refused:
                    self._dead.add(letter, frame.code, record.message)
            else:
                self._fail(letter, frame.code, record.message)
        self._pump(box)

    def _pump(self, box: _Box) -> None:
        """Deliver the next message when the actor's hand is free."""
        if box.link is None or not box.ready or self._held:
            return
        now = self._clock.monotonic()
        letter = box.letters.take(now)
        if letter is None:
            return
        box.link.send(
            wire.Deliver(
                letter.id,
                letter.sender,
                box.name,
                letter.kind,
                letter.type,
                letter.body,
                letter.tries,
                None if letter.deadline is None else letter.deadline - now,
                letter.asker is not None,
                letter.key,
                letter.retained,
            )
        )

    # --- failures ----------------------------------------------------------------------------------------------

    def _fail(self, letter: Letter, code: str, reason: str, *, dead: bool = True) -> None:
        """A message that will not be carried out: remember it, tell its sender."""
        if dead:
            self._dead.add(letter, code, reason)
        if letter.asker is not None:
            self._answer_error(letter, code, reason)
        elif letter.kind == "command":
            self._tell_sender(letter, code, reason)

    def _tell_sender(self, letter: Letter, code: str, reason: str) -> None:
        sender = self._boxes.get(letter.sender)
        if sender is None:
            return
        body = builtins_of(letter.body) if len(letter.body) <= _MAX_RETURNED_BYTES else None
        failed = DeliveryFailed(
            recipient=letter.recipient,
            message_type=letter.type,
            code=code,
            reason=reason,
            body=body if isinstance(body, dict) else {},
        )
        now = self._clock.monotonic()
        notice = Letter(
            next(self._ids), ROOT, sender.name, failed.kind, type(failed).__name__, wire.encode_body(failed), now
        )
        self._trace.add(notice)
        self._put(sender, notice)

    def _answer_error(self, letter: Letter, code: str, reason: str) -> None:
        record = ErrorRecord(code, reason, {"recipient": letter.recipient, "message_type": letter.type})
        self._answer(letter, ok=False, body=wire.encode_error(record))

    def _answer(self, letter: Letter, *, ok: bool, body: bytes) -> None:
        asker: Link | None = letter.asker  # type: ignore[assignment]  # the mailbox does not know links
        letter.asker = None
        self._answered += 1
        if self._answered > max(_MANY, len(self._deadlines) // 2):
            self._answered = 0
            self._deadlines = [due for due in self._deadlines if due[2].asker is not None]
            heapq.heapify(self._deadlines)
        if asker is not None:
            asker.send(wire.Reply(letter.ask_id, ok, body))

    # --- time --------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Drop what has passed its deadline and tell the askers."""
        now = self._clock.monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, letter = heapq.heappop(self._deadlines)
            if letter.asker is None:
                continue
            if letter.state == "waiting":
                self._boxes[letter.recipient].letters.remove(letter)
            reason = f"{letter.recipient} did not answer {letter.type} in time"
            self._answer_error(letter, "deadline-passed", reason)

    def next_due(self) -> float | None:
        """When :meth:`tick` has something to do."""
        while self._deadlines and self._deadlines[0][2].asker is None:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def shift(self, seconds: float) -> None:
        """Time stood still for us: move all deadlines and the start of what is being handled."""
        if not seconds:
            return
        for _, _, letter in self._deadlines:
            if letter.deadline is not None:
                letter.deadline += seconds
        self._deadlines = [(at + seconds, number, letter) for at, number, letter in self._deadlines]
        for box in self._boxes.values():
            for letter in box.letters.in_hand():
                letter.taken_at += seconds

    # --- views -------------------------------------------------------------------------------------------------

    def handling(self) -> list[tuple[str, Letter]]:
        """The letters that are in the hand of an actor's thread, by mailbox."""
        return [(box.name, box.letters.handling) for box in self._boxes.values() if box.letters.handling]

    def reports(self) -> dict[str, MailboxReport]:
        """By mailbox."""
        now = self._clock.monotonic()
        return {name: self._report(box.letters, now) for name, box in self._boxes.items()}

    @staticmethod
    def _report(letters: Mailbox, now: float) -> MailboxReport:
        return MailboxReport(
            mailbox=MailboxSize(depth=len(letters), high_water=letters.high_water, size_bytes=letters.size_bytes),
            in_hand=tuple(in_hand_view(letter, now) for letter in letters.in_hand()),
            handled=letters.handled,
            failed=letters.failed,
        )

    def mailbox_view(self, name: str) -> MailboxView:
        """Raises ``NotFound``."""
        if name not in self._boxes:
            raise NotFound(f"there is no actor {name}", name=name)
        letters = self._boxes[name].letters
        now = self._clock.monotonic()
        shown = [*letters.in_hand(), *letters.waiting()]
        return MailboxView(name=name, messages=tuple(message_view(letter, now) for letter in shown))

    @property
    def dead_letters(self) -> DeadLetters:
        return self._dead

    @property
    def trace(self) -> Trace:
        return self._trace

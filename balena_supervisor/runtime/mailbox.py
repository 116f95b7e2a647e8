"""One mailbox: what waits for an actor and what it holds. A pure data structure without clock or I/O.

A letter waits, is *handling* (in the hand of the actor's thread; one at a time) or *pending* (its handler returned
``Pending``). In-hand letters stay here until they are settled, so they outlive the actor. Bounds: 256 letters and
32 MiB, those in hand included. Notices and retained events have reserved room: they are always taken, since there
are only as many as commands under way and as facts. The kinds are described in ``message.py``.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

MAX_LETTERS = 256
MAX_BYTES = 32 * 1024 * 1024
#: the death of the actor while handling it that makes a letter a dead letter
LAST_DEATH = 3
#: what a letter costs besides its body, in bytes
_OVERHEAD_BYTES = 256

State = Literal["waiting", "handling", "pending"]


@dataclass(slots=True, eq=False)
class Letter:
    """A message in the post office. Times are monotonic seconds; ``asker`` is whoever awaits the answer, if any."""

    id: int
    sender: str
    recipient: str
    kind: str
    type: str
    body: bytes
    arrived_at: float
    key: str = ""
    retained: bool = False
    deadline: float | None = None
    asker: object | None = None
    ask_id: int = 0
    tries: int = 0
    deaths: int = 0
    state: State = "waiting"
    #: when the actor took it
    taken_at: float = 0.0

    @property
    def size_bytes(self) -> int:
        return len(self.body) + _OVERHEAD_BYTES

    def same_fact(self, other: Letter) -> bool:
        """Whether both are versions of one event."""
        return self.kind == other.kind == "event" and (self.type, self.key) == (other.type, other.key)


@dataclass(frozen=True)
class Put:
    """What became of a letter: whether it was taken, and which events had to go for it."""

    accepted: bool
    dropped: tuple[Letter, ...] = ()


@dataclass
class Died:
    """What a death leaves: letters that killed the actor too often, and those that are never repeated."""

    deadly: list[Letter] = field(default_factory=list)
    abandoned: list[Letter] = field(default_factory=list)


class Mailbox:
    """The letters of one actor, in order."""

    def __init__(self, max_letters: int = MAX_LETTERS, max_bytes: int = MAX_BYTES) -> None:
        self._max_letters = max_letters
        self._max_bytes = max_bytes
        self._waiting: OrderedDict[int, Letter] = OrderedDict()
        self._in_hand: dict[int, Letter] = {}
        self._handling: Letter | None = None
        self.size_bytes = 0
        self.high_water = 0
        self.handled = 0
        self.failed = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_hand)

    @property
    def handling(self) -> Letter | None:
        return self._handling

    def in_hand(self) -> list[Letter]:
        return list(self._in_hand.values())

    def waiting(self) -> list[Letter]:
        return list(self._waiting.values())

    # --- in ----------------------------------------------------------------------------------------------------

    def put(self, letter: Letter) -> Put:
        """Take a letter, or not when there is no room for its kind.

        In a full mailbox an event replaces the older one of its key and goes to the end; one of a new key drops the
        oldest events that are not retained.
        """
        if letter.kind == "notice" or self._has_room(letter):
            self._append(letter)
            return Put(accepted=True)
        if letter.kind != "event":
            return Put(accepted=False)
        older = [waiting for waiting in self._waiting.values() if waiting.same_fact(letter)]
        for replaced in older:
            self.remove(replaced)
        dropped: list[Letter] = []
        if not older:
            for oldest in self._droppable():
                if self._has_room(letter):
                    break
                self.remove(oldest)
                dropped.append(oldest)
        if not letter.retained and not older and not self._has_room(letter):
            return Put(accepted=False, dropped=tuple(dropped))
        self._append(letter)
        return Put(accepted=True, dropped=tuple(dropped))

    def put_first(self, snapshots: list[Letter]) -> int:
        """Put retained events before everything else and return how many will be delivered first.

        A version of the same fact that is here already is newer or equal: it is moved instead.
        """
        for letter in reversed(snapshots):
            versions = [waiting for waiting in self._waiting.values() if waiting.same_fact(letter)]
            for stale in versions[:-1]:
                self.remove(stale)
            if versions:
                self._waiting.move_to_end(versions[-1].id, last=False)
            else:
                self._append(letter)
                self._waiting.move_to_end(letter.id, last=False)
        return len(snapshots)

    def remove(self, letter: Letter) -> None:
        """Take a waiting letter out."""
        if self._waiting.pop(letter.id, None) is not None:
            self.size_bytes -= letter.size_bytes

    def _has_room(self, letter: Letter) -> bool:
        return len(self) < self._max_letters and self.size_bytes + letter.size_bytes <= self._max_bytes

    def _droppable(self) -> list[Letter]:
        return [letter for letter in self._waiting.values() if letter.kind == "event" and not letter.retained]

    def _append(self, letter: Letter) -> None:
        letter.state = "waiting"
        self._waiting[letter.id] = letter
        self.size_bytes += letter.size_bytes
        self.high_water = max(self.high_water, len(self))

    # --- out ---------------------------------------------------------------------------------------------------

    def take(self, now: float) -> Letter | None:
        """The next letter, now in the actor's hand; None while it handles one or nothing waits."""
        if self._handling is not None or not self._waiting:
            return None
        _, letter = self._waiting.popitem(last=False)
        letter.state = "handling"
        letter.tries += 1
        letter.taken_at = now
        self._in_hand[letter.id] = letter
        self._handling = letter
        return letter

    def hold(self, letter_id: int) -> bool:
        """The handler returned and will settle later. False when the letter is not in the actor's thread."""
        if self._handling is None or self._handling.id != letter_id:
            return False
        self._handling.state = "pending"
        self._handling = None
        return True

    def settle(self, letter_id: int, *, failed: bool = False) -> Letter | None:
        """Done with a letter in hand; None when it is not there."""
        letter = self._in_hand.pop(letter_id, None)
        if letter is None:
            return None
        if self._handling is letter:
            self._handling = None
        self.size_bytes -= letter.size_bytes
        self.handled += 1
        self.failed += failed
        return letter

    def died(self) -> Died:
        """The actor is gone: what it held goes back to the front, in order.

        Only the letter in the actor's thread may have killed it; pending and waiting ones count no death.
        """
        outcome = Died()
        back: list[Letter] = []
        if self._handling is not None:
            self._handling.deaths += 1
        for letter in self._in_hand.values():
            if letter.kind in {"action", "query"}:
                outcome.abandoned.append(letter)
            elif letter.deaths >= LAST_DEATH:
                outcome.deadly.append(letter)
            else:
                back.append(letter)
        for lost in (*outcome.abandoned, *outcome.deadly):
            self.size_bytes -= lost.size_bytes
            self.failed += 1
        self._in_hand.clear()
        self._handling = None
        for letter in reversed(back):
            letter.state = "waiting"
            self._waiting[letter.id] = letter
            self._waiting.move_to_end(letter.id, last=False)
        return outcome

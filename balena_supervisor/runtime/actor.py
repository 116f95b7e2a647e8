"""What the author of an actor needs: :class:`Actor`, :func:`handles`, :class:`Pending` and the :class:`Ports`.

An actor is a Pykka actor whose handlers take typed messages. It runs in a process of its own, fed by the child host
from the post office, or in a test without any process: ``Images.start(ports)``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import pykka

from balena_supervisor.clock import Clock
from balena_supervisor.runtime.message import Action, Command, Event, Message, Notice, Request

R = TypeVar("R")
M = TypeVar("M", bound=Message)
F = TypeVar("F", bound=Callable[..., Any])


class Post(Protocol):
    """How an actor reaches the others. None of these calls waits; all may be made from any thread."""

    def tell(self, recipient: str, message: Command[Any] | Notice) -> None:
        """Send without an answer. What becomes of a command that fails is told as ``DeliveryFailed``."""

    def ask(self, recipient: str, message: Request[R], timeout_s: float) -> Future[R]:
        """Send and get a future of the answer.

        The future fails with ``RemoteError`` (an error of the handler, or code ``mailbox-full``,
        ``actor-restarted``, ``deadline-passed``, ``unknown-recipient``). Never wait for it in a handler: use
        :meth:`Actor.when_done`.
        """

    def publish(self, event: Event) -> None:
        """Send to all subscribers."""


class Timer(Protocol):
    def cancel(self) -> None:
        """Harmless when it has fired or was cancelled already."""


class Timers(Protocol):
    """Calls a function after a delay on the monotonic clock; tests pass one that they move."""

    def after(self, delay_s: float, call: Callable[[], None]) -> Timer: ...


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What every actor is given. Actors that need more derive from it."""

    name: str
    generation: int
    post: Post
    clock: Clock
    timers: Timers


class Pending(Generic[R]):
    """Returned by a handler whose message is settled later, by a job of its pool.

    The message stays in hand until ``future`` is done; its result is the answer, its exception the failure.
    """

    def __init__(self, future: Future[R]) -> None:
        self.future = future


@dataclass(frozen=True)
class Deliver:
    """What the host puts into the Pykka inbox: one typed message. The answer is what the handler returned.

    With ``settle``, the outcome goes there instead, on the actor's thread: what the handler returned, and None or
    the exception that it raised. Then no thread has to wait for the answer.
    """

    message: Message
    settle: Callable[[Any, Exception | None], None] | None = None


@dataclass(frozen=True)
class Heartbeat:
    """Passes through the inbox; its answer, or the call of ``passed``, shows that the actor still takes messages."""

    passed: Callable[[], None] | None = None


@dataclass(frozen=True)
class _Call:
    function: Callable[[], None]


class UnknownMessage(Exception):
    """The actor has no handler for this type."""


def handles(message_type: type[Message]) -> Callable[[F], F]:
    """Mark a method as the handler of a message type. It takes the message and returns the answer,
    a :class:`Pending` of it, or None."""

    def mark(method: F) -> F:
        method.__dict__.setdefault("_handles", []).append(message_type)
        return method

    return mark


class Actor(pykka.ThreadingActor):
    """Base of all actors.

    Handlers run one at a time on the actor's thread and never wait. ``on_start`` opens what must be opened in this
    process; when it raises, the process ends and the root tries again with back-off.
    """

    use_daemon_thread: ClassVar[bool] = True
    handlers: ClassVar[dict[type[Message], str]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.handlers = dict(cls.handlers)
        for name, method in vars(cls).items():
            for message_type in getattr(method, "_handles", ()):
                cls.handlers[message_type] = name

    def __init__(self, ports: Ports) -> None:
        super().__init__()
        self.name = ports.name
        self.generation = ports.generation
        self.post = ports.post
        self.clock = ports.clock
        self._timers = ports.timers

    def on_receive(self, message: object) -> Any:
        if isinstance(message, Deliver):
            return self._deliver(message)
        if isinstance(message, _Call):
            return message.function()
        if isinstance(message, Heartbeat):
            return message.passed() if message.passed is not None else None
        raise UnknownMessage(repr(message))

    def _deliver(self, delivery: Deliver) -> Any:
        if delivery.settle is None:
            return self._handle(delivery.message)
        try:
            result = self._handle(delivery.message)
        except Exception as error:  # noqa: BLE001  # the border of the actor: whoever delivered is told
            delivery.settle(None, error)
        else:
            delivery.settle(result, None)
        return None

    def _handle(self, message: Message) -> Any:
        name = self.handlers.get(type(message))
        if name is None:
            raise UnknownMessage(f"{type(self).__name__} has no handler for {type(message).__name__}")
        return getattr(self, name)(message)

    def defer(self, call: Callable[[], None]) -> None:
        """Run ``call`` on the actor's thread, behind what is in the inbox. From any thread; nothing when stopped."""
        try:
            self.actor_ref.tell(_Call(call))
        except pykka.ActorDeadError:
            return

    def after(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Run ``call`` on the actor's thread after a delay."""
        return self._timers.after(delay_s, lambda: self.defer(call))

    def when_done(self, future: Future[R], call: Callable[[Future[R]], None]) -> None:
        """Run ``call(future)`` on the actor's thread once the future is done."""
        future.add_done_callback(lambda done: self.defer(lambda: call(done)))


__all__ = [
    "Action",
    "Actor",
    "Deliver",
    "Heartbeat",
    "Pending",
    "Ports",
    "Post",
    "Timer",
    "Timers",
    "UnknownMessage",
    "handles",
]

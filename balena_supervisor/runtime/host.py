"""Feeds one actor from the post office and is its :class:`~balena_supervisor.runtime.actor.Post`.

Knows no sockets: it takes frames in :meth:`ActorHost.receive` and gives frames to ``send``. The same class serves an
actor in its own process, the root supervisor beside the post office, and tests in one process.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

import msgspec
import pykka

from balena_supervisor.clock import Clock
from balena_supervisor.errors import ErrorRecord, RemoteError, record_of
from balena_supervisor.runtime import output, wire
from balena_supervisor.runtime.actor import Actor, Deliver, Heartbeat, Pending, Timers, UnknownMessage
from balena_supervisor.runtime.message import Command, Event, Message, Notice, Request

R = TypeVar("R")
#: The post office answers a passed deadline; only when it does not answer at all, the asker gives up by itself, so
#: much later. Seconds.
_GRACE_S = 5.0
_SWEEP_S = 5.0


class _Ask:
    def __init__(self, future: Future[Any], answer_type: Any, name: str, deadline: float) -> None:
        self.future = future
        self.answer_type = answer_type
        self.name = name
        self.deadline = deadline


class ActorHost:
    """``send`` must be callable from any thread and must not wait. ``died`` is called when the actor is not alive."""

    def __init__(
        self, name: str, send: Callable[[wire.Frame], None], clock: Clock, timers: Timers, died: Callable[[str], None]
    ) -> None:
        self.name = name
        self._send = send
        self._clock = clock
        self._timers = timers
        self._died = died
        self._actor: pykka.ActorRef[Any] | None = None
        self._types: dict[str, type[Message]] = {}
        self._ids = itertools.count(1)
        self._asks: dict[int, _Ask] = {}
        self._asks_lock = threading.Lock()
        self._sweeping = False
        self._snapshots_left: int | None = None
        #: set when all retained events of the start have been handled
        self.caught_up = threading.Event()

    def attach(self, actor: pykka.ActorRef[Any]) -> None:
        """The actor has been started; says :class:`~.wire.Ready` once its ``on_start`` has returned."""
        handlers: dict[type[Message], str] = getattr(actor.actor_class, "handlers", Actor.handlers)
        self._types = {message_type.__name__: message_type for message_type in handlers}
        self._actor = actor
        self._put(Heartbeat(lambda: self._send(wire.Ready())))

    def receive(self, frame: wire.Frame) -> None:
        """Take a frame from the post office. On one thread."""
        if isinstance(frame, wire.Deliver):
            self._deliver(frame)
        elif isinstance(frame, wire.Reply):
            self._resolve(frame)
        elif isinstance(frame, wire.Beat):
            self._put(Heartbeat(lambda: self._send(frame)))
        elif isinstance(frame, wire.Begin):
            self._snapshots_left = frame.snapshots
            if not frame.snapshots:
                self.caught_up.set()

    # --- deliveries --------------------------------------------------------------------------------------------

    def _put(self, message: object) -> None:
        if self._actor is None:
            return
        try:
            self._actor.ask(message, block=False)
        except pykka.ActorDeadError:
            self._died(f"the actor {self.name} is not alive")

    def _deliver(self, frame: wire.Deliver) -> None:
        message_type = self._types.get(frame.type)
        if message_type is None:
            reason = f"{self.name} has no handler for {frame.type}"
            self._refuse(frame, "unknown-message", reason)
            return
        try:
            message = msgspec.msgpack.decode(frame.body, type=message_type, strict=True)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._refuse(frame, "malformed-message", f"cannot read {frame.type}: {error}")
            return
        self._put(Deliver(message, lambda result, error: self._settle(frame, result, error)))

    def _settle(self, frame: wire.Deliver, result: Any, error: BaseException | None) -> None:
        if isinstance(error, UnknownMessage):
            self._refuse(frame, "unknown-message", str(error))
        elif error is not None:
            self._settle_failed(frame, error)
        elif isinstance(result, Pending):
            self._send(wire.Holding(frame.id))
            result.future.add_done_callback(lambda done: self._settle_pending(frame, done))
        else:
            self._settle_done(frame, result)

    def _settle_pending(self, frame: wire.Deliver, done: Future[Any]) -> None:
        if done.cancelled():
            self._settle_failed(frame, RuntimeError("the job was cancelled"))
            return
        error = done.exception()
        if error is not None:
            self._settle_failed(frame, error)
        else:
            self._settle_done(frame, done.result())

    def _settle_done(self, frame: wire.Deliver, result: Any) -> None:
        try:
            body = wire.encode_body(result) if frame.asked else b""
        except Exception as error:  # noqa: BLE001  # an answer that cannot travel is the handler's failure
            self._settle_failed(frame, error)
            return
        self._send(wire.Settled(frame.id, "", body))
        self._count_snapshot()

    def _settle_failed(self, frame: wire.Deliver, error: BaseException) -> None:
        record = record_of(error)
        if not frame.asked:
            output.log("error", self.name, "a message could not be handled", type=frame.type, error=record.message)
        self._refuse(frame, "handler-failed", record.message, record)

    def _refuse(self, frame: wire.Deliver, code: str, reason: str, record: ErrorRecord | None = None) -> None:
        self._send(wire.Settled(frame.id, code, wire.encode_error(record or ErrorRecord(code, reason))))
        self._count_snapshot()

    def _count_snapshot(self) -> None:
        if self._snapshots_left:
            self._snapshots_left -= 1
            if not self._snapshots_left:
                self.caught_up.set()

    # --- the actor's post --------------------------------------------------------------------------------------

    def tell(self, recipient: str, message: Command[Any] | Notice) -> None:
        """Raises ``RemoteError`` with code ``frame-too-large``."""
        self._send(self._frame(recipient, message))

    def publish(self, event: Event) -> None:
        """Raises ``RemoteError`` with code ``frame-too-large``."""
        name = type(event).__name__
        body = wire.encode_body(event)
        self._send(wire.Send(0, self.name, "*", event.kind, name, body, key=event.key(), retained=type(event).retained))

    def ask(self, recipient: str, message: Request[R], timeout_s: float) -> Future[R]:
        future: Future[R] = Future()
        future.set_running_or_notify_cancel()
        ask_id = next(self._ids)
        try:
            frame = self._frame(recipient, message, ask_id, timeout_s)
        except RemoteError as error:
            future.set_exception(error)
            return future
        ask = _Ask(future, answer_type(type(message)), frame.type, self._clock.monotonic() + timeout_s + _GRACE_S)
        with self._asks_lock:
            self._asks[ask_id] = ask
        self._sweep_later()
        self._send(frame)
        return future

    def _frame(self, recipient: str, message: Message, ask_id: int = 0, timeout_s: float | None = None) -> wire.Send:
        name = type(message).__name__
        body = wire.encode_body(message)
        return wire.Send(ask_id, self.name, recipient, message.kind, name, body, 0, timeout_s, bool(ask_id))

    def _resolve(self, reply: wire.Reply) -> None:
        with self._asks_lock:
            ask = self._asks.pop(reply.id, None)
        if ask is None:
            return
        try:
            if not reply.ok:
                raise RemoteError(wire.decode_error(reply.body))
            answer = msgspec.msgpack.decode(reply.body, type=ask.answer_type, strict=True)
        except RemoteError as error:
            _set(ask.future, error=error)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = f"cannot read the answer to {ask.name}: {error}"
            _set(ask.future, error=RemoteError(ErrorRecord("malformed-message", reason)))
        else:
            _set(ask.future, answer)

    def _sweep_later(self) -> None:
        with self._asks_lock:
            if self._sweeping or not self._asks:
                return
            self._sweeping = True
        planned = self._clock.monotonic() + _SWEEP_S
        self._timers.after(_SWEEP_S, lambda: self._sweep(planned))

    def _sweep(self, planned: float) -> None:
        """Give up on answers that the post office did not even refuse. Time in which we were stopped is no wait."""
        now = self._clock.monotonic()
        late = now - planned if now - planned > _GRACE_S else 0.0
        passed: list[_Ask] = []
        with self._asks_lock:
            self._sweeping = False
            for ask_id, ask in list(self._asks.items()):
                ask.deadline += late
                if ask.deadline <= now:
                    passed.append(self._asks.pop(ask_id))
        for ask in passed:
            _set(ask.future, error=RemoteError(ErrorRecord("deadline-passed", f"no answer to {ask.name} in time")))
        self._sweep_later()


class _Failures(logging.Handler):
    def __init__(self, report: Callable[[BaseException], None]) -> None:
        super().__init__(logging.ERROR)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self._report(record.exc_info[1])


def on_actor_failure(report: Callable[[BaseException], None]) -> None:
    """Have ``report`` called, on the actor's thread, when an actor of this process dies of an exception, as in
    ``on_start``. Pykka tells only its logger of it."""
    logger = logging.getLogger("pykka")
    logger.propagate = False
    logger.addHandler(_Failures(report))


def _set(future: Future[Any], result: Any = None, error: Exception | None = None) -> None:
    try:
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
    except InvalidStateError:
        return


def answer_type(request: type[Message]) -> Any:
    """The ``R`` of the ``Request[R]`` that a message type derives from; ``Any`` when it does not say."""
    for base in request.__mro__:
        for generic in base.__dict__.get("__orig_bases__", ()):
            origin = getattr(generic, "__origin__", None)
            if isinstance(origin, type) and issubclass(origin, Request):
                argument = generic.__args__[0]
                if not isinstance(argument, TypeVar):
                    return argument
    return Any

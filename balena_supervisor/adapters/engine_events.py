"""Follows what happens on the engine, for as long as it takes, through engines that die and come back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar

import msgspec

from balena_supervisor.adapters.engine import Engine
from balena_supervisor.adapters.engine_stream import JsonStream, StreamQuiet
from balena_supervisor.errors import EngineUnavailable, SupervisorError

T = TypeVar("T")


class EngineEvent(msgspec.Struct, frozen=True):
    """One event. ``action`` is without details (``health_status``, not ``health_status: healthy``); ``at`` is ISO text
    in the engine's time."""

    type: str
    action: str
    id: str
    attributes: dict[str, str] = {}
    at: str = ""


@dataclass(frozen=True, kw_only=True)
class Listener(Generic[T]):
    """Who follows. ``read`` looks at everything; the others are told. All are called on the watching thread."""

    filters: Mapping[str, list[str]]
    read: Callable[[], T]
    on_read: Callable[[T], None]
    on_event: Callable[[EngineEvent], None]
    on_down: Callable[[SupervisorError], None]


class EngineWatch(Generic[T]):
    """A thread that listens to events, and reads everything whenever events may have been missed.

    It opens the stream first and reads then, so that nothing falls between. A stream that breaks is opened again
    after ``retry_s`` with ``since``. One without a byte for ``quiet_s`` is replaced by a new one after a ping,
    because an engine that died with its machine, or a stream that hangs, closes nothing.
    """

    def __init__(self, engine: Engine, listener: Listener[T], *, retry_s: float = 1.0, quiet_s: float = 30.0) -> None:
        self._engine = engine
        self._listener = listener
        self._retry_s = retry_s
        self._quiet_s = quiet_s
        self._stopped = threading.Event()
        self._stream: JsonStream | None = None
        self._since = ""
        self._missed = True
        self._thread = threading.Thread(target=self._run, name="engine-events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it is gone as soon as the engine has answered a call that it may wait for."""
        self._stopped.set()
        if self._stream is not None:
            self._stream.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._follow()
            except SupervisorError as error:
                self._failed(error)
            except Exception as error:  # noqa: BLE001  # an answer that nobody expected must not end the watching
                self._failed(EngineUnavailable(f"cannot follow the engine: {type(error).__name__}: {error}"))

    def _failed(self, error: SupervisorError) -> None:
        self._missed = True
        if not self._stopped.is_set():
            self._listener.on_down(error)
            self._stopped.wait(self._retry_s)

    def _follow(self) -> None:
        if not self._missed:
            self._engine.ping()
        stream = self._engine.events(self._listener.filters, since=self._since, quiet_s=self._quiet_s)
        self._stream = stream
        if self._stopped.is_set():
            stream.close()
            return
        self._since = self._since or _moment_before(stream.opened_at)
        if self._missed:
            self._listener.on_read(self._listener.read())
            self._missed = False
        self._listen(stream)

    def _listen(self, stream: JsonStream) -> None:
        try:
            for line in stream:
                self._take(line)
        except StreamQuiet:
            self._missed = not self._since
            return
        except EngineUnavailable:
            self._engine.ping()  # whether it has gone, or only the stream broke
        self._missed = True
        self._stopped.wait(self._retry_s)

    def _take(self, line: Mapping[str, Any]) -> None:
        nanoseconds = line.get("timeNano")
        at = ""
        if isinstance(nanoseconds, int):
            at = _iso(nanoseconds)
            seconds, rest = divmod(nanoseconds + 1, 1_000_000_000)
            self._since = f"{seconds}.{rest:09d}"
        actor = line.get("Actor") or {}
        action = str(line.get("Action") or "").partition(":")[0]
        attributes = {str(key): str(value) for key, value in (actor.get("Attributes") or {}).items()}
        self._listener.on_event(
            EngineEvent(str(line.get("Type") or ""), action, str(actor.get("ID") or ""), attributes, at)
        )


def _iso(nanoseconds: int) -> str:
    """In the form of inspect, with all nine decimals."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _moment_before(date: str) -> str:
    """A second before an HTTP date, in Unix time; ``""`` when there is none. Hearing an event twice is harmless."""
    try:
        return str(int(parsedate_to_datetime(date).timestamp()) - 1)
    except (ValueError, TypeError):
        return ""

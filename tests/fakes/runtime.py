"""Several actors in one process with the real routing and no sockets."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

import pykka

from balena_supervisor.clock import Clock, SystemClock
from balena_supervisor.runtime import wire
from balena_supervisor.runtime.actor import Ports, Timers
from balena_supervisor.runtime.host import ActorHost
from balena_supervisor.runtime.message import Command, Event, Notice, Request
from balena_supervisor.runtime.post_office import PostOffice
from balena_supervisor.runtime.timers import ThreadTimers

R = TypeVar("R")
_TEST = "test"


class _LocalLink:
    def __init__(self) -> None:
        self.host: ActorHost | None = None

    def send(self, frame: wire.Frame) -> None:
        if self.host is not None:
            self.host.receive(frame)


class LocalRuntime:
    """A post office behind a lock. The test itself is the sender ``test``.

    ``subscriptions`` maps every actor's name to the events it wants.
    """

    def __init__(
        self,
        subscriptions: dict[str, tuple[type[Event], ...]],
        *,
        clock: Clock | None = None,
        timers: Timers | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self._own_timers = ThreadTimers(self.clock)
        self.timers: Timers = timers or self._own_timers
        names = {name: [event.__name__ for event in events] for name, events in subscriptions.items()}
        self.office = PostOffice(self.clock, {_TEST: [], **names})
        self.actors: dict[str, pykka.ActorRef[Any]] = {}
        self.generations: dict[str, int] = {}
        self._links: dict[str, _LocalLink] = {}
        self._lock = threading.RLock()
        self.test = self._host(_TEST)

    def start(self, name: str, start: Callable[[Ports], pykka.ActorRef[Any]]) -> pykka.ActorRef[Any]:
        """Start an actor, as a row of the start list does; again after :meth:`lose`."""
        host = self._host(name)
        self.generations[name] = self.generations.get(name, 0) + 1
        ports = Ports(name=name, generation=self.generations[name], post=host, clock=self.clock, timers=self.timers)
        self.actors[name] = start(ports)
        host.attach(self.actors[name])
        return self.actors[name]

    def lose(self, name: str) -> None:
        """As if its process had been killed: nothing of it arrives any more; what it held is delivered again."""
        with self._lock:
            link = self._links.pop(name)
            self.office.detach(name, link)
            link.host = None
        self.actors.pop(name).stop(block=False)

    def ask(self, recipient: str, message: Request[R], timeout_s: float = 10) -> R:
        """The answer, waited for. Raises ``RemoteError``."""
        future: Future[R] = self.test.ask(recipient, message, timeout_s)
        return future.result(timeout_s + 10)

    def tell(self, recipient: str, message: Command[Any] | Notice) -> None:
        self.test.tell(recipient, message)

    def publish(self, event: Event) -> None:
        self.test.publish(event)

    def stop(self) -> None:
        for actor in self.actors.values():
            with contextlib.suppress(pykka.ActorDeadError):
                actor.stop()
        self._own_timers.close()

    def _host(self, name: str) -> ActorHost:
        link = _LocalLink()

        def send(frame: wire.Frame) -> None:
            with self._lock:
                if link.host is None:
                    return
                if isinstance(frame, wire.Ready):
                    self.office.ready(name, link)
                else:
                    self.office.received(name, frame)

        link.host = ActorHost(name, send, self.clock, self.timers, lambda _: None)
        with self._lock:
            self._links[name] = link
            self.office.attach(name, link)
        return link.host


@contextlib.contextmanager
def local_runtime(subscriptions: dict[str, tuple[type[Event], ...]], **ports: Any) -> Iterator[LocalRuntime]:
    """A :class:`LocalRuntime` that is stopped at the end."""
    runtime = LocalRuntime(subscriptions, **ports)
    try:
        yield runtime
    finally:
        runtime.stop()

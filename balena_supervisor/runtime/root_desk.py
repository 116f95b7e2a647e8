"""Where the root supervisor hands in its orders and questions: each runs on root's loop."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Protocol, TypeVar

from balena_supervisor.errors import NotReady
from balena_supervisor.runtime import nursery_link, output, wire
from balena_supervisor.runtime.post_office import PostOffice
from balena_supervisor.runtime.records import MailboxReport
from balena_supervisor.runtime.root_link import ActorLink
from balena_supervisor.runtime.views import DeadLettersView, MailboxView, TraceView

T = TypeVar("T")


class OnLoop(Protocol):
    """Runs a function on root's loop."""

    def __call__(self, function: Callable[[], T]) -> Future[T]: ...


class Desk:
    """The :class:`~balena_supervisor.runtime.facts.RootOffice`. ``links`` are the connected actors, by name."""

    def __init__(
        self, call: OnLoop, office: PostOffice, links: Mapping[str, ActorLink], nursery: nursery_link.Channel
    ) -> None:
        self._call = call
        self._office = office
        self._links = links
        self._nursery = nursery
        self._stacks: dict[int, Future[str]] = {}
        self._numbers = itertools.count(1)

    # --- processes ---------------------------------------------------------------------------------------------

    def start(self, process: str) -> None:
        self._call(lambda: self._nursery.send(nursery_link.StartProcess(process)))

    def kill(self, process: str, generation: int) -> None:
        self._call(lambda: self._nursery.send(nursery_link.KillProcess(process, generation, signal.SIGKILL)))

    def terminate(self, process: str, generation: int) -> None:
        self._call(lambda: self._nursery.send(nursery_link.KillProcess(process, generation, signal.SIGTERM)))

    def give_up(self, reason: str) -> None:
        self._call(lambda: self._nursery.send(nursery_link.GiveUp(reason)))

    def leave(self) -> None:
        output.flush()
        os._exit(0)

    # --- connected actors --------------------------------------------------------------------------------------

    def kill_worker(self, name: str) -> None:
        def kill() -> None:
            self._links[name].kill()

        self._call(kill)

    def beat(self, name: str) -> None:
        self._call(lambda: self._links[name].send(wire.Beat(1)))

    def stop(self, name: str) -> None:
        self._call(lambda: self._links[name].send(wire.Stop()))

    def hold(self) -> None:
        self._call(self._office.hold)

    # --- questions ---------------------------------------------------------------------------------------------

    def reports(self) -> Future[dict[str, MailboxReport]]:
        return self._call(self._office.reports)

    def mailbox(self, name: str) -> Future[MailboxView]:
        return self._call(lambda: self._office.mailbox_view(name))

    def dead_letters(self) -> Future[DeadLettersView]:
        return self._call(self._office.dead_letters.view)

    def trace(self, after: int) -> Future[TraceView]:
        return self._call(lambda: self._office.trace.view(after))

    def stack(self, name: str) -> Future[str]:
        future: Future[str] = Future()

        def ask() -> None:
            number = next(self._numbers)
            self._stacks[number] = future
            future.add_done_callback(lambda _: self._stacks.pop(number, None))
            if name == "nursery":
                self._nursery.send(nursery_link.AskStack(number))
            elif name in self._links:
                self._links[name].send(wire.Stack(number))
            else:
                future.set_exception(NotReady(f"{name} is not connected", name=name))

        self._call(ask)
        return future

    def stack_came(self, number: int, text: str) -> None:
        """On the loop: the answer to a question for a stack."""
        future = self._stacks.get(number)
        if future is not None and not future.done():
            future.set_result(text)

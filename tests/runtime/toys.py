"""Toy actors for tests of the runtime on real processes.

They write what they do as lines to a file, since a test can only see them from outside.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pykka

from balena_supervisor.runtime.actor import Actor, Pending, Ports, handles
from balena_supervisor.runtime.message import Action, Command, DeliveryFailed, Event, Notice, Query


class Diary:
    """Lines that survive their writer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, line: str) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)

    def lines(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []


class Work(Command[str], frozen=True, kw_only=True):
    """``how``: ``at-once``, ``block`` (until the file ``name`` exists), ``pool`` (the same in a pool), ``die`` (kill
    the process while handling), ``die-in-pool``, ``raise``. A repeat writes another line."""

    name: str
    how: str = "at-once"
    size: str = ""


class Once(Action[str], frozen=True, kw_only=True):
    name: str
    how: str = "at-once"


class Echo(Query[str], frozen=True, kw_only=True):
    text: str


class Who(Query[dict[str, int]], frozen=True, kw_only=True):
    pass


class Unheard(Command[None], frozen=True, kw_only=True):
    """Nobody handles this."""


class Noted(Notice, frozen=True, kw_only=True):
    text: str


class Picture(Event, frozen=True, kw_only=True):
    retained = True
    topic: str
    number: int

    def key(self) -> str:
        return self.topic


class Rang(Event, frozen=True, kw_only=True):
    number: int

    def key(self) -> str:
        return str(self.number)


class PublishPicture(Command[None], frozen=True, kw_only=True):
    topic: str
    number: int


class Toy(Actor):
    """Does what it is told and writes it down."""

    def __init__(self, ports: Ports, folder: Path) -> None:
        super().__init__(ports)
        self._folder = folder
        self._diary = Diary(folder / "diary")
        self._pool = ThreadPoolExecutor(4)

    def on_start(self) -> None:
        self._note("started")
        if (self._folder / f"{self.name}-cannot-start").exists():
            raise RuntimeError("the toy is broken")

    def _note(self, what: str) -> None:
        self._diary.write(f"{self.name} {self.generation} {what}")

    def _do(self, name: str, how: str) -> str | Pending[str]:
        self._note(f"begins {name}")
        if how in {"pool", "die-in-pool"}:
            return Pending(self._pool.submit(self._job, name, how))
        if how == "raise":
            raise ValueError(f"cannot do {name}")
        return self._job(name, how)

    def _job(self, name: str, how: str) -> str:
        if how in {"die", "die-in-pool"}:
            os.kill(os.getpid(), signal.SIGKILL)
        gate = threading.Event()
        while how in {"block", "pool"} and not (self._folder / name).exists():
            gate.wait(0.01)
        self._note(f"done {name}")
        return f"{name} done by {self.generation}"

    @handles(Work)
    def work(self, command: Work) -> str | Pending[str]:
        return self._do(command.name, command.how)

    @handles(Once)
    def once(self, action: Once) -> str | Pending[str]:
        return self._do(action.name, action.how)

    @handles(Echo)
    def echo(self, query: Echo) -> str:
        return query.text

    @handles(Who)
    def who(self, _: Who) -> dict[str, int]:
        return {"pid": os.getpid(), "generation": self.generation}

    @handles(PublishPicture)
    def publish_picture(self, command: PublishPicture) -> None:
        self.post.publish(Picture(topic=command.topic, number=command.number))

    @handles(Picture)
    def picture(self, event: Picture) -> None:
        self._note(f"sees {event.topic} {event.number}")

    @handles(Rang)
    def rang(self, event: Rang) -> None:
        self._note(f"hears {event.number}")

    @handles(Noted)
    def noted(self, notice: Noted) -> None:
        self._note(f"is told {notice.text}")

    @handles(DeliveryFailed)
    def delivery_failed(self, notice: DeliveryFailed) -> None:
        self._note(f"failed {notice.message_type} {notice.code} {notice.body.get('name')}")


class Gate(Toy):
    """The way in for a test: a server in this actor's process takes orders on a Unix socket (see ``toy_main``)."""

    def __init__(self, ports: Ports, folder: Path, serve: Callable[[Gate], None]) -> None:
        super().__init__(ports, folder)
        self._serve = serve

    def on_start(self) -> None:
        super().on_start()
        threading.Thread(target=lambda: self._serve(self), daemon=True).start()


def start_toy(folder: Path) -> Callable[[Ports], pykka.ActorRef[Any]]:
    return lambda ports: Toy.start(ports, folder)

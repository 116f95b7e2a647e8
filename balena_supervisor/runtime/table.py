"""The start list: which actors there are, in which process each lives, and what it subscribes to."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pykka

from balena_supervisor.runtime.actor import Ports
from balena_supervisor.runtime.message import Event
from balena_supervisor.runtime.supervision import Limits

Start = Callable[[Any], "pykka.ActorRef[Any]"]


@dataclass(frozen=True)
class ChildContext:
    """What the entry of a process with ``serve`` is given. ``listener_fd`` is the bound, listening socket."""

    process: str
    generation: int
    socket_path: Path
    listener_fd: int | None = None


@dataclass(frozen=True, kw_only=True)
class ActorRow:
    """One row of the start list.

    ``start`` starts the actor with its ports and returns its reference; it is called in the process. Rows of the same
    ``process`` share one. A row with ``serve`` is a server: its process runs ``serve(context)`` with the listening
    socket, and a *child* of that process owns the mailbox (``connect_in_thread``). Only ``critical`` rows can make
    root give up.
    """

    name: str
    start: Start | None = None
    subscriptions: tuple[type[Event], ...] = ()
    process: str = ""
    serve: Callable[[ChildContext], NoReturn] | None = None
    critical: bool = False

    @property
    def process_name(self) -> str:
        return self.process or self.name

    @property
    def mailbox_owner_is_a_worker(self) -> bool:
        return self.serve is not None


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """What the nursery needs to know.

    ``start_root`` starts the root supervisor with its ``RootPorts``. ``listen`` is address ("" is all) and port of the
    socket for the row with ``serve``. ``before_start`` runs before every root, in a child of its own; when it
    raises, the supervisor says why and ends.
    """

    rows: tuple[ActorRow, ...]
    start_root: Start
    run_dir: Path
    database_dir: Path
    listen: tuple[str, int] | None = None
    limits: Limits = field(default_factory=Limits)
    before_start: Callable[[], None] | None = None

    @property
    def socket_path(self) -> Path:
        return self.run_dir / "root.sock"

    def process_rows(self, process: str) -> list[ActorRow]:
        return [row for row in self.rows if row.process_name == process]


def processes(rows: Sequence[ActorRow]) -> list[str]:
    """The process names in start order: servers first, so that they answer at once, then as listed."""
    ordered = sorted(rows, key=lambda row: row.serve is None)
    return list(dict.fromkeys(row.process_name for row in ordered))


def bind_listener(address: str, port: int) -> socket.socket:
    """A listening TCP socket: on all addresses IPv6 and IPv4, or IPv4 alone where there is no IPv6.

    Raises ``OSError``.
    """
    families = [(socket.AF_INET, address)]
    if not address:
        families = [(socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")]  # noqa: S104  # apps reach it on bridges
    elif ":" in address:
        families = [(socket.AF_INET6, address)]
    for number, (family, host) in enumerate(families, 1):
        try:
            return _listen(family, host, port, dual_stack=not address)
        except OSError as error:
            if number == len(families) or error.errno in _TAKEN:
                raise
    raise AssertionError("unreachable")


_TAKEN = frozenset({98, 13})  # EADDRINUSE, EACCES: another family would not help


def _listen(family: int, host: str, port: int, *, dual_stack: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Its connections inherit this. Gunicorn sends head and body apart, and without it the body waits for the
        # client to acknowledge the head: 40 ms for each answer on a lasting connection.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


__all__ = ["ActorRow", "ChildContext", "Ports", "RuntimeConfig", "bind_listener", "processes"]

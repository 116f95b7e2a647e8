"""What the routes of the local API use."""

from __future__ import annotations

import concurrent.futures
import threading
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from balena_supervisor.clock import Clock
from balena_supervisor.errors import NotReady
from balena_supervisor.http.following import will_wait
from balena_supervisor.http.snapshots import Snapshots
from balena_supervisor.runtime import output
from balena_supervisor.runtime.actor import Post
from balena_supervisor.runtime.message import Request

R = TypeVar("R")
#: Half of the threads: questions to an actor that hangs leave the rest to what needs no actor, such as ``/ping``.
_MAX_WAITING = 64


class Log(Protocol):
    """How a line is logged; as :func:`balena_supervisor.runtime.output.log`."""

    def __call__(self, level: output.Level, subject: str, fact: str, **fields: Any) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Api:
    """What the routes use. ``ask_timeout_s`` is the deadline of every question to another actor;
    ``settle_timeout_s`` how long an accepted target may take to arrive here as a snapshot before it is answered;
    ``places`` is how many requests may wait for an actor at a time."""

    snapshots: Snapshots
    post: Post
    clock: Clock
    version: str
    log: Log = output.log
    ask_timeout_s: float = 10
    settle_timeout_s: float = 1
    places: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_MAX_WAITING))

    def ask(self, recipient: str, message: Request[R], timeout_s: float | None = None) -> R:
        """Ask another actor and wait for its answer, ``ask_timeout_s`` unless another time is given.

        Raises ``RemoteError`` with the answer's code, or ``NotReady`` when there was none in time or too many wait.
        """
        if not self.places.acquire(blocking=False):
            raise NotReady("cannot answer: too many requests wait for an answer")
        will_wait()
        try:
            patience_s = timeout_s or self.ask_timeout_s
            future = self.post.ask(recipient, message, patience_s)
            # The post office ends it at the deadline; the second more is for a post office that is gone.
            return future.result(patience_s + 1)
        except (TimeoutError, concurrent.futures.CancelledError) as error:
            raise NotReady(f"cannot answer: {recipient} did not answer in time") from error
        finally:
            self.places.release()

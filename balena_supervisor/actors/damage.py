"""What an actor does when it finds that the database is damaged."""

from __future__ import annotations

import threading
from collections.abc import Callable

from balena_supervisor.runtime.actor import Post
from balena_supervisor.runtime.output import log
from balena_supervisor.runtime.views import RestartActor

_TIMEOUT_S = 10.0


def restarting_root(post: Post) -> Callable[[str], None]:
    """For ``on_damage`` of a database: has root start anew, once. Before every start of root the database is checked,
    and replaced when it is damaged; whoever asked meanwhile gets the error."""
    first = threading.Semaphore()

    def on_damage(reason: str) -> None:
        if first.acquire(blocking=False):
            log("error", "database", "is damaged; all actors are started again to replace it", reason=reason)
            asked = post.ask("root", RestartActor(name="root"), timeout_s=_TIMEOUT_S)
            asked.add_done_callback(lambda done: first.release() if done.cancelled() or done.exception() else None)

    return on_damage

"""In and out of local mode: the engine snapshot, and the removal of what local mode leaves (spec apply-loop 7).

Level-triggered, so that a switch which a death has interrupted is finished by the next planner.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from balena_supervisor.clock import Clock, iso
from balena_supervisor.db.snapshot_store import SnapshotStore
from balena_supervisor.errors import DatabaseRefused, InvalidValue, record_of
from balena_supervisor.messages import ForgetLocalApps, GetInventory, RemoveBeside
from balena_supervisor.runtime.actor import Post
from balena_supervisor.runtime.message import Request
from balena_supervisor.runtime.output import log

ASK_S = 120.0
RETRY_S = 5.0
TAKING = "local mode begins: what the engine has is being noted"
REMOVING = "local mode has ended: what it has left on the engine is being removed"


class LocalMode:
    """``follow(future, call)`` runs ``call`` on the actor's thread when the future is done; ``later(s, call)`` after
    some seconds; ``look`` is to be called when the planner may go on."""

    def __init__(  # noqa: PLR0917  # its ports
        self,
        store: SnapshotStore,
        post: Post,
        clock: Clock,
        follow: Callable[[Future[Any], Callable[[Future[Any]], None]], None],
        later: Callable[[float, Callable[[], None]], object],
        look: Callable[[], None],
    ) -> None:
        self._store = store
        self._post = post
        self._clock = clock
        self._follow = follow
        self._later = later
        self._look = look
        self._working = ""
        self._has_snapshot: bool | None = None

    def hindrance(self, *, local_mode: bool) -> str:
        """Why nothing may be planned yet; ``""`` when the switch is done. Begins what is missing for it."""
        if not self._working:
            try:
                self._begin(local_mode=local_mode)
            except DatabaseRefused as error:
                self._try_again_later(error)
        return self._working

    def _begin(self, *, local_mode: bool) -> None:
        """Raises ``DatabaseRefused``."""
        if self._has_snapshot is None:
            self._has_snapshot = self._there_is_one()
        if local_mode == self._has_snapshot:
            return
        if local_mode:
            self._ask("resources", GetInventory(), TAKING, lambda kept: self._store.save(kept, iso(self._clock.now())))
        else:
            self._leave()

    def _there_is_one(self) -> bool:
        try:
            return self._store.load() is not None
        except InvalidValue as error:
            log("error", "local mode", "its snapshot is given up, and nothing removed by it", reason=error.message)
            self._store.delete()
            return False

    def _leave(self) -> None:
        kept = self._store.load()
        if kept is None:
            self._has_snapshot = False
            return
        log("info", "local mode", "has ended")

        def forget(_: object) -> None:
            self._ask("target-state", ForgetLocalApps(), REMOVING, lambda _: self._store.delete())

        self._ask("resources", RemoveBeside(kept=kept), REMOVING, forget)

    def _ask(self, whom: str, message: Request[Any], working: str, then: Callable[[Any], None]) -> None:
        self._working = working
        asked = self._post.ask(whom, message, ASK_S)
        self._follow(asked, lambda done: self._answered(done, then))

    def _answered(self, done: Future[Any], then: Callable[[Any], None]) -> None:
        self._working = ""
        try:
            then(done.result())
        except Exception as error:  # noqa: BLE001  # of another process, or of the database: tried again
            self._try_again_later(error)
        if not self._working:
            self._has_snapshot = None
        self._look()

    def _try_again_later(self, error: BaseException) -> None:
        self._working = f"the switch of local mode waits: {record_of(error).message}"
        if isinstance(error, DatabaseRefused):
            log("warn", "local mode", "cannot be switched yet", reason=error.message, retry_in_s=RETRY_S)
        self._later(RETRY_S, self._again)

    def _again(self) -> None:
        self._working, self._has_snapshot = "", None
        self._look()

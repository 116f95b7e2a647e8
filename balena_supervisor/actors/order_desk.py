"""Where orders of users are taken, and what is kept of them on disk."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from balena_supervisor.actors.orders import Entry, Orders
from balena_supervisor.db.order_store import OrderStore
from balena_supervisor.errors import DatabaseRefused, SupervisorError
from balena_supervisor.messages import ServiceOrder
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.service import Service
from balena_supervisor.model.state import ActionSummary
from balena_supervisor.runtime.output import log
from balena_supervisor.state.compare import differences
from balena_supervisor.state.former import service_of
from balena_supervisor.state.orders import app_of, verb_of, words_of_order
from balena_supervisor.state.strategies import kills_first
from balena_supervisor.state.world import World, newest_first, present_ids

STOPPED_BY_USER = "a user has stopped it"


class OrderDesk:
    """The orders, and the services that users have stopped. What is on disk is written before anyone is answered."""

    def __init__(self, store: OrderStore) -> None:
        self.orders = Orders()
        self._store = store
        self._stopped = self._stopped_on_disk = store.stopped()
        self._on_disk: list[ActionSummary] = store.running()
        for summary in self._on_disk:
            log("error", "order", "was interrupted and is not repeated", order=_words(summary))
            self.orders.note_interrupted(summary)

    # --- services that users have stopped ---------------------------------------------------------------------

    def forget_void(self, target: Iterable[ComposedApp], world: World) -> None:
        """A service that is defined otherwise now is not stopped any more. Only when target and world are known."""
        apps = tuple(target) if self._stopped else ()
        void = {(app_id, name) for app_id, name in self._stopped if _is_void(app_id, name, apps, world)}
        if void:
            try:
                self._keep_stopped(self._stopped - void)
            except DatabaseRefused as error:
                log("warn", "order", "a service would be stopped again after a restart", reason=error.message)

    def adjusted(self, target: Iterable[ComposedApp]) -> tuple[ComposedApp, ...]:
        """The target with what users have stopped, as far as that still means something."""
        apps = tuple(target)
        if not self._stopped:
            return apps
        return tuple(
            msgspec.structs.replace(app, services=tuple(self._as_stopped(service) for service in app.services))
            for app in apps
        )

    def _as_stopped(self, service: Service) -> Service:
        if (service.app_id, service.service_name) not in self._stopped or not service.running:
            return service
        return msgspec.structs.replace(service, running=False, stopped_by_user=True, why_stopped=STOPPED_BY_USER)

    def _keep_stopped(self, stopped: frozenset[tuple[int, str]]) -> None:
        """Raises ``DatabaseRefused``; what is in force in this process changes all the same."""
        self._stopped = stopped
        if stopped != self._stopped_on_disk:
            self._store.set_stopped(stopped)
            self._stopped_on_disk = stopped

    # --- ends -------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Write down what follows from orders that have ended, and answer those who asked."""
        for entry in self.orders.take_ended():
            error = entry.error
            if error is None:
                try:
                    self._keep_stopped(self._stopped_after(entry))
                except DatabaseRefused as refused:
                    error = refused
            self._answer(entry, error)
        self.note_under_way()

    def note_under_way(self) -> None:
        """What must not end in silence is on disk while it is under way."""
        running = self.orders.under_way()
        if running == self._on_disk:
            return
        try:
            self._store.set_running(running)
        except DatabaseRefused as error:
            log("warn", "order", "an interruption would not be reported", reason=error.message)
        self._on_disk = running

    def _stopped_after(self, entry: Entry) -> frozenset[tuple[int, str]]:
        order = entry.order
        if isinstance(order, ServiceOrder):
            mine = frozenset({(order.app_id, order.service_name)})
            return self._stopped | mine if order.verb == "stop" else self._stopped - mine
        return frozenset(key for key in self._stopped if key[0] != app_of(order))

    def _answer(self, entry: Entry, error: SupervisorError | None) -> None:
        words = words_of_order(entry.order)
        if error is None:
            log("info", "order", f"{words}: done")
        else:
            log("error", "order", f"{words}: failed", reason=error.message, verb=verb_of(entry.order))
        self.orders.answer(entry, error)


def _words(summary: ActionSummary) -> str:
    service = f"service {summary.service_name} of " if summary.service_name else ""
    return f"{summary.verb} {service}app {summary.app_id}"


def _is_void(app_id: int, name: str, target: Iterable[ComposedApp], world: World) -> bool:
    """Whether a service that was stopped is gone, or is to become something else."""
    containers = [c for c in world.containers if c.app_id == app_id]
    app = next((app for app in target if app.app_id == app_id), None)
    if app is None:
        return not containers
    if app.rejected or app.problem:
        return False
    service = service_of(app, name)
    if service is None:
        return True
    mine = newest_first(c for c in containers if c.service_name == name)
    if not mine:
        return False
    if service.docker_image_id is None:
        # killed before the image comes: then nothing is left to compare with
        return kills_first(service.config.labels)
    return bool(differences(mine[0], service, present_ids(containers)))

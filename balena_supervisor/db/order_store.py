"""What the planner keeps of the orders of users: rows of our own in table ``config``. Only the planner writes them."""

from __future__ import annotations

import peewee

from balena_supervisor.db.config_store import ConfigStore, decoded, encoded
from balena_supervisor.model.state import ActionSummary

STOPPED = "stoppedServices"
RUNNING = "runningOrders"

Stopped = frozenset[tuple[int, str]]


class OrderStore:
    """Services that users have stopped, and orders that must not end in silence. What cannot be read counts as none."""

    def __init__(self, database: peewee.SqliteDatabase) -> None:
        self._config = ConfigStore(database)

    def stopped(self) -> Stopped:
        """App id and service name of each."""
        return frozenset(decoded(self._config.get(STOPPED), list[tuple[int, str]], []))

    def set_stopped(self, stopped: Stopped) -> None:
        self._config.set({STOPPED: encoded(sorted(stopped))})

    def running(self) -> list[ActionSummary]:
        return decoded(self._config.get(RUNNING), list[ActionSummary], [])

    def set_running(self, orders: list[ActionSummary]) -> None:
        self._config.set({RUNNING: encoded(orders)})

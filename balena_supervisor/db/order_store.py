"""What the planner keeps of the orders of users: rows of our own in table ``config``. Only the planner writes them."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import peewee

from balena_supervisor.db.config_store import ConfigStore
from balena_supervisor.model.state import ActionSummary

STOPPED = "stoppedServices"
RUNNING = "runningOrders"

T = TypeVar("T")
Stopped = frozenset[tuple[int, str]]


class OrderStore:
    """Services that users have stopped, and orders that must not end in silence. What cannot be read counts as none."""

    def __init__(self, database: peewee.SqliteDatabase) -> None:
        self._config = ConfigStore(database)

    def stopped(self) -> Stopped:
        """App id and service name of each."""
        return frozenset(_decoded(self._config.get(STOPPED), list[tuple[int, str]]))

    def set_stopped(self, stopped: Stopped) -> None:
        self._config.set({STOPPED: _encoded(sorted(stopped))})

    def running(self) -> list[ActionSummary]:
        return _decoded(self._config.get(RUNNING), list[ActionSummary])

    def set_running(self, orders: list[ActionSummary]) -> None:
        self._config.set({RUNNING: _encoded(orders)})


def _encoded(values: list[object] | list[ActionSummary] | list[tuple[int, str]]) -> str | None:
    return msgspec.json.encode(values).decode() if values else None


def _decoded(text: str | None, kind: type[list[T]]) -> list[T]:
    try:
        return msgspec.json.decode(text, type=kind) if text else []
    except msgspec.MsgspecError:
        return []

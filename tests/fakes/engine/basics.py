"""What all parts of the simulated engine share: errors, ids, times, filters."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from balena_supervisor.clock import SystemClock

Json = dict[str, Any]

ZERO_TIME = "0001-01-01T00:00:00Z"
NAME_PATTERN = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")

_clock = SystemClock()
_ticks = itertools.count()


class ApiError(Exception):
    """An answer with an error status; the engine's body is ``{"message": …}``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def new_id() -> str:
    """A random id of 64 hex digits."""
    return secrets.token_hex(32)


def id_from(text: str) -> str:
    """The same 64 hex digits for the same text."""
    return hashlib.sha256(text.encode()).hexdigest()


def now_ns() -> int:
    """Wall time in nanoseconds, different at every call."""
    moment = _clock.now()
    seconds = int(moment.replace(microsecond=0).timestamp())
    return seconds * 1_000_000_000 + moment.microsecond * 1000 + next(_ticks) % 1000


def rfc3339_nano(at_ns: int) -> str:
    """The engine's form of a time: nine decimals without trailing zeros."""
    seconds, nanos = divmod(at_ns, 1_000_000_000)
    decimals = f".{nanos:09d}".rstrip("0").rstrip(".")
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + decimals + "Z"


def parse_filters(text: str, known: set[str]) -> dict[str, list[str]]:
    """The ``filters`` parameter, in its list and its older map form; several values of a name are all kept.

    Raises ``ApiError`` 400 for a name that the engine does not know.
    """
    if not text:
        return {}
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ApiError(500, str(error)) from None
    filters = {name: list(values) for name, values in raw.items()}
    for name in filters:
        if name not in known:
            raise ApiError(400, f"Invalid filter '{name}'")
    return filters


def has_labels(wanted: list[str], labels: Mapping[str, str] | None) -> bool:
    """True when every wanted ``name`` or ``name=value`` is there."""
    present = labels or {}
    for entry in wanted:
        name, equals, value = entry.partition("=")
        if name not in present or (equals and present[name] != value):
            return False
    return True


def truthy(text: str) -> bool:
    """A boolean of a query as the engine reads it."""
    return text.strip().lower() not in {"", "0", "no", "false", "none"}

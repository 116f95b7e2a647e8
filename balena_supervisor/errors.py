"""The error tree of the supervisor.

Every error has a stable ``code``, a message of the form "cannot do X: cause" and fields. A class exists only if
some caller treats it differently. Errors cross process borders as :class:`ErrorRecord` and come back as
:class:`RemoteError`, which keeps code, message and fields.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class ErrorRecord(msgspec.Struct, frozen=True):
    """An error as it travels between actors and stands in logs and debug views."""

    code: str
    message: str
    fields: dict[str, Any] = {}


class SupervisorError(Exception):
    """Base of all errors that the supervisor raises on purpose."""

    code: ClassVar[str] = "supervisor-error"

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def record(self) -> ErrorRecord:
        return ErrorRecord(self.code, self.message, dict(self.fields))


class RemoteError(SupervisorError):
    """An error that another actor answered with; ``code`` is the code of the original error."""

    def __init__(self, record: ErrorRecord) -> None:
        super().__init__(record.message, **record.fields)
        self.code = record.code  # type: ignore[misc]  # each remote error carries the code of its origin


class InvalidTarget(SupervisorError):
    """A target state that breaks the format; ``violations`` is a list of lines with path and value."""

    code = "invalid-target"


class NotInLocalMode(SupervisorError):
    """A local target for a device that takes its target from the cloud; HTTP 400."""

    code = "not-in-local-mode"


class InvalidComposition(SupervisorError):
    """A service, network or volume definition of one app that cannot be turned into a container."""

    code = "invalid-composition"


class InvalidValue(SupervisorError):
    """A configuration value, environment variable or request field of the wrong form; ``field`` names it."""

    code = "invalid-value"


class UnreadableObject(SupervisorError):
    """A container, network or volume on the engine that carries our label but cannot be understood."""

    code = "unreadable-object"


class EngineUnavailable(SupervisorError):
    """The engine does not answer: not there, refused, or timed out."""

    code = "engine-unavailable"


class EngineError(SupervisorError):
    """The engine refused a call; ``status`` is its HTTP status."""

    code = "engine-error"


class NotFound(SupervisorError):
    """The thing asked for does not exist."""

    code = "not-found"


class Withdrawn(SupervisorError):
    """A step that was not carried out, or given up on the way, because a newer target has come. No failure."""

    code = "withdrawn"


class Locked(SupervisorError):
    """An update lock of somebody else; HTTP 423. ``locks`` is a list of objects ``app_id``, ``service_name``, ``path``
    and ``since``."""

    code = "locked"


class NoSpace(SupervisorError):
    """There is no room for an image yet: ``needs_bytes`` and ``free_bytes``. Waited for, and no failure."""

    code = "no-space"


class ImageBroken(EngineError):
    """The engine has lost a part of an image; ``image`` is its engine id. Only pulling it anew helps."""

    code = "image-broken"


class OrderEnded(SupervisorError):
    """An order of a user was cancelled, or ended by an error on the way; HTTP 503."""

    code = "order-ended"


class Unavailable(SupervisorError):
    """The host does not offer, or refuses, what is needed; ``what`` names it."""

    code = "unavailable"


class NotReady(SupervisorError):
    """An actor or snapshot that is needed for an answer is not there yet; HTTP 503."""

    code = "not-ready"


class DatabaseRefused(SupervisorError):
    """The database file cannot be used: newer schema, damaged, or not writable."""

    code = "database-refused"


class DatabaseDamaged(DatabaseRefused):
    """The database file is damaged; it is replaced at the next start of root."""

    code = "database-damaged"


def record_of(error: BaseException) -> ErrorRecord:
    """The record of any exception; foreign ones get the code ``internal-error`` and their type's name."""
    if isinstance(error, SupervisorError):
        return error.record()
    return ErrorRecord("internal-error", f"{type(error).__name__}: {error}")

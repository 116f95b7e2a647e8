"""Health checks: compose fields over those of the image (spec target-state 10.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from balena_supervisor.model.service import Healthcheck
from balena_supervisor.state.compose_notes import Notes, boolean_of, integer_of, mapping, texts
from balena_supervisor.state.compose_sizes import duration_ms

_NONE = ("NONE",)
_NS_PER_MS = 10**6


def healthcheck(path: str, value: Any, image: Mapping[str, Any] | None, notes: Notes) -> Healthcheck:
    """The check of a service; ``value`` is the compose field, ``image`` what the engine says of the image.

    Zero counts as unset in every member, since the engine takes the image's value then.
    """
    base = read_healthcheck(image)
    if value is None:
        return base
    fields = mapping(path, value, notes)
    if boolean_of(fields.get("disable")):
        return _overlay(base, test=_NONE)
    start_period = fields.get("start_period", fields.get("startPeriod"))
    return _overlay(
        base,
        test=_test(f"{path}.test", fields.get("test"), notes),
        interval_ns=_nanoseconds(f"{path}.interval", fields.get("interval"), notes),
        timeout_ns=_nanoseconds(f"{path}.timeout", fields.get("timeout"), notes),
        start_period_ns=_nanoseconds(f"{path}.start_period", start_period, notes),
        retries=_retries(f"{path}.retries", fields.get("retries"), notes),
    )


def healthcheck_body(check: Healthcheck) -> dict[str, Any]:
    """The form of the engine, without what is unset."""
    body: dict[str, Any] = {"Test": list(check.test)}
    members = {
        "Interval": check.interval_ns,
        "Timeout": check.timeout_ns,
        "StartPeriod": check.start_period_ns,
        "Retries": check.retries,
    }
    return body | {name: value for name, value in members.items() if value}


def read_healthcheck(body: Mapping[str, Any] | None) -> Healthcheck:
    """A check as inspect shows it, of an image or of a container."""
    body = body or {}
    return Healthcheck(
        test=tuple(body.get("Test") or _NONE),
        interval_ns=body.get("Interval") or 0,
        timeout_ns=body.get("Timeout") or 0,
        start_period_ns=body.get("StartPeriod") or 0,
        retries=body.get("Retries") or 0,
    )


def _overlay(
    base: Healthcheck,
    *,
    test: tuple[str, ...] = (),
    interval_ns: int = 0,
    timeout_ns: int = 0,
    start_period_ns: int = 0,
    retries: int = 0,
) -> Healthcheck:
    return Healthcheck(
        test=test or base.test,
        interval_ns=interval_ns or base.interval_ns,
        timeout_ns=timeout_ns or base.timeout_ns,
        start_period_ns=start_period_ns or base.start_period_ns,
        retries=retries or base.retries,
    )


def _test(path: str, value: Any, notes: Notes) -> tuple[str, ...]:
    """The test. An empty one counts as none given."""
    if value is None or value == "":
        return ()
    return ("CMD-SHELL", value) if isinstance(value, str) else texts(path, value, notes)


def _nanoseconds(path: str, value: Any, notes: Notes) -> int:
    if value is None:
        return 0
    duration = duration_ms(value)
    if duration is None:
        notes.reject(path, "a duration such as 1m30s", value)
    return (duration or 0) * _NS_PER_MS


def _retries(path: str, value: Any, notes: Notes) -> int:
    if value is None:
        return 0
    count = integer_of(value)
    if count is None or count < 0:
        notes.drop(path, "it is not a count", value)
        return 0
    return count

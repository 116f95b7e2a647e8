"""Health checks: what the composition says over what the image says."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.model.service import Healthcheck
from balena_supervisor.state.compose_healthcheck import healthcheck, healthcheck_body, read_healthcheck
from balena_supervisor.state.compose_notes import Notes

S = 10**9
IMAGE = {"Test": ["CMD", "probe"], "Interval": 30 * S, "Timeout": 5 * S, "Retries": 2}


@pytest.mark.parametrize(
    ("value", "image", "expected"),
    [
        (None, None, Healthcheck()),
        (None, {}, Healthcheck()),
        (None, IMAGE, Healthcheck(test=("CMD", "probe"), interval_ns=30 * S, timeout_ns=5 * S, retries=2)),
        ({"test": "curl -f x"}, None, Healthcheck(test=("CMD-SHELL", "curl -f x"))),
        ({"test": ["CMD", "x"]}, None, Healthcheck(test=("CMD", "x"))),
        ({"test": ["NONE"]}, {"Test": ["CMD", "x"]}, Healthcheck()),
        ({"interval": "1m", "timeout": 1500}, None, Healthcheck(interval_ns=60 * S, timeout_ns=1500 * 10**6)),
        ({"start_period": "2s"}, None, Healthcheck(start_period_ns=2 * S)),
        ({"startPeriod": "2s"}, None, Healthcheck(start_period_ns=2 * S)),
        ({"retries": "3"}, None, Healthcheck(retries=3)),
        (
            {"interval": "1m", "timeout": "0", "retries": 0},
            IMAGE,
            Healthcheck(test=("CMD", "probe"), interval_ns=60 * S, timeout_ns=5 * S, retries=2),
        ),
        (
            {"disable": True, "test": "x", "interval": "broken"},
            IMAGE,
            Healthcheck(interval_ns=30 * S, timeout_ns=5 * S, retries=2),
        ),
        ({"disable": "false"}, {"Test": ["CMD", "x"]}, Healthcheck()),
        ({"disable": False}, {"Test": ["CMD", "x"]}, Healthcheck(test=("CMD", "x"))),
    ],
)
def test_fields_overlay_those_of_the_image(value: Any, image: Any, expected: Healthcheck) -> None:
    notes = Notes()
    assert healthcheck("healthcheck", value, image, notes) == expected
    assert notes.violations == []
    assert read_healthcheck(healthcheck_body(expected)) == expected


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"interval": "10"}, "healthcheck.interval"),
        ({"timeout": []}, "healthcheck.timeout"),
        ({"start_period": "x"}, "healthcheck.start_period"),
        ({"test": 5}, "healthcheck.test"),
        ("x", "healthcheck"),
    ],
)
def test_what_cannot_be_read_is_named(value: Any, path: str) -> None:
    notes = Notes()
    healthcheck("healthcheck", value, None, notes)
    assert [at for at, _ in notes.violations] == [path]


def test_unset_members_are_not_sent() -> None:
    assert healthcheck_body(Healthcheck()) == {"Test": ["NONE"]}
    assert healthcheck_body(Healthcheck(test=("CMD", "x"), interval_ns=S)) == {"Test": ["CMD", "x"], "Interval": S}


@pytest.mark.parametrize("body", [None, {}, {"Test": None}, {"Test": []}])
def test_a_check_without_a_test_is_none(body: Any) -> None:
    assert read_healthcheck(body) == Healthcheck()

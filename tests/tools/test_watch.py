from __future__ import annotations

from typing import Any

import pytest

from tools.dev_parts.watch import Row, all_run, reasons, rows

APP = 7


def image(service: str, status: str, progress: float | None = None) -> dict[str, Any]:
    return {"appId": APP, "serviceName": service, "status": status, "downloadProgress": progress}


def container(service: str, status: str, app_id: int = APP) -> dict[str, Any]:
    return {"appId": app_id, "serviceName": service, "status": status}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, ["waiting", "waiting"]),
        ({"images": [image("web", "Downloading", 41.6)]}, ["Downloading 42 %", "waiting"]),
        (
            {"images": [image("web", "Downloaded")], "containers": [container("web", "Running")]},
            ["Downloaded", "Running"],
        ),
        ({"containers": [container("web", "Running", app_id=8)]}, ["waiting", "waiting"]),
    ],
)
def test_a_row_says_how_far_an_image_and_its_service_are(status: dict[str, Any], expected: list[str]) -> None:
    assert rows(status, APP, ["web"]) == [Row("image", "web", expected[0]), Row("service", "web", expected[1])]


@pytest.mark.parametrize(
    ("state", "containers", "expected"),
    [
        ("applied", [container("web", "Running"), container("store", "Running")], True),
        ("applying", [container("web", "Running"), container("store", "Running")], False),
        ("applied", [container("web", "Running")], False),
        ("applied", [container("web", "Running"), container("store", "exited")], False),
    ],
)
def test_all_run_when_the_supervisor_is_done_and_each_service_runs(
    state: str, containers: list[dict[str, Any]], expected: bool
) -> None:
    status = {"appState": state, "containers": containers}

    assert all_run(status, rows(status, APP, ["web", "store"])) is expected


def test_the_newest_failure_of_each_subject_is_a_reason() -> None:
    def decision(subject: str, outcome: str, error: str = "") -> dict[str, Any]:
        return {"subject": subject, "step": "start", "reason": "is missing", "outcome": outcome, "error": error}

    status = {
        "decisions": [decision("a", "failed", "old"), decision("a", "failed", "new"), decision("b", "done")],
        "waiting": [{"subject": "b", "reason": "a does not run"}],
        "lastError": {"code": "engine-error", "message": "port is taken"},
    }

    assert reasons(status) == [
        "a: start failed: new (is missing)",
        "b waits: a does not run",
        "last error: port is taken",
    ]

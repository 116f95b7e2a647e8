"""An answer to every why, from the snapshot of the planner, and what people get to read of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from balena_supervisor.cli_why import why_lines
from balena_supervisor.errors import ErrorRecord
from balena_supervisor.model.service import ServiceExit
from balena_supervisor.model.state import (
    ActionSummary,
    AppSummary,
    ContainerSummary,
    Decision,
    DeviceState,
    EngineLink,
    ImageSummary,
    LockSummary,
    ServiceSummary,
    Waiting,
)
from balena_supervisor.state.why import Now, why

PATH = "/tmp/x/updates.lock"
EXIT: dict[str, Any] = {"app_id": 7, "service_name": "db", "container_id": "x"}
NOW = Now(datetime(2026, 11, 28, 12, 0, tzinfo=UTC), 1000.0)
WEB = ServiceSummary(
    service_name="web", image_name="web:2", running=True, strategy="hand-over",
    depends_on={"db": "service_healthy"}, differs=("image",),
)  # fmt: skip
DB = ServiceSummary(service_name="db", image_name="db:1", running=True, stopped_by_user=True)


def container(name: str, **fields: Any) -> ContainerSummary:
    values: dict[str, Any] = {
        "status": "Running", "service_name": name, "app_id": 7, "app_uuid": "u", "image_id": 1, "service_id": 1,
        "release_id": 1, "commit": "r1", "container_id": f"id-{name}", "created_at": "", "image_name": f"{name}:1",
    }  # fmt: skip
    return ContainerSummary(**{**values, **fields})


APP = AppSummary(
    app_id=7, app_uuid="u", name="acme", commit="r2", current_commit="r1", release_id=2, services=(WEB, DB),
    trial="release r2 is on trial",
)  # fmt: skip
STATE = DeviceState(
    target_version=3,
    applying=True,
    engine=EngineLink(up=True, reason=""),
    apps=(APP,),
    containers=(
        container("web", health="healthy", started_at="2026-11-28T11:00:00.123456789Z"),
        container("db", status="exited", exit_code=3),
        container("old"),
    ),
    waiting=(
        Waiting(subject="service:7:web", app_id=7, service_name="web", reason="the update locks are needed"),
        Waiting(subject="lock:7", app_id=7, reason="failed 3 times, last: web is locked", retry_at=1004.0),
        Waiting(subject="device", reason="the engine is slow"),
    ),
    decisions=tuple(
        Decision(number=n, at=f"2026-11-28T11:0{n}:00Z", step=f"step {n}", subject="service:7:web", reason="because",
                 app_id=7, service_name="web", outcome="failed" if n == 9 else "done", error="oh" if n == 9 else "")
        for n in range(10)
    ),
    locks=(
        LockSummary(app_id=7, service_name="web", holder="user", path=PATH, since="2026-11-28T11:55:00Z"),
        LockSummary(app_id=7, service_name="db", holder="supervisor"),
    ),
    exits=(
        ServiceExit(**EXIT, at="2026-11-28T10:00:00Z", exit_code=137, out_of_memory=True),
        ServiceExit(**EXIT, at="2026-11-28T10:01:00Z", exit_code=3, asked=True),
    ),
    actions=(
        ActionSummary(number=1, at="", verb="restart", app_id=7, outcome="done"),
        ActionSummary(number=2, at="", verb="purge", app_id=7, outcome="interrupted", error="the planner ended"),
    ),
    last_error=ErrorRecord("locked", "cannot take the update locks of app 7"),
)  # fmt: skip


def answer(state: DeviceState = STATE, covers: Any = lambda _: True) -> dict[str, Any]:
    return why(state, covers, NOW, applying=False, target_version=3)


def test_a_service_tells_what_it_is_what_it_should_be_and_why_it_is_not() -> None:
    (app,) = answer()["apps"]
    web = app["services"]["web"]
    assert web["now"] == [
        {
            "status": "Running",
            "release": "r1",
            "containerId": "id-web",
            "startedAt": "2026-11-28T11:00:00.123Z",
            "health": "healthy",
        }
    ]
    assert web["shouldBe"] == {
        "present": True,
        "running": True,
        "image": "web:2",
        "release": "r2",
        "strategy": "hand-over",
        "dependsOn": {"db": "service_healthy"},
    }
    assert web["differs"] == ["image"]
    assert web["waitsFor"] == [{"subject": "service:7:web", "reason": "the update locks are needed"}]
    assert [decision["step"] for decision in web["decisions"]] == [f"step {n}" for n in range(5, 10)]
    assert web["decisions"][-1]["error"] == "oh"


def test_an_app_tells_of_its_locks_its_waits_and_what_leaves_it() -> None:
    (app,) = answer()["apps"]
    assert app["locks"] == [
        {
            "serviceName": "web",
            "holder": "user",
            "path": "/tmp/x/updates.lock",
            "since": "2026-11-28T11:55:00Z",
            "ageSeconds": 300,
        },
        {"serviceName": "db", "holder": "supervisor"},
    ]
    assert app["waitsFor"] == [
        {"subject": "lock:7", "reason": "failed 3 times, last: web is locked", "retryInSeconds": 4.0}
    ]
    assert app["services"]["old"]["shouldBe"] == {"present": False}
    assert app["services"]["db"]["exits"] == [
        {"at": "2026-11-28T10:00:00.000Z", "exitCode": 137, "outOfMemory": True},
        {"at": "2026-11-28T10:01:00.000Z", "exitCode": 3, "asked": True},
    ]
    assert app["services"]["db"]["shouldBe"]["stoppedByUser"] is True
    assert app["services"]["db"]["now"][0]["exitCode"] == 3


def test_a_download_stands_for_a_service_without_container() -> None:
    image = ImageSummary(
        name="web:2", app_id=7, app_uuid="u", service_name="web", image_id=1, service_id=1, release_id=2, commit="r2",
        docker_image_id=None, status="Downloading", progress=40,
    )  # fmt: skip
    state = DeviceState(apps=(APP,), images=(image,))
    (app,) = answer(state)["apps"]
    assert app["services"]["web"]["now"] == [
        {"status": "Downloading", "image": "web:2", "release": "r2", "downloadProgress": 40}
    ]


def test_an_app_that_left_the_target_says_so() -> None:
    state = DeviceState(containers=(container("web"),))
    (app,) = answer(state)["apps"]
    assert app["problem"] == "the app is not in the target and is removed"


@pytest.mark.parametrize(
    "left",
    [
        DeviceState(waiting=(Waiting(subject="volume:7:data", app_id=7, reason="the volume is in use"),)),
        DeviceState(locks=(LockSummary(app_id=7, service_name="web", holder="supervisor"),)),
    ],
)
def test_an_app_that_left_the_target_and_its_containers_still_tells_what_is_left(left: DeviceState) -> None:
    (app,) = answer(left)["apps"]
    assert app["problem"] == "the app is not in the target and is removed"
    text = "\n".join(why_lines(answer(left)))
    assert "waits: the volume is in use" in text or "holds the update locks of web" in text
    assert answer(left, covers=lambda app_id: app_id == 8)["apps"] == []


def test_what_was_decided_for_an_app_and_none_of_its_services_is_told() -> None:
    steps = [*(f"take lock {n}" for n in range(5)), "create network default"]
    decisions = tuple(
        Decision(number=n, at="t", step=step, subject="lock:7", reason="because", app_id=7, outcome="done")
        for n, step in enumerate(steps)
    )
    other = Decision(number=9, at="t", step="remove volume x", subject="volume:8:x", reason="because", app_id=8)
    state = DeviceState(apps=(APP,), decisions=(*STATE.decisions, *decisions, other))
    (app,) = answer(state)["apps"]
    assert [decision["step"] for decision in app["decisions"]] == steps[-5:]
    assert "  t create network default, done: because" in why_lines(answer(state))


def test_every_service_tells_of_the_back_off_of_an_image_that_it_shares() -> None:
    other = ServiceSummary(service_name="other", image_name="web:2", running=True)
    app = AppSummary(
        app_id=7, app_uuid="u", name="acme", commit="r2", current_commit=None, release_id=2, services=(WEB, other, DB)
    )
    pull = Waiting(subject="image:web:2", app_id=7, service_name="web", reason="no route to host", retry_at=1002.0)
    (found,) = answer(DeviceState(apps=(app,), waiting=(pull,)))["apps"]
    wait = {"subject": "image:web:2", "reason": "no route to host", "retryInSeconds": 2.0}
    waits = {name: service["waitsFor"] for name, service in found["services"].items()}
    assert waits == {"web": [wait], "other": [wait], "db": []}


def test_a_key_of_another_app_sees_nothing_of_this_one_or_the_device() -> None:
    found = answer(covers=lambda app_id: app_id == 8)
    assert (found["apps"], found["waitsFor"], found["orders"], found["lastError"]) == ([], [], [], None)


@pytest.mark.parametrize(("since", "age"), [("2027-11-28T12:00:00Z", 0), ("rubbish", None), ("2026-11-28", None)])
def test_a_lock_of_the_future_or_of_an_unreadable_time_has_no_negative_age(since: str, age: int | None) -> None:
    lock = LockSummary(app_id=7, service_name="web", holder="user", path="/x", since=since)
    (app,) = answer(DeviceState(apps=(APP,), locks=(lock,)))["apps"]
    assert app["locks"][0]["ageSeconds"] == age


def test_people_read_sentences() -> None:
    text = "\n".join(why_lines(answer()))
    for part in (
        "The device is applying target 3.",
        "It waits: the engine is slow.",
        "Order 2, purge app 7, interrupted: the planner ended.",
        "Last error: cannot take the update locks of app 7.",
        "App 7 (acme): release r1, should be on r2",
        "release r2 is on trial",
        "waits: failed 3 times, last: web is locked (again in 4 s)",
        "the update lock /tmp/x/updates.lock of web is held since 2026-11-28T11:55:00Z, 5 min old",
        "the supervisor holds the update locks of db",
        "web: Running, healthy, since 2026-11-28T11:00:00.123Z; should run web:2, after db (service_healthy)",
        "differs in image",
        "db: exited, exit code 3; should not run, as a user has stopped it",
        "ended at 2026-11-28T10:00:00.000Z with exit code 137, out of memory",
        "was stopped at 2026-11-28T10:01:00.000Z with exit code 3",
        "step 9, failed: because (oh)",
        "old: Running; should not be there",
    ):
        assert part in text, text


def test_one_service_is_shown_alone() -> None:
    text = "\n".join(why_lines(answer(), "db"))
    assert "db: exited" in text
    assert "web: Running" not in text
    with pytest.raises(KeyError):
        why_lines(answer(), "nobody")

"""When a trial begins, passes and fails, as tables."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balena_supervisor.model.service import Container
from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state.rollback import LABEL, Open, begin, begun, definition, judge, rollback_s
from tests.state.worlds import app, container, service

WEB = service("web", commit="r2")
APP = app(WEB, commit="r2")
BEGUN = begun("r2", 100.0)
STARTED = msgspec.structs.replace(BEGUN, starts={"web": (container(WEB).container_id, "")})
WELL = msgspec.structs.replace(STARTED, healthy_at=100.0)
NO_MEMORY = Open("no memory", counts=True)


def web(**fields: Any) -> Container:
    restart = fields.pop("restart", "always")
    one = container(WEB)
    config = msgspec.structs.replace(one.config, restart=restart)
    return msgspec.structs.replace(one, config=config, **fields)


@pytest.mark.parametrize(
    ("target", "commits", "locked", "begins"),
    [
        (APP, ["r2"], False, True),
        (APP, ["r1"], True, True),
        (APP, ["r1"], False, False),
        (app(service("web", commit="r2", present=False), commit="r2"), ["r1"], True, False),
        (app(WEB, commit=None), ["r2"], True, False),
    ],
)
def test_when_a_trial_begins(target: Any, commits: list[str], *, locked: bool, begins: bool) -> None:
    found = begin(target, [web(commit=commit) for commit in commits], 5.0, locked=locked)
    assert found == (begun("r2", 5.0) if begins else None)


@pytest.mark.parametrize(
    ("fields", "failed"),
    [
        ({}, ""),
        ({"status": "paused"}, ""),
        ({"status": "exited", "exit_code": 0}, "web has ended with exit code 0"),
        ({"status": "exited", "exit_code": 0, "restart": "no"}, ""),
        ({"status": "exited", "exit_code": 0, "restart": "on-failure"}, ""),
        ({"status": "exited", "exit_code": 0, "restart": "unless-stopped"}, "web has ended with exit code 0"),
        ({"status": "exited", "exit_code": 1, "restart": "no"}, "web has ended with exit code 1"),
        ({"started_at": "later"}, "web has ended and was started again"),
        ({"container_id": "another"}, "web has ended and was started again"),
        ({"health": "unhealthy"}, "web is unhealthy"),
        ({"health": "starting"}, ""),
    ],
)
def test_what_fails_a_trial_at_once(fields: dict[str, Any], failed: str) -> None:
    assert judge(STARTED, APP, [web(**fields)], 30, 110, None).failed == failed


def test_what_shall_not_run_cannot_fail() -> None:
    resting = app(msgspec.structs.replace(WEB, running=False), commit="r2")
    assert judge(WELL, resting, [], 30, 130, None).passed
    assert judge(WELL, APP, [], 30, 130, None).failed == "the container of web is gone"


@pytest.mark.parametrize(
    ("health", "now", "passed", "until"),
    [
        ("healthy", 129.9, False, 130),
        ("healthy", 130, True, None),
        ("", 130, True, None),
        ("starting", 999, False, None),
    ],
)
def test_how_long_a_trial_lasts(health: str, now: float, until: float | None, *, passed: bool) -> None:
    verdict = judge(WELL, APP, [web(health=health)], 30, now, None)
    assert (verdict.passed, verdict.failed, verdict.until) == (passed, "", until)


def test_a_service_has_to_be_healthy_for_the_whole_time() -> None:
    """How long it may be starting its health check says, and the engine sees to it."""
    starting = judge(STARTED, APP, [web(health="starting")], 30, 129, None)
    assert (starting.waiting, starting.until) == ("web is not healthy yet", None)
    healthy = judge(starting.trial, APP, [web(health="healthy")], 30, 130, None)
    assert (healthy.passed, healthy.until) == (False, 160)
    assert judge(healthy.trial, APP, [web(health="healthy")], 30, 160, None).passed


@pytest.mark.parametrize(
    ("seconds", "now", "failed"),
    [(30, 159.9, False), (30, 160, True), (90, 189.9, False), (90, 190, True)],
)
def test_services_have_a_minute_or_the_time_of_the_trial_to_be_started(
    seconds: float, now: float, *, failed: bool
) -> None:
    verdict = judge(BEGUN, APP, [], seconds, now, NO_MEMORY)
    assert bool(verdict.failed) is failed
    assert not failed or "no memory" in verdict.failed


def test_what_does_not_speak_against_the_release_only_delays_its_trial() -> None:
    verdict = judge(BEGUN, APP, [], 30, 110, Open("web: the old one is being stopped", counts=False))
    assert (verdict.waiting, verdict.until) == ("web: the old one is being stopped", None)
    verdict = judge(verdict.trial, APP, [], 30, 500, NO_MEMORY)
    assert (verdict.failed, verdict.until) == ("", 550)
    assert judge(verdict.trial, APP, [], 30, 550, NO_MEMORY).failed


def test_a_service_may_wait_for_one_whose_health_check_takes_its_time() -> None:
    waits = Open("web: waits for db to be healthy", counts=True)
    verdict = judge(BEGUN, APP, [web(service_name="db", health="starting")], 30, 110, waits)
    assert (verdict.failed, verdict.until) == ("", None)
    verdict = judge(verdict.trial, APP, [web(service_name="db", health="healthy")], 30, 900, waits)
    assert (verdict.failed, verdict.until) == ("", 950)


def test_the_time_of_a_trial_does_not_run_while_an_image_is_missing() -> None:
    """By its strategy the old container has gone before the new image came."""
    waiting = app(service("web", commit="r2", present=False), commit="r2")
    verdict = judge(BEGUN, waiting, [], 30, 500, Open("its image is being pulled", counts=True))
    assert (verdict.failed, verdict.passed, verdict.trial.begun_at) == ("", False, 500)


@pytest.mark.parametrize(
    ("composition", "labels", "config", "seconds"),
    [
        ({}, {}, {}, 0),
        ({}, {LABEL: "20"}, {}, 20),
        ({"labels": {LABEL: "30"}}, {}, {"SUPERVISOR_ROLLBACK": "90"}, 30),
        ({"labels": [f"{LABEL}=40"]}, {}, {}, 40),
        ({}, {LABEL: "soon"}, {"SUPERVISOR_ROLLBACK": "90"}, 90),
        ({}, {LABEL: "-1"}, {"SUPERVISOR_ROLLBACK": "no"}, 0),
    ],
)
def test_how_long_a_release_has_to_prove_itself(
    composition: dict[str, Any], labels: dict[str, str], config: dict[str, str], seconds: float
) -> None:
    one = TargetService(
        app_id=7, app_uuid="7", release_id=1, commit="r1", service_name="web", service_id=1, image_id=1, image="web:1",
        composition=composition, labels=labels,
    )  # fmt: skip
    release = TargetApp(app_id=7, app_uuid="7", name="app", commit="r1", release_id=1, services=(one,))
    assert rollback_s(release, config) == seconds


def test_a_release_is_the_same_wherever_it_came_from() -> None:
    one = TargetApp(app_id=7, app_uuid="7", name="app", commit="r1", release_id=1)
    assert definition(one) == definition(msgspec.structs.replace(one, rejected=True, rejection="x", source="local"))
    assert definition(one) != definition(msgspec.structs.replace(one, volumes={"data": {}}))

"""When a trial begins, passes and fails, as tables."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from balena_supervisor.model.service import Container
from balena_supervisor.model.target import TargetApp
from balena_supervisor.state.rollback import Trial, begin, definition, judge
from tests.state.worlds import app, container, service

WEB = service("web", commit="r2")
APP = app(WEB, commit="r2")
BEGUN = Trial(commit="r2", begun_at=100.0)
SETTLED = msgspec.structs.replace(BEGUN, settled_at=100.0, starts={"web": (container(WEB).container_id, "")})


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
    assert found == (Trial(commit="r2", begun_at=5.0) if begins else None)


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
    assert judge(SETTLED, APP, [web(**fields)], 30, 110, None).failed == failed


def test_what_shall_not_run_cannot_fail() -> None:
    resting = app(msgspec.structs.replace(WEB, running=False), commit="r2")
    assert judge(SETTLED, resting, [], 30, 130, None).passed
    assert judge(SETTLED, APP, [], 30, 130, None).failed == "the container of web is gone"


@pytest.mark.parametrize(
    ("health", "now", "passed", "failed"),
    [
        ("healthy", 129.9, False, ""),
        ("healthy", 130, True, ""),
        ("", 130, True, ""),
        ("starting", 129.9, False, ""),
        ("starting", 130, False, "web was not healthy after 30 s"),
    ],
)
def test_how_long_a_trial_lasts(health: str, now: float, failed: str, *, passed: bool) -> None:
    verdict = judge(SETTLED, APP, [web(health=health)], 30, now, None)
    assert (verdict.passed, verdict.failed) == (passed, failed)


@pytest.mark.parametrize(
    ("seconds", "now", "failed"),
    [(30, 159.9, False), (30, 160, True), (90, 189.9, False), (90, 190, True)],
)
def test_services_have_a_minute_or_the_time_of_the_trial_to_be_started(
    seconds: float, now: float, *, failed: bool
) -> None:
    verdict = judge(BEGUN, APP, [], seconds, now, "no memory")
    assert bool(verdict.failed) is failed
    assert not failed or "no memory" in verdict.failed


def test_the_time_of_a_trial_does_not_run_while_an_image_is_missing() -> None:
    """By its strategy the old container has gone before the new image came."""
    waiting = app(service("web", commit="r2", present=False), commit="r2")
    verdict = judge(BEGUN, waiting, [], 30, 500, "its image is being pulled")
    assert (verdict.failed, verdict.passed, verdict.trial.begun_at) == ("", False, 500)


def test_a_release_is_the_same_wherever_it_came_from() -> None:
    one = TargetApp(app_id=7, app_uuid="7", name="app", commit="r1", release_id=1)
    assert definition(one) == definition(msgspec.structs.replace(one, rejected=True, rejection="x", source="local"))
    assert definition(one) != definition(msgspec.structs.replace(one, volumes={"data": {}}))

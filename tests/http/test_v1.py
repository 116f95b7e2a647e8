"""Health: what makes the device unhealthy, and what never does (spec device-api 4, decision D13)."""

from __future__ import annotations

import pytest

from balena_supervisor.model.state import DeviceState, EngineLink, Waiting
from balena_supervisor.runtime.views import ActorsView, ActorView, ListActors
from tests.http.support import ENDPOINT, Device, image, remote

LIMIT_S = 2 * 900


def view(*states: str) -> ActorsView:
    return ActorsView(
        actors=tuple(
            ActorView(name=f"a{n}", pid=1, generation=1, state=state, uptime_s=1) for n, state in enumerate(states)
        )
    )


@pytest.fixture
def well(managed: Device) -> Device:
    managed.post.answers[ListActors] = view("running", "running")
    return managed


def test_a_device_whose_actors_run_is_healthy(well: Device) -> None:
    answer = well.client.simulate_get("/v1/healthy")
    assert (answer.status_code, answer.text) == (200, "OK")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("state", ["back-off", "hung", "stopped"])
def test_an_actor_that_is_down_or_hung_is_unhealthy(well: Device, state: str) -> None:
    well.post.answers[ListActors] = view("running", state)
    answer = well.client.simulate_get("/v1/healthy")
    assert (answer.status_code, answer.text) == (500, "Unhealthy")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_root_is_asked_once_a_second_while_all_is_well_and_each_time_when_not(well: Device) -> None:
    assert [well.client.simulate_get("/v1/healthy").status_code for _ in range(5)] == [200] * 5
    assert well.post.of(ListActors) == [ListActors(memory=False)]
    well.post.answers[ListActors] = view("hung")
    assert well.client.simulate_get("/v1/healthy").status_code == 200
    well.clock.advance(1)
    assert well.client.simulate_get("/v1/healthy").status_code == 500
    well.post.answers[ListActors] = view("running")
    assert well.client.simulate_get("/v1/healthy").status_code == 200


def test_an_actor_that_starts_is_no_reason(well: Device) -> None:
    well.post.answers[ListActors] = view("running", "starting")
    assert well.client.simulate_get("/v1/healthy").status_code == 200


@pytest.mark.parametrize("code", ["actor-restarted", "mailbox-full", "deadline-passed"])
def test_a_root_that_does_not_answer_is_unhealthy(well: Device, code: str) -> None:
    well.post.answers[ListActors] = remote(code)
    assert well.client.simulate_get("/v1/healthy").status_code == 500


def test_a_silent_root_is_unhealthy(well: Device) -> None:
    del well.post.answers[ListActors]
    assert well.client.simulate_get("/v1/healthy").status_code == 500


@pytest.mark.parametrize(("took_s", "status"), [(0, 200), (LIMIT_S - 1, 200), (LIMIT_S, 500)])
def test_an_apply_over_its_limit_is_unhealthy(well: Device, took_s: int, status: int) -> None:
    well.show(DeviceState(applying=True, attempt_started_at=well.clock.monotonic()))
    well.clock.advance(took_s)
    assert well.client.simulate_get("/v1/healthy").status_code == status


def test_a_download_an_idle_planner_and_an_unmanaged_device_have_no_limit(well: Device) -> None:
    began = well.clock.monotonic()
    well.clock.advance(LIMIT_S * 2)
    for state in (
        DeviceState(applying=True, attempt_started_at=began, images=(image(status="Downloading", progress=3),)),
        DeviceState(applying=False, attempt_started_at=began),
        DeviceState(applying=True, attempt_started_at=None),
    ):
        well.show(state)
        assert well.client.simulate_get("/v1/healthy").status_code == 200
    well.show(DeviceState(applying=True, attempt_started_at=began))
    well.configure(api_endpoint="", local_mode=True)
    assert well.client.simulate_get("/v1/healthy").status_code == 200
    well.configure(api_endpoint=ENDPOINT)
    assert well.client.simulate_get("/v1/healthy").status_code == 500


def test_an_engine_that_is_away_and_a_held_lock_are_healthy(well: Device) -> None:
    waiting = (Waiting(subject="app:1", reason="updates are locked", app_id=1),)
    well.show(DeviceState(applying=True, failures=9, engine=EngineLink(up=False, reason="refused"), waiting=waiting))
    assert well.client.simulate_get("/v1/healthy").status_code == 200

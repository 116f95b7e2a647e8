"""The v2 routes that answer from snapshots and the local target (spec device-api 6.3, 7)."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.errors import ErrorRecord
from balena_supervisor.messages import GetComposedTarget, SetLocalTarget, TargetAccepted
from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.state import AppSummary, Decision, DeviceState, ServiceSummary, Waiting
from balena_supervisor.model.target import TargetApp, TargetService, TargetState
from tests.http.support import APP_KEY, ENDPOINT, GLOBAL_KEY, TWO_APPS, Device, container, image, remote

TARGET = {"local": {"name": "bench", "config": {}, "apps": {}}}
PATH = "/v2/local/target-state"


def test_the_version_has_no_leading_v(device: Device) -> None:
    assert device.client.simulate_get("/v2/version").json == {"status": "success", "version": "1.2.3"}


def test_device_info_is_arch_and_type(device: Device) -> None:
    answer = device.client.simulate_get("/v2/local/device-info")
    assert answer.json == {"status": "success", "info": {"arch": "aarch64", "deviceType": "raspberrypi4-64"}}


def test_device_info_that_cannot_be_read_is_500(device: Device) -> None:
    device.configure(device_type_problem="device-type.json: no such file")
    answer = device.client.simulate_get("/v2/local/device-info")
    assert (answer.status_code, answer.json["status"]) == (500, "failed")
    assert "device-type.json" in answer.json["message"]


# --- POST of the local target ---------------------------------------------------------------------------------------


def test_a_target_is_handed_over_whole_and_answered_when_it_is_stored(device: Device) -> None:
    device.post.answers[SetLocalTarget] = TargetAccepted(version=3)
    answer = device.client.simulate_post(PATH, json={**TARGET, "force": True})
    assert (answer.status_code, answer.json) == (200, {"status": "success", "message": "OK"})
    (recipient, message, _), *more = device.post.asked
    assert (recipient, message, more) == ("target-state", SetLocalTarget(body={**TARGET, "force": True}), [])


@pytest.mark.parametrize("body", [{}, [], {"local": None}, {"local": []}, {"local": "x"}, {"abc": {"apps": {}}}])
def test_a_body_without_local_is_400_and_nothing_is_stored(device: Device, body: Any) -> None:
    answer = device.client.simulate_post(PATH, json=body)
    assert (answer.status_code, answer.json["status"]) == (400, "failed")
    assert "local" in answer.json["message"]
    assert device.post.asked == []


def test_no_body_is_400(device: Device) -> None:
    assert device.client.simulate_post(PATH).status_code == 400
    assert device.post.asked == []


def test_outside_local_mode_it_is_400(managed: Device) -> None:
    answer = managed.client.simulate_post(PATH, json=TARGET, params={"apikey": GLOBAL_KEY})
    assert (answer.status_code, "local mode" in answer.json["message"]) == (400, True)
    managed.configure(api_endpoint=ENDPOINT, local_mode=True)
    managed.post.answers[SetLocalTarget] = TargetAccepted(version=1)
    assert managed.client.simulate_post(PATH, json=TARGET).status_code == 200


def test_a_rejected_target_is_400_with_one_line_for_each_problem(device: Device) -> None:
    lines = "cannot accept the target:\nlocal.apps.1.name: is missing\nlocal.apps.1.services.2.image: is missing"
    device.post.answers[SetLocalTarget] = remote("invalid-target", lines)
    answer = device.client.simulate_post(PATH, json=TARGET)
    assert (answer.status_code, answer.json) == (400, {"status": "failed", "message": lines})


@pytest.mark.parametrize("code", ["invalid-composition", "invalid-value"])
def test_other_faults_of_the_client_are_400(device: Device, code: str) -> None:
    device.post.answers[SetLocalTarget] = remote(code)
    assert device.client.simulate_post(PATH, json=TARGET).status_code == 400


@pytest.mark.parametrize(
    "code", ["mailbox-full", "actor-restarted", "deadline-passed", "unknown-recipient", "internal-error"]
)
def test_a_target_that_could_not_be_stored_is_503(device: Device, code: str) -> None:
    device.post.answers[SetLocalTarget] = remote(code)
    answer = device.client.simulate_post(PATH, json=TARGET)
    assert (answer.status_code, answer.json["status"]) == (503, "failed")


def test_an_actor_that_never_answers_is_503(device: Device) -> None:
    device.snapshots.keep(_target_event())
    for answer in (device.client.simulate_post(PATH, json=TARGET), device.client.simulate_get(PATH)):
        assert (answer.status_code, answer.json["status"]) == (503, "failed")


def _target_event() -> Any:
    from balena_supervisor.messages import TargetChanged

    return TargetChanged(target=TargetState())


def test_a_client_reads_its_own_write(device: Device) -> None:
    device.show(DeviceState(target_version=2))
    device.post.answers[SetLocalTarget] = TargetAccepted(version=3)
    assert _app_state(device) == "applied"
    device.client.simulate_post(PATH, json=TARGET)
    assert _app_state(device) == "applying"
    device.show(DeviceState(target_version=2))
    assert _app_state(device) == "applying"
    device.show(DeviceState(target_version=3))
    assert _app_state(device) == "applied"


def test_a_target_that_the_planner_has_not_seen_shows_as_applying(device: Device) -> None:
    device.show(DeviceState(target_version=2))
    device.target(TargetState(version=3))
    assert _app_state(device) == "applying"


def _app_state(device: Device) -> str:
    state: str = device.client.simulate_get("/v2/state/status").json["appState"]
    return state


# --- GET of the local target ----------------------------------------------------------------------------------------


def test_the_local_target_has_name_complete_config_and_apps(device: Device) -> None:
    device.target(TargetState(version=1, is_set=True, name="bench", config={"SUPERVISOR_DELTA": "1"}))
    app = ComposedApp(app_id=1, app_uuid="u1", name="shop", commit="c1", release_id=2)
    device.post.answers[GetComposedTarget] = (app,)
    answer = device.client.simulate_get(PATH).json
    local = answer["state"]["local"]
    assert (answer["status"], local["name"], local["config"]["SUPERVISOR_DELTA"]) == ("success", "bench", "1")
    assert local["config"]["SUPERVISOR_LOCAL_MODE"] == "true"
    assert set(local["apps"]) == {"1"}
    assert answer["state"]["dependent"] == {"apps": [], "devices": []}


def test_without_a_target_the_configured_name_is_shown(device: Device) -> None:
    device.configure(name="pump")
    device.post.answers[GetComposedTarget] = ()
    local = device.client.simulate_get(PATH).json["state"]["local"]
    assert (local["name"], local["apps"]) == ("pump", {})


# --- state ----------------------------------------------------------------------------------------------------------


def test_a_device_without_apps_answers_empty(device: Device) -> None:
    device.show(DeviceState())
    status = device.client.simulate_get("/v2/state/status").json
    assert status == {
        "status": "success",
        "appState": "applied",
        "overallDownloadProgress": None,
        "containers": [],
        "images": [],
        "targetVersion": 0,
        "waiting": [],
        "decisions": [],
        "lastError": None,
    }
    assert device.client.simulate_get("/v2/applications/state").json == {}
    assert device.client.simulate_get("/v2/containerId").json == {"status": "success", "services": {}}


def test_the_status_shows_why_and_what_went_wrong(device: Device) -> None:
    decision = Decision(number=7, at="t", step="StartService", subject="service:1:web", reason="container is missing")
    device.show(
        DeviceState(
            decisions=(decision,),
            waiting=(Waiting(subject="image:x", reason="no such image", retry_at=device.clock.monotonic() + 5),),
            last_error=ErrorRecord("engine-error", "cannot pull x: no such image", {"status": 404}),
        )
    )
    status = device.client.simulate_get("/v2/state/status").json
    assert status["decisions"][0]["reason"] == "container is missing"
    assert status["waiting"] == [
        {"subject": "image:x", "reason": "no such image", "retryAt": "2026-01-02T03:04:10.000Z"}
    ]
    assert status["lastError"] == {"code": "engine-error", "message": "cannot pull x: no such image"}


def test_an_answer_is_encoded_once_for_each_snapshot(device: Device) -> None:
    device.show(DeviceState(containers=(container(),)))
    picture = device.snapshots.picture
    first = device.client.simulate_get("/v2/state/status").headers["etag"]
    assert len(picture._derived) == 1
    device.client.simulate_get("/v2/state/status")
    assert len(picture._derived) == 1
    device.show(DeviceState(containers=(container(status="exited"),)))
    assert device.client.simulate_get("/v2/state/status").headers["etag"] != first


def test_applications_state_shows_a_newer_target_at_once(device: Device) -> None:
    old = AppSummary(app_id=1, app_uuid="u1", name="old", commit="c0", current_commit="c0", release_id=1)
    device.show(DeviceState(target_version=1, apps=(old,)))
    service = TargetService(
        service_name="web",
        service_id=1,
        image_id=1,
        image="repo/web:2",
        app_id=1,
        app_uuid="u1",
        release_id=2,
        commit="c1",
    )
    app = TargetApp(app_id=1, app_uuid="u1", name="shop", commit="c1", release_id=2, services=(service,))
    device.target(TargetState(version=2, apps=(app,)))
    answer = device.client.simulate_get("/v2/applications/state").json
    assert answer["shop"]["updateStatus"] == "downloading"
    assert answer["shop"]["services"]["web"]["status"] == "Downloading"


def test_applications_state_has_the_measured_keys(device: Device) -> None:
    services = (ServiceSummary(service_name="web", image_name="repo/web:latest", running=True),)
    app = AppSummary(
        app_id=1, app_uuid="u1", name="shop", commit="c1", current_commit="c1", release_id=30, services=services
    )
    device.show(DeviceState(apps=(app,), containers=(container(),), images=(image(),)))
    assert device.client.simulate_get("/v2/applications/state").json == {
        "shop": {
            "appId": 1,
            "appUuid": "u1",
            "commit": "c1",
            "updateStatus": "done",
            "services": {
                "web": {"status": "Running", "image": "repo/web:latest", "releaseId": 30, "downloadProgress": None}
            },
        }
    }


@pytest.mark.parametrize(
    ("query", "status", "answer"),
    [
        ("", 200, {"status": "success", "services": {"web": "id-web", "db": "id-db"}}),
        ("serviceName=db", 200, {"status": "success", "containerId": "id-db"}),
        ("service=db", 200, {"status": "success", "containerId": "id-db"}),
        ("serviceName=web&service=db", 200, {"status": "success", "containerId": "id-web"}),
        ("serviceName=&service=db", 200, {"status": "success", "containerId": "id-db"}),
        ("service=gone", 503, {"status": "failed", "message": "cannot find a container of service gone"}),
    ],
)
def test_container_ids_by_name(device: Device, query: str, status: int, answer: Any) -> None:
    device.show(DeviceState(containers=(container("web"), container("db"), container("new", container_id=""))))
    result = device.client.simulate_get("/v2/containerId", query_string=query)
    assert (result.status_code, result.json) == (status, answer)


# --- why --------------------------------------------------------------------------------------------------------------

WHY = "/v2/state/why"


def test_why_tells_of_every_app_at_the_moment_of_the_question(device: Device) -> None:
    device.show(TWO_APPS)
    device.clock.advance(2)
    answer = device.client.simulate_get(WHY)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert [app["appId"] for app in answer.json["apps"]] == [1, 2]
    (wait,) = answer.json["apps"][0]["services"]["web"]["waitsFor"]
    assert wait == {"subject": "image:repo/web:2", "reason": "no route", "retryInSeconds": 3.0}
    assert answer.json["apps"][1]["services"]["db"]["now"][0]["exitCode"] == 3
    assert answer.json["lastError"]["message"] == "cannot pull repo/web:2: no route"
    device.target(TargetState(version=3))
    later = device.client.simulate_get(WHY).json
    assert (later["appState"], later["targetVersion"]) == ("applying", 3)


def test_why_tells_a_key_of_one_app_of_that_app_only(managed: Device) -> None:
    managed.show(TWO_APPS)
    assert managed.client.simulate_get(WHY).status_code == 401
    answer = managed.client.simulate_get(WHY, params={"apikey": APP_KEY}).json
    assert [app["appId"] for app in answer["apps"]] == [1]
    assert answer["lastError"] is None
    everything = managed.client.simulate_get(WHY, params={"apikey": GLOBAL_KEY}).json
    assert [app["appId"] for app in everything["apps"]] == [1, 2]


def test_why_has_no_answer_before_there_is_a_state(device: Device) -> None:
    answer = device.client.simulate_get(WHY)
    assert (answer.status_code, answer.json["status"]) == (503, "failed")

"""A whole supervisor on a real engine and registry: targets become containers."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import docker
import pytest

from tests.integration.conftest import MakeImage, TestedSupervisor
from tests.integration.targets import commit_of, no_apps, target
from tools.dev_parts.supervisor import Refused

pytestmark = pytest.mark.engine


def containers(engine: docker.APIClient, instance: str) -> dict[str, dict[str, Any]]:
    """Name of the service -> inspect, of all containers of an instance."""
    listed = engine.containers(all=True, filters={"label": f"io.balena.supervisor.instance={instance}"})
    inspected = [engine.inspect_container(entry["Id"]) for entry in listed]
    return {entry["Config"]["Labels"]["io.balena.service-name"]: entry for entry in inspected}


def steps(status: Any) -> list[str]:
    return [decision["step"] for decision in status["decisions"]]


def test_three_services_are_pulled_and_run(
    supervisor: TestedSupervisor, engine: docker.APIClient, instance: str, app_id: int, make_image: MakeImage
) -> None:
    images = {
        name: make_image('trap "exit 0" TERM; while :; do sleep 1000 & wait; done') for name in ("db", "web", "job")
    }
    supervisor.post_target(
        target(
            app_id,
            {
                "db": {"image": images["db"], "volumes": ["data:/data"], "networks": ["front"]},
                "web": {"image": images["web"], "depends_on": ["db"], "networks": ["front", "back"]},
                "job": {"image": images["job"], "network_mode": "none", "environment": {"A": "b=c"}},
            },
            volumes={"data": {}},
            networks={"front": {}, "back": {}},
        )
    )
    assert supervisor.api.status()["appState"] == "applying"
    status = supervisor.wait_until_running("db", "web", "job", timeout_s=60)
    found = containers(engine, instance)
    assert found["web"]["State"]["StartedAt"] > found["db"]["State"]["StartedAt"]
    assert set(found["web"]["NetworkSettings"]["Networks"]) == {f"{app_id}_front", f"{app_id}_back"}
    assert f"{app_id}_data:/data" in found["db"]["HostConfig"]["Binds"]
    assert "A=b=c" in found["job"]["Config"]["Env"]
    assert "start web" in steps(status)
    assert status["release"] == commit_of(app_id)
    assert all(decision["reason"] for decision in status["decisions"])


def test_the_same_target_again_touches_no_container(
    supervisor: TestedSupervisor, engine: docker.APIClient, instance: str, app_id: int, sample_image: str
) -> None:
    body = target(app_id, {"main": {"image": sample_image}})
    supervisor.post_target(body)
    before = supervisor.wait_until_running("main")
    first = containers(engine, instance)["main"]
    supervisor.post_target(body)
    after = supervisor.wait_until_running("main")
    assert after["targetVersion"] == before["targetVersion"] + 1
    assert steps(after) == steps(before)
    assert containers(engine, instance)["main"]["State"] == first["State"]


def test_a_changed_variable_recreates_only_its_service(
    supervisor: TestedSupervisor, engine: docker.APIClient, instance: str, app_id: int, sample_image: str
) -> None:
    services: dict[str, Any] = {"one": {"image": sample_image}, "two": {"image": sample_image}}
    supervisor.post_target(target(app_id, services))
    supervisor.wait_until_running("one", "two")
    before = containers(engine, instance)
    services["two"] = {"image": sample_image, "environment": {"A": "2"}}
    supervisor.post_target(target(app_id, services))
    status = supervisor.wait_until_running("one", "two")
    after = containers(engine, instance)
    assert after["one"]["Id"] == before["one"]["Id"]
    assert after["two"]["Id"] != before["two"]["Id"]
    assert "the target differs in environment" in [decision["reason"] for decision in status["decisions"]]


def test_another_release_with_equal_services_only_renames(
    supervisor: TestedSupervisor, engine: docker.APIClient, instance: str, app_id: int, sample_image: str
) -> None:
    supervisor.post_target(target(app_id, {"main": {"image": sample_image}}))
    supervisor.wait_until_running("main")
    before = containers(engine, instance)["main"]
    supervisor.post_target(target(app_id, {"main": {"image": sample_image}}, release="release2"))
    supervisor.api.wait_until(lambda status: status.get("release") == commit_of(app_id, "release2"))
    after = containers(engine, instance)["main"]
    assert (after["Id"], after["State"]) == (before["Id"], before["State"])
    assert after["Name"] == f"/main_1_1_{commit_of(app_id, 'release2')}"


def test_an_app_that_leaves_the_target_goes_with_its_networks_and_keeps_its_volumes(
    supervisor: TestedSupervisor, engine: docker.APIClient, instance: str, app_id: int, sample_image: str
) -> None:
    supervisor.post_target(
        target(app_id, {"main": {"image": sample_image, "volumes": ["data:/data"]}}, volumes={"data": {}})
    )
    supervisor.wait_until_running("main")
    supervisor.post_target(no_apps())
    supervisor.api.wait_until(lambda status: status["appState"] == "applied" and not status["containers"])
    assert containers(engine, instance) == {}
    label = {"label": f"io.balena.supervisor.instance={instance}"}
    assert engine.networks(filters=label) == []
    assert [volume["Name"] for volume in engine.volumes(filters=label)["Volumes"]] == [f"{app_id}_data"]


def test_running_false_stops_and_true_starts_the_same_container(
    supervisor: TestedSupervisor, engine: docker.APIClient, instance: str, app_id: int, sample_image: str
) -> None:
    supervisor.post_target(target(app_id, {"main": {"image": sample_image}}))
    supervisor.wait_until_running("main")
    before = containers(engine, instance)["main"]["Id"]
    supervisor.post_target(target(app_id, {"main": {"image": sample_image, "running": False}}))
    supervisor.api.wait_until(
        lambda status: status["appState"] == "applied" and status["containers"][0]["status"] == "exited"
    )
    supervisor.post_target(target(app_id, {"main": {"image": sample_image}}))
    supervisor.wait_until_running("main")
    assert containers(engine, instance)["main"]["Id"] == before


def test_a_container_removed_by_hand_comes_back_at_once(
    supervisor: TestedSupervisor, engine: docker.APIClient, instance: str, app_id: int, sample_image: str
) -> None:
    supervisor.post_target(target(app_id, {"main": {"image": sample_image}}))
    supervisor.wait_until_running("main")
    before = containers(engine, instance)["main"]["Id"]
    engine.remove_container(before, force=True)
    supervisor.api.wait_until(
        lambda status: (
            [c["containerId"] for c in status["containers"] if c["status"] == "Running"] not in ([], [before])
        )
    )
    assert containers(engine, instance)["main"]["Id"] != before


def test_an_image_that_cannot_be_pulled_is_retried_while_another_app_runs(
    supervisor: TestedSupervisor, app_id: int, sample_image: str, registry: str
) -> None:
    body = target(app_id, {"main": {"image": sample_image}})
    lost = target(app_id + 1, {"lost": {"image": f"{registry}/nobody/nothing:1"}})
    body["local"]["apps"].update(lost["local"]["apps"])
    supervisor.post_target(body)
    status = supervisor.api.wait_until(
        lambda status: (
            any("failed 2 times" in entry["reason"] for entry in status["waiting"])
            and any(c["serviceName"] == "main" and c["status"] == "Running" for c in status["containers"])
        )
    )
    assert status["appState"] == "applying"
    assert status["lastError"]["message"]


def test_a_service_that_cannot_start_is_retried_and_the_others_run(
    supervisor: TestedSupervisor, engine: docker.APIClient, instance: str, app_id: int, sample_image: str
) -> None:
    services: dict[str, Any] = {
        "good": {"image": sample_image},
        "bad": {"image": sample_image, "entrypoint": ["/no/such/file"]},
    }
    supervisor.post_target(target(app_id, services))
    supervisor.api.wait_until(
        lambda status: (
            any("failed 2 times" in entry["reason"] for entry in status["waiting"])
            and any(c["serviceName"] == "good" and c["status"] == "Running" for c in status["containers"])
        )
    )
    services["bad"] = {"image": sample_image}
    supervisor.post_target(target(app_id, services))
    supervisor.wait_until_running("good", "bad")
    assert set(containers(engine, instance)) == {"good", "bad"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"ports": ["abc"]}, "abc"),
        ({"environment": {"A": 1}}, "environment.A"),
        ({"image": ""}, "image"),
    ],
)
def test_a_target_that_cannot_be_read_is_refused_with_its_field_and_changes_nothing(
    supervisor: TestedSupervisor, app_id: int, sample_image: str, fields: dict[str, Any], named: str
) -> None:
    before = supervisor.api.get("/v2/local/target-state")
    with pytest.raises(Refused) as refused:
        supervisor.post_target(target(app_id, {"main": {"image": sample_image, **fields}}))
    assert refused.value.status == 400
    assert named in refused.value.text
    assert supervisor.api.get("/v2/local/target-state") == before


def test_a_body_that_is_no_json_is_refused_with_line_and_column(supervisor: TestedSupervisor) -> None:
    request = urllib.request.Request(  # noqa: S310  # http only
        supervisor.api.url + "/v2/local/target-state", b'{"local":\n {', {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)  # noqa: S310  # http only
    assert refused.value.code == 400
    answer = json.loads(refused.value.read())
    assert answer["status"] == "failed"
    assert "line 2" in answer["message"]


def test_a_service_with_the_label_reaches_the_api_on_supervisor0(
    supervisor: TestedSupervisor, engine: docker.APIClient, instance: str, app_id: int, sample_image: str
) -> None:
    label = {"io.balena.features.supervisor-api": "1"}
    supervisor.post_target(target(app_id, {"main": {"image": sample_image, "labels": label}}))
    supervisor.wait_until_running("main")
    found = containers(engine, instance)["main"]
    environment = dict(entry.split("=", 1) for entry in found["Config"]["Env"])
    assert set(found["NetworkSettings"]["Networks"]) == {f"{app_id}_default", "supervisor0"}
    assert environment["BALENA_SUPERVISOR_HOST"] == "10.114.104.1"
    assert len(environment["BALENA_SUPERVISOR_API_KEY"]) == 32
    shown = json.dumps(supervisor.api.get("/v2/local/target-state"))
    assert environment["BALENA_SUPERVISOR_API_KEY"] not in shown

"""Apps that a device must not run, on a real engine: they are left as they are, and others go on."""

from __future__ import annotations

import json
from typing import Any

import docker
import pytest

from tests.integration.conftest import TestedSupervisor
from tests.integration.targets import target
from tools.dev_parts.supervisor import Refused

pytestmark = pytest.mark.engine

NEWER = {"type": "sw.container", "requires": [{"type": "sw.supervisor", "version": ">=999"}]}
#: what every machine that runs the tests has
MET = {
    "requires": [
        {"type": "sw.supervisor", "version": ">=1.0.0"},
        {"type": "sw.kernel", "slug": "linux", "version": ">=3.0.0"},
    ]
}


def two_apps(app_id: int, image: str, *, contract: dict[str, Any] | None, value: str) -> dict[str, Any]:
    """Apps ``shop`` and ``other`` of one service each; the contract is that of ``shop``."""
    fields: dict[str, Any] = {"image": image, "environment": {"A": value}}
    body = target(app_id, {"shop": {**fields, **({} if contract is None else {"contract": contract})}}, release=value)
    other = target(app_id + 1, {"other": fields}, release=value)
    body["local"]["apps"].update(other["local"]["apps"])
    body["local"]["apps"][str(app_id + 1)]["name"] = "other"
    return body


def values(engine: docker.APIClient, instance: str) -> dict[str, tuple[str, str]]:
    """Service -> variable ``A`` and id, of the containers that run."""
    listed = engine.containers(filters={"label": f"io.balena.supervisor.instance={instance}"})
    found = [engine.inspect_container(entry["Id"]) for entry in listed]
    return {
        one["Config"]["Labels"]["io.balena.service-name"]: (
            next(text.removeprefix("A=") for text in one["Config"]["Env"] if text.startswith("A=")),
            one["Id"],
        )
        for one in found
    }


def test_a_rejected_app_runs_on_unchanged_and_another_is_updated(
    supervisor: TestedSupervisor, engine: docker.APIClient, instance: str, app_id: int, sample_image: str
) -> None:
    supervisor.post_target(two_apps(app_id, sample_image, contract=MET, value="1"))
    supervisor.api.wait_until(lambda status: status["appState"] == "applied")
    before = values(engine, instance)
    assert {name: value for name, (value, _) in before.items()} == {"shop": "1", "other": "1"}

    supervisor.post_target(two_apps(app_id, sample_image, contract=NEWER, value="2"))
    status = supervisor.api.wait_until(lambda status: status["appState"] == "applied")
    after = values(engine, instance)
    assert after["shop"] == before["shop"]
    assert after["other"][0] == "2"
    (wait,) = [entry for entry in status["waiting"] if entry["appId"] == app_id]
    assert wait["reason"].startswith("shop requires sw.supervisor >=999 (the device has sw.supervisor ")
    shown = supervisor.api.get("/v2/applications/state")
    assert (shown[f"app{app_id}"]["updateStatus"], shown["other"]["updateStatus"]) == ("rejected", "done")
    told = supervisor.api.get("/v2/local/target-state")["state"]["local"]["apps"][str(app_id)]
    assert (told["isRejected"], told["problem"]) == (True, wait["reason"])

    supervisor.stop()
    supervisor.start()
    supervisor.api.wait_until(lambda status: status["appState"] == "applied")
    assert values(engine, instance) == after
    assert supervisor.api.get("/v2/applications/state")[f"app{app_id}"]["updateStatus"] == "rejected"

    supervisor.post_target(two_apps(app_id, sample_image, contract=MET, value="3"))
    supervisor.api.wait_until(lambda status: status["appState"] == "applied")
    assert {name: value for name, (value, _) in values(engine, instance).items()} == {"shop": "3", "other": "3"}


def test_an_optional_service_that_the_device_cannot_run_is_left_out_and_its_container_goes(
    supervisor: TestedSupervisor, app_id: int, sample_image: str
) -> None:
    gpu: dict[str, Any] = {"image": sample_image, "labels": {"io.balena.features.optional": "1"}}
    supervisor.post_target(target(app_id, {"web": {"image": sample_image, "depends_on": ["gpu"]}, "gpu": gpu}))
    supervisor.wait_until_running("web", "gpu")
    gpu["contract"] = NEWER
    supervisor.post_target(target(app_id, {"web": {"image": sample_image, "depends_on": ["gpu"]}, "gpu": gpu}))
    supervisor.wait_until_running("web")


def test_a_cycle_is_refused_and_changes_nothing(supervisor: TestedSupervisor, app_id: int, sample_image: str) -> None:
    services: dict[str, Any] = {
        "web": {"image": sample_image, "depends_on": {"db": {"condition": "service_healthy"}}},
        "db": {"image": sample_image, "network_mode": "service:web"},
    }
    before = supervisor.api.get("/v2/local/target-state")
    with pytest.raises(Refused) as refused:
        supervisor.post_target(target(app_id, services))
    assert refused.value.status == 400
    line = f"local.apps.{app_id}.services.1.depends_on: expected dependencies without a cycle, got web → db → web"
    assert json.loads(refused.value.text)["message"].splitlines() == ["Invalid target state.", line]
    assert supervisor.api.get("/v2/local/target-state") == before

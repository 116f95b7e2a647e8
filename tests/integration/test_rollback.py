"""A release that does not prove itself is given up on a real engine, and the one before it comes back."""

from __future__ import annotations

import os
import signal
from typing import Any

import docker
import pytest

from tests.integration.conftest import MakeImage, TestedSupervisor
from tests.integration.targets import commit_of, target
from tests.integration.test_deaths import running_pid

pytestmark = pytest.mark.engine

_WAITS = 'trap "exit 0" TERM; while :; do busybox sleep 1000 & wait $!; done'
_SECONDS = 2


def release(app_id: int, image: str, number: int, **fields: Any) -> dict[str, Any]:
    labels = {"io.balena.update.rollback": str(fields.pop("seconds", _SECONDS))}
    web = {"image": image, "labels": labels, "volumes": ["data:/data"], **fields}
    return target(app_id, {"web": web}, volumes={"data": {}}, release=f"release{number}")


def app_of(supervisor: TestedSupervisor) -> dict[str, Any]:
    """The only app, as ``why`` tells of it."""
    apps: list[dict[str, Any]] = supervisor.api.get("/v2/state/why")["apps"]
    return apps[0]


def settled_on(app_id: int, number: int) -> Any:
    commit = commit_of(app_id, f"release{number}")

    def settled(status: dict[str, Any]) -> bool:
        running = [container["status"] for container in status["containers"]] == ["Running"]
        return status["appState"] == "applied" and status.get("release") == commit and running

    return settled


def runs_release(engine: docker.APIClient, instance: str, app_id: int) -> list[str]:
    """The releases of all containers, by their names."""
    rows = engine.containers(all=True, filters={"label": f"io.balena.supervisor.instance={instance}"})
    return [row["Names"][0].rpartition("_")[2].removesuffix(f"-{app_id}") for row in rows]


@pytest.mark.parametrize("fault", ["ends", "unhealthy", "cannot start"])
def test_a_bad_release_is_given_up_and_the_one_before_it_runs_again(  # noqa: PLR0917  # fixtures
    supervisor: TestedSupervisor,
    engine: docker.APIClient,
    instance: str,
    app_id: int,
    make_image: MakeImage,
    fault: str,
) -> None:
    supervisor.post_target(release(app_id, make_image(_WAITS), 1))
    supervisor.api.wait_until(settled_on(app_id, 1))
    fields: dict[str, Any] = {}
    if fault == "ends":
        bad = make_image("busybox sleep 1; exit 3")
    elif fault == "unhealthy":
        check = {"test": ["CMD", "/bin/busybox", "false"], "interval": "1s", "retries": 1}
        bad, fields = make_image(_WAITS), {"healthcheck": check}
    else:
        bad, fields = make_image(_WAITS), {"command": ["/no/such/program"]}
    supervisor.post_target(release(app_id, bad, 2, **fields))
    supervisor.api.wait_until(lambda _: "badRelease" in app_of(supervisor), timeout_s=90)
    supervisor.api.wait_until(settled_on(app_id, 1))
    assert runs_release(engine, instance, app_id) == ["release1"]
    text = app_of(supervisor)["badRelease"]
    assert text.startswith(f"release {commit_of(app_id, 'release2')} was given up: ")

    third = make_image(_WAITS)
    supervisor.post_target(release(app_id, third, 3))
    supervisor.api.wait_until(settled_on(app_id, 3))
    assert "badRelease" not in app_of(supervisor)


def test_a_trial_outlives_the_death_of_the_planner_and_a_bad_release_is_not_tried_again(
    supervisor: TestedSupervisor, engine: docker.APIClient, instance: str, app_id: int, make_image: MakeImage
) -> None:
    supervisor.post_target(release(app_id, make_image(_WAITS), 1))
    supervisor.api.wait_until(settled_on(app_id, 1))
    supervisor.post_target(release(app_id, make_image("busybox sleep 5; exit 3"), 2, seconds=600))
    supervisor.api.wait_until(lambda _: "trial" in app_of(supervisor))
    os.kill(running_pid(supervisor, "planner"), signal.SIGKILL)
    supervisor.api.wait_until(lambda _: "badRelease" in app_of(supervisor), timeout_s=60)
    supervisor.api.wait_until(settled_on(app_id, 1))
    os.kill(running_pid(supervisor, "planner"), signal.SIGKILL)
    supervisor.api.wait_until(lambda _: "badRelease" in app_of(supervisor))
    supervisor.api.wait_until(settled_on(app_id, 1))
    assert runs_release(engine, instance, app_id) == ["release1"]

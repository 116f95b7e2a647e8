"""The state of the device as JSON: tables of what is there and what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.errors import ErrorRecord
from balena_supervisor.model.state import (
    ContainerSummary,
    Decision,
    DeviceState,
    ImageSummary,
    Waiting,
)
from balena_supervisor.model.target import TargetApp, TargetService, TargetState
from balena_supervisor.state.answers import (
    applications_state,
    container_id,
    container_ids,
    in_milliseconds,
    state_status,
)
from tests.state.device_states import NAME, SAME, app, container, image, service


def status_of(state: DeviceState, *, apps: set[int] | None = None, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"applying": False, "target_version": 0, "wall_time": str}
    return state_status(state, lambda app_id: apps is None or app_id in apps, **{**values, **changes})


# --- /v2/state/status -----------------------------------------------------------------------------------------------


def test_a_container_and_an_image_have_exactly_the_measured_keys() -> None:
    status = status_of(DeviceState(containers=(container(),), images=(image(),), commits={"1": "old"}))
    assert status["containers"] == [
        {
            "status": "Running",
            "serviceName": "web",
            "appId": 1,
            "imageId": 10,
            "serviceId": 20,
            "containerId": "id-web",
            "createdAt": "2026-01-02T03:04:05.123Z",
        }
    ]
    assert status["images"] == [
        {
            "name": NAME,
            "appId": 1,
            "serviceName": "web",
            "imageId": 10,
            "dockerImageId": "sha256:aa",
            "status": "Downloaded",
            "downloadProgress": None,
        }
    ]
    assert status["release"] == "old"


def test_a_container_in_the_making_has_no_id_and_no_time() -> None:
    made = container(status="Installing", container_id="", created_at="")
    (shown,) = status_of(DeviceState(containers=(made,)))["containers"]
    assert shown.keys() == {"status", "serviceName", "appId", "imageId", "serviceId"}


@pytest.mark.parametrize(
    ("containers", "images", "shown"),
    [
        ((container(app_id=2), container(app_id=1)), (image(app_id=1), image(app_id=2)), 2),
        ((), (image(app_id=3), image(app_id=1)), 3),
        ((container(app_id=1),), (image(app_id=3),), 1),
        ((), (), None),
    ],
)
def test_only_the_first_app_is_shown(
    containers: tuple[ContainerSummary, ...], images: tuple[ImageSummary, ...], shown: int | None
) -> None:
    status = status_of(DeviceState(containers=containers, images=images, commits={"1": "c1", "2": "c2", "3": "c3"}))
    assert {c["appId"] for c in (*status["containers"], *status["images"])} <= {shown}
    assert status.get("release") == (f"c{shown}" if shown else None)


def test_progress_is_the_mean_over_all_covered_apps() -> None:
    images = (
        image(progress=10, status="Downloading"),
        image(app_id=2, progress=41, status="Downloading"),
        image(app_id=3, progress=99, status="Downloading"),
        image(),
    )
    state = DeviceState(images=images)
    assert status_of(state, apps={1, 2})["overallDownloadProgress"] == 25.5
    assert status_of(state, apps={4})["overallDownloadProgress"] is None
    assert status_of(DeviceState(images=(image(progress=0),)))["overallDownloadProgress"] == 0


@pytest.mark.parametrize(
    ("planner", "accepted", "word"),
    [(False, False, "applied"), (True, False, "applying"), (False, True, "applying"), (True, True, "applying")],
)
def test_app_state_is_applying_while_anybody_knows_of_work(planner: bool, accepted: bool, word: str) -> None:
    assert status_of(DeviceState(applying=planner), applying=accepted)["appState"] == word


def test_the_newest_target_version_is_told() -> None:
    assert status_of(DeviceState(target_version=4), target_version=6)["targetVersion"] == 6
    assert status_of(DeviceState(target_version=4), target_version=3)["targetVersion"] == 4


def test_what_concerns_other_apps_or_the_device_is_hidden_from_an_app_key() -> None:
    state = DeviceState(
        decisions=(
            Decision(number=1, at="t", step="Pull", subject="image:a", reason="r", app_id=1, service_name="web"),
            Decision(number=2, at="t", step="Pull", subject="image:b", reason="r", app_id=2),
            Decision(
                number=3, at="t", step="Cleanup", subject="images:cleanup", reason="r", outcome="failed", error="e"
            ),
        ),
        waiting=(Waiting(subject="x", reason="r", app_id=2, service_name="db"), Waiting(subject="y", reason="r")),
        last_error=ErrorRecord("engine-error", "cannot pull b"),
    )
    own = status_of(state, apps={1})
    assert [d["number"] for d in own["decisions"]] == [1]
    assert (own["waiting"], own["lastError"]) == ([], None)
    everything = status_of(state)
    assert everything["decisions"][2] == {
        "number": 3,
        "at": "t",
        "step": "Cleanup",
        "subject": "images:cleanup",
        "reason": "r",
        "outcome": "failed",
        "error": "e",
    }
    assert everything["waiting"][0] == {"subject": "x", "reason": "r", "appId": 2, "serviceName": "db"}
    assert everything["lastError"]["code"] == "engine-error"


@pytest.mark.parametrize(
    ("engine", "shown"),
    [
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123Z"),
        ("2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05.100Z"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02T03:04:05.123+01:00", "2026-01-02T02:04:05.123Z"),
        ("not a time", "not a time"),
    ],
)
def test_times_have_milliseconds(engine: str, shown: str) -> None:
    assert in_milliseconds(engine) == shown


# --- /v2/containerId ------------------------------------------------------------------------------------------------


def test_the_list_keeps_the_last_and_the_lookup_finds_the_first() -> None:
    state = DeviceState(
        containers=(
            container(container_id=""),
            container(container_id="one"),
            container(app_id=2, container_id="two"),
            container(app_id=3, container_id="hidden"),
        )
    )

    def covers(app_id: int) -> bool:
        return app_id < 3

    assert container_ids(state, covers) == {"web": "two"}
    assert container_id(state, covers, "web") == "one"
    assert container_id(state, covers, "db") is None


# --- /v2/applications/state -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("containers", "images", "status", "progress", "update"),
    [
        ((), (), "Downloading", 0, "downloading"),
        ((), (image(status="Downloading", progress=40),), "Downloading", 40, "downloading"),
        ((), (image(status="Downloading"),), "Downloading", None, "downloading"),
        ((), (image(status="Downloading", progress=100),), "Downloading", 100, "downloading"),
        ((), (image(),), "Downloaded", None, "downloaded"),
        ((), (image(name=SAME),), "Downloaded", None, "downloaded"),
        ((), (image(service="db"),), "Downloading", 0, "downloading"),
        (
            (container(status="Installing", commit="", image_name=""),),
            (image(),),
            "Installing",
            None,
            "applying changes",
        ),
        ((container(status="Installed"),), (image(),), "Installed", None, "applying changes"),
        ((container(status="Starting"),), (image(),), "Starting", None, "applying changes"),
        ((container(),), (image(),), "Running", None, "done"),
        ((container(image_name=SAME),), (), "Running", None, "done"),
        ((container(image_name=""),), (), "Running", None, "done"),
        ((container(status="exited"),), (image(),), "exited", None, "done"),
        ((container(commit="old"),), (), "Downloading", 0, "downloading"),
        ((container(commit="old"),), (image(),), "Downloaded", None, "downloaded"),
        ((container(image_name="local_image_web:1"),), (), "Downloading", 0, "downloading"),
        ((container(image_name="other:1"),), (image(), image(name="other:1")), "Running", None, "done"),
        (
            (container(image_name="other:1"),),
            (image(), image(name="other:1", docker_image_id="sha256:bb")),
            "Downloaded",
            None,
            "downloaded",
        ),
        (
            (container(commit="old", container_id="a"), container(container_id="b")),
            (),
            "Awaiting handover",
            None,
            "applying changes",
        ),
        ((container(commit="old", status="Stopping"), container()), (), "Running", None, "done"),
        (
            (container(commit="old", status="Handing over", container_id="a"), container(container_id="b")),
            (),
            "Awaiting handover",
            None,
            "applying changes",
        ),
        (  # in local mode all releases have one commit
            (container(status="Handing over", created_at="2026-01-01T00:00:00Z"), container(container_id="b")),
            (),
            "Awaiting handover",
            None,
            "applying changes",
        ),
    ],
)
def test_a_target_service_shows_its_container_or_else_its_image(
    *,
    containers: tuple[ContainerSummary, ...],
    images: tuple[ImageSummary, ...],
    status: str,
    progress: int | None,
    update: str,
) -> None:
    state = DeviceState(apps=(app(service()),), containers=containers, images=images)
    shown = applications_state(state, None, lambda _: True)["shop"]
    assert shown["services"]["web"] == {
        "status": status,
        "image": NAME,
        "releaseId": 30,
        "downloadProgress": progress,
    }
    assert shown["updateStatus"] == update


def test_a_service_that_shall_not_run_is_done_when_it_is_installed() -> None:
    state = DeviceState(apps=(app(service(running=False)),), containers=(container(status="Installed"),))
    assert applications_state(state, None, lambda _: True)["shop"]["updateStatus"] == "done"


def test_a_removed_service_is_not_listed_once_it_stands_still() -> None:
    rows = (image(), image(service="gone"))
    state = DeviceState(apps=(app(service()),), containers=(container(),), images=rows)
    shown = applications_state(state, None, lambda _: True)["shop"]
    assert (shown["updateStatus"], set(shown["services"])) == ("done", {"web"})


def test_a_removed_service_that_still_runs_is_listed() -> None:
    state = DeviceState(apps=(app(service()),), containers=(container(), container("gone", release_id=29)))
    shown = applications_state(state, None, lambda _: True)["shop"]
    assert shown["updateStatus"] == "applying changes"
    assert shown["services"]["gone"]["releaseId"] == 29


def test_a_rejected_app_has_no_services() -> None:
    state = DeviceState(apps=(app(service(), rejected=True),), containers=(container(),))
    shown = applications_state(state, None, lambda _: True)["shop"]
    assert shown == {"appId": 1, "appUuid": "u1", "commit": "new", "updateStatus": "rejected", "services": {}}


def test_an_app_without_a_release_is_done() -> None:
    state = DeviceState(apps=(app(commit=None, release_id=None),))
    shown = applications_state(state, None, lambda _: True)["shop"]
    assert shown == {"appId": 1, "appUuid": "u1", "updateStatus": "done", "services": {}}


def test_only_covered_apps_are_shown() -> None:
    state = DeviceState(apps=(app(), app(app_id=2, name="bar")))
    assert applications_state(state, None, lambda app_id: app_id == 2).keys() == {"bar"}


def test_an_older_target_changes_nothing() -> None:
    state = DeviceState(target_version=5, apps=(app(),))
    assert applications_state(state, TargetState(version=5), lambda _: True).keys() == {"shop"}
    assert applications_state(state, TargetState(version=6), lambda _: True) == {}


def test_an_app_of_a_newer_target_shows_only_services_that_are_reported() -> None:
    """Some services of a host app are for the host to use."""
    store = {"io.balena.image.store": "root"}
    services = tuple(
        TargetService(
            service_name=name, service_id=1, image_id=1, image="x", app_id=1, app_uuid="u1", release_id=1, commit="c",
            labels=labels,
        )
        for name, labels in (("web", {}), ("overlay", store))
    )  # fmt: skip
    host = TargetApp(app_id=1, app_uuid="u1", name="host", is_host=True, commit="c", release_id=1, services=services)
    shown = applications_state(DeviceState(), TargetState(version=1, apps=(host,)), lambda _: True)
    assert shown["host"]["services"].keys() == {"web"}


def test_a_rejected_app_of_a_newer_target_is_shown_at_once() -> None:
    rejected = TargetApp(app_id=1, app_uuid="u1", name="shop", commit="c", rejected=True, rejection="web lacks it")
    shown = applications_state(DeviceState(apps=(app(),)), TargetState(version=1, apps=(rejected,)), lambda _: True)
    assert (shown["shop"]["commit"], shown["shop"]["updateStatus"]) == ("c", "rejected")


def test_the_supervisor_itself_runs() -> None:
    uuid = "900de4f3cbac4b9bbd232885a35e407b"
    state = DeviceState(apps=(app(service("main"), service("extra"), app_uuid=uuid),))
    shown = applications_state(state, None, lambda _: True)["shop"]["services"]
    assert {name: entry["status"] for name, entry in shown.items()} == {"main": "Running", "extra": "Downloading"}

"""The reports to the cloud, from what the planner tells."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.model.state import AppSummary, ContainerSummary, DeviceState, ImageSummary
from balena_supervisor.state.report import v2_report, v3_report
from tests.state.device_states import NAME, app, container, image, old_container, service

SUPERVISOR_APP = "52e35121417640b1b28a680504e4039b"
DEVICE = {
    "api_port": 48484,
    "status": "Idle",
    "logs_channel": None,
    "cpu_usage": 12,
    "update_pending": True,
    "update_failed": False,
    "update_downloaded": True,
}


def state(
    *containers: ContainerSummary,
    apps: tuple[AppSummary, ...] = (app(service()),),
    images: tuple[ImageSummary, ...] = (),
    applying: bool = False,
) -> DeviceState:
    return DeviceState(apps=apps, containers=containers, images=images, applying=applying)


def v3(state: DeviceState, *, local_mode: bool = False) -> dict[str, Any]:
    report: dict[str, Any] = v3_report(state, DEVICE, uuid="d00d", local_mode=local_mode)["d00d"]
    return report


def releases(state: DeviceState, uuid: str = "u1") -> dict[str, Any]:
    found: dict[str, Any] = v3(state)["apps"][uuid]["releases"]
    return found


def v2(state: DeviceState, *, local_mode: bool = False) -> dict[str, Any]:
    return v2_report(state, DEVICE, local_mode=local_mode)


# --- v3 -------------------------------------------------------------------------------------------------------------


def test_a_release_that_runs_is_done() -> None:
    assert v3(state(container())) == {
        "api_port": 48484,
        "status": "Idle",
        "logs_channel": None,
        "cpu_usage": 12,
        "apps": {
            "u1": {
                "release_uuid": "old",
                "releases": {
                    "new": {"update_status": "done", "services": {"web": {"image": NAME, "status": "Running"}}}
                },
            }
        },
    }


def test_an_app_that_never_settled_has_no_release_uuid() -> None:
    assert "release_uuid" not in v3(state(apps=(app(service(), current_commit=None),)))["apps"]["u1"]


@pytest.mark.parametrize(
    ("containers", "images", "entry", "update"),
    [
        ((), (), {"status": "Downloading", "download_progress": 0}, "downloading"),
        (
            (),
            (image(status="Downloading", progress=40),),
            {"status": "Downloading", "download_progress": 40},
            "downloading",
        ),
        ((), (image(status="Downloading"),), {"status": "Downloading"}, "downloading"),
        ((), (image(),), {"status": "Downloaded"}, "downloaded"),
        ((container(status="Installed"),), (image(),), {"status": "Installed"}, "applying changes"),
        ((container(status="exited"),), (image(),), {"status": "exited"}, "done"),
        ((container(),), (image(),), {"status": "Running"}, "done"),
    ],
)
def test_a_target_service_is_reported_as_far_as_it_is(
    containers: tuple[ContainerSummary, ...], images: tuple[ImageSummary, ...], entry: dict[str, Any], update: str
) -> None:
    assert releases(state(*containers, images=images)) == {
        "new": {"update_status": update, "services": {"web": {"image": NAME, **entry}}}
    }


def test_rows_of_other_services_of_the_release_do_not_hold_its_status() -> None:
    assert releases(state(container(), images=(image(), image("gone"))))["new"]["update_status"] == "done"


def test_while_the_new_release_is_pulled_the_old_one_is_reported_beside_it() -> None:
    found = releases(state(old_container(), images=(image(status="Downloading", progress=7),)))
    assert found["old"] == {"update_status": "done", "services": {"web": {"image": "before:1", "status": "Running"}}}
    assert found["new"]["update_status"] == "downloading"


@pytest.mark.parametrize("old_status", ["Running", "Handing over"])
def test_of_two_releases_that_run_the_older_hands_over_and_the_newer_awaits_it(old_status: str) -> None:
    found = releases(state(container(), old_container(status=old_status)))
    assert found["old"]["services"]["web"]["status"] == "Handing over"
    assert found["new"]["services"]["web"]["status"] == "Awaiting handover"
    assert {release["update_status"] for release in found.values()} == {"applying changes"}


def test_two_containers_of_one_release_do_not_hand_over() -> None:
    found = releases(state(container(container_id="a"), container(container_id="b")))
    assert found["new"]["services"]["web"]["status"] == "Running"


def test_what_stands_still_or_has_an_unknown_image_is_not_reported_of_old_releases() -> None:
    containers = (
        old_container("a", status="exited"),
        old_container("b", image_name=""),
        old_container("c", status="Stopping"),
        old_container("d", commit=""),
    )
    found = releases(state(container(), *containers))
    assert found["old"] == {
        "update_status": "applying changes",
        "services": {"c": {"image": "before:1", "status": "Stopping"}},
    }
    assert found.keys() == {"old", "new"}


def test_a_service_that_was_left_out_of_the_release_is_reported_while_it_runs() -> None:
    found = releases(state(container(), container("gpu")))["new"]
    assert found["services"].keys() == {"web", "gpu"}
    assert found["update_status"] == "applying changes"


def test_a_rejected_app_has_no_services_and_what_runs_of_it_is_reported() -> None:
    found = releases(state(old_container(), apps=(app(service(), rejected=True),)))
    assert found["new"] == {"update_status": "rejected", "services": {}}
    assert found["old"]["services"].keys() == {"web"}


def test_only_apps_of_the_target_are_reported() -> None:
    assert v3(state(container(app_id=5, app_uuid="u5"), apps=()))["apps"] == {}


def test_two_apps_are_reported_apart() -> None:
    other = app(service(), app_id=2, app_uuid="u2", name="bar")
    found = state(container(), container(app_id=2, app_uuid="u2", status="Installed"), apps=(app(service()), other))
    assert releases(found)["new"]["update_status"] == "done"
    assert releases(found, "u2")["new"]["update_status"] == "applying changes"


def test_an_app_without_a_release_has_none() -> None:
    assert v3(state(apps=(app(commit=None, current_commit=None, release_id=None),)))["apps"] == {"u1": {"releases": {}}}


def test_the_supervisor_itself_runs() -> None:
    found = releases(state(apps=(app(service("main"), app_uuid=SUPERVISOR_APP),)), SUPERVISOR_APP)
    assert found["new"] == {"update_status": "done", "services": {"main": {"image": NAME, "status": "Running"}}}


def test_in_local_mode_neither_apps_nor_the_log_channel_are_reported() -> None:
    assert v3(state(container()), local_mode=True).keys() == {"api_port", "status", "cpu_usage"}


def test_name_and_current_release_are_no_fields_of_v3() -> None:
    report = v3_report(state(), {"name": "kiosk", "is_on__commit": "c", "status": "Idle"}, uuid="d", local_mode=True)
    assert report == {"d": {"status": "Idle"}}


# --- v2 -------------------------------------------------------------------------------------------------------------


def test_v2_is_keyed_by_app_id_and_image_id() -> None:
    assert v2(state(container(), images=(image(),))) == {
        "local": {
            "api_port": 48484,
            "status": "Idle",
            "logs_channel": None,
            "cpu_usage": 12,
            "is_on__commit": "old",
            "apps": {"1": {"services": {"10": {"status": "Running", "releaseId": 30, "download_progress": None}}}},
        },
        "dependent": {"apps": {}},
    }


def test_v2_has_images_without_a_container_with_their_progress() -> None:
    loading = image(status="Downloading", progress=41, image_id=11, release_id=31)
    found = v2(state(container(), images=(loading, image())))["local"]["apps"]["1"]["services"]
    assert found["11"] == {"status": "Downloading", "releaseId": 31, "download_progress": 41}
    assert found["10"]["status"] == "Running"


def test_v2_has_two_containers_of_one_image_as_handing_over_with_the_release_of_the_older() -> None:
    found = v2(state(container(), old_container(image_id=10)))["local"]["apps"]["1"]["services"]
    assert found == {"10": {"status": "Handing over", "releaseId": 29, "download_progress": None}}


def test_v2_knows_the_release_of_a_container_in_the_making_from_its_image() -> None:
    made = container(status="Installing", commit="", release_id=0, created_at="", image_name="", container_id="")
    found = v2(state(made, images=(image(),)))["local"]["apps"]["1"]["services"]
    assert found["10"] == {"status": "Installing", "releaseId": 30, "download_progress": None}


def test_v2_tells_the_commit_of_the_first_app_unless_an_apply_runs() -> None:
    apps = (app(app_id=9, current_commit="nine"), app(app_id=3, current_commit="three"))
    assert v2(state(apps=apps))["local"]["is_on__commit"] == "three"
    assert "is_on__commit" not in v2(state(apps=apps, applying=True))["local"]
    assert "is_on__commit" not in v2(state(apps=()))["local"]


def test_in_local_mode_v2_reports_the_device_only() -> None:
    assert v2(state(container()), local_mode=True) == {"local": {"api_port": 48484, "status": "Idle", "cpu_usage": 12}}

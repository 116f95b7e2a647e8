"""The smallest report that tells what has changed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balena_supervisor.model.state import AppSummary, DeviceState
from balena_supervisor.state.report import v2_report, v3_report
from balena_supervisor.state.report_patch import STEPS, merged, pruned, v2_patch, v3_patch
from tests.state.device_states import app, container, image, old_container, service

APPS = {"u1": {"releases": {"new": {"update_status": "done", "services": {"web": {"status": "Running"}}}}}}


def v3(last: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = v3_patch({"d": last}, {"d": new}).get("d", {})
    return found


# --- single changes -------------------------------------------------------------------------------------------------


def test_the_first_report_is_whole_and_a_repeat_is_none() -> None:
    new = {"d": {"status": "Idle", "apps": APPS}}
    assert v3_patch({}, new) == new
    assert v3_patch(merged({}, new), new) == {}


@pytest.mark.parametrize(
    ("name", "last", "new", "sent"),
    [
        ("cpu_usage", 0, 19, False),
        ("cpu_usage", 19, 20, True),
        ("cpu_usage", 39, 20, False),
        ("memory_usage", 310, 319, False),
        ("memory_usage", 310, 309, True),
        ("cpu_temp", 50, 54, False),
        ("cpu_temp", 54, 55, True),
        ("cpu_temp", None, 50, True),
        ("cpu_temp", 50, None, True),
        ("cpu_temp", None, None, False),
        ("memory_total", 1900, 1901, True),
        ("storage_usage", 900, 901, True),
        ("ip_address", "10.0.0.1", "10.0.0.1", False),
    ],
)
def test_a_field_is_sent_when_it_changed_by_its_step(name: str, last: Any, new: Any, *, sent: bool) -> None:
    assert v3({name: last}, {name: new}) == ({name: new} if sent else {})
    assert v2_patch({"local": {name: last}}, {"local": {name: new}}) == ({"local": {name: new}} if sent else {})


def test_steps_are_counted_from_what_was_reported_not_from_what_was_seen() -> None:
    last: dict[str, Any] = {"d": {"cpu_temp": 52}}
    for seen in (54, 53, 54):
        patch = v3_patch(last, {"d": {"cpu_temp": seen}})
        last = merged(last, patch)
    assert last == {"d": {"cpu_temp": 52}}
    assert v3_patch(last, {"d": {"cpu_temp": 55}}) == {"d": {"cpu_temp": 55}}


def test_apps_are_sent_whole_when_anything_in_them_changed() -> None:
    more = {**APPS, "u2": {"release_uuid": "c"}}
    assert v3({"apps": APPS, "status": "Idle"}, {"apps": more, "status": "Idle"}) == {"apps": more}


def test_empty_objects_are_left_out() -> None:
    rejected = {"u1": {"releases": {"new": {"update_status": "rejected", "services": {}}}}, "u2": {"releases": {}}}
    sent = {"apps": {"u1": {"releases": {"new": {"update_status": "rejected"}}}}}
    assert v3({}, {"apps": rejected, "extra": {}}) == sent
    assert v3(sent, {"apps": rejected}) == {}


def test_that_the_last_app_is_gone_is_told_once() -> None:
    last = {"d": {"apps": APPS}}
    patch = v3_patch(last, {"d": {"apps": {}}})
    assert patch == {"d": {"apps": {}}}
    assert v3_patch(merged(last, patch), {"d": {"apps": {}}}) == {}
    assert v3_patch({}, {"d": {"apps": {}}}) == {}


def test_apps_that_are_not_reported_in_local_mode_stay_what_they_were() -> None:
    assert v3({"apps": APPS}, {"status": "Idle"}) == {"status": "Idle"}


def test_another_uuid_gets_everything() -> None:
    assert v3_patch({"old": {"status": "Idle"}}, {"new": {"status": "Idle"}}) == {"new": {"status": "Idle"}}


def test_v2_sends_dependents_only_along_with_something_local() -> None:
    whole = {"local": {"status": "Idle"}, "dependent": {"apps": {}}}
    assert v2_patch({}, whole) == whole
    assert v2_patch({"local": {"status": "Idle"}}, whole) == {}
    assert v2_patch({"local": {"status": "Busy"}}, whole) == whole
    assert v2_patch({"local": {"status": "Busy"}, "dependent": {"apps": {}}}, whole) == {"local": {"status": "Idle"}}


# --- any sequence of states -----------------------------------------------------------------------------------------

METRICS = st.one_of(st.none(), st.integers(0, 100))
DEVICES = st.fixed_dictionaries(
    {"status": st.sampled_from(["Idle", "Busy"]), "cpu_usage": METRICS, "cpu_temp": METRICS},
    optional={"memory_usage": METRICS, "ip_address": st.sampled_from(["", "10.0.0.1"]), "logs_channel": st.none()},
)
SERVICES = st.lists(st.sampled_from(["web", "db"]), unique=True, max_size=2)


@st.composite
def apps(draw: st.DrawFn) -> tuple[AppSummary, ...]:
    ids = draw(st.lists(st.sampled_from([1, 2]), unique=True, max_size=2))
    return tuple(
        app(
            *(service(name) for name in draw(SERVICES)),
            app_id=app_id,
            app_uuid=f"u{app_id}",
            commit=draw(st.sampled_from([None, "new"])),
            current_commit=draw(st.sampled_from([None, "old", "new"])),
            rejected=draw(st.booleans()),
        )
        for app_id in ids
    )


@st.composite
def states(draw: st.DrawFn) -> DeviceState:
    statuses = st.sampled_from(["Running", "Installed", "Stopping", "exited", "Handing over"])
    names = st.sampled_from(["web", "db"])
    ids = st.sampled_from([1, 2, 3])
    made = [container(draw(names), status=draw(statuses), app_id=draw(ids)) for _ in range(draw(st.integers(0, 2)))]
    old = [old_container(draw(names), status=draw(statuses), app_id=draw(ids)) for _ in range(draw(st.integers(0, 2)))]
    images = [
        image(draw(names), app_id=draw(ids), status="Downloading", progress=draw(st.sampled_from([None, 0, 40, 100])))
        for _ in range(draw(st.integers(0, 2)))
    ]
    return DeviceState(apps=draw(apps()), containers=(*made, *old), images=tuple(images), applying=draw(st.booleans()))


MOMENTS = st.lists(st.tuples(states(), DEVICES, st.booleans()), min_size=1, max_size=6)


def check(told: dict[str, Any], report: dict[str, Any]) -> None:
    """The cloud knows each field of the newest report, metrics within their step."""
    for name, value in report.items():
        known = told[name]
        if name in STEPS and None not in (known, value):
            assert known // STEPS[name] == value // STEPS[name]
        else:
            assert known == value


@given(MOMENTS)
def test_the_patches_of_v3_one_after_the_other_give_the_newest_report(moments: list[Any]) -> None:
    told: dict[str, Any] = {}
    for state, device, local_mode in moments:
        report = v3_report(state, device, uuid="d", local_mode=local_mode)
        told = merged(told, v3_patch(told, report))
        check(told["d"], pruned(report)["d"])
        assert ("apps" not in report["d"]) or told["d"].get("apps", {}) == pruned(report["d"]["apps"])
        assert v3_patch(told, report) == {}


@given(MOMENTS)
def test_the_patches_of_v2_one_after_the_other_give_the_newest_report(moments: list[Any]) -> None:
    told: dict[str, Any] = {}
    for state, device, local_mode in moments:
        report = v2_report(state, device, local_mode=local_mode)
        patch = v2_patch(told, report)
        told = merged(told, patch)
        check(told["local"], report["local"])
        assert v2_patch(told, report) == {}

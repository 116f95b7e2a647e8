"""Whole apps: what is left out, what stops them, and that nothing else can."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balena_supervisor.model.app import ComposedApp
from balena_supervisor.model.service import STARTED
from balena_supervisor.state.compare import differences
from balena_supervisor.state.compose import problems
from balena_supervisor.state.compose_fields import FIELDS, JOINT_FIELDS
from balena_supervisor.state.own_services import SUPERVISOR_APPS
from tests.state.composing import UUID, composed, composed_app, created, target_app, target_service


def services_of(app: ComposedApp) -> list[str]:
    assert app.problem == ""
    return [service.service_name for service in app.services]


def test_an_app_has_its_services_networks_and_volumes() -> None:
    service = target_service({"depends_on": ["db"], "expose": [80]}, running=False)
    app = composed_app(target_app(service, volumes={"data": {}}, is_host=True))
    assert (app.app_id, app.app_uuid, app.name, app.commit) == (4711, UUID, "acme", "5f0e1d2c")
    assert (app.release_id, app.is_host, app.rejected) == (77, True, False)
    assert [network.name for network in app.networks] == ["front", "back", "default"]
    assert [volume.engine_name for volume in app.volumes] == ["4711_data"]
    made = app.services[0]
    assert (made.app_name, made.service_id, made.image_id, made.release_id) == ("acme", 91, 8080, 77)
    assert (made.running, made.depends_on, made.docker_image_id) == (False, {"db": STARTED}, "sha256:4f1e")
    assert made.config.image == "sha256:4f1e"
    assert made.warnings == (
        "fields that are not supported are left out: expose",
        "depends_on: db is not waited for, as the release does not have it",
    )


def test_a_service_without_its_image_has_the_name_in_place_of_the_id() -> None:
    made = composed(around={"image": None})
    assert (made.docker_image_id, made.config.image, made.image_name) == (None, "acme/web:latest", "acme/web:latest")


def test_a_default_network_of_the_release_is_kept_as_it_is() -> None:
    app = composed_app(target_app(networks={"default": {"internal": True}}))
    assert [(network.name, network.config.internal) for network in app.networks] == [("default", True)]


def test_an_app_without_a_release_still_has_its_default_network() -> None:
    app = composed_app(target_app(commit=None, release_id=None, networks={}))
    assert [(network.name, network.config.config_only) for network in app.networks] == [("default", True)]


def test_an_app_that_contracts_refuse_gets_nothing() -> None:
    app = composed_app(target_app(target_service(), rejected=True, rejection="web lacks it"))
    assert (app.rejected, app.problem) == (True, "web lacks it")
    assert [service.service_name for service in app.services] == ["web"]


def test_one_bad_service_leaves_the_whole_app_out_and_is_named_with_its_definition() -> None:
    bad = target_service({"ports": ["abc"], "stop_grace_period": "soon"}, service_name="bad")
    app = composed_app(target_app(target_service(), bad))
    assert (app.services, app.networks, app.volumes) == ((), (), ())
    assert "service bad of app acme (4711)" in app.problem
    assert 'got "abc"' in app.problem
    assert 'got "soon"' in app.problem


def test_a_bad_network_or_volume_leaves_the_app_out() -> None:
    app = composed_app(target_app(target_service(), networks={"x": {"ipam": 5}}, volumes={"y": {"labels": 5}}))
    assert "app acme (4711): networks.x.ipam: expected an object, got 5; volumes.y.labels: " in app.problem
    assert app.services == ()


def test_what_is_odd_about_networks_is_said_with_the_app() -> None:
    app = composed_app(target_app(networks={"x": {"ipam": {"config": [{"subnet": "10.0.0.0/24"}]}}}))
    assert app.warnings == ("networks.x.ipam.config.0: an address pool should have subnet and gateway",)


@pytest.mark.parametrize("app_id", [0, -1])
def test_an_app_id_that_is_none_stops_the_app(app_id: int) -> None:
    assert "app_id: expected" in composed_app(target_app(target_service(app_id=app_id))).problem


@pytest.mark.parametrize(
    ("labels", "is_host", "stays"),
    [
        ({}, True, True),
        ({"io.balena.image.class": "service", "io.balena.image.store": "data"}, True, True),
        ({"io.balena.image.class": "overlay"}, True, False),
        ({"io.resin.image.class": "overlay"}, True, False),
        ({"io.balena.image.store": "root"}, True, False),
        ({"io.balena.image.class": ""}, True, False),
        ({"io.balena.image.class": "overlay", "io.balena.image.store": "root"}, False, True),
    ],
)
@pytest.mark.parametrize("in_composition", [False, True])
def test_services_for_the_host_itself_are_left_out_of_a_host_app(
    labels: dict[str, str], is_host: bool, stays: bool, in_composition: bool
) -> None:
    service = target_service({"labels": labels}) if in_composition else target_service(labels=labels)
    assert bool(services_of(composed_app(target_app(service, is_host=is_host)))) is stays


@pytest.mark.parametrize("uuid", sorted(SUPERVISOR_APPS))
def test_the_supervisors_own_service_is_left_out(uuid: str) -> None:
    names = ["main", "balena-supervisor", "core", "other"]
    own = [target_service(service_name=name, app_uuid=uuid) for name in names]
    assert services_of(composed_app(target_app(*own, app_uuid=uuid))) == ["other"]
    foreign = [target_service(service_name=name) for name in names]
    assert services_of(composed_app(target_app(*foreign))) == names


def test_problems_are_listed_all_with_paths_of_the_local_format() -> None:
    app = target_app(
        target_service({"ports": ["80", "abc"], "networks": ["missing"], "cpus": "odd"}),
        target_service({"volumes": {}}, service_id=92, service_name="db"),
        networks={"front": {"driver_opts": 5}},
        volumes={"data": {"driver": ["x"]}},
    )
    assert [line.partition(": expected")[0] for line in problems(app)] == [
        "apps.4711.services.91.ports.1",
        "apps.4711.services.91.networks",
        "apps.4711.services.92.volumes",
        "apps.4711.networks.front.driver_opts",
        "apps.4711.volumes.data.driver",
    ]
    assert problems(target_app(target_service({"build": "."}))) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ANY_FIELD = st.dictionaries(st.sampled_from([*FIELDS, *JOINT_FIELDS, "memLimit", "x-other"]), JSON, max_size=6)


@settings(max_examples=400, deadline=None)
@given(ANY_FIELD, st.dictionaries(st.text(max_size=5), st.dictionaries(st.text(max_size=8), JSON, max_size=3)))
def test_no_json_makes_composing_fail(composition: dict[str, Any], definitions: dict[str, Any]) -> None:
    app = target_app(target_service(composition), networks=definitions, volumes=definitions)
    made = composed_app(app)
    assert bool(made.problem) is bool(problems(app))


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
NUMBER = st.integers(-10, 10**7) | st.floats(-5, 10**6) | st.sampled_from(["5", "1.0", "64k", "1.5g", "x"])
SCALAR = TEXT | NUMBER | st.booleans()
WORDS = st.lists(SCALAR, max_size=3)
PAIRS = st.dictionaries(TEXT, SCALAR, max_size=3) | st.lists(TEXT, max_size=3)
SOME = {
    **dict.fromkeys(
        ["cap_add", "cap_drop", "dns", "dns_opt", "dns_search", "extra_hosts", "group_add", "tmpfs"], WORDS
    ),
    **dict.fromkeys(["security_opt", "command", "entrypoint"], WORDS | TEXT.map(lambda text: [text])),
    **dict.fromkeys(["environment", "labels", "sysctls"], PAIRS),
    **dict.fromkeys(["cpus", "cpu_shares", "mem_limit", "shm_size", "pids_limit", "oom_score_adj"], NUMBER),
    **dict.fromkeys(["tty", "init", "read_only", "privileged", "oom_kill_disable"], SCALAR),
    **dict.fromkeys(["hostname", "user", "ipc", "working_dir", "restart", "stop_signal", "domainname"], SCALAR),
    "volumes": st.lists(TEXT | st.fixed_dictionaries({"type": st.just("tmpfs"), "target": TEXT}), max_size=3),
    "networks": st.sampled_from([["front"], ["back", "front"], {"front": {"ipv4_address": "10.0.0.9"}}]),
    "network_mode": st.sampled_from(["host", "none", "bridge", "service:other", "front", "default"]),
    "ports": st.lists(st.integers(1, 60000) | st.sampled_from(["1-9", "20-21:30-31/udp"]), max_size=4),
    "healthcheck": st.fixed_dictionaries({}, optional={"test": TEXT, "retries": NUMBER, "disable": SCALAR}),
    "ulimits": st.dictionaries(TEXT, NUMBER, max_size=2),
}


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries({}, optional=SOME))
def test_whatever_can_be_composed_reads_back_equal(composition: dict[str, Any]) -> None:
    app = composed_app(target_app(target_service(composition)))
    if not app.problem:
        assert differences(created(app.services[0]), app.services[0], {"other": "f" * 64}) == ()

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.errors import InvalidTarget, NotFound
from balena_supervisor.state.target_format import PreloadedTarget, decode_apps_json


def read(content: object) -> PreloadedTarget:
    return decode_apps_json(content, uuid="d00d", source="https://api", app_uuid=lambda app_id: f"uuid-of-{app_id}")


def v3(**app: Any) -> dict[str, Any]:
    base = {"id": 7, "name": "shop", "releases": {"r1": {"id": 3}}}
    return {"apps": {"52e35121417640b1b28a680504e4039b": {**base, **app}}}


def v1(**fields: Any) -> list[dict[str, Any]]:
    base = {"appId": 7, "name": "old", "commit": "c1", "imageId": "r.io/x", "env": {"A": "b", "RESIN_X": "y"}}
    return [{**base, **fields}]


def test_a_v3_file_is_read_even_if_a_uuid_begins_with_digits() -> None:
    preloaded = read({**v3(), "config": {"A": "b"}, "pinDevice": True})
    (app,) = preloaded.target.apps
    assert (app.app_uuid, app.commit, app.source) == ("52e35121417640b1b28a680504e4039b", "r1", "https://api")
    assert (preloaded.target.name, preloaded.target.config, preloaded.pin_device) == ("", {"A": "b"}, True)


@pytest.mark.parametrize("content", [{}, {"apps": {}}, {"config": None, "apps": None}])
def test_a_file_may_hold_nothing(content: object) -> None:
    assert read(content).target.apps == ()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (5, "apps.json: expected an object, got 5"),
        ({"pinDevice": "yes"}, 'pinDevice: expected true or false, got "yes"'),
        ({"apps": {"a": {"id": 1, "name": "x"}}}, "apps.a.releases: expected at least one release, got undefined"),
        (
            {"apps": {"a": {"id": 1, "name": "x", "releases": {}}}},
            "apps.a.releases: expected at least one release, got {}",
        ),
        (
            {"apps": {"7": {"name": "x", "commit": "c"}}},
            "apps.7.releaseId: expected a whole number from 0, or a text of one, got undefined",
        ),
        ([5], "0: expected an object, got 5"),
    ],
)
def test_a_bad_file_is_refused_with_the_path_in_the_file(content: object, line: str) -> None:
    with pytest.raises(InvalidTarget) as caught:
        read(content)
    assert caught.value.fields["violations"] == [line]


def test_a_v2_file_asks_for_the_uuid_of_each_app() -> None:
    service = {"serviceName": "main", "imageId": 2, "image": "x", "environment": {}, "labels": {}, "tty": False}
    (app,) = read({"apps": {"7": {"name": "x", "commit": "c", "releaseId": 3, "services": {"5": service}}}}).target.apps
    assert (app.app_id, app.app_uuid, app.services[0].app_uuid) == (7, "uuid-of-7", "uuid-of-7")
    assert app.services[0].composition == {"tty": False}


def test_a_v2_file_fails_with_the_answer_of_who_was_asked() -> None:
    def unknown(app_id: int) -> str:
        raise NotFound(f"no application {app_id}")

    with pytest.raises(NotFound):
        decode_apps_json({"apps": {"7": {"name": "x"}}}, uuid="d00d", source="s", app_uuid=unknown)


def test_a_v1_file_becomes_one_service_with_all_that_it_used_to_have() -> None:
    config = {"RESIN_APP_RESTART_POLICY": "no", "RESIN_SUPERVISOR_HANDOVER_TIMEOUT": "5"}
    target = read(v1(config=config)).target
    (app,) = target.apps
    (service,) = app.services
    assert (app.app_id, app.app_uuid, app.commit, app.release_id) == (7, "user-app", "c1", 1)
    assert (app.volumes, app.networks, target.config) == ({"resin-data": {}}, {}, config)
    assert (service.service_name, service.service_id, service.image_id, service.image) == (
        "main",
        1,
        1,
        "r.io/x:latest",
    )
    assert service.environment == {"A": "b"}
    assert service.labels == {
        "io.resin.features.kernel-modules": "1",
        "io.resin.features.firmware": "1",
        "io.resin.features.dbus": "1",
        "io.resin.features.supervisor-api": "1",
        "io.resin.features.resin-api": "1",
        "io.resin.update.strategy": "download-then-kill",
        "io.resin.update.handover-timeout": "5",
        "io.resin.legacy-container": "1",
    }
    assert service.composition == {
        "restart": "no",
        "privileged": True,
        "networkMode": "host",
        "volumes": ["resin-data:/data"],
    }


def test_several_v1_apps_collapse_into_the_last_and_merge_their_configuration() -> None:
    content = v1(config={"A": "1", "B": "1"}) + v1(appId=8, config={"B": "2"})
    target = read(content).target
    assert [app.app_id for app in target.apps] == [8]
    assert target.config == {"A": "1", "B": "2"}


def test_a_v1_app_without_commit_has_no_release() -> None:
    assert read(v1(commit=None)).target.apps[0].commit is None

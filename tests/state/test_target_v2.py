from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.errors import InvalidTarget
from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state.target_format import ParsedTarget, decode_local
from tests.state.documents import with_value

A = "local.apps.1"
S = f"{A}.services.1"


def body() -> dict[str, Any]:
    return {
        "local": {
            "name": "bench-device",
            "config": {"SUPERVISOR_LOCAL_MODE": "1"},
            "apps": {
                "1": {
                    "name": "localapp",
                    "commit": "localrelease",
                    "releaseId": "1",
                    "services": {
                        "1": {
                            "serviceId": 1,
                            "serviceName": "main",
                            "imageId": 1,
                            "image": "local_image_main:latest",
                            "running": True,
                            "environment": {},
                            "labels": {},
                            "privileged": True,
                            "ports": ["3000:3000"],
                        }
                    },
                    "volumes": {},
                    "networks": {},
                }
            },
        },
        "force": False,
    }


def changed(path: str, value: Any = ...) -> dict[str, Any]:
    """The body with one value set, or removed when none is given."""
    return with_value(body(), path, value)


def decoded(posted: object) -> ParsedTarget:
    return decode_local(posted, uuid="d00d", current_name="old name")


def violations(posted: object) -> list[str]:
    with pytest.raises(InvalidTarget) as caught:
        decoded(posted)
    assert caught.value.message.startswith("Invalid target state.")
    lines: list[str] = caught.value.fields["violations"]
    return lines


def test_a_whole_body_becomes_the_target_of_this_device() -> None:
    assert decoded(body()) == ParsedTarget(
        name="bench-device",
        config={"SUPERVISOR_LOCAL_MODE": "1"},
        apps=(
            TargetApp(
                app_id=1,
                app_uuid="1",
                name="localapp",
                commit="localrelease",
                release_id=1,
                services=(
                    TargetService(
                        service_name="main",
                        service_id=1,
                        image_id=1,
                        image="local_image_main:latest",
                        app_id=1,
                        app_uuid="1",
                        release_id=1,
                        commit="localrelease",
                        composition={"privileged": True, "ports": ["3000:3000"]},
                    ),
                ),
            ),
        ),
    )


@pytest.mark.parametrize("posted", [None, [], {}, "x", 5, {"d00d": body()["local"]}, {"local": None}, {"local": []}])
def test_a_body_without_an_object_called_local_is_refused(posted: object) -> None:
    lines = violations(posted)
    assert len(lines) == 1
    assert lines[0].startswith("local: expected an object, got ")


def test_a_device_without_uuid_takes_no_target() -> None:
    with pytest.raises(InvalidTarget):
        decode_local(body(), uuid="", current_name="x")


NUMERIC = "a whole number from 0, or a text of one"
BAD: list[tuple[str, Any, str, str, str]] = [
    # what is set (... removes it), to what, the path shown, what is expected, how the value is shown
    ("local.name", 5, "local.name", "a text", "5"),
    ("local.name", "a\nb", "local.name", "a text", '"a\\nb"'),
    ("local.config", [], "local.config", "an object", "[]"),
    ("local.config.A", 1, "local.config.A", "a text", "1"),
    ("local.config.1A", "1", "local.config.1A", "a configuration name", '"1A"'),
    ("local.apps", "x", "local.apps", "an object", '"x"'),
    ("local.apps", [1], "local.apps", "an object", "[1]"),
    ("local.apps.abc", {"name": "x"}, "local.apps.abc", "a decimal app id", '"abc"'),
    ("local.apps.-1", {"name": "x"}, "local.apps.-1", "a decimal app id", '"-1"'),
    ("local.apps.01", {"name": "x"}, "local.apps.01", "each app id only once", '"01"'),
    (A, None, A, "an object", "null"),
    (f"{A}.name", ..., f"{A}.name", "a text", "undefined"),
    (f"{A}.commit", 5, f"{A}.commit", "a text", "5"),
    (f"{A}.commit", "a" * 256, f"{A}.commit", "a release uuid", '"' + "a" * 256 + '"'),
    (f"{A}.releaseId", ..., f"{A}.releaseId", NUMERIC, "undefined"),
    (f"{A}.releaseId", "x", f"{A}.releaseId", NUMERIC, '"x"'),
    (f"{A}.services", "x", f"{A}.services", "an object", '"x"'),
    (f"{A}.services.x", {"serviceName": "s"}, f"{A}.services.x", NUMERIC, '"x"'),
    (f"{A}.services.2", None, f"{A}.services.2", "an object", "null"),
    (f"{A}.volumes", [1], f"{A}.volumes", "an object", "[1]"),
    (f"{A}.volumes.data", None, f"{A}.volumes.data", "an object", "null"),
    (f"{A}.volumes.-d", {}, f"{A}.volumes.-d", "a name of letters", '"-d"'),
    (f"{A}.networks.n", None, f"{A}.networks.n", "an object", "null"),
    (f"{S}.serviceName", ..., f"{S}.serviceName", "a text", "undefined"),
    (f"{S}.serviceName", None, f"{S}.serviceName", "a text", "null"),
    (f"{S}.serviceName", "-x", f"{S}.serviceName", "a name of letters", '"-x"'),
    (f"{S}.imageId", ..., f"{S}.imageId", NUMERIC, "undefined"),
    (f"{S}.imageId", "abc", f"{S}.imageId", NUMERIC, '"abc"'),
    (f"{S}.image", ..., f"{S}.image", "a text", "undefined"),
    (f"{S}.image", "", f"{S}.image", "an image name", '""'),
    (f"{S}.environment", ..., f"{S}.environment", "an object", "undefined"),
    (f"{S}.environment", ["A=b"], f"{S}.environment", "an object", '["A=b"]'),
    (f"{S}.environment.A", None, f"{S}.environment.A", "a text", "null"),
    (f"{S}.environment.A", 1, f"{S}.environment.A", "a text", "1"),
    (f"{S}.environment.1A", "x", f"{S}.environment.1A", "a variable name", '"1A"'),
    (f"{S}.labels", ..., f"{S}.labels", "an object", "undefined"),
    (f"{S}.labels.a b", "x", f"{S}.labels.a b", "a label name", '"a b"'),
    (f"{S}.running", "yes", f"{S}.running", "true or false", '"yes"'),
    (f"{S}.contract", "x", f"{S}.contract", "an object", '"x"'),
]


@pytest.mark.parametrize(("change", "value", "path", "expected", "shown"), BAD, ids=lambda value: str(value)[:40])
def test_a_violation_shows_the_path_of_the_posted_body(
    change: str, value: Any, path: str, expected: str, shown: str
) -> None:
    lines = [line for line in violations(changed(change, value)) if line.startswith(f"{path}: ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"{path}: expected {expected}")
    assert lines[0].endswith(f", got {shown}")


def test_all_violations_are_listed_also_those_behind_a_bad_name() -> None:
    posted = changed(f"{S}.serviceName")
    posted["local"]["apps"]["1"]["services"]["1"]["environment"] = {"A": 1}
    posted["local"]["name"] = 5
    posted["local"]["apps"]["abc"] = {}
    assert sorted(line.partition(":")[0] for line in violations(posted)) == [
        "local.apps.1.services.1.environment.A",
        "local.apps.1.services.1.serviceName",
        "local.apps.abc",
        "local.apps.abc.name",
        "local.name",
    ]


@pytest.mark.parametrize(("value", "name"), [(..., "old name"), (None, "old name"), ("", ""), ("new", "new")])
def test_the_name_stays_when_none_is_given(value: Any, name: str) -> None:
    assert decoded(changed("local.name", value)).name == name


@pytest.mark.parametrize(("path", "value"), [("config", ...), ("config", None), ("config", {})])
def test_a_missing_configuration_is_empty(path: str, value: Any) -> None:
    assert decoded(changed(f"local.{path}", value)).config == {}


def test_unknown_configuration_names_are_accepted() -> None:
    assert decoded(changed("local.config", {"FOO": "x", "A:b": "y"})).config == {"FOO": "x", "A:b": "y"}


@pytest.mark.parametrize("value", [..., None, {}, []])
def test_missing_apps_are_none(value: Any) -> None:
    assert decoded(changed("local.apps", value)).apps == ()


@pytest.mark.parametrize(
    ("path", "value", "field", "expected"),
    [
        ("commit", ..., "commit", None),
        ("commit", None, "release_id", None),
        ("commit", "", "services", ()),
        ("services", ..., "services", ()),
        ("services", None, "services", ()),
        ("services", [], "services", ()),
        ("volumes", ..., "volumes", {}),
        ("volumes", None, "volumes", {}),
        ("networks", ..., "networks", {}),
        ("networks", {"n": {"driver": "x"}}, "networks", {"n": {"driver": "x"}}),
        ("releaseId", 7, "release_id", 7),
        ("releaseId", "7", "release_id", 7),
        ("class", "block", "app_class", "fleet"),
        ("is_host", "x", "is_host", False),
    ],
)
def test_the_fields_of_an_app(path: str, value: Any, field: str, expected: Any) -> None:
    assert getattr(decoded(changed(f"{A}.{path}", value)).apps[0], field) == expected


def test_an_app_without_commit_is_not_looked_into() -> None:
    posted = changed(f"{A}.commit", ...)
    posted["local"]["apps"]["1"].update(releaseId="x", services=5, volumes=7)
    assert decoded(posted).apps == (TargetApp(app_id=1, app_uuid="1", name="localapp"),)


@pytest.mark.parametrize(
    ("path", "value", "field", "expected"),
    [
        ("running", ..., "running", True),
        ("running", None, "running", True),
        ("running", False, "running", False),
        ("imageId", "12", "image_id", 12),
        ("serviceId", ..., "service_id", 1),
        ("serviceId", 99, "service_id", 1),
        ("contract", {"requires": []}, "contract", {"requires": []}),
        ("image", "a.io/b", "image", "a.io/b:latest"),
        ("environment", {"A": "b"}, "environment", {"A": "b"}),
        ("labels", {"a_b": "c"}, "labels", {"a_b": "c"}),
        ("ports", ["abc"], "composition", {"privileged": True, "ports": ["abc"]}),
        ("command", None, "composition", {"privileged": True, "ports": ["3000:3000"], "command": None}),
    ],
)
def test_the_fields_of_a_service(path: str, value: Any, field: str, expected: Any) -> None:
    assert getattr(decoded(changed(f"{S}.{path}", value)).apps[0].services[0], field) == expected


def test_apps_and_services_are_visited_in_the_order_of_their_ids() -> None:
    posted = body()
    apps = posted["local"]["apps"]
    service = apps["1"]["services"]["1"]
    apps["1"]["services"] = {key: {**service, "serviceName": f"s{key}"} for key in ("10", "9", "2")}
    posted["local"]["apps"] = {"10": apps["1"], "9": apps["1"]}
    target = decoded(posted)
    assert [app.app_id for app in target.apps] == [9, 10]
    assert [item.service_name for item in target.apps[0].services] == ["s2", "s9", "s10"]


def test_of_two_services_with_one_name_the_higher_id_wins() -> None:
    posted = body()
    services = posted["local"]["apps"]["1"]["services"]
    services["9"] = {**services["1"], "image": "nine"}
    services["3"] = {**services["1"], "image": "three"}
    (service,) = decoded(posted).apps[0].services
    assert (service.service_id, service.image) == (9, "nine:latest")


def test_two_apps_may_have_the_same_name() -> None:
    posted = body()
    posted["local"]["apps"]["2"] = posted["local"]["apps"]["1"]
    assert [app.app_uuid for app in decoded(posted).apps] == ["1", "2"]


@pytest.mark.parametrize(
    ("force", "expected"),
    [
        (True, True),
        (1, True),
        ("true", True),
        ("ON", True),
        (False, False),
        ("false", False),
        ("yes", False),
        (2, False),
    ],
)
def test_force_is_read_by_its_meaning(force: Any, expected: bool) -> None:
    assert decoded(changed("force", force)).force is expected

from __future__ import annotations

import copy
from typing import Any

import pytest

from balena_supervisor.errors import InvalidTarget
from balena_supervisor.model.target import TargetApp, TargetService
from balena_supervisor.state.target_format import decode_v3
from tests.state.documents import with_value

UUID = "d00dfeed"
APP = "c0de5a1e"
DIGEST = "sha256:" + "1" * 64
A = f"{UUID}.apps.{APP}"
R = f"{A}.releases.5f0e"
S = f"{R}.services.web"


def document() -> dict[str, Any]:
    return {
        UUID: {
            "name": "kiosk-7",
            "config": {"BALENA_SUPERVISOR_POLL_INTERVAL": "900000"},
            "apps": {
                APP: {
                    "id": 4711,
                    "name": "Shop",
                    "class": "fleet",
                    "is_host": False,
                    "releases": {
                        "5f0e": {
                            "id": 77,
                            "services": {
                                "web": {
                                    "id": 91,
                                    "image_id": 8080,
                                    "image": f"r.example.com/v2/aa:x@{DIGEST}",
                                    "environment": {"MODE": "fast"},
                                    "labels": {"io.balena.features.dbus": "1"},
                                    "running": True,
                                    "contract": {"type": "sw.container", "slug": "web"},
                                    "composition": {"ports": ["80:8080"]},
                                }
                            },
                            "volumes": {"store": {}},
                            "networks": {"back": {"driver": "bridge"}},
                        }
                    },
                }
            },
        }
    }


def changed(path: str, value: Any = ...) -> dict[str, Any]:
    """The document with one value set, or removed when none is given."""
    return with_value(document(), path, value)


def violations(target: object) -> list[str]:
    with pytest.raises(InvalidTarget) as caught:
        decode_v3(target, uuid=UUID, source="https://api")
    assert caught.value.message.startswith("Invalid target state.")
    assert caught.value.message.split("\n")[1:] == caught.value.fields["violations"]
    lines: list[str] = caught.value.fields["violations"]
    return lines


def app_of(target: object) -> TargetApp:
    return decode_v3(target, uuid=UUID, source="https://api").apps[0]


def test_a_whole_document_becomes_the_target_of_this_device() -> None:
    target = decode_v3(document(), uuid=UUID, source="https://api")
    assert (target.name, target.force) == ("kiosk-7", False)
    assert target.config == {"BALENA_SUPERVISOR_POLL_INTERVAL": "900000"}
    assert target.apps == (
        TargetApp(
            app_id=4711,
            app_uuid=APP,
            name="Shop",
            source="https://api",
            commit="5f0e",
            release_id=77,
            networks={"back": {"driver": "bridge"}},
            volumes={"store": {}},
            services=(
                TargetService(
                    service_name="web",
                    service_id=91,
                    image_id=8080,
                    image=f"r.example.com/v2/aa@{DIGEST}",
                    app_id=4711,
                    app_uuid=APP,
                    release_id=77,
                    commit="5f0e",
                    environment={"MODE": "fast"},
                    labels={"io.balena.features.dbus": "1"},
                    contract={"type": "sw.container", "slug": "web"},
                    composition={"ports": ["80:8080"]},
                ),
            ),
        ),
    )


NUMERIC = "a whole number from 0, or a text of one"
BAD: list[tuple[str, Any, str, str]] = [
    # path, value (... removes it), what is expected, how the value is shown
    (f"{UUID}.name", ..., "a text", "undefined"),
    (f"{UUID}.name", None, "a text", "null"),
    (f"{UUID}.name", 5, "a text", "5"),
    (f"{UUID}.name", "a\nb", "a text", '"a\\nb"'),
    (f"{UUID}.config", ..., "an object", "undefined"),
    (f"{UUID}.config", [], "an object", "[]"),
    (f"{UUID}.config.A", 1, "a text", "1"),
    (f"{UUID}.config.A-B", "1", "a configuration name", '"A-B"'),
    (f"{UUID}.apps", ..., "an object", "undefined"),
    (f"{UUID}.apps", None, "an object", "null"),
    (A, "x", "an object", '"x"'),
    (f"{A}.id", ..., NUMERIC, "undefined"),
    (f"{A}.id", "1e3", NUMERIC, '"1e3"'),
    (f"{A}.id", -1, NUMERIC, "-1"),
    (f"{A}.id", True, NUMERIC, "true"),
    (f"{A}.name", ..., "a text", "undefined"),
    (f"{A}.name", "a" * 256, "a text", '"' + "a" * 256 + '"'),
    (f"{A}.class", "fleets", 'one of "fleet", "app", "block"', '"fleets"'),
    (f"{A}.class", "", 'one of "fleet", "app", "block"', '""'),
    (f"{A}.releases", [], "an object", "[]"),
    (f"{A}.parent_app", None, "a text", "null"),
    (f"{A}.is_host", None, "true or false", "null"),
    (f"{A}.is_host", 1, "true or false", "1"),
    (R, None, "an object", "null"),
    (f"{R}.id", ..., NUMERIC, "undefined"),
    (f"{R}.services", [], "an object", "[]"),
    (f"{R}.services.-x", {}, "a name of letters", '"-x"'),
    (f"{R}.volumes.data", None, "an object", "null"),
    (f"{R}.volumes._d", {}, "a name of letters", '"_d"'),
    (f"{R}.networks.back", "x", "an object", '"x"'),
    (f"{R}.networks.a b", {}, "a name of letters", '"a b"'),
    (S, 5, "an object", "5"),
    (f"{S}.id", ..., NUMERIC, "undefined"),
    (f"{S}.image_id", "x", NUMERIC, '"x"'),
    (f"{S}.image", ..., "a text", "undefined"),
    (f"{S}.image", "", "an image name", '""'),
    (f"{S}.image", "a@sha256:1", "an image name", '"a@sha256:1"'),
    (f"{S}.environment", ..., "an object", "undefined"),
    (f"{S}.environment", ["A=1"], "an object", '["A=1"]'),
    (f"{S}.environment.A", None, "a text", "null"),
    (f"{S}.environment.A", 1.5, "a text", "1.5"),
    (f"{S}.environment.1A", "x", "a variable name", '"1A"'),
    (f"{S}.labels", ..., "an object", "undefined"),
    (f"{S}.labels.a", True, "a text", "true"),
    (f"{S}.labels.a b", "x", "a label name", '"a b"'),
    (f"{S}.running", "yes", "true or false", '"yes"'),
    (f"{S}.contract", None, "an object", "null"),
    (f"{S}.contract", "x", "an object", '"x"'),
    (f"{S}.composition", None, "an object", "null"),
    (f"{S}.composition", [], "an object", "[]"),
]


@pytest.mark.parametrize(("path", "value", "expected", "shown"), BAD, ids=lambda value: str(value)[:40])
def test_a_violation_is_one_line_with_path_expectation_and_value(
    path: str, value: Any, expected: str, shown: str
) -> None:
    lines = [line for line in violations(changed(path, value)) if line.startswith(f"{path}: ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"{path}: expected {expected}")
    assert lines[0].endswith(f", got {shown}")


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (f"{S}.composition", {"cpus": 2**64}, f"{S}.composition.cpus: expected a number of at most 64 bits"),
        (f"{S}.composition", {"a": [{"b": -(2**63) - 1}]}, f"{S}.composition.a.0.b: expected a number of at most 64"),
        (f"{S}.contract", {"a": "x\ud800"}, f"{S}.contract.a: expected a text of whole characters, got"),
        (f"{S}.composition", {"cpus": float("inf")}, f"{S}.composition.cpus: expected a finite number, got Infinity"),
        (f"{S}.surprise", 2**64, f"{S}.surprise: expected a number of at most 64 bits"),
        (f"{S}.environment.A", "\udfff", f"{S}.environment.A: expected a text"),
        (f"{A}.name", "\ud800", f"{A}.name: expected a text"),
        (f"{UUID}.name", "\ud800", f"{UUID}.name: expected a text"),
        (f"{R}.volumes.store", {"a": deep(100)}, f"{R}.volumes.store.a"),
        (f"{R}.networks.back", {"\ud800": 1}, f"{R}.networks.back.\\ud800: expected a text of whole"),
        (f"{UUID}.config", deep(5000), f"{UUID}.config: expected an object, got …"),
        (f"{S}.composition", {"a": deep(5000)}, f"{S}.composition.a"),
    ],
    ids=range(12),
)
def test_what_no_other_process_could_hold_is_a_violation(path: str, value: Any, line: str) -> None:
    target = document()
    *parents, last = path.split(".")
    place = target
    for key in parents:
        place = place[key]
    place[last] = value  # a deep value cannot be copied
    (found,) = violations(target)
    assert found.startswith(line)
    found.encode()


def test_all_violations_are_listed() -> None:
    target = changed(f"{S}.environment", {"A": 1, "1B": 2})
    target[UUID]["name"] = 5
    assert [line.partition(":")[0] for line in violations(target)] == [
        f"{UUID}.name",
        f"{S}.environment.A",
        f"{S}.environment.1B",
        f"{S}.environment.1B",
    ]


@pytest.mark.parametrize("target", [None, [], "x", 5])
def test_a_document_that_is_no_object_is_refused(target: object) -> None:
    assert len(violations(target)) == 1


@pytest.mark.parametrize(
    ("path", "value", "field", "expected"),
    [
        (f"{A}.class", ..., "app_class", "fleet"),
        (f"{A}.class", None, "app_class", "fleet"),
        (f"{A}.class", "block", "app_class", "block"),
        (f"{A}.is_host", ..., "is_host", False),
        (f"{A}.is_host", True, "is_host", True),
        (f"{A}.id", " 12 ", "app_id", 12),
        (f"{A}.releases", ..., "commit", None),
        (f"{A}.releases", None, "commit", None),
        (f"{A}.releases", {}, "release_id", None),
        (f"{R}.services", ..., "services", ()),
        (f"{R}.services", None, "services", ()),
        (f"{R}.volumes", None, "volumes", {}),
        (f"{R}.networks", ..., "networks", {}),
        (f"{R}.id", "1.0", "release_id", 1),
        (f"{A}.unknown", 5, "name", "Shop"),
        (f"{A}.parent_app", "beef", "name", "Shop"),
    ],
)
def test_the_fields_of_an_app(path: str, value: Any, field: str, expected: Any) -> None:
    assert getattr(app_of(changed(path, value)), field) == expected


@pytest.mark.parametrize(
    ("path", "value", "field", "expected"),
    [
        ("running", ..., "running", True),
        ("running", None, "running", True),
        ("running", False, "running", False),
        ("contract", ..., "contract", None),
        ("contract", [], "contract", {}),
        ("composition", ..., "composition", {}),
        ("image", "alpine", "image", "alpine:latest"),
        ("image_id", "5", "image_id", 5),
        ("id", 0, "service_id", 0),
        ("environment", {"A": ""}, "environment", {"A": ""}),
        ("surprise", [1], "extra", {"surprise": [1]}),
    ],
)
def test_the_fields_of_a_service(path: str, value: Any, field: str, expected: Any) -> None:
    assert getattr(app_of(changed(f"{S}.{path}", value)).services[0], field) == expected


def test_only_the_first_release_in_document_order_counts_but_all_are_checked() -> None:
    target = document()
    target[UUID]["apps"][APP]["releases"]["0000"] = {"id": 1}
    assert app_of(target).commit == "5f0e"
    target[UUID]["apps"][APP]["releases"]["0000"] = {}
    assert violations(target) == [f"{A}.releases.0000.id: expected {NUMERIC}, got undefined"]


def test_services_keep_the_order_of_the_document() -> None:
    target = document()
    services = target[UUID]["apps"][APP]["releases"]["5f0e"]["services"]
    services["aaa"] = services["web"]
    assert [service.service_name for service in app_of(target).services] == ["web", "aaa"]


def test_a_document_without_this_device_is_another_error() -> None:
    with pytest.raises(InvalidTarget, match="expected a target state for the local device"):
        decode_v3({"other": document()[UUID]}, uuid=UUID, source="https://api")


def test_entries_of_other_devices_are_checked_but_their_images_are_not_used() -> None:
    target = document()
    target["other"] = copy.deepcopy(target[UUID])
    target["other"]["apps"][APP]["releases"]["5f0e"]["services"]["web"]["image"] = ""
    assert len(decode_v3(target, uuid=UUID, source="x").apps) == 1
    target["other"]["name"] = None
    assert [line.partition(":")[0] for line in violations(target)] == ["other.name"]

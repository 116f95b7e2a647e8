"""Volumes of a service, short and long form."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.model.device import HostFacts
from balena_supervisor.model.image import ImageDetails
from balena_supervisor.model.service import Mount
from balena_supervisor.settings import read_settings
from balena_supervisor.state.compose_volumes import mount_body, read_mount
from tests.state.composing import composed, config

LOCKS = (
    "/tmp/balena-supervisor/services/4711/web:/tmp/resin",
    "/tmp/balena-supervisor/services/4711/web:/tmp/balena",
)


@pytest.mark.parametrize("instance", ["", "dev-1"])
def test_a_service_sees_its_lock_folder_where_the_supervisor_looks_for_it(instance: str) -> None:
    settings = read_settings({"ROOT_MOUNTPOINT": "/", "SUPERVISOR_INSTANCE": instance})
    folder = settings.lock_folder / "4711/web"
    binds = composed(around={"host": HostFacts(instance=instance)}).config.volumes
    assert binds == (f"{folder}:/tmp/resin", f"{folder}:/tmp/balena")
    assert (binds == LOCKS) == (not instance)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("data:/data", "4711_data:/data"),
        ("data:/data:ro", "4711_data:/data:ro"),
        (" data : /data : ro : more ", "4711_data:/data:ro"),
        ("data:/data:", "4711_data:/data"),
        ("a:/x", "4711_a:/x"),
        ("./dir:/x", "4711_./dir:/x"),
        ("/anonymous", "/anonymous"),
    ],
)
def test_a_short_entry_gets_its_engine_name(entry: str, expected: str) -> None:
    service = composed({"volumes": [entry]})
    assert service.config.volumes == (expected, *LOCKS)
    assert service.warnings == ()


@pytest.mark.parametrize("entry", ["/etc:/x", " /etc:/x:ro", "/:/", "/a:/b:ro:x", ":/x", "x:", ""])
def test_a_bind_mount_or_half_an_entry_is_left_out_with_a_warning(entry: str) -> None:
    service = composed({"volumes": [entry, "data:/data"]})
    assert service.config.volumes == ("4711_data:/data", *LOCKS)
    assert [warning.partition(":")[0] for warning in service.warnings] == ["volumes.0"]


LONG: list[tuple[dict[str, Any], Mount]] = [
    ({"type": "volume", "target": "/x"}, Mount(type="volume", target="/x")),
    ({"type": "volume", "source": "d", "target": "/x"}, Mount(type="volume", source="4711_d", target="/x")),
    (
        {"type": "volume", "source": "d", "target": "/x", "read_only": True, "volume": {"nocopy": True}},
        Mount(type="volume", source="4711_d", target="/x", read_only=True, no_copy=True),
    ),
    ({"type": "volume", "target": "/x", "readOnly": True}, Mount(type="volume", target="/x", read_only=True)),
    (
        {"type": "volume", "target": "/x", "readOnly": False, "volume": {"nocopy": False}, "consistency": "cached"},
        Mount(type="volume", target="/x"),
    ),
    ({"type": "tmpfs", "target": "/x"}, Mount(type="tmpfs", target="/x")),
    ({"type": "tmpfs", "target": "/x", "tmpfs": {"size": 0}}, Mount(type="tmpfs", target="/x")),
    ({"type": "tmpfs", "target": "/x", "tmpfs": {"size": 5.0}}, Mount(type="tmpfs", target="/x", size_bytes=5)),
    ({"type": "tmpfs", "target": "/x", "tmpfs": {"mode": 5}}, Mount(type="tmpfs", target="/x")),
    (
        {"type": "volume", "target": "/x", "bind": {"propagation": "rshared"}},
        Mount(type="volume", target="/x", propagation="rshared"),
    ),
]


@pytest.mark.parametrize(("entry", "expected"), LONG, ids=str)
def test_a_long_entry_is_reduced_to_known_options_that_are_set(entry: dict[str, Any], expected: Mount) -> None:
    service = composed({"volumes": [entry]})
    assert service.config.mounts == (expected,)
    assert service.warnings == ()
    assert read_mount(mount_body(expected)) == expected


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "bind", "source": "/etc", "target": "/x"},
        {"type": "bind", "source": "d", "target": "/x"},
        {"type": "bind", "target": "/x"},
        {"type": "volume", "source": "/etc", "target": "/x"},
        {"type": "tmpfs", "source": "d", "target": "/x"},
        {"type": "npipe", "target": "/x"},
        {"target": "/x"},
        {"type": "volume"},
        {"type": "volume", "target": ""},
        {"type": "volume", "source": 5, "target": "/x"},
        {"type": "volume", "target": "/x", "readOnly": "yes"},
        {"type": "volume", "target": "/x", "volume": {}},
        {"type": "volume", "target": "/x", "volume": {"nocopy": "yes"}},
        {"type": "volume", "target": "/x", "volume": "x"},
        {"type": "tmpfs", "target": "/x", "tmpfs": {"size": "1m"}},
        {"type": "tmpfs", "target": "/x", "tmpfs": {"size": True}},
        {"type": "tmpfs", "target": "/x", "bind": {"propagation": 5}},
    ],
    ids=str,
)
def test_any_other_long_entry_is_left_out_with_a_warning(entry: dict[str, Any]) -> None:
    service = composed({"volumes": [entry]})
    assert service.config.mounts == ()
    assert [warning.partition(":")[0] for warning in service.warnings] == ["volumes.0"]


def test_volumes_of_the_image_come_first_and_each_stands_once() -> None:
    image = ImageDetails(id="sha256:1", volumes=("/cache", "/data", "/etc:/host"))
    made = config({"volumes": ["d:/d", "/cache", "d:/d"]}, around={"image": image})
    assert made.volumes == ("/cache", "/data", "4711_d:/d", *LOCKS)


@pytest.mark.parametrize(
    ("mount", "body"),
    [
        (Mount(type="volume", target="/x"), {"Type": "volume", "Target": "/x"}),
        (
            Mount(type="bind", target="/x", source="/s", read_only=True, propagation="shared"),
            {
                "Type": "bind",
                "Target": "/x",
                "Source": "/s",
                "ReadOnly": True,
                "BindOptions": {"Propagation": "shared"},
            },
        ),
        (
            Mount(type="tmpfs", target="/x", size_bytes=7),
            {"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"SizeBytes": 7}},
        ),
        (
            Mount(type="volume", target="/x", no_copy=True),
            {"Type": "volume", "Target": "/x", "VolumeOptions": {"NoCopy": True}},
        ),
    ],
)
def test_a_mount_is_sent_without_what_is_unset(mount: Mount, body: dict[str, Any]) -> None:
    assert mount_body(mount) == body

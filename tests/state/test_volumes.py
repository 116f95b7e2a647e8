"""Volumes: from compose, and as they are sent."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.errors import InvalidComposition
from balena_supervisor.model.resource import Volume, VolumeConfig
from balena_supervisor.state.volumes import compose_volume, volume_body
from tests.state.composing import UUID, target_app


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ({}, VolumeConfig()),
        (None, VolumeConfig()),
        ({"driver": None, "driver_opts": None, "labels": None}, VolumeConfig()),
        ({"driver": "nfs", "driver_opts": {"size": 5}}, VolumeConfig(driver="nfs", options={"size": "5"})),
        ({"labels": {"a": 1, "io.resin.b": "2"}}, VolumeConfig(labels={"a": "1", "io.balena.b": "2"})),
        ({"labels": ["a=b"]}, VolumeConfig(labels={"a": "b"})),
        ({"labels": {"io.balena.supervised": "no", "io.balena.app-uuid": "x"}}, VolumeConfig()),
        ({"external": True, "name": "x"}, VolumeConfig()),
    ],
)
def test_a_definition_becomes_a_configuration(definition: dict[str, Any] | None, expected: VolumeConfig) -> None:
    volume = compose_volume(target_app(), "data", definition)
    assert volume == Volume(app_id=4711, app_uuid=UUID, name="data", config=expected)
    assert volume.engine_name == "4711_data"


@pytest.mark.parametrize("definition", [{"driver": ["x"]}, {"driver_opts": "x"}, {"labels": 5}])
def test_a_definition_of_another_shape_is_refused(definition: dict[str, Any]) -> None:
    with pytest.raises(InvalidComposition, match=r"volumes.data.\w+: expected"):
        compose_volume(target_app(), "data", definition)


def test_a_volume_is_sent_whole() -> None:
    volume = compose_volume(target_app(), "data", {"labels": {"a": "b"}, "driver_opts": {"o": "1"}})
    assert volume_body(volume) == {
        "Name": "4711_data",
        "Driver": "local",
        "DriverOpts": {"o": "1"},
        "Labels": {"a": "b", "io.balena.supervised": "true", "io.balena.app-uuid": UUID},
    }
    assert volume_body(volume, "x")["Labels"]["io.balena.supervisor.instance"] == "x"


def test_an_app_uuid_that_is_not_known_is_not_sent() -> None:
    assert volume_body(Volume(app_id=1, name="data"))["Labels"] == {"io.balena.supervised": "true"}

"""Labels of containers."""

from __future__ import annotations

import pytest

from balena_supervisor.model.image import ImageDetails
from balena_supervisor.state.labels import INSTANCE, rewritten, with_instance
from tests.state.composing import UUID, composed, config

SUPERVISOR = {
    "io.balena.supervised": "true",
    "io.balena.app-id": "4711",
    "io.balena.service-id": "91",
    "io.balena.service-name": "web",
    "io.balena.app-uuid": UUID,
}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, {}),
        ({"a": "b"}, {"a": "b"}),
        ({"io.resin.features.dbus": "1"}, {"io.balena.features.dbus": "1"}),
        ({"io.resin.features.resin-api": "1"}, {"io.balena.features.balena-api": "1"}),
        ({"io.resin.x": "old", "io.balena.x": "new"}, {"io.balena.x": "new"}),
        ({"io.balena.x": "new", "io.resin.x": "old"}, {"io.balena.x": "new"}),
        ({"com.resin.x": "1", "io.resinx": "1"}, {"com.resin.x": "1", "io.resinx": "1"}),
    ],
)
def test_legacy_names_are_rewritten(labels: dict[str, str], expected: dict[str, str]) -> None:
    assert rewritten(labels) == expected


def test_service_labels_win_over_the_composition_and_both_over_the_image() -> None:
    image = ImageDetails(id="sha256:1", labels={"a": "image", "b": "image", "c": "image", "io.resin.d": "image"})
    labels = config(
        {"labels": {"a": "composition", "b": "composition"}}, labels={"a": "service"}, around={"image": image}
    ).labels
    assert labels == {"a": "service", "b": "composition", "c": "image", "io.balena.d": "image", **SUPERVISOR}


def test_nobody_overrides_the_labels_of_the_supervisor() -> None:
    mine = {**dict.fromkeys(SUPERVISOR, "mine"), "io.resin.supervised": "false", INSTANCE: "mine"}
    image = ImageDetails(id="sha256:1", labels=mine)
    assert config({"labels": mine}, labels=mine, around={"image": image}).labels == SUPERVISOR


@pytest.mark.parametrize("value", [["a=b=c", "bare", None], {"a": "b=c", "bare": "", "unset": None}])
def test_a_list_of_labels_means_the_same_as_an_object(value: object) -> None:
    assert config({"labels": value}).labels == {"a": "b=c", "bare": "", **SUPERVISOR}


def test_values_become_text() -> None:
    labels = config({"labels": {"a": 1, "b": True, "c": 1.5, "d": 2.0}}).labels
    assert [labels[name] for name in "abcd"] == ["1", "true", "1.5", "2"]


def test_the_instance_is_only_added_where_there_is_one() -> None:
    assert with_instance({"a": "b"}, "") == {"a": "b"}
    assert with_instance({"a": "b"}, "x") == {"a": "b", INSTANCE: "x"}


@pytest.mark.parametrize(
    ("strategy", "warned"), [("hand-over", False), ("kill-then-download", False), ("handover", True), ("", True)]
)
def test_an_update_strategy_that_is_none_is_said(strategy: str, warned: bool) -> None:
    warnings = composed({}, labels={"io.resin.update.strategy": strategy}).warnings
    assert bool(warnings) is warned

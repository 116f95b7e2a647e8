"""Names on the engine."""

from __future__ import annotations

import pytest

from balena_supervisor.errors import UnreadableObject
from balena_supervisor.state.names import (
    ContainerName,
    NetworkName,
    parse_container_name,
    parse_network_name,
    parse_volume_name,
)

APP = {"io.balena.app-id": "7"}


@pytest.mark.parametrize(
    ("name", "service", "expected"),
    [
        ("/web_1_2_abc", "web", ("web", 1, 2, "abc")),
        ("web_1_2_abc", "web", ("web", 1, 2, "abc")),
        ("/web_1_2", "web", ("web", 1, 2, "")),
        ("/old_web_1_2_abc", "web", ("web", 1, 2, "abc")),
        ("/web_4_5_123", "web", ("web", 4, 5, "123")),
        ("/web_4_5_6_7", "web", ("web", 4, 5, "6_7")),
        ("/old_1_2_abc", "old", ("old", 1, 2, "abc")),
        ("/old_old_1_2_abc", "old", ("old", 1, 2, "abc")),
        ("/old_web_1_2_abc", "old_web", ("old_web", 1, 2, "abc")),
        ("/a_1_2_3_4_abc", "a_1_2", ("a_1_2", 3, 4, "abc")),
        ("/renamed_1_2_abc", "web", ("web", 1, 2, "abc")),
        ("/web_1_2_abc", None, ("web", 1, 2, "abc")),
        ("/web_4_5_123", None, ("web", 4, 5, "123")),
        ("/web_4_5_123", "", ("web", 4, 5, "123")),
    ],
)
def test_a_container_name_is_read_with_the_help_of_its_label(
    name: str, service: str | None, expected: tuple[str, int, int, str]
) -> None:
    assert parse_container_name(name, service) == ContainerName(*expected)


@pytest.mark.parametrize("name", ["", "/", "web", "/web_1", "/web_a_b_c", "_1_2", "web_1_2_"])
def test_a_container_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(UnreadableObject):
        parse_container_name(name, "web")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("1_data", (1, "data")),
        ("4711_my_data.x-y", (4711, "my_data.x-y")),
        ("1_2_3", (1, "2_3")),
        ("backup2_data", None),
        ("abc12_x", None),
        ("007_x", None),
        ("0_x", None),
        ("1_", None),
        ("12", None),
        ("_x", None),
        ("٣_x", None),
        ("extra-firmware", None),
        ("", None),
    ],
)
def test_a_volume_is_ours_only_if_its_name_begins_with_an_app_id(name: str, expected: tuple[int, str] | None) -> None:
    assert parse_volume_name(name) == expected


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("c0de_front", APP, (7, "c0de", "front")),
        ("C0-DE_front", APP, (7, "C0-DE", "front")),
        ("7_default", APP, (7, "7", "default")),
        ("7_default", {}, (7, "", "default")),
        ("7_a_b", {}, (7, "", "a_b")),
        ("user-app_x", APP, (7, "user-app", "x")),
        ("anything.at all_x_y", APP, (7, "anything.at all", "x_y")),
    ],
)
def test_a_network_name_is_read_with_the_help_of_its_label(
    name: str, labels: dict[str, str], expected: tuple[int, str, str]
) -> None:
    assert parse_network_name(name, labels) == NetworkName(*expected)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("c0de_front", {}),
        ("user-app_x", {}),
        ("front", APP),
        ("_front", APP),
        ("7_", {}),
        ("", {}),
        ("supervisor0", APP),
        ("7_x", {"io.balena.app-id": "seven"}),
    ],
)
def test_a_network_name_that_says_too_little_is_refused(name: str, labels: dict[str, str]) -> None:
    with pytest.raises(UnreadableObject):
        parse_network_name(name, labels)

from __future__ import annotations

import pytest

from balena_supervisor.state import coerce


@pytest.mark.parametrize("value", [True, 1, 1.0, "1", "true", "TRUE", "on", "On"])
def test_these_values_say_yes(value: object) -> None:
    assert coerce.is_truthy(value)
    assert not coerce.is_falsey(value)


@pytest.mark.parametrize("value", [False, 0, 0.0, "0", "false", "FALSE", "off", "Off"])
def test_these_values_say_no(value: object) -> None:
    assert coerce.is_falsey(value)
    assert not coerce.is_truthy(value)


@pytest.mark.parametrize("value", ["yes", "no", 2, -1, "2", "", " 1", None, [], {}, [1]])
def test_these_values_say_neither(value: object) -> None:
    assert not coerce.is_truthy(value)
    assert not coerce.is_falsey(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, 7), (-7, -7), (7.0, 7), ("7", 7), ("-7", -7), ("200.00", 200), ("0", 0),
        ("5.5", None), (5.5, None), ("0x11", None), ("", None), (None, None), (True, None), ("7.", None),
        (" 7", None), ("7\n", None), ("\u0667", None), ("1e3", None), ([], None),
        (float("nan"), None), (float("inf"), None),
        ("9" * 5000, None),
    ],
)  # fmt: skip
def test_a_whole_number_is_read_from_number_or_text(value: object, expected: int | None) -> None:
    assert coerce.to_int(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(1, 1), ("1", 1), (0, None), ("0", None), (-1, None), ("-1", None)])
def test_a_positive_number_is_above_zero(value: object, expected: int | None) -> None:
    assert coerce.to_int(value, positive=True) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0), (12, 12), (12.0, 12), ("12", 12), (" 12 ", 12), ("1.0", 1), ("12\n", 12), ("007", 7),
        ("", None), ("-1", None), (-1, None), ("1e3", None), ("0x1f", None), ("12a", None), (1.5, None), ("1.5", None),
        (True, None), (False, None), (None, None), ({}, None), (2**53, None), ("1" * 30, None), (1e300, None),
    ],
)  # fmt: skip
def test_an_id_is_a_number_from_zero_or_its_text(value: object, expected: int | None) -> None:
    assert coerce.to_numeric_id(value) == expected


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("", True),
        ("a" * 255, True),
        ("a" * 256, False),
        ("😀" * 127, True),
        ("😀" * 128, False),
        (5, False),
        (None, False),
    ],
)
def test_a_short_string_has_at_most_255_utf16_units(value: object, good: bool) -> None:
    assert coerce.is_short_string(value) is good


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            coerce.is_docker_name,
            ["a", "0", "a_b.c-d", "A" * 255],
            ["", "-a", "_a", ".a", "a b", "a\n", "ä", "A" * 256, 1],
        ),
        (
            coerce.is_environment_name,
            ["A", "_a", "a1", "_"],
            ["", "1a", "a-b", "a:b", "a\n", "a.b", "É", "A" * 256, None],
        ),
        (
            coerce.is_config_name,
            ["A", "_a", "HOST_CONFIG_hdmi_mode:1", "A" * 255],
            ["", ":a", "1a", "a-b", "a\n", "A" * 256],
        ),
        (
            coerce.is_label_name,
            ["a", "_a.b-c", "1", "io.balena/x=y", "~!", "a" * 255],
            ["", "a b", 'a"', "a'", "a`", "a\n", "\x7f", "é", "a" * 256, 1],
        ),
        (coerce.is_device_name, ["", "kiosk 7", "é"], ["a\nb", "\n", "a" * 256, 7, None]),
    ],
)
def test_names_match_as_a_whole(check: object, good: list[object], bad: list[object]) -> None:
    assert callable(check)
    assert [value for value in good if not check(value)] == []
    assert [value for value in bad if check(value)] == []

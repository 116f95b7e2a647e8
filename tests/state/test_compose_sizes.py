"""Sizes, durations and fractions of processors."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.state.compose_sizes import duration_ms, nano_cpus, size_bytes


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("64", 64),
        (64, 64),
        (64.0, 64),
        ("64b", 64),
        ("64k", 65536),
        ("64Kb", 65536),
        ("2M", 2 * 1024**2),
        ("1g", 1024**3),
        ("1GB", 1024**3),
        ("1.5g", 7),
        ("1GiB", 7),
        ("1 g", 7),
        ("64\n", 7),
        ("-1", 7),
        (-1, 7),
        (1.5, 7),
        ("", 7),
        (True, 7),
        ([], 7),
        ("9" * 30, 7),
    ],
)
def test_a_size_counts_in_1024s_and_anything_else_is_the_default(value: Any, expected: int) -> None:
    assert size_bytes(value, 7) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1h 30m", 5_400_000),
        ("1m30s", 90_000),
        (" 1m 30 s ", 90_000),
        ("1.5s", 1500),
        (".5s", 500),
        ("1d", 86_400_000),
        ("1w", 604_800_000),
        ("250ms", 250),
        ("1500us", 1),
        ("1500µs", 1),
        ("999us", 0),
        ("999999ns", 0),
        ("0.1ms0.9ms", 1),
        ("0", 0),
        ("0s", 0),
        (1500, 1500),
        (1.9, 1),
        ("10", None),
        ("10S", None),
        ("1x", None),
        ("s", None),
        ("", None),
        ("-1s", None),
        (-1, None),
        (float("nan"), None),
        (True, None),
        (["1s"], None),
        ("99999999999999999999w", None),
        ("1s" * 1000, None),
    ],
)
def test_a_duration_is_in_whole_milliseconds(value: Any, expected: int | None) -> None:
    assert duration_ms(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, 500_000_000),
        ("0.5", 500_000_000),
        (2, 2_000_000_000),
        (0.0000000015, 2),
        ("x", None),
        (None, None),
        (True, None),
        (float("inf"), None),
        ("nan", None),
        (1e300, None),
    ],
)
def test_processors_are_in_billionths(value: Any, expected: int | None) -> None:
    assert nano_cpus(value) == expected

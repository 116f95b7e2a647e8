"""Versions against ranges. The answers are those of npm's own ``semver``, to which ``12.11`` is no version."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balena_supervisor.state.versions import satisfies

MET = [
    (">=12.0.0", "12.0.0"),
    (">=12.0.0", "12.11.43+rev1"),
    (">=12.0.0+rev9", "12.0.0"),
    (">= 12.0.0", "12.11.43"),
    (">=v12", "v12.11.43"),
    (">=12.11", "12.11"),
    (">=12.0.0 <14", "13.9.9"),
    ("12.11", "12.11.43"),
    ("v12.11.43", "12.11.43"),
    ("=12.11.43", "12.11.43"),
    ("12.x", "12.11.43"),
    ("12.11.*", "12.11.43"),
    ("", "1.2.3"),
    ("*", "1.2.3"),
    ("^12.1", "12.11.43"),
    ("^0.2.3", "0.2.9"),
    ("^0.0.3", "0.0.3"),
    ("^0.x", "0.9.0"),
    ("~1.2", "1.2.9"),
    ("~> 1.2.3", "1.2.9"),
    ("~1", "1.9.0"),
    ("1.2.3 - 2", "2.9.9"),
    ("1.2 - 2.3.4", "1.2.0"),
    (">1", "2.0.0"),
    ("<=1", "1.9.9"),
    ("1 || >=3", "3.1.0"),
    ("||", "1.2.3"),
    (">=1.2.3-rc.1", "1.2.3-rc.2"),
    (">=1.2.3-rc.2", "1.2.3-rc.10"),
    (">=1.2.3-rc", "1.2.3"),
    ("^1.2.3-beta.2", "1.2.3-beta.10"),
    ("1.2.3-rc1", "1.2.3-rc1"),
    (">=1.2.3-alpha <1.3.0-beta", "1.3.0-alpha"),
    ("<1.2.3-rc", "1.2.3-beta"),
]

NOT_MET = [
    (">=12.0.0", "11.99.99"),
    (">12", "12.11.43"),
    ("<12", "12.0.0"),
    ("<12", "12.0.0-rc1"),
    ("<1.2.3", "1.2.3"),
    ("<=1.2", "1.3.0"),
    ("=12.11.43", "12.11.44"),
    ("^0.2.3", "0.3.0"),
    ("^0.0.3", "0.0.4"),
    ("^1.2", "2.0.0"),
    ("~1.2", "1.3.0"),
    ("~1.2.3", "1.2.2"),
    ("1.2.3 - 2", "3.0.0"),
    ("1 || >=3", "2.0.0"),
    (">*", "1.0.0"),
    ("1.2.3-rc1", "1.2.3"),
    (">=1.2.3-rc1", "1.2.4-rc1"),
    (">=1.2.3", "1.3.0-rc1"),
    ("*", "1.2.3-rc1"),
    ("<1.2.3-beta", "1.2.3-rc"),
    ("^1.2.3", "2.0.0-rc"),
]

UNREADABLE = [
    ("latest", "1.2.3"),
    (">=12.0.0, <14", "13.0.0"),
    ("1.2.3 || latest", "1.2.3"),
    ("01.2.3", "1.2.3"),
    ("1.2.3.4", "1.2.3"),
    (">=", "1.2.3"),
    (">=1.2.3-", "1.2.3"),
    ("*" + " " * 300, "1.2.3"),
    ("*", ""),
    ("*", "12 (bookworm)"),
    ("*", "1.2.3.4"),
    ("*", "9" * 400),
]


@pytest.mark.parametrize(("wanted", "version"), MET)
def test_a_version_is_in_a_range(wanted: str, version: str) -> None:
    assert satisfies(version, wanted)


@pytest.mark.parametrize(("wanted", "version"), NOT_MET)
def test_a_version_is_not_in_a_range(wanted: str, version: str) -> None:
    assert not satisfies(version, wanted)


@pytest.mark.parametrize(("wanted", "version"), UNREADABLE)
def test_what_cannot_be_read_is_not_met(wanted: str, version: str) -> None:
    assert not satisfies(version, wanted)


RANGE_TEXTS = st.text(st.sampled_from("<>=~^|x*- .v+019a"), max_size=20)


@given(RANGE_TEXTS, st.tuples(*[st.integers(0, 3)] * 3))
def test_any_text_is_a_range_that_is_met_or_not(wanted: str, numbers: tuple[int, int, int]) -> None:
    version = ".".join(map(str, numbers))
    met = satisfies(version, wanted)
    assert satisfies(f"v{version}+build", wanted) is met
    assert not satisfies(version, f"{wanted} || nothing")
    assert not met or satisfies(version, f"{wanted} || {version}")

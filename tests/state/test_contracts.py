"""Contracts of services: what they may say, what a device offers, and what is met."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balena_supervisor.model.device import Configuration
from balena_supervisor.state.contracts import TYPES, Fact, device_facts, read_requirements, unmet
from balena_supervisor.state.violations import Violations

DEVICE = Configuration(
    supervisor_version="20.1.0+rev2",
    device_type="jetson-tx2",
    device_arch="aarch64",
    os_slug="balena-os",
    os_release="2.98.33",
    kernel_name="Linux",
    kernel_release="4.9.253-l4t-r32.7.1",
)
PLAIN = Configuration(supervisor_version="20.1.0", kernel_name="Linux", kernel_release="6.1.0-18-amd64")


def lacks(*requires: Any, device: Configuration = DEVICE) -> list[str]:
    violations = Violations()
    requirements = read_requirements({"requires": list(requires)}, ("contract",), violations)
    assert violations.lines == []
    return unmet(requirements, device_facts(device))


def faults(contract: dict[str, Any]) -> list[str]:
    violations = Violations()
    read_requirements(contract, ("contract",), violations)
    return violations.lines


def test_a_device_offers_what_it_knows_of_itself() -> None:
    assert device_facts(DEVICE) == (
        Fact(type="sw.supervisor", version="20.1.0+rev2"),
        Fact(type="sw.l4t", version="32.7.1"),
        Fact(type="hw.device-type", slug="jetson-tx2"),
        Fact(type="arch.sw", slug="aarch64"),
        Fact(type="sw.os", slug="balena-os", version="2.98.33"),
        Fact(type="sw.kernel", slug="linux", version="4.9.253"),
    )


@pytest.mark.parametrize(
    ("release", "l4t"),
    [
        ("4.9.253-l4t-r32.7.1", "32.7.1"),
        ("4.4.38-l4t-r28.3+g3bd2d0e", "28.3.0"),
        ("5.10.104-l4t-r35.2.1-g1", "35.2.1"),
        ("6.1.0-18-amd64", None),
        ("", None),
    ],
)
def test_l4t_is_read_from_the_release_of_the_kernel(release: str, l4t: str | None) -> None:
    found = {fact.type: fact.version for fact in device_facts(Configuration(kernel_release=release))}
    assert found.get("sw.l4t") == l4t


@pytest.mark.parametrize(
    "fields",
    [{"os_slug": "debian"}, {"os_release": "12"}, {"kernel_name": "Linux"}, {"kernel_release": "6.1.0"}],
)
def test_half_of_a_fact_is_none(fields: dict[str, Any]) -> None:
    assert [fact.type for fact in device_facts(Configuration(**fields))] == ["sw.supervisor"]


@pytest.mark.parametrize(
    "requirement",
    [
        {"type": "sw.supervisor"},
        {"type": "sw.supervisor", "version": ">=12.0.0"},
        {"type": "sw.supervisor", "version": "20.1.0"},
        {"type": "sw.supervisor", "version": None, "slug": None, "data": None},
        {"type": "sw.l4t"},
        {"type": "sw.l4t", "version": "<=32.7"},
        {"type": "hw.device-type", "slug": "jetson-tx2"},
        {"type": "hw.device-type", "name": "jetson-tx2"},
        {"type": "arch.sw", "slug": "aarch64"},
        {"type": "arch.sw", "slug": "aarch64", "name": "ignored", "aliases": ["arm64"]},
        {"type": "sw.os", "slug": "balena-os", "version": "^2.50"},
        {"type": "sw.kernel", "slug": "linux", "version": ">=4.4.0"},
        {"or": [{"type": "arch.sw", "slug": "amd64"}, {"type": "arch.sw", "slug": "aarch64"}]},
    ],
)
def test_a_requirement_is_met(requirement: dict[str, Any]) -> None:
    assert lacks(requirement) == []


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        (
            {"type": "sw.supervisor", "version": ">=99.0.0"},
            "sw.supervisor >=99.0.0 (the device has sw.supervisor 20.1.0+rev2)",
        ),
        ({"type": "sw.supervisor", "version": "latest"}, "sw.supervisor latest (the device has sw.supervisor"),
        ({"type": "sw.supervisor", "data": {"a": 1}}, "sw.supervisor with data (the device has sw.supervisor"),
        ({"type": "sw.l4t", "version": ">=35"}, "sw.l4t >=35 (the device has sw.l4t 32.7.1)"),
        (
            {"type": "hw.device-type", "name": "raspberrypi4-64"},
            "hw.device-type raspberrypi4-64 (the device has hw.device-type jetson-tx2)",
        ),
        ({"type": "arch.sw", "version": "1.0.0"}, "arch.sw 1.0.0 (the device has arch.sw aarch64)"),
        (
            {"or": [{"type": "arch.sw", "slug": "amd64"}, {"type": "sw.l4t", "version": "<1"}]},
            "arch.sw amd64 or sw.l4t <1 (the device has arch.sw aarch64, sw.l4t 32.7.1)",
        ),
        ({"or": []}, "one of no alternatives"),
    ],
)
def test_a_requirement_that_is_not_met_is_told_in_words(requirement: dict[str, Any], words: str) -> None:
    (told,) = lacks(requirement)
    assert told.startswith(words)


@pytest.mark.parametrize("requirement", [{"type": "sw.l4t"}, {"type": "sw.os"}, {"type": "hw.device-type"}])
def test_what_the_device_does_not_offer_is_not_met_even_without_a_version(requirement: dict[str, Any]) -> None:
    of_type = requirement["type"]
    assert lacks(requirement, device=PLAIN) == [f"{of_type} (the device has no {of_type})"]


def test_all_requirements_must_hold() -> None:
    supervisor, arch = {"type": "sw.supervisor", "version": "<1"}, {"type": "arch.sw", "slug": "rpi"}
    assert len(lacks(supervisor, {"type": "sw.supervisor"}, arch)) == 2


@pytest.mark.parametrize(
    "contract",
    [
        {},
        {"type": "sw.container", "slug": "web", "requires": []},
        {"type": None, "slug": None, "requires": None},
        {"requires": [], "provides": 5, "version": []},
    ],
)
def test_a_contract_may_require_nothing(contract: dict[str, Any]) -> None:
    assert faults(contract) == []


@pytest.mark.parametrize(
    ("contract", "line"),
    [
        ({"type": 1}, "contract.type: expected a text, got 1"),
        ({"slug": []}, "contract.slug: expected a text, got []"),
        ({"requires": {}}, "contract.requires: expected a list, got {}"),
        ({"requires": ["x"]}, 'contract.requires.0: expected an object, got "x"'),
        ({"requires": [{}]}, "contract.requires.0.type: expected one of "),
        ({"requires": [{"type": "sw.application"}]}, "contract.requires.0.type: expected one of "),
        ({"requires": [{"type": "arch.sw", "slug": 1}]}, "contract.requires.0.slug: expected a text, got 1"),
        ({"requires": [{"type": "sw.os", "version": 2}]}, "contract.requires.0.version: expected a text, got 2"),
        ({"requires": [{"type": "sw.os", "data": "x"}]}, 'contract.requires.0.data: expected an object, got "x"'),
        ({"requires": [{"or": {}}]}, "contract.requires.0.or: expected a list, got {}"),
        ({"requires": [{"or": [{"or": []}]}]}, "contract.requires.0.or.0.type: expected one of "),
        ({"requires": [{"or": [5]}]}, "contract.requires.0.or.0: expected an object, got 5"),
    ],
)
def test_a_fault_of_a_contract_is_told_with_its_path(contract: dict[str, Any], line: str) -> None:
    (told,) = faults(contract)
    assert told.startswith(line)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
TEXTS = st.sampled_from([">=1", "linux", "1.2 - 3", "||", "", "^x", ">=1.0.0-rc", "nothing"])
NEARLY_REQUIREMENTS = st.fixed_dictionaries(
    {}, optional={name: st.one_of(TEXTS, JSON) for name in ("slug", "version", "name", "data")}
).flatmap(lambda rest: st.sampled_from([*TYPES, "sw.application", None]).map(lambda of_type: {**rest, "type": of_type}))
NEARLY_CONTRACTS = st.dictionaries(st.sampled_from(["type", "slug", "version"]), JSON).flatmap(
    lambda rest: st.one_of(
        JSON, st.lists(st.one_of(JSON, NEARLY_REQUIREMENTS, st.lists(NEARLY_REQUIREMENTS).map(lambda or_: {"or": or_})))
    ).map(lambda requires: {**rest, "requires": requires})
)


@given(NEARLY_CONTRACTS)
def test_any_contract_is_judged_or_has_a_fault_with_its_path(contract: dict[str, Any]) -> None:
    violations = Violations()
    requirements = read_requirements(contract, ("contract",), violations)
    assert all(line.startswith("contract.") for line in violations.lines)
    if not violations.lines:
        lacking = unmet(requirements, device_facts(DEVICE))
        assert len(lacking) <= len(requirements) == len(contract["requires"] or ())
        assert len(unmet(requirements, ())) == len(requirements)

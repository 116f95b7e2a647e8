"""Which services wait for which, and cycles."""

from __future__ import annotations

from typing import Any

import pytest

from balena_supervisor.state.dependencies import cycles, cycles_of_app, dependencies
from tests.state.composing import composed_app, target_app, target_service


@pytest.mark.parametrize(
    ("composition", "found"),
    [
        ({}, {}),
        ({"depends_on": ["a", "b"]}, {"a": "depends_on", "b": "depends_on"}),
        ({"dependsOn": ["a"]}, {"a": "depends_on"}),
        ({"depends_on": {"a": {"condition": "service_healthy"}, "b": None}}, {"a": "depends_on", "b": "depends_on"}),
        ({"network_mode": "service: a"}, {"a": "network_mode"}),
        ({"network_mode": "service:a", "depends_on": ["a"]}, {"a": "depends_on"}),
        ({"network_mode": "host", "depends_on": None}, {}),
        ({"network_mode": {}, "depends_on": 5}, {}),
    ],
)
def test_a_service_depends_on_what_its_composition_names(composition: dict[str, Any], found: dict[str, str]) -> None:
    assert dependencies(target_service(composition)) == found


@pytest.mark.parametrize(
    ("edges", "found"),
    [
        ({}, {}),
        ({"a": ["b"], "b": ["c"], "c": []}, {}),
        ({"a": ["missing"]}, {}),
        ({"a": ["a"]}, {"a": ["a", "a"]}),
        ({"a": ["b"], "b": ["a"], "c": ["a"]}, {"a": ["a", "b", "a"], "b": ["b", "a", "b"]}),
    ],
)
def test_each_name_on_a_cycle_has_the_way_back_to_itself(edges: dict[str, list[str]], found: Any) -> None:
    assert cycles(edges) == found


def test_a_long_chain_without_a_cycle_is_judged_at_once() -> None:
    edges = {str(number): [str(number + 1)] for number in range(100_000)}
    assert cycles(edges) == {}


def test_each_cycle_of_a_release_is_told_once_with_the_field_that_begins_it() -> None:
    app = target_app(
        target_service({"depends_on": ["b"]}, service_name="a"),
        target_service({"network_mode": "service:a"}, service_name="b"),
        target_service({"network_mode": "service:c"}, service_name="c"),
        target_service({"depends_on": ["a"]}, service_name="d"),
    )
    found = [(service.service_name, field, cycle) for service, field, cycle in cycles_of_app(app)]
    assert found == [("a", "depends_on", ["a", "b", "a"]), ("c", "network_mode", ["c", "c"])]


def test_a_dependency_that_the_release_lacks_is_a_warning_of_the_service() -> None:
    web = target_service({"depends_on": ["db", "cache"], "network_mode": "service:vpn"})
    app = composed_app(target_app(web, target_service({}, service_name="cache")))
    assert app.problem == ""
    made = next(service for service in app.services if service.service_name == "web")
    assert made.warnings == ("depends_on: db is not waited for, as the release does not have it",)

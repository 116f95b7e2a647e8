"""Whole services with many fields at once, as they are generated: what is sent to the engine reads back equal, and a
target that is applied already touches nothing.

``HYPOTHESIS_EXAMPLES=1000`` tries more of them, and others each time.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Self

import docker
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balena_supervisor.state.compare import differences, network_differences, volume_differences
from tests.integration.any_service import (
    apps,
    compositions,
    feature_labels,
    network_definitions,
    own_environment,
    own_labels,
    reordered,
    volume_definitions,
)
from tests.integration.conftest import TestedSupervisor
from tests.integration.round_trip_engine import RoundTrip, round_trip
from tests.integration.targets import target

MORE = int(os.environ.get("HYPOTHESIS_EXAMPLES", "0"))
pytestmark = [pytest.mark.engine, pytest.mark.timeout(600 + 5 * MORE)]


def examples(number: int) -> Callable[[Any], Any]:
    """The same examples each time, so that a failure can be had again; with ``HYPOTHESIS_EXAMPLES`` others."""
    return settings(
        max_examples=MORE or number,
        derandomize=not MORE,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


@pytest.fixture(scope="module")
def trip() -> Iterator[RoundTrip]:
    with round_trip() as made:
        yield made


@examples(40)
@given(compositions(), feature_labels, own_labels, own_environment, st.sampled_from(["plain", "rich"]))
def test_a_generated_service_reads_back_as_it_was_sent(  # noqa: PLR0917  # one for each strategy
    trip: RoundTrip,
    composition: dict[str, Any],
    features: dict[str, str],
    labels: dict[str, str],
    environment: dict[str, str],
    image: str,
) -> None:
    service = trip.compose(
        trip.with_subnet(composition), image=image, labels={**labels, **features}, environment=environment
    )
    container = trip.create(service)
    trip.engine.remove_container(container.container_id, force=True, v=True)

    assert differences(container, service, {}) == ()


@examples(20)
@given(network_definitions())
def test_a_generated_network_reads_back_as_it_was_sent(trip: RoundTrip, definition: dict[str, Any]) -> None:
    network = trip.network(trip.with_subnet(definition))
    created = trip.create_network(network)
    trip.engine.remove_network(created.engine_id)

    assert network_differences(created, network) == ()


@examples(20)
@given(volume_definitions)
def test_a_generated_volume_reads_back_as_it_was_sent(trip: RoundTrip, definition: dict[str, Any]) -> None:
    volume = trip.volume(definition)
    created = trip.create_volume(volume)
    trip.engine.remove_volume(volume.engine_name)

    assert created is not None
    assert volume_differences(created, volume) == ()


@settings(max_examples=MORE // 20 or 4, derandomize=not MORE, suppress_health_check=list(HealthCheck))
@given(app=apps(), random=st.integers(0, 9999).map(Random))
def test_a_generated_app_that_is_posted_again_is_not_touched(  # noqa: PLR0917  # fixtures
    supervisor: TestedSupervisor,
    engine: docker.APIClient,
    app_id: int,
    sample_image: str,
    app: dict[str, Any],
    random: Random,
) -> None:
    services = {name: {**fields, "image": sample_image} for name, fields in app["services"].items()}
    body = target(app_id, services, networks=app["networks"], volumes=app["volumes"])
    post_and_wait(supervisor, body)
    with Listening(engine, app_id) as heard:  # a new start is a new process of every actor
        post_and_wait(supervisor, body)
        post_and_wait(supervisor, reordered(body, random))
        supervisor.stop()
        supervisor.start()
        wait_until_applied(supervisor, len(services))
    assert heard.events == []


def test_a_changed_app_is_heard_of(
    supervisor: TestedSupervisor, engine: docker.APIClient, app_id: int, sample_image: str
) -> None:
    post_and_wait(supervisor, target(app_id, {"main": {"image": sample_image}}))
    with Listening(engine, app_id) as heard:
        body = target(app_id, {"main": {"image": sample_image, "environment": {"A": "1"}}}, volumes={"data": {}})
        post_and_wait(supervisor, body)
    kinds = {event.rpartition(" ")[0] for event in heard.events}
    assert {"container destroy", "container start", "network connect", "volume create"} <= kinds


def post_and_wait(supervisor: TestedSupervisor, body: dict[str, Any]) -> None:
    supervisor.post_target(body)
    (app,) = body["local"]["apps"].values()
    wait_until_applied(supervisor, len(app["services"]))


def wait_until_applied(supervisor: TestedSupervisor, services: int) -> None:
    """The API says ``applying`` until the planner has judged the target that was posted last."""
    supervisor.api.wait_until(
        lambda status: (
            status["appState"] == "applied"
            and [container["status"] for container in status["containers"]] == ["Running"] * services
        ),
        60,
    )


class Listening:
    """All that happens on the engine to the containers, networks and volumes of an app, but for its health checks.

    The end is marked by an event of our own, since the engine tells them late, but in order.
    """

    def __init__(self, engine: docker.APIClient, app_id: int) -> None:
        self.events: list[str] = []
        self._engine = engine
        self._app_id = str(app_id)

    def __enter__(self) -> Self:
        self._since_ns = self._mark()
        return self

    def __exit__(self, *_: object) -> None:
        until_ns = self._mark()
        whole_s = (self._since_ns // 10**9, until_ns // 10**9 + 1)
        for event in self._engine.events(since=whole_s[0], until=whole_s[1], decode=True):
            if self._since_ns < event["timeNano"] < until_ns and self._is_of_app(event):
                self.events.append(f"{event['Type']} {event['Action']} {event['Actor']['Attributes'].get('name')}")

    def _is_of_app(self, event: dict[str, Any]) -> bool:
        attributes = event["Actor"]["Attributes"]
        names = (event["Actor"]["ID"], attributes.get("name", ""))
        own = attributes.get("io.balena.app-id") == self._app_id or any(n.startswith(self._app_id) for n in names)
        return own and not event["Action"].startswith(("exec_", "health_status"))

    def _mark(self) -> int:
        """The time of the engine in nanoseconds, by something that it does."""
        name = f"mark-{uuid.uuid4().hex}"
        self._engine.create_volume(name)
        self._engine.remove_volume(name)
        for event in self._engine.events(since=0, filters={"volume": name}, decode=True):
            return int(event["timeNano"])
        raise AssertionError("the engine has told nothing of the mark")

"""What holds for any document, however odd."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balena_supervisor.errors import InvalidTarget
from balena_supervisor.messages import TargetChanged
from balena_supervisor.model.target import TargetState
from balena_supervisor.state.image_name import normalise, same_image
from balena_supervisor.state.target_format import ParsedTarget, decode_apps_json, decode_local, decode_v3
from balena_supervisor.state.target_rows import app_from_row, app_to_row

texts = st.text(st.characters(codec="utf-8"), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
names = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,8}", fullmatch=True)
ids = st.integers(0, 2**53 - 1)

services = st.fixed_dictionaries(
    {
        "serviceName": names,
        "imageId": ids | ids.map(str),
        "image": names,
        "environment": st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True), texts, max_size=3),
        "labels": st.dictionaries(st.from_regex(r"[a-z./-]{1,8}", fullmatch=True), texts, max_size=3),
    },
    optional={
        "running": st.booleans() | st.none(),
        "contract": st.dictionaries(texts, values, max_size=2),
        "x": values,
    },
)
apps = st.fixed_dictionaries(
    {"name": texts},
    optional={
        "commit": names,
        "releaseId": ids,
        "services": st.dictionaries(ids.map(str), services, max_size=3),
        "volumes": st.dictionaries(names, st.dictionaries(texts, values, max_size=2), max_size=2),
    },
)
bodies = st.fixed_dictionaries(
    {"local": st.fixed_dictionaries({"apps": st.dictionaries(ids.map(str), apps, max_size=3)})},
    optional={"force": values},
)


def local(body: object) -> ParsedTarget | list[str]:
    """The target, or the violations that refuse it."""
    try:
        return decode_local(body, uuid="d00d", current_name="kiosk")
    except InvalidTarget as error:
        lines: list[str] = error.fields["violations"]
        return lines


def put(place: Any, path: list[str], value: object) -> None:
    """Set a value somewhere in a document, as far as the path leads."""
    for key in path[:-1]:
        if not isinstance(place, dict) or key not in place:
            return
        place = place[key]
    if isinstance(place, dict):
        place[path[-1]] = value


@given(values)
def test_any_json_is_read_or_refused_in_words(value: object) -> None:
    outcome = local({"local": {"apps": value}})
    assert isinstance(outcome, ParsedTarget) or (outcome and all(line.startswith("local.apps") for line in outcome))
    for read in (
        lambda: decode_v3({"d00d": value}, uuid="d00d", source="s"),
        lambda: decode_v3(value, uuid="d00d", source="s"),
        lambda: decode_apps_json(value, uuid="d00d", source="s", app_uuid=str),
    ):
        with suppress(InvalidTarget):
            read()


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(bodies, st.lists(st.sampled_from(["name", "commit", "services", "volumes", "environment"]), max_size=2), values)
def test_one_odd_value_is_read_or_refused_with_paths_of_the_body(body: Any, path: list[str], value: object) -> None:
    document = copy.deepcopy(body)
    for app_id in document["local"]["apps"]:
        put(document, ["local", "apps", app_id, *path], value)
    outcome = local(document)
    if not isinstance(outcome, ParsedTarget):
        assert all(line.startswith("local.apps.") for line in outcome)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(bodies)
def test_an_accepted_target_survives_its_row_and_the_wire(body: object) -> None:
    outcome = local(body)
    if not isinstance(outcome, ParsedTarget):
        return
    for app in outcome.apps:
        row = app_to_row(app)
        assert app_from_row(row) == app
        assert json.loads(row["services"]) is not None
    event = TargetChanged(target=TargetState(version=1, apps=outcome.apps))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=TargetChanged) == event


@given(st.from_regex(r"([a-z]{1,5}[.:][a-z0-9]{1,5}/)?[a-z]{1,4}(/[a-z]{1,3})?(:[a-z0-9.]{1,4})?", fullmatch=True))
def test_a_normalised_image_name_stays_as_it_is(name: str) -> None:
    normal = normalise(name)
    assert normalise(normal) == normal
    assert same_image(normal, normalise(normal))
